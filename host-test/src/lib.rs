//! Everything around the components: the host that runs them, the issuer they ask, and the scenarios both are held to.

pub mod host;
pub mod stub;

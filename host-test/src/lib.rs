//! The host that runs the components as `spin up` does, for tests and by hand.

pub mod envoy;
pub mod host;
pub mod stub;

//! Who is loaded, by host.

pub(crate) mod envoy;
pub(crate) mod spin;

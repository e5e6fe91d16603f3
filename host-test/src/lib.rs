//! The hosts that run the auth check in tests and by hand: one that does what `spin up` does, real Envoy, and the stub of
//! IBM Verify that both ask.

pub mod demo;
pub mod echo;
pub mod envoy;
pub mod guests;
pub mod host;
pub mod stub;
pub mod wire;

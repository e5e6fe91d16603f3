//! The demo, and the helpers that tests and benches share.

pub mod demo;
pub mod echo;
pub mod http2;
pub mod spin;
pub mod wire;

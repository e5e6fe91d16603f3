//! The demo, and the helpers that tests and benches share.

pub mod demo;
pub mod echo;
pub mod spin;
pub mod wire;

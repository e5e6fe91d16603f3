//! The demo, and what tests and benches share.

pub mod demo;
pub mod echo;
pub mod spin;
pub mod wire;

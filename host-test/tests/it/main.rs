//! The components that ship in the embedded host, and the embedded host itself.
//!
//! One binary, since each one that links wasmtime takes long to link.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod as_in_spin;
mod client_tls;
mod connections;
mod host;
mod key_value;
mod load;
mod production;
mod redis;
mod serve;
#[path = "../support/mod.rs"]
mod support;
mod worlds;
mod your_app;

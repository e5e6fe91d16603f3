//! Six servers behind the auth check: what reaches an app is what was decided on, as each server
//! reads it, however a caller spells it. The same requests go to the echo app in the embedded host.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod embedded;
mod envoy;
mod http1;
mod http2;
mod request;
mod seen;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod table;

//! Runs the real binary against real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod call;
mod client_auth;
mod dpop;
mod fixture;
mod interrupt;
mod issuer;
mod load;
mod redirects;
mod renewal;
mod reported_issuers;
mod secrets;
mod service_b;
mod settings;
mod tls;
mod verbose;

//! The behaviour of the stub on which other tests rely.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod assertions;
mod caller;
mod command;
mod dpop;
mod endpoints;
mod faults;
mod jwt;
mod lifecycle;
mod signed_responses;

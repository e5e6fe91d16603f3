//! The filter in a simulated Envoy: which calls it makes, when, and who gets which response.
//!
//! Nothing here waits for real time, so every test is deterministic.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, outside the functions that clippy recognizes as tests"
)]

mod calls;
mod configuration;
mod fake;
mod model;
mod requests;
mod waiting;
mod wake_ups;
mod workers;

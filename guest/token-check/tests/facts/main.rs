//! What the issuer said, kept for a while: the cache, what outages do to it, the store that instances share, the audit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod audit;
mod cache;
mod log;
mod memory;
mod order;
mod outage;
mod store;
mod world;

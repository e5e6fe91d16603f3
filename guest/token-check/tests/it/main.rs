//! The core from requests to verdicts, with a scripted issuer, a fake clock and a shared store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod allocations;
mod audit;
mod cache;
mod certificate_binding;
mod circuit_breaker;
mod client_auth;
mod decisions;
mod discovery;
mod dpop;
mod event_order;
mod fixture;
mod header_names;
mod issuers;
mod jose;
mod jwt;
mod jwt_fixture;
mod key_ring;
mod leeway;
mod limits;
mod log;
mod readme;
mod resource_metadata;
mod rfc_examples;
mod rules;
mod schema;
mod settings;
mod several_issuers;
mod shared_store;
mod signed_introspection;

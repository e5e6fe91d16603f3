//! The shipped filter in real Envoy, with the shipped configuration.
//!
//! Every test asserts with [`World::finish`] that no VM has failed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod callers;
mod client_certificates;
mod connections;
mod documented;
mod edges;
mod fixture;
mod grpc;
mod issuer;
mod lifecycle;
mod limits;
mod observability;
mod proxy;
mod recipes;
mod routes;
mod rsa_client_key;
mod samples;
mod settings;
mod signature_vectors;
mod soak;
mod triangle;
mod uploads;
mod waiting;
mod wire;

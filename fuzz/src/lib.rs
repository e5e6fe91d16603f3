//! Fuzz targets. Each module is one target with an oracle of its own: a second, naive reader or
//! model that shares no code with what it checks. A target's `run` panics if the two disagree.
//!
//! The targets of libFuzzer in `fuzz_targets` only call `run`, so that a stable compiler can replay
//! the corpus: `tests/corpus.rs`.

#![forbid(unsafe_code)]

pub mod bearer;
pub mod dpop_proof;
pub mod envoy_scheduling;
pub mod facts;
pub mod header_map;
pub mod jwk_set;
pub mod jws;
pub mod metadata;
pub mod routes;
pub mod rules_document;
pub mod settings;
pub mod signed_response;
pub mod stateful;
pub mod store_record;
mod support;

/// A target: its name, as that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 15] = [
    ("bearer", bearer::run),
    ("dpop_proof", dpop_proof::run),
    ("envoy_scheduling", envoy_scheduling::run),
    ("facts", facts::run),
    ("header_map", header_map::run),
    ("jwk_set", jwk_set::run),
    ("jws", jws::run),
    ("metadata", metadata::run),
    ("routes", routes::run),
    ("rules_document", rules_document::run),
    ("settings", settings::run),
    ("signed_response", signed_response::run),
    ("stateful", stateful::run),
    ("stateful_keys", stateful::keys::run),
    ("store_record", store_record::run),
];

//! What is remembered: facts about tokens, in this instance and in a shared store, and whether the
//! issuer responds. Never a decision.

mod cache;
mod circuit_breaker;
mod derived_keys;
#[cfg(feature = "jwt")]
mod key_ring;
mod known_tokens;
#[cfg(feature = "jwt")]
mod metadata_schedule;
#[cfg(feature = "jwt")]
mod proof_nonces;
mod shared_store;
mod token_key;
#[cfg(feature = "jwt")]
mod used_proofs;
mod voucher;

#[cfg(feature = "jwt")]
pub(crate) use cache::AGELESS;
pub(crate) use cache::{CachedFacts, FactsCache};
pub(crate) use circuit_breaker::{CircuitBreaker, Permit, ProbeFirst, Rejected, counts_as_fault};
pub(crate) use derived_keys::DerivedKeys;
#[cfg(feature = "jwt")]
pub(crate) use key_ring::{Fetch, KeyRing};
pub(crate) use known_tokens::KnownTokens;
#[cfg(feature = "jwt")]
pub(crate) use metadata_schedule::MetadataSchedule;
#[cfg(feature = "jwt")]
pub(crate) use proof_nonces::ProofNonces;
#[cfg(feature = "jwt")]
pub(crate) use shared_store::SharedDocument;
pub use shared_store::{Record, Sharing, StoreKey};
pub(crate) use shared_store::{SharedStore, SharedToken, SlotState};
pub(crate) use token_key::{BuildPassThroughHasher, TokenKey, TokenKeys};
#[cfg(feature = "jwt")]
pub(crate) use used_proofs::{ProofId, UsedProofs};
pub(crate) use voucher::{Voucher, Vouchers};

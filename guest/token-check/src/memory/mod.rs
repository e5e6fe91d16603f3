//! What is remembered of the issuer: facts about tokens, and whether the issuer answers. No decisions.

mod cache;
mod circuit_breaker;
mod shared_store;
mod token_key;

pub(crate) use cache::{FactsCache, Known};
pub(crate) use circuit_breaker::{Breaker, is_overwhelmed, whole_seconds};
pub(crate) use shared_store::{Digests, Occupant, SharedToken, Store};
pub use shared_store::{Record, Sharing, StoreKey};
pub(crate) use token_key::{AsItIs, TokenKey, TokenKeys};

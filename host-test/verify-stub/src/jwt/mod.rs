//! JWT access tokens (RFC 9068) and the keys that sign them.

mod algorithm;
mod dpop_key;
mod key;
mod key_ring;
mod token;
mod verify;

pub use self::{
    algorithm::SigningAlgorithm,
    dpop_key::{DpopKey, DpopProof},
    key::PublicKeyForm,
    token::{SignatureFault, TokenFormat},
};
pub(super) use self::{
    key::thumbprint,
    key_ring::{KeyRing, unusable_keys},
    token::{JwtSpec, sign},
    verify::Jws,
};

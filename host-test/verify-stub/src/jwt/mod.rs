//! JWT access tokens (RFC 9068) and the keys that sign them.

mod algorithm;
mod key;
mod key_ring;
mod token;
mod verify;

pub use self::{
    algorithm::SigningAlgorithm,
    key::PublicKeyForm,
    token::{SignatureFault, TokenFormat},
};
pub(super) use self::{
    key_ring::{KeyRing, unusable_keys},
    token::{JwtSpec, sign},
    verify::Jws,
};

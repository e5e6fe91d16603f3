//! JSON Web Signatures and the keys that verify them: bytes in, yes or no out.
//!
//! A key comes from a [`KeySet`] and from nowhere else, its type decides which algorithms it
//! verifies, and nothing in a token chooses another one. This layer knows no claims: who may come
//! in is decided elsewhere.

mod algorithm;
mod der;
mod embedded_key;
mod hash;
mod jws;
mod key;
mod key_set;
mod private_key;
mod rsa;
mod signature_host;
#[cfg(test)]
mod tests;
mod thumbprint;
mod unusable;

pub use algorithm::{Algorithm, Algorithms};
pub(crate) use jws::{ClaimedIssuer, KnownHeader, claimed_issuer};
pub use jws::{Jws, JwsProblem, Typ};
pub use key::Key;
pub use key_set::{KeySet, KeySetProblem};
pub(crate) use private_key::PrivateKey;
pub use private_key::PrivateKeyProblem;
pub use signature_host::{NoSignatureHost, SignatureHost, TestedSignatureHost};
pub use unusable::Unusable;

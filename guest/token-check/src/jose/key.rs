//! A public key that verifies signatures.

use triomphe::Arc;

use super::{Algorithms, Jws, SignatureHost};

/// Why a key of a set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// `alg` is unknown, or does not fit the type.
    Algorithm,
    /// A member is absent, or is not what its type demands.
    Malformed,
    /// It holds the private key too, which whoever can read the set can sign with.
    Private,
    /// The same key is there before.
    Repeated,
    /// `kty` or `crv` is unknown, or not built.
    Type,
    /// `use` or `key_ops` says that it verifies nothing.
    Use,
    /// RSA outside of 2048 to 4096 bits or with an exponent other than 65537, or a point of small
    /// order.
    Weak,
}

/// A public key. Equal: the same material, algorithms and `kid`.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    kid: Option<Box<str>>,
    algorithms: Algorithms,
    /// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) in DER.
    spki: Box<[u8]>,
}

impl Key {
    /// `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }

    /// What it verifies, by its type and `alg`.
    #[must_use]
    pub fn algorithms(&self) -> Algorithms {
        self.0.algorithms
    }

    /// Whether this key made the signature, by an algorithm that fits the key.
    #[must_use]
    pub fn verify(&self, jws: &Jws<'_>, host: &dyn SignatureHost) -> bool {
        let _ = (jws.signing_input(), jws.signature(), host);
        todo!()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let (this, other) = (&*self.0, &*other.0);
        this.kid == other.kid && this.algorithms == other.algorithms && this.spki == other.spki
    }
}

impl Eq for Key {}

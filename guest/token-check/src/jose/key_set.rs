//! Reads a JWK set (RFC 7517 section 5).

use super::{Jws, Key, Unusable};

/// Why a document is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetProblem {
    /// No key is left to verify with.
    NoUsableKey,
    /// It is not JSON, or has no list `keys`, or a name is there twice.
    Malformed,
    /// It is over 128 KiB.
    TooLong,
    /// It has over 64 keys.
    TooManyKeys,
}

/// The keys of an issuer.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Box<[Key]>,
    left_out: Box<[Unusable]>,
}

impl KeySet {
    /// Reads a document. Keys that cannot be used are left out one by one: issuers add types that
    /// we do not know (RFC 7517 section 5).
    ///
    /// # Errors
    ///
    /// No key is left, or the document as a whole is none.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetProblem> {
        let _ = document;
        todo!()
    }

    /// The key that the header names and whose type fits `alg`: never one of several.
    #[must_use]
    pub fn find(&self, jws: &Jws<'_>) -> Option<&Key> {
        let _ = jws;
        todo!()
    }

    /// The keys, in the order of the document.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Why each of the other keys of the document is left out, for a log.
    pub fn left_out(&self) -> impl Iterator<Item = Unusable> {
        self.left_out.iter().copied()
    }
}

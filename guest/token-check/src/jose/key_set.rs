//! Reads a JWK set (RFC 7517 section 5).

use super::{Jws, Key, Unusable};
use codec::json::{self, Json};

/// Most keys accepted, used or not. Issuers have one to ten.
const MAX_KEYS: usize = 64;

/// Why a document is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetProblem {
    /// It is not JSON, or has no list `keys`, or a name is there twice.
    Malformed,
    /// No key is left to verify with.
    NoUsableKey,
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
    /// Longest document accepted, in bytes. A key with its certificates has about 4 KiB.
    pub const MAX_DOCUMENT_BYTES: usize = 128 * 1024;

    /// Reads a document. Keys that cannot be used are left out one by one: issuers add types that
    /// we do not know (RFC 7517 section 5).
    ///
    /// # Errors
    ///
    /// No key is left, or the document as a whole is none.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetProblem> {
        if document.len() > Self::MAX_DOCUMENT_BYTES {
            return Err(KeySetProblem::TooLong);
        }
        let document = core::str::from_utf8(document).map_err(|_| KeySetProblem::Malformed)?;
        let Ok(Json::Object(members)) = json::read(document) else {
            return Err(KeySetProblem::Malformed);
        };
        let list = members.into_iter().find(|(name, _)| name == "keys");
        let Some((_, Json::Array(list))) = list else {
            return Err(KeySetProblem::Malformed);
        };
        if list.len() > MAX_KEYS {
            return Err(KeySetProblem::TooManyKeys);
        }
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for jwk in &list {
            let key = match jwk {
                Json::Object(members) => Key::read(members),
                _ => Err(Unusable::Malformed),
            };
            match key {
                Ok(key) if keys.contains(&key) => left_out.push(Unusable::Repeated),
                Ok(key) => keys.push(key),
                Err(why) => left_out.push(why),
            }
        }
        if keys.is_empty() {
            return Err(KeySetProblem::NoUsableKey);
        }
        Ok(Self {
            keys: keys.into_boxed_slice(),
            left_out: left_out.into_boxed_slice(),
        })
    }

    /// The key that the header names and whose type fits `alg`: never one of several. Without
    /// `kid`, the only one that fits.
    #[must_use]
    pub fn find(&self, jws: &Jws<'_>) -> Option<&Key> {
        self.find_with_position(jws).map(|(_, key)| key)
    }

    /// The same, and its position among [`keys`](Self::keys).
    pub(crate) fn find_with_position(&self, jws: &Jws<'_>) -> Option<(usize, &Key)> {
        let (algorithm, kid) = (jws.algorithm()?, jws.kid());
        let mut fitting = self.keys.iter().enumerate().filter(|(_, key)| {
            let is_named = kid.is_none_or(|kid| key.kid() == Some(kid));
            is_named && key.algorithms().contains(algorithm)
        });
        let key = fitting.next()?;
        fitting.next().is_none().then_some(key)
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

//! The keys of the stub: which sign, and which are published.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{SigningAlgorithm, key::SigningKey};
use crate::tables::lock;

/// How many keys are kept. Beyond that the oldest one is forgotten.
const MAX_KEYS: usize = 256;

#[derive(Default)]
pub(crate) struct KeyRing(Mutex<Keys>);

#[derive(Default)]
struct Keys {
    /// Oldest first, as they are published.
    made: Vec<Kept>,
    /// The keys that sign.
    current: HashMap<SigningAlgorithm, Arc<SigningKey>>,
    /// Keys that are never published, for tokens that nobody may accept.
    outsiders: HashMap<SigningAlgorithm, Arc<SigningKey>>,
    /// JWKs that are published before the others.
    also: Vec<Value>,
}

struct Kept {
    key: Arc<SigningKey>,
    published: bool,
}

impl KeyRing {
    /// Makes a key and publishes it. It signs if `signs`, or if its algorithm has no key yet.
    pub(crate) fn add(&self, algorithm: SigningAlgorithm, signs: bool) -> Result<String> {
        // Before the lock: an RSA key takes a moment.
        let key = Arc::new(SigningKey::generate(algorithm)?);
        let kid = key.kid.clone();
        let mut keys = lock(&self.0);
        if signs || !keys.current.contains_key(&algorithm) {
            keys.current.insert(algorithm, Arc::clone(&key));
        }
        if keys.made.len() >= MAX_KEYS {
            keys.made.remove(0);
        }
        keys.made.push(Kept {
            key,
            published: true,
        });
        Ok(kid)
    }

    /// Makes sure that a key signs with this algorithm.
    pub(crate) fn require(&self, algorithm: SigningAlgorithm) -> Result<()> {
        self.current(algorithm).map(drop)
    }

    /// The key that signs with this algorithm, made and published if there is none.
    pub(super) fn current(&self, algorithm: SigningAlgorithm) -> Result<Arc<SigningKey>> {
        let current = || lock(&self.0).current.get(&algorithm).cloned();
        if let Some(key) = current() {
            return Ok(key);
        }
        self.add(algorithm, false)?;
        current().context("no key")
    }

    /// A key that is never published.
    pub(super) fn outsider(&self, algorithm: SigningAlgorithm) -> Result<Arc<SigningKey>> {
        if let Some(key) = lock(&self.0).outsiders.get(&algorithm) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SigningKey::generate(algorithm)?);
        lock(&self.0).outsiders.insert(algorithm, Arc::clone(&key));
        Ok(key)
    }

    /// Publishes a key, or withdraws it. It signs as before.
    pub(crate) fn set_published(&self, kid: &str, published: bool) -> Result<()> {
        let mut keys = lock(&self.0);
        let kept = keys.made.iter_mut().find(|kept| kept.key.kid == kid);
        let kept = kept.with_context(|| format!("the stub has no key {kid:?}"))?;
        kept.published = published;
        Ok(())
    }

    /// Withdraws every key that does not sign.
    pub(crate) fn withdraw_old(&self) {
        let mut keys = lock(&self.0);
        let Keys { made, current, .. } = &mut *keys;
        for kept in made {
            let signs = current.get(&kept.key.algorithm);
            kept.published &= signs.is_some_and(|key| key.kid == kept.key.kid);
        }
    }

    pub(crate) fn publish_also(&self, also: Vec<Value>) {
        lock(&self.0).also = also;
    }

    /// The JWK set (RFC 7517 section 5).
    pub(crate) fn set(&self) -> Value {
        let keys = lock(&self.0);
        let published = keys.made.iter().filter(|kept| kept.published);
        let published = published.map(|kept| &kept.key.jwk);
        json!({"keys": keys.also.iter().chain(published).collect::<Vec<_>>()})
    }
}

/// Keys that verify no token, as key sets in the field have them beside good ones: of unknown and
/// of symmetric type, on an unknown curve, not on their curve, without their number, too short, for
/// encryption, private, and what is no key.
pub(crate) fn unusable_keys() -> Vec<Value> {
    let mut keys = json!([
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "post-quantum", "pub": "AAAA"},
        {"kty": "oct", "alg": "HS256", "kid": "symmetric", "k": "AAAA"},
        {"kty": "EC", "crv": "secp256k1", "kid": "curve", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "off-curve",
            "x": "A".repeat(43), "y": "A".repeat(43)},
        {"kty": "RSA", "alg": "RS256", "kid": "no-modulus", "e": "AQAB"},
        {"kty": "RSA", "alg": "RS256", "kid": "short", "n": "_".repeat(171), "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "use": "enc", "kid": "encryption", "x": "A".repeat(43)},
        {"kty": "OKP", "crv": "Ed25519", "kid": "private", "x": "A".repeat(43),
            "d": "A".repeat(43)},
        {"kid": "no-type"},
    ]);
    keys.as_array_mut().map(std::mem::take).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_key_is_forgotten() {
        let ring = KeyRing::default();
        let first = ring.add(SigningAlgorithm::EdDsa, true).unwrap();
        for _ in 0..MAX_KEYS {
            ring.add(SigningAlgorithm::EdDsa, true).unwrap();
        }
        assert_eq!(lock(&ring.0).made.len(), MAX_KEYS);
        let error = ring.set_published(&first, false).unwrap_err();
        assert_eq!(error.to_string(), format!("the stub has no key {first:?}"));
    }
}

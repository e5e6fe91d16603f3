//! Proofs of possession (RFC 9449 section 4.2) for tests of hosts, good and bad.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;
use serde_json::{Map, Value, json};

use super::{SigningAlgorithm, key::SigningKey};

/// A key of a caller, to which tokens can be bound.
pub struct DpopKey(SigningKey);

impl DpopKey {
    /// A new key.
    ///
    /// # Panics
    ///
    /// If none can be made.
    pub fn generate(algorithm: SigningAlgorithm) -> Self {
        Self::of(SigningKey::generate(algorithm))
    }

    /// A new key of RSA with 1024 bits, which signs with `PS256`.
    ///
    /// # Panics
    ///
    /// If none can be made.
    pub fn generate_rsa_1024() -> Self {
        Self::of(SigningKey::generate_weak_rsa())
    }

    #[expect(clippy::panic, reason = "a test cannot go on without a key")]
    fn of(key: anyhow::Result<SigningKey>) -> Self {
        match key {
            Ok(key) => Self(key),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// `jkt` of the tokens that are bound to it (RFC 7638).
    pub fn thumbprint(&self) -> &str {
        &self.0.kid
    }

    /// A good proof for a request without a token.
    pub fn proof(&self, method: &str, url: &str) -> DpopProof<'_> {
        let mut jwk = self.0.jwk.clone();
        if let Value::Object(members) = &mut jwk {
            members.retain(|name, _| !["alg", "kid", "use"].contains(&name.as_str()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let claims = json!({
            "jti": uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string(),
            "htm": method,
            "htu": url,
            "iat": now.map_or(0, |now| now.as_secs()),
        });
        let header = json!({"alg": self.0.algorithm.name(), "jwk": jwk, "typ": "dpop+jwt"});
        let object = |value| match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        DpopProof {
            key: &self.0,
            header: object(header),
            claims: object(claims),
        }
    }
}

/// A proof that is not signed yet.
#[derive(Clone)]
pub struct DpopProof<'k> {
    key: &'k SigningKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl DpopProof<'_> {
    /// For a request with this token: sets `ath`.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        self.claim("ath", URL_SAFE_NO_PAD.encode(hash))
    }

    /// Sets a claim; null removes it.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// Sets a member of the header; null removes it.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// Sets a member of the key in the header.
    #[must_use]
    pub fn key_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(Value::Object(members)) = self.header.get_mut("jwk") {
            set(members, name, value.into());
        }
        self
    }

    /// The value of the `DPoP` header.
    ///
    /// # Panics
    ///
    /// If the key cannot sign.
    #[expect(clippy::panic, reason = "a test cannot go on without a proof")]
    pub fn sign(self) -> String {
        let [header, claims] = [self.header, self.claims]
            .map(|part| URL_SAFE_NO_PAD.encode(Value::Object(part).to_string()));
        let input = format!("{header}.{claims}");
        match self.key.sign(input.as_bytes()) {
            Ok(signature) => format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)),
            Err(error) => panic!("{error:#}"),
        }
    }
}

fn set(members: &mut Map<String, Value>, name: &str, value: Value) {
    match value {
        Value::Null => _ = members.remove(name),
        value => _ = members.insert(name.to_owned(), value),
    }
}

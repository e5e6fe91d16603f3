//! An issuer of JWTs.

use std::collections::BTreeMap;

use base64_simd::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use token_check::{CacheStatus, Reason, Sharing};

use crate::fixture::{Clock, Instance, Issuer, Outcome, START, SharedStore, active, reason};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const VERIFIED: (Option<Reason>, Option<CacheStatus>) =
    (None, Some(CacheStatus::Verified));
pub(crate) const HIT: (Option<Reason>, Option<CacheStatus>) = (None, Some(CacheStatus::Hit));

/// A refusal of the token itself.
pub(crate) const fn refused(reason: Reason) -> (Option<Reason>, Option<CacheStatus>) {
    (Some(reason), None)
}

/// A refusal by what a verified token says.
pub(crate) const fn verified_but(reason: Reason) -> (Option<Reason>, Option<CacheStatus>) {
    (Some(reason), Some(CacheStatus::Verified))
}

/// A refusal because of the issuer.
pub(crate) const fn unavailable(reason: Reason) -> (Option<Reason>, Option<CacheStatus>) {
    (Some(reason), Some(CacheStatus::Miss))
}

const BASE: [(&str, &str); 3] = [
    ("jwks_url", "https://issuer.example/jwks"),
    ("expected_issuer", ISSUER),
    ("expected_aud", "service-b"),
];

/// A key of the issuer, made from a number.
#[derive(Clone)]
pub(crate) struct Key {
    kid: String,
    key: SigningKey,
}

impl Key {
    pub(crate) fn new(kid: &str, number: u8) -> Self {
        Self {
            kid: kid.to_owned(),
            key: SigningKey::from_bytes(&[number; 32]),
        }
    }

    pub(crate) fn jwk(&self) -> String {
        let x = encoded(self.key.verifying_key().as_bytes());
        let kid = &self.kid;
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    }

    /// A good token. `claims`: in place of others, or in addition.
    pub(crate) fn token(&self, claims: &[(&str, &str)]) -> String {
        let kid = &self.kid;
        self.sign(
            &format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#),
            &object(claims),
        )
    }

    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.key.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", encoded(signature))
    }
}

/// The claims of a good token, changed. An empty value leaves one out.
pub(crate) fn object(claims: &[(&str, &str)]) -> String {
    let (issuer, exp) = (format!("{ISSUER:?}"), (START + 100_000).to_string());
    let good = [
        ("iss", issuer.as_str()),
        ("aud", r#""service-b""#),
        ("exp", &exp),
        ("sub", r#""service-a""#),
        ("client_id", r#""service-a""#),
        ("scope", r#""read write""#),
    ];
    let members: BTreeMap<_, _> = good.iter().chain(claims).copied().collect();
    let members: Vec<_> = members
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:?}:{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

pub(crate) fn set_document(keys: &[&Key]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

pub(crate) fn set(keys: &[&Key]) -> Outcome {
    Outcome::http(200, "application/jwk-set+json", set_document(keys))
}

pub(crate) struct World {
    pub(crate) key: Key,
    pub(crate) issuer: Issuer,
    pub(crate) clock: Clock,
    pub(crate) instance: Instance,
}

impl World {
    pub(crate) fn new(strategy: &str, settings: &[(&str, &str)]) -> Self {
        Self::sharing(strategy, settings, Sharing::None, &SharedStore::default())
    }

    /// Another instance with the same issuer and clock.
    pub(crate) fn beside(&self, settings: &[(&str, &str)], store: &SharedStore) -> Instance {
        let settings = [&BASE, &[("strategy", "jwt")][..], settings].concat();
        Instance::sharing(&settings, &self.issuer, &self.clock, Sharing::Plain, store)
    }

    pub(crate) fn sharing(
        strategy: &str,
        settings: &[(&str, &str)],
        sharing: Sharing,
        store: &SharedStore,
    ) -> Self {
        let (key, clock) = (Key::new("one", 1), Clock::new());
        let issuer = Issuer::new(active(""));
        issuer.publishes(set(&[&key]));
        let settings = [&BASE, &[("strategy", strategy)][..], settings].concat();
        let instance = Instance::sharing(&settings, &issuer, &clock, sharing, store);
        Self {
            key,
            issuer,
            clock,
            instance,
        }
    }

    pub(crate) fn publish(&self, keys: &[&Key]) {
        self.issuer.publishes(set(keys));
    }

    pub(crate) fn get(&mut self, token: &str) -> (Option<Reason>, Option<CacheStatus>) {
        let verdict = self.instance.drive("/", token);
        (reason(&verdict.decision), verdict.cache)
    }

    /// A request with a good token.
    pub(crate) fn get_good(&mut self) -> (Option<Reason>, Option<CacheStatus>) {
        let token = self.key.token(&[]);
        self.get(&token)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance_ms(seconds * 1000);
    }
}

//! Tokens and a key for jwt_authn, made anew by every run, and both filters that verify them.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{PrivateKey, sha2::Sha256, traits::PublicKeyParts as _};
use serde_json::{Value, json};

/// A client, as IBM Verify names them.
const CLIENT: &str = "7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10";

/// The `iss` of the token.
pub(crate) const ISSUER: &str = "https://tenant.verify.ibm.com/oauth2";

/// The audience of the token.
pub(crate) const AUDIENCE: &str = "service-b";

/// As issuers have them. Those of `bench-floors` and of this are equally long.
const KEY_BITS: usize = 2048;

/// A token, and others like it, that one key has signed.
pub(crate) struct Jwt {
    pub(crate) token: String,
    /// Of the right form, and with the signature of another token.
    pub(crate) bad: String,
    /// Others like it.
    pub(crate) different: Vec<String>,
    pub(crate) jwks: Value,
}

impl Jwt {
    /// With RS256, which is what issuers sign with unless told otherwise. `different`: how many
    /// others.
    pub(crate) fn generate(different: u32) -> Result<Self> {
        let key = PrivateKey::new(&mut rand::rng(), KEY_BITS)?;
        let number = |bytes: Box<[u8]>| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "RSA", "alg": "RS256", "n": number(key.n_bytes()), "e": number(key.e_bytes()),
        });
        Self::signed("RS256", jwk, different, |text| {
            Ok(key.pkcs1v15_sign::<Sha256>(text)?)
        })
    }

    /// `key`: the public one, whose name is added.
    pub(crate) fn signed(
        algorithm: &str,
        mut key: Value,
        different: u32,
        sign: impl Fn(&[u8]) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let signed = |subject: &str| -> Result<(String, String)> {
            let header = json!({ "alg": algorithm, "typ": "JWT", "kid": "bench" });
            let claims = json!({
                "iss": ISSUER, "sub": subject, "client_id": CLIENT, "aud": [AUDIENCE],
                "iat": 1_767_225_600, "exp": 4_102_444_800_u64, "grant_type": "client_credentials",
                "jti": "3f0e7f3c-9b1d-4a3e-8c56-2f6f3b2c9d10",
            });
            let [header, claims] =
                [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
            let text = format!("{header}.{claims}");
            let signature = sign(text.as_bytes())?;
            Ok((text, URL_SAFE_NO_PAD.encode(signature)))
        };
        let (good, signature) = signed(CLIENT)?;
        let (other, _) = signed("somebody else")?;
        let different = (0..different).map(|number| {
            let (text, signature) = signed(&format!("{CLIENT}-{number:04}"))?;
            Ok(format!("{text}.{signature}"))
        });
        if let Some(key) = key.as_object_mut() {
            key.insert("kid".to_owned(), "bench".into());
            key.insert("use".to_owned(), "sig".into());
        }
        Ok(Self {
            token: format!("{good}.{signature}"),
            bad: format!("{other}.{signature}"),
            different: different.collect::<Result<_>>()?,
            jwks: json!({ "keys": [key] }),
        })
    }
}

impl Jwt {
    /// The settings with which ours verifies them, with a cache of so many.
    pub(crate) fn settings(&self, cache_entries: u32) -> Value {
        json!({
            "strategy": "jwt",
            "jwks": self.jwks.to_string(),
            "expected_issuer": ISSUER,
            "expected_aud": AUDIENCE,
            "cache_entries": cache_entries,
        })
    }

    /// Envoy's filter: checks signature, issuer, audience and times, and hands the claims on as ours
    /// does.
    pub(crate) fn jwt_authn(&self, with_cache: bool) -> Value {
        let mut provider = json!({
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "local_jwks": { "inline_string": self.jwks.to_string() },
            "forward_payload_header": "x-auth-claims",
        });
        if let (true, Some(provider)) = (with_cache, provider.as_object_mut()) {
            provider.insert(
                "jwt_cache_config".to_owned(),
                json!({ "jwt_cache_size": 1000 }),
            );
        }
        json!({
            "name": "jwt_authn",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": { "issuer": provider },
                "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "issuer" } }],
            },
        })
    }
}

//! Verifies what clients sign.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{hmac, signature};
use serde_json::{Map, Value};

/// A compact JWS (RFC 7515 section 7.1), not verified yet.
pub(crate) struct Jws<'t> {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    input: &'t str,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let (input, signature) = text.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let object = |part: &str| serde_json::from_slice(&bytes(part)?).ok();
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            input,
            signature: bytes(signature)?,
        })
    }

    pub(crate) fn algorithm(&self) -> Option<&str> {
        self.header.get("alg")?.as_str()
    }

    /// A claim that is a string.
    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// Whether `HS256` with this secret made the signature.
    pub(crate) fn is_by_secret(&self, secret: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        self.algorithm() == Some("HS256")
            && hmac::verify(&key, self.input.as_bytes(), &self.signature).is_ok()
    }

    /// Whether the private key of this public JWK made the signature. The key's type decides what
    /// the algorithm may be (RFC 8725 section 3.1).
    pub(crate) fn is_by_key(&self, jwk: &Value) -> bool {
        self.verify(jwk).is_some()
    }

    fn verify(&self, jwk: &Value) -> Option<()> {
        let text = |name: &str| jwk.get(name)?.as_str();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let message = self.input.as_bytes();
        let rsa = |algorithm| {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let key = signature::RsaPublicKeyComponents { n, e };
            key.verify(algorithm, message, &self.signature).ok()
        };
        let other = |algorithm, key: Vec<u8>| {
            let key = signature::UnparsedPublicKey::new(algorithm, key);
            key.verify(message, &self.signature).ok()
        };
        match (text("kty")?, text("crv"), self.algorithm()?) {
            ("RSA", None, "RS256") => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            ("RSA", None, "PS256") => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            ("EC", Some("P-256"), "ES256") => {
                let point = [vec![4], bytes("x")?, bytes("y")?].concat();
                other(&signature::ECDSA_P256_SHA256_FIXED, point)
            }
            ("OKP", Some("Ed25519"), "EdDSA") => other(&signature::ED25519, bytes("x")?),
            _ => None,
        }
    }
}

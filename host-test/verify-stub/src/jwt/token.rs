//! Signed tokens, good and bad.

use std::str::FromStr;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Map, Value};

use super::{KeyRing, PublicKeyForm, SigningAlgorithm};

/// The form of an access token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenFormat {
    /// As IBM Verify's: it means nothing to anybody but the issuer.
    #[default]
    Opaque,
    /// A JWT (RFC 9068), signed with this algorithm.
    Jwt(SigningAlgorithm),
}

impl FromStr for TokenFormat {
    type Err = String;

    /// `opaque`, or the name of an algorithm.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "opaque" => Ok(Self::Opaque),
            _ => {
                let algorithm = text.parse().map_err(|_| {
                    let names = SigningAlgorithm::ALL.map(SigningAlgorithm::name).join(", ");
                    format!("no such format: choose opaque or one of {names}")
                })?;
                Ok(Self::Jwt(algorithm))
            }
        }
    }
}

/// What is wrong with the signature of a JWT. The stub does not know such a token: introspection
/// says that it is not active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureFault {
    /// By the right key, of other claims.
    OtherClaims,
    /// By a key that is not published, under the `kid` of one that is.
    OtherKey,
    /// By a key that is not published, under its own `kid`.
    UnknownKey,
    /// `HS256` with the public key as the secret, under its `kid`: algorithm confusion (RFC 8725
    /// section 2.1).
    Hmac(PublicKeyForm),
    /// `alg` is `none`, and there is no signature (RFC 8725 section 2.1).
    None,
}

impl FromStr for SignatureFault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "other-claims" => Ok(Self::OtherClaims),
            "other-key" => Ok(Self::OtherKey),
            "unknown-key" => Ok(Self::UnknownKey),
            "hmac" => Ok(Self::Hmac(PublicKeyForm::SpkiPem)),
            "none" => Ok(Self::None),
            _ => Err(
                "no such fault: choose one of other-claims, other-key, unknown-key, hmac, none"
                    .to_owned(),
            ),
        }
    }
}

/// What a test changes about a JWT.
#[derive(Clone, Default)]
pub(crate) struct JwtSpec {
    pub(crate) fault: Option<SignatureFault>,
    /// Members of the header; `None` removes one.
    pub(crate) header: Vec<(String, Option<Value>)>,
    /// The header, in place of all that.
    pub(crate) raw_header: Option<String>,
}

/// A compact JWS (RFC 7515 section 7.1) with these claims.
pub(crate) fn sign(
    ring: &KeyRing,
    algorithm: SigningAlgorithm,
    spec: &JwtSpec,
    claims: &str,
) -> Result<String> {
    let key = ring.current(algorithm)?;
    let signing = match spec.fault {
        Some(SignatureFault::OtherKey | SignatureFault::UnknownKey) => ring.outsider(algorithm)?,
        _ => key.clone(),
    };
    let (name, kid) = match spec.fault {
        None | Some(SignatureFault::OtherClaims | SignatureFault::OtherKey) => {
            (algorithm.name(), &key.kid)
        }
        Some(SignatureFault::UnknownKey) => (algorithm.name(), &signing.kid),
        Some(SignatureFault::Hmac(_)) => ("HS256", &key.kid),
        Some(SignatureFault::None) => ("none", &key.kid),
    };
    let header = spec.raw_header.clone().unwrap_or_else(|| {
        let mut header = Map::new();
        for (name, value) in [("alg", name), ("kid", kid), ("typ", "at+jwt")] {
            header.insert(name.to_owned(), value.into());
        }
        for (name, value) in &spec.header {
            match value {
                Some(value) => _ = header.insert(name.clone(), value.clone()),
                None => _ = header.remove(name),
            }
        }
        Value::Object(header).to_string()
    });
    let input = format!("{}.{}", encode(&header), encode(claims));
    let signature = match spec.fault {
        None | Some(SignatureFault::OtherKey | SignatureFault::UnknownKey) => {
            signing.sign(input.as_bytes())?
        }
        Some(SignatureFault::OtherClaims) => {
            let other = format!("{}.{}", encode(&header), encode("{}"));
            signing.sign(other.as_bytes())?
        }
        Some(SignatureFault::Hmac(form)) => {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.public_key(form));
            hmac::sign(&secret, input.as_bytes()).as_ref().to_vec()
        }
        Some(SignatureFault::None) => Vec::new(),
    };
    Ok(format!("{input}.{}", encode(signature)))
}

fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

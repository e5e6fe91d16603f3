//! The private key of the client, as a JWK or in PEM.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa::KeyPairComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

/// What a text is that holds no key, and what to do.
const NO_KEY: &str = "holds no private key: it must be a JWK (RFC 7517), or PEM with a line `-----BEGIN PRIVATE KEY-----`";

const WRONG_ALGORITHM: &str =
    "holds a JWK whose `alg` is not one of its key: RS256, PS256, ES256, ES384 and EdDSA are known";

/// A key that signs, and the algorithm and name that go with it.
pub(crate) struct ClientKey {
    pair: Pair,
    algorithm: &'static str,
    kid: Option<String>,
}

enum Pair {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// The members of a private JWK (RFC 7518 section 6, RFC 8037 section 2). Borrowed, so that no copy
/// of a secret is left behind.
#[derive(Deserialize)]
struct Jwk<'t> {
    kty: &'t str,
    crv: Option<&'t str>,
    alg: Option<&'t str>,
    #[serde(borrow)]
    kid: Option<Cow<'t, str>>,
    x: Option<&'t str>,
    y: Option<&'t str>,
    d: Option<&'t str>,
    n: Option<&'t str>,
    e: Option<&'t str>,
    p: Option<&'t str>,
    q: Option<&'t str>,
    dp: Option<&'t str>,
    dq: Option<&'t str>,
    qi: Option<&'t str>,
}

impl ClientKey {
    /// Reads a JWK or PEM. The error never quotes the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('{') {
            return from_jwk(text);
        }
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| NO_KEY)?;
        let (pair, algorithm) = from_der(&der)?;
        Ok(Self {
            pair,
            algorithm,
            kid: None,
        })
    }

    /// `alg` of what it signs (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub(crate) const fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The name of the key at the issuer, if the JWK has one.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The signature in the form of JWS (RFC 7518 section 3). `None` if there is no randomness.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*padding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Pair::Ed(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey([redacted])")
    }
}

fn from_jwk(text: &str) -> Result<ClientKey, String> {
    let jwk: Jwk<'_> =
        serde_json::from_str(text).map_err(|_| "holds JSON that is no JWK (RFC 7517)")?;
    let unusable = "holds a JWK that is no private key, is incomplete, or is not a valid key";
    let part = |value: Option<&str>| -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let decoded = URL_SAFE_NO_PAD.decode(value.ok_or(unusable)?);
        decoded.map(Zeroizing::new).map_err(|_| unusable)
    };
    let ec = |algorithm: &'static EcdsaSigningAlgorithm| -> Result<Pair, String> {
        let mut point = vec![4];
        point.extend_from_slice(&part(jwk.x)?);
        point.extend_from_slice(&part(jwk.y)?);
        let random = SystemRandom::new();
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, &part(jwk.d)?, &point, &random)
            .map(Pair::Ec)
            .map_err(|_| unusable.to_owned())
    };
    let rsa = |padding: &'static dyn RsaEncoding| -> Result<Pair, String> {
        let [n, e, d, p, q, dp, dq, qi] = [
            part(jwk.n)?,
            part(jwk.e)?,
            part(jwk.d)?,
            part(jwk.p)?,
            part(jwk.q)?,
            part(jwk.dp)?,
            part(jwk.dq)?,
            part(jwk.qi)?,
        ];
        RsaKeyPair::from_components(&KeyPairComponents {
            public_key: RsaPublicKeyComponents { n: &*n, e: &*e },
            d: &*d,
            p: &*p,
            q: &*q,
            dP: &*dp,
            dQ: &*dq,
            qInv: &*qi,
        })
        .map(|pair| Pair::Rsa(Box::new(pair), padding))
        .map_err(|_| unusable.to_owned())
    };
    let (pair, algorithm) = match (jwk.kty, jwk.crv, jwk.alg) {
        ("EC", Some("P-256"), None | Some("ES256")) => {
            (ec(&ECDSA_P256_SHA256_FIXED_SIGNING)?, "ES256")
        }
        ("EC", Some("P-384"), None | Some("ES384")) => {
            (ec(&ECDSA_P384_SHA384_FIXED_SIGNING)?, "ES384")
        }
        // RFC 9864 names the algorithm after its curve; what is sent is the name that all know.
        ("OKP", Some("Ed25519"), None | Some("EdDSA" | "Ed25519")) => {
            let pair = Ed25519KeyPair::from_seed_and_public_key(&part(jwk.d)?, &part(jwk.x)?);
            (Pair::Ed(pair.map_err(|_| unusable)?), "EdDSA")
        }
        ("RSA", None, None | Some("RS256")) => (rsa(&RSA_PKCS1_SHA256)?, "RS256"),
        ("RSA", None, Some("PS256")) => (rsa(&RSA_PSS_SHA256)?, "PS256"),
        (_, _, Some(_)) => return Err(WRONG_ALGORITHM.to_owned()),
        _ => return Err(unusable.to_owned()),
    };
    let kid = jwk.kid.map(Cow::into_owned);
    Ok(ClientKey {
        pair,
        algorithm,
        kid,
    })
}

fn from_der(der: &PrivateKeyDer<'_>) -> Result<(Pair, &'static str), &'static str> {
    let random = SystemRandom::new();
    let rsa = |pair| (Pair::Rsa(Box::new(pair), &RSA_PKCS1_SHA256), "RS256");
    match der {
        PrivateKeyDer::Pkcs8(der) => {
            let der = der.secret_pkcs8_der();
            let ec = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &random).map(Pair::Ec);
            if let Ok(pair) = ec(&ECDSA_P256_SHA256_FIXED_SIGNING) {
                return Ok((pair, "ES256"));
            }
            if let Ok(pair) = ec(&ECDSA_P384_SHA384_FIXED_SIGNING) {
                return Ok((pair, "ES384"));
            }
            // OpenSSL leaves the public key out, which is why its absence is accepted.
            if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                return Ok((Pair::Ed(pair), "EdDSA"));
            }
            RsaKeyPair::from_pkcs8(der).map(rsa).map_err(|_| {
                "holds a private key that is not RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519"
            })
        }
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der())
            .map(rsa)
            .map_err(|_| "holds an RSA key that is not of 2048 to 4096 bits"),
        _ => Err(
            "holds a key in the old form `EC PRIVATE KEY`: convert it with `openssl pkcs8 -topk8 -nocrypt`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.1.
    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"k\u0031",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn rfc8037_a_4_the_signature_of_the_example() {
        let key = ClientKey::parse(ED25519).unwrap();
        assert_eq!((key.algorithm(), key.kid()), ("EdDSA", Some("k1")));
        let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = key.sign(input.as_bytes()).unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signature),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
        assert_eq!(format!("{key:?}"), "ClientKey([redacted])");
    }

    #[test]
    fn what_is_no_usable_key_is_refused_with_what_it_is() {
        let unusable = "holds a JWK that is no private key, is incomplete, or is not a valid key";
        let table = [
            ("s3cret", NO_KEY),
            ("", NO_KEY),
            ("{}", "holds JSON that is no JWK (RFC 7517)"),
            (r#"{"kty":"oct","k":"AAAA"}"#, unusable),
            (
                r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#,
                unusable,
            ),
            (
                r#"{"kty":"EC","crv":"P-256","alg":"HS256","d":"AAAA"}"#,
                WRONG_ALGORITHM,
            ),
        ];
        for (text, problem) in table {
            assert_eq!(ClientKey::parse(text).unwrap_err(), problem, "{text}");
        }
        // The public key of another private key.
        let other = ED25519.replace("11qY", "11qZ");
        assert_eq!(ClientKey::parse(&other).unwrap_err(), unusable);
    }
}

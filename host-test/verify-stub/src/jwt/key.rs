//! A key pair that signs, and its public key in the forms in which keys are published.

use anyhow::{Context as _, Result};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::PublicKeyData as _;
use ring::{
    digest,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use rsa::{
    pkcs8::{EncodePrivateKey as _, EncodePublicKey as _},
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};

use super::SigningAlgorithm;

/// The length of RSA keys, in bits: what issuers use, and the shortest that RFC 7518 section 3.3
/// allows.
const RSA_BITS: usize = 2048;
/// The length of an RSA key that nobody should accept, in bits.
const WEAK_RSA_BITS: usize = 1024;

/// The bytes of a public key, for the attack that takes them as an HMAC key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyForm {
    /// The JWK as it is published, without white space.
    Jwk,
    /// SubjectPublicKeyInfo in DER (RFC 5280 section 4.1).
    SpkiDer,
    /// The same in PEM, with a line end after its last line.
    SpkiPem,
    /// No byte at all: an empty key.
    Empty,
}

impl PublicKeyForm {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Jwk, Self::SpkiDer, Self::SpkiPem, Self::Empty];
}

pub(super) struct SigningKey {
    pub(super) algorithm: SigningAlgorithm,
    pub(super) kid: String,
    /// The public key as it is published.
    pub(super) jwk: Value,
    spki: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    /// With RSA-PSS and SHA-256; ring does not sign with it.
    WeakRsa(Box<rsa::PrivateKey>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    pub(super) fn generate(algorithm: SigningAlgorithm) -> Result<Self> {
        use SigningAlgorithm as Algorithm;

        let made = match algorithm {
            Algorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(&RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&RSA_PSS_SHA512),
            Algorithm::Es256 => ec(
                &rcgen::PKCS_ECDSA_P256_SHA256,
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                "P-256",
            ),
            Algorithm::Es384 => ec(
                &rcgen::PKCS_ECDSA_P384_SHA384,
                &ECDSA_P384_SHA384_FIXED_SIGNING,
                "P-384",
            ),
            Algorithm::EdDsa => ed(),
        };
        let made = made.with_context(|| format!("cannot make a key for {algorithm}"))?;
        Self::of(algorithm, made)
    }

    /// A key of [`SigningAlgorithm::Ps256`] that is too short.
    pub(super) fn generate_weak_rsa() -> Result<Self> {
        Self::of(SigningAlgorithm::Ps256, weak_rsa()?)
    }

    fn of(algorithm: SigningAlgorithm, made: Made) -> Result<Self> {
        let Made { pair, spki, public } = made;
        let kid = thumbprint(&public).context("no thumbprint")?;
        let mut jwk = public;
        if let Value::Object(members) = &mut jwk {
            members.insert("alg".to_owned(), algorithm.name().into());
            members.insert("kid".to_owned(), kid.clone().into());
            members.insert("use".to_owned(), "sig".into());
        }
        Ok(Self {
            algorithm,
            kid,
            jwk,
            spki,
            pair,
        })
    }

    /// The signature in the form of JWS (RFC 7518 section 3).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let signed = match &self.pair {
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*padding, &random, message, &mut signature)
                    .map(|()| signature)
            }
            Pair::WeakRsa(key) => return Ok(key.pss_sign::<rsa::sha2::Sha256>(message)?),
            Pair::Ec(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec()),
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        };
        signed.ok().context("cannot sign")
    }

    pub(super) fn public_key(&self, form: PublicKeyForm) -> Vec<u8> {
        match form {
            PublicKeyForm::Jwk => self.jwk.to_string().into(),
            PublicKeyForm::SpkiDer => self.spki.clone(),
            PublicKeyForm::SpkiPem => pem(&self.spki).into(),
            PublicKeyForm::Empty => Vec::new(),
        }
    }
}

struct Made {
    pair: Pair,
    spki: Vec<u8>,
    /// The members of the JWK that its type requires.
    public: Value,
}

fn rsa(padding: &'static dyn RsaEncoding) -> Result<Made> {
    let key = rsa::PrivateKey::new(&mut rand::rng(), RSA_BITS)?;
    let pair = RsaKeyPair::from_pkcs8(key.to_pkcs8_der()?.as_bytes())?;
    made_of_rsa(&key, Pair::Rsa(Box::new(pair), padding))
}

fn weak_rsa() -> Result<Made> {
    let key = rsa::PrivateKey::new(&mut rand::rng(), WEAK_RSA_BITS)?;
    made_of_rsa(&key, Pair::WeakRsa(Box::new(key.clone())))
}

fn made_of_rsa(key: &rsa::PrivateKey, pair: Pair) -> Result<Made> {
    let [n, e] = [key.n_bytes(), key.e_bytes()].map(|number| URL_SAFE_NO_PAD.encode(number));
    Ok(Made {
        public: json!({"e": e, "kty": "RSA", "n": n}),
        spki: key.to_public_key().to_public_key_der()?.into_vec(),
        pair,
    })
}

fn ec(
    kind: &'static rcgen::SignatureAlgorithm,
    algorithm: &'static EcdsaSigningAlgorithm,
    curve: &str,
) -> Result<Made> {
    let key = rcgen::KeyPair::generate_for(kind)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.serialized_der(), &SystemRandom::new())?;
    // 4, then x and y, both of the same length (SEC 1 section 2.3.3).
    let coordinates = pair.public_key().as_ref().get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
    Ok(Made {
        public: json!({"crv": curve, "kty": "EC", "x": x, "y": y}),
        spki: key.subject_public_key_info(),
        pair: Pair::Ec(pair),
    })
}

fn ed() -> Result<Made> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let pair = Ed25519KeyPair::from_pkcs8(key.serialized_der())?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    Ok(Made {
        public: json!({"crv": "Ed25519", "kty": "OKP", "x": x}),
        spki: key.subject_public_key_info(),
        pair: Pair::Ed(pair),
    })
}

/// RFC 7638 section 3. `None`: the type of the key is unknown.
pub(crate) fn thumbprint(jwk: &Value) -> Option<String> {
    let required: &[&str] = match jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members = required.iter().map(|name| {
        let value = jwk.get(*name)?.as_str()?;
        Some(format!("{}:{}", json!(name), json!(value)))
    });
    let members: Vec<_> = members.collect::<Option<_>>()?;
    let text = format!("{{{}}}", members.join(","));
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    Some(URL_SAFE_NO_PAD.encode(hash))
}

/// RFC 7468 section 13: lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let mut text = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    for (position, character) in STANDARD.encode(der).char_indices() {
        if position > 0 && position % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + "\n-----END PUBLIC KEY-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7638_s3_1_the_thumbprint_of_the_example() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
        assert_eq!(
            thumbprint(&key).unwrap(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }
}

//! A public key that verifies signatures (RFC 7517 section 4).

use std::borrow::Cow;

use codec::base64url;
use codec::json::Json;
use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey as Ed25519Key};
use p256::AffinePoint as P256Point;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature as P256Signature, VerifyingKey as P256Key};
use p256::elliptic_curve::point::AffineCoordinates as _;
use p384::AffinePoint as P384Point;
use p384::ecdsa::{Signature as P384Signature, VerifyingKey as P384Key};
use triomphe::Arc;

use super::hash::Hash;
use super::rsa::RsaKey;
use super::thumbprint::thumbprint;
use super::{Algorithm, Algorithms, Jws, SignatureHost, Unusable, der};

/// Members that only private and symmetric keys have (RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC
/// 8037 section 2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];

const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// A public key. Equal: the same material, algorithms and `kid`.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    kid: Option<Box<str>>,
    algorithms: Algorithms,
    /// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) in DER.
    spki: Box<[u8]>,
    material: Material,
}

enum Material {
    Rsa(RsaKey),
    P256(P256Key),
    P384(P384Key),
    Ed25519(Ed25519Key),
}

impl Key {
    /// Reads one JWK.
    pub(super) fn read(members: &[(Cow<'_, str>, Json<'_>)]) -> Result<Self, Unusable> {
        let jwk = Jwk(members);
        let (kind, curve) = (jwk.text("kty")?, jwk.text("crv")?);
        let fitting: Algorithms = match (kind, curve) {
            (Some("RSA"), _) => RSA_ALGORITHMS.into_iter().collect(),
            (Some("EC"), Some("P-256")) => Algorithms::only(Algorithm::Es256),
            (Some("EC"), Some("P-384")) => Algorithms::only(Algorithm::Es384),
            (Some("OKP"), Some("Ed25519")) => Algorithms::only(Algorithm::EdDsa),
            (Some(_), _) => return Err(Unusable::Type),
            (None, _) => return Err(Unusable::Malformed),
        };
        if PRIVATE_MEMBERS
            .iter()
            .any(|name| jwk.member(name).is_some())
        {
            return Err(Unusable::Private);
        }
        jwk.check_use()?;
        let algorithms = match jwk.text("alg")? {
            None => fitting,
            Some(name) => Algorithm::from_name(name)
                .filter(|algorithm| fitting.contains(*algorithm))
                .map(Algorithms::only)
                .ok_or(Unusable::Algorithm)?,
        };
        let (material, spki) = match (kind, curve) {
            (Some("RSA"), _) => jwk.rsa()?,
            (Some("EC"), Some("P-384")) => jwk.p384()?,
            (Some("EC"), _) => jwk.p256()?,
            _ => jwk.ed25519()?,
        };
        Ok(Self(Arc::new(Inner {
            kid: jwk.text("kid")?.map(Box::from),
            algorithms,
            spki: spki.into_boxed_slice(),
            material,
        })))
    }

    /// `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }

    /// What it verifies, by its type and `alg`.
    #[must_use]
    pub fn algorithms(&self) -> Algorithms {
        self.0.algorithms
    }

    /// Its thumbprint by SHA-256 (RFC 7638), whatever `kid` and `alg` say.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        match &self.0.material {
            Material::Rsa(key) => {
                let modulus = base64url::encode(&key.modulus());
                thumbprint(&[("e", "AQAB"), ("kty", "RSA"), ("n", &modulus)])
            }
            Material::P256(key) => {
                let point = key.as_affine();
                let (x, y) = (base64url::encode(&point.x()), base64url::encode(&point.y()));
                thumbprint(&[("crv", "P-256"), ("kty", "EC"), ("x", &x), ("y", &y)])
            }
            Material::P384(key) => {
                let point = key.as_affine();
                let (x, y) = (base64url::encode(&point.x()), base64url::encode(&point.y()));
                thumbprint(&[("crv", "P-384"), ("kty", "EC"), ("x", &x), ("y", &y)])
            }
            Material::Ed25519(key) => {
                let x = base64url::encode(key.as_bytes());
                thumbprint(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", &x)])
            }
        }
    }

    pub(super) fn is_p256(&self, other: &P256Key) -> bool {
        matches!(&self.0.material, Material::P256(key) if key == other)
    }

    pub(super) fn is_ed25519(&self, other: &Ed25519Key) -> bool {
        matches!(&self.0.material, Material::Ed25519(key) if key == other)
    }

    /// Whether this key made the signature, by an algorithm that fits the key.
    #[must_use]
    pub fn verify(&self, jws: &Jws<'_>, host: &dyn SignatureHost) -> bool {
        let (message, signature) = (jws.signing_input(), jws.signature());
        jws.algorithm()
            .and_then(|algorithm| self.verifies(algorithm, message, signature, host))
            .unwrap_or_default()
    }

    /// Whether this key made the signature of these bytes. `None`: the signature has the wrong form,
    /// or the algorithm does not fit the key.
    #[must_use]
    pub fn verifies(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
        host: &dyn SignatureHost,
    ) -> Option<bool> {
        if !self.algorithms().contains(algorithm) {
            return None;
        }
        let host_verifies =
            |signature: &[u8]| host.verify(algorithm, &self.0.spki, message, signature);
        match &self.0.material {
            Material::Rsa(key) => {
                let (is_pss, hash) = rsa_scheme(algorithm)?;
                if signature.len() != key.length() {
                    return None;
                }
                host_verifies(signature).or_else(|| {
                    Some(match is_pss {
                        true => key.verifies_pss(hash, message, signature),
                        false => key.verifies_pkcs1(hash, message, signature),
                    })
                })
            }
            Material::P256(key) => {
                // RFC 7518 section 3.4: R and S, 32 bytes each. Zero and too large are refused.
                let parsed = P256Signature::from_slice(signature).ok()?;
                host_verifies(&der::ecdsa_signature(signature)).or_else(|| {
                    let digest = Hash::Sha256.of(&[message]);
                    Some(key.verify_prehash(digest.bytes(), &parsed).is_ok())
                })
            }
            Material::P384(key) => {
                // The same with 48 bytes each.
                let parsed = P384Signature::from_slice(signature).ok()?;
                host_verifies(&der::ecdsa_signature(signature)).or_else(|| {
                    let digest = Hash::Sha384.of(&[message]);
                    Some(key.verify_prehash(digest.bytes(), &parsed).is_ok())
                })
            }
            Material::Ed25519(key) => {
                let parsed = Ed25519Signature::from_slice(signature).ok()?;
                host_verifies(signature)
                    .or_else(|| Some(key.verify_strict(message, &parsed).is_ok()))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn spki(&self) -> &[u8] {
        &self.0.spki
    }
}

/// Whether it is RSASSA-PSS, and its hash function.
const fn rsa_scheme(algorithm: Algorithm) -> Option<(bool, Hash)> {
    Some(match algorithm {
        Algorithm::Rs256 => (false, Hash::Sha256),
        Algorithm::Rs384 => (false, Hash::Sha384),
        Algorithm::Rs512 => (false, Hash::Sha512),
        Algorithm::Ps256 => (true, Hash::Sha256),
        Algorithm::Ps384 => (true, Hash::Sha384),
        Algorithm::Ps512 => (true, Hash::Sha512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

/// The members of a JSON Web Key.
struct Jwk<'a>(&'a [(Cow<'a, str>, Json<'a>)]);

impl Jwk<'_> {
    fn member(&self, wanted: &str) -> Option<&Json<'_>> {
        let member = self.0.iter().find(|(name, _)| name == wanted);
        member.map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Unusable> {
        match self.member(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Unusable::Malformed),
        }
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, Unusable> {
        let text = self.text(name)?;
        let bytes = text.map(str::as_bytes).and_then(base64url::decode);
        bytes.ok_or(Unusable::Malformed)
    }

    fn array<const N: usize>(&self, name: &str) -> Result<[u8; N], Unusable> {
        let bytes = self.bytes(name)?;
        bytes.try_into().map_err(|_| Unusable::Malformed)
    }

    /// RFC 7517 sections 4.2 and 4.3.
    fn check_use(&self) -> Result<(), Unusable> {
        let is_for_signatures = match self.text("use")? {
            None => true,
            Some(purpose) => purpose == "sig",
        };
        let may_verify = match self.member("key_ops") {
            None => true,
            Some(Json::Array(operations)) => {
                let is_verify =
                    |name: &Json<'_>| matches!(name, Json::Text(name) if name == "verify");
                operations.iter().any(is_verify)
            }
            Some(_) => return Err(Unusable::Malformed),
        };
        match is_for_signatures && may_verify {
            true => Ok(()),
            false => Err(Unusable::Use),
        }
    }

    /// RFC 7518 section 6.3.1.
    fn rsa(&self) -> Result<(Material, Vec<u8>), Unusable> {
        let (modulus, exponent) = (self.bytes("n")?, self.bytes("e")?);
        let key = RsaKey::new(&modulus, &exponent)?;
        Ok((Material::Rsa(key), der::rsa_key(&modulus, &exponent)))
    }

    /// RFC 7518 section 6.2.1: both coordinates in full length, of a point on the curve.
    fn p256(&self) -> Result<(Material, Vec<u8>), Unusable> {
        let (x, y) = (self.array::<32>("x")?, self.array::<32>("y")?);
        let point = P256Point::from_coordinates(&x.into(), &y.into()).into_option();
        let key = point.and_then(|point| P256Key::from_affine(point).ok());
        let key = key.ok_or(Unusable::Malformed)?;
        Ok((Material::P256(key), der::p256_key(&x, &y)))
    }

    /// The same of the other curve.
    fn p384(&self) -> Result<(Material, Vec<u8>), Unusable> {
        let (x, y) = (self.array::<48>("x")?, self.array::<48>("y")?);
        let point = P384Point::from_coordinates(&x.into(), &y.into()).into_option();
        let key = point.and_then(|point| P384Key::from_affine(point).ok());
        let key = key.ok_or(Unusable::Malformed)?;
        Ok((Material::P384(key), der::p384_key(&x, &y)))
    }

    /// RFC 8037 section 2.
    fn ed25519(&self) -> Result<(Material, Vec<u8>), Unusable> {
        let bytes = self.array::<32>("x")?;
        let key = Ed25519Key::from_bytes(&bytes).map_err(|_| Unusable::Malformed)?;
        if key.is_weak() {
            return Err(Unusable::Weak);
        }
        Ok((Material::Ed25519(key), der::ed25519_key(&bytes)))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let (this, other) = (&*self.0, &*other.0);
        this.kid == other.kid && this.algorithms == other.algorithms && this.spki == other.spki
    }
}

impl Eq for Key {}

//! The private key with which this service signs assertions about itself (RFC 7517 section 9.1).
//!
//! Signatures are deterministic (RFC 6979, RFC 8032, RFC 8017 section 8.2.1), so no host needs to
//! provide randomness. By RSA only a host signs: in WebAssembly it would take 5 ms and more.

use core::fmt;

use codec::base64url;
use codec::json::{self, Json};
use ed25519_dalek::{Signer as _, SigningKey as Ed25519Key};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature as P256Signature, SigningKey as P256Key};
use zeroize::Zeroizing;

use super::hash::Hash;
use super::{Algorithm, Key, NoSignatureHost, SignatureHost, Unusable, der};

/// Of a private key, in bytes: both curves have 256 bits.
const SCALAR_BYTES: usize = 32;

/// Why a document is no private key to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateKeyProblem {
    /// It is not the JSON object of one key, or a member is absent or malformed.
    Malformed,
    /// It holds no private key.
    Public,
    /// Its type is another one than P-256, Ed25519 and RSA.
    Type,
    /// `use`, `key_ops` or `alg` says that it does not sign, or with another algorithm.
    Use,
    /// The public key in it is another one's.
    Mismatch,
}

impl fmt::Display for PrivateKeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "is not a private key as a JWK (RFC 7517): one JSON object with `kty`, `crv`, `d`, `x`, and `y` for EC; or, for RSA, with all numbers of a key of two primes"
            }
            Self::Public => "is a public key: the member `d` is missing",
            Self::Type => {
                "must be a key of one of these types: EC with `crv` P-256, which signs by ES256, OKP with `crv` Ed25519, by EdDSA, or, in Envoy, RSA, by RS256"
            }
            Self::Use => "has a `use`, `key_ops` or `alg` that does not allow to sign with it",
            Self::Mismatch => "has a public part that does not belong to its private part",
        })
    }
}

/// A private key. It prints as `[redacted]`, cannot be compared, and is wiped when dropped.
pub(crate) struct PrivateKey {
    kid: Option<Box<str>>,
    material: Material,
}

/// All types wipe themselves when dropped.
enum Material {
    P256(P256Key),
    Ed25519(Ed25519Key),
    Rsa {
        /// PrivateKeyInfo, for the host.
        pkcs8: Zeroizing<Vec<u8>>,
        public: Key,
    },
}

/// The numbers of an RSA key that are no one's business (RFC 7518 section 6.3.2), in the order of
/// RFC 8017 appendix A.1.2.
const RSA_SECRETS: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

/// What is signed to see whether a host can.
const TEST_MESSAGE: &[u8] = b"a test";

impl PrivateKey {
    /// Reads a JWK.
    pub(crate) fn parse(document: &str) -> Result<Self, PrivateKeyProblem> {
        let Ok(Json::Object(members)) = json::read(document) else {
            return Err(PrivateKeyProblem::Malformed);
        };
        let member = |wanted: &str| {
            let member = members.iter().find(|(name, _)| name == wanted);
            member.map(|(_, value)| value)
        };
        let text = |name| match member(name) {
            Some(Json::Text(text)) => Some(text.as_ref()),
            _ => None,
        };
        match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) | (Some("OKP"), Some("Ed25519")) | (Some("RSA"), None) => {}
            (None, _) | (Some("EC" | "OKP"), None) => return Err(PrivateKeyProblem::Malformed),
            (Some(_), _) => return Err(PrivateKeyProblem::Type),
        }
        let is_rsa = text("kty") == Some("RSA");
        if member("d").is_none() {
            return Err(PrivateKeyProblem::Public);
        }
        let may_sign = match member("key_ops") {
            None => true,
            Some(Json::Array(operations)) => {
                let is_sign = |name: &Json<'_>| matches!(name, Json::Text(name) if name == "sign");
                operations.iter().any(is_sign)
            }
            Some(_) => return Err(PrivateKeyProblem::Malformed),
        };
        if !may_sign {
            return Err(PrivateKeyProblem::Use);
        }
        // The rest of it is a public key, which has to be the private key's.
        let public: Vec<_> = members
            .iter()
            .filter(|(name, _)| name != "d" && name != "key_ops")
            .filter(|(name, _)| !(is_rsa && RSA_SECRETS.contains(&&**name)))
            .cloned()
            .collect();
        let public = Key::read(&public).map_err(|unusable| match unusable {
            Unusable::Algorithm | Unusable::Use => PrivateKeyProblem::Use,
            Unusable::Type => PrivateKeyProblem::Type,
            Unusable::Malformed | Unusable::Private | Unusable::Repeated | Unusable::Weak => {
                PrivateKeyProblem::Malformed
            }
        })?;
        let kid = public.kid().map(Box::from);
        let malformed = PrivateKeyProblem::Malformed;
        if is_rsa {
            if !public.algorithms().contains(Algorithm::Rs256) {
                return Err(PrivateKeyProblem::Use);
            }
            let pkcs8 = rsa(text).ok_or(malformed)?;
            let material = Material::Rsa { pkcs8, public };
            return Ok(Self { kid, material });
        }
        let scalar = text("d").and_then(scalar).ok_or(malformed)?;
        let material = Material::new(&scalar, text("kty") == Some("EC")).ok_or(malformed)?;
        if !material.has_public_key(&public) {
            return Err(PrivateKeyProblem::Mismatch);
        }
        Ok(Self { kid, material })
    }

    /// `kid`.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it signs with.
    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
            Material::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// Whether only a host signs with it.
    pub(crate) const fn needs_host(&self) -> bool {
        matches!(self.material, Material::Rsa { .. })
    }

    /// Whether its signatures are good, where the host makes them.
    pub(crate) fn signs_by(&self, host: &dyn SignatureHost) -> bool {
        let Material::Rsa { public, .. } = &self.material else {
            return true;
        };
        self.sign(TEST_MESSAGE, host).is_some_and(|signature| {
            let host = &NoSignatureHost;
            public.verifies(Algorithm::Rs256, TEST_MESSAGE, &signature, host) == Some(true)
        })
    }

    /// A signature as JWS has it (RFC 7518 sections 3.3 and 3.4, RFC 8037 section 3.1). `None`: the
    /// host cannot, or ECDSA found no signature of this message, which has a chance of one in 2^256.
    pub(crate) fn sign(&self, message: &[u8], host: &dyn SignatureHost) -> Option<Vec<u8>> {
        match &self.material {
            Material::P256(key) => {
                let digest = Hash::Sha256.of(&[message]);
                let signature: P256Signature = key.sign_prehash(digest.bytes()).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            Material::Ed25519(key) => Some(key.sign(message).to_bytes().to_vec()),
            Material::Rsa { pkcs8, .. } => host.sign(Algorithm::Rs256, pkcs8, message),
        }
    }
}

impl Material {
    /// `None`: zero, or beyond the order of the curve.
    fn new(scalar: &[u8; SCALAR_BYTES], is_p256: bool) -> Option<Self> {
        match is_p256 {
            true => P256Key::from_slice(scalar).ok().map(Self::P256),
            false => Some(Self::Ed25519(Ed25519Key::from_bytes(scalar))),
        }
    }

    fn has_public_key(&self, public: &Key) -> bool {
        match self {
            Self::P256(key) => public.is_p256(key.verifying_key()),
            Self::Ed25519(key) => public.is_ed25519(&key.verifying_key()),
            Self::Rsa { .. } => true,
        }
    }
}

/// The numbers of an RSA key as a host takes them. Whether they belong together, only a signature
/// shows.
fn rsa<'a>(text: impl Fn(&'static str) -> Option<&'a str>) -> Option<Zeroizing<Vec<u8>>> {
    let number = |name| {
        text(name)
            .map(str::as_bytes)
            .and_then(base64url::decode)
            .map(Zeroizing::new)
    };
    let names = ["n", "e"].into_iter().chain(RSA_SECRETS);
    let numbers: Option<Vec<_>> = names.map(number).collect();
    Some(der::rsa_private_key(&numbers?))
}

/// RFC 7518 section 6.2.2.1 and RFC 8037 section 2: in full length.
fn scalar(text: &str) -> Option<Zeroizing<[u8; SCALAR_BYTES]>> {
    let bytes = Zeroizing::new(base64url::decode(text.as_bytes())?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    /// RFC 8037 appendix A.1.
    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    fn encoded(hex_digits: &str) -> String {
        base64url::encode(&hex(hex_digits))
    }

    /// The key of RFC 6979 appendix A.2.5, with more members.
    fn p256(more: &str) -> String {
        format!(
            r#"{{"kty":"EC","crv":"P-256","d":"{}","x":"{}","y":"{}"{more}}}"#,
            encoded("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"),
            encoded("60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"),
            encoded("7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"),
        )
    }

    #[test]
    fn rfc6979_a_2_5_es256_is_deterministic_and_gives_the_published_signatures() {
        let key = PrivateKey::parse(&p256(r#","kid":"a","use":"sig""#)).unwrap();
        assert_eq!((key.kid(), key.algorithm()), (Some("a"), Algorithm::Es256));
        for (message, signature) in [
            (
                "sample",
                "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716\
                 F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
            ),
            (
                "test",
                "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367\
                 019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
            ),
        ] {
            let signed = key.sign(message.as_bytes(), &NoSignatureHost).unwrap();
            assert_eq!(signed, hex(signature), "{message}");
        }
    }

    #[test]
    fn rfc8037_a_4_eddsa_gives_the_published_signature() {
        let key = PrivateKey::parse(ED25519).unwrap();
        assert_eq!((key.kid(), key.algorithm()), (None, Algorithm::EdDsa));
        let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        assert_eq!(
            base64url::encode(&key.sign(input, &NoSignatureHost).unwrap()),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn rfc7517_s4_a_key_that_cannot_sign_is_named() {
        use PrivateKeyProblem::{Malformed, Mismatch, Public, Type, Use};
        let other = encoded("0000000000000000000000000000000000000000000000000000000000000001");
        let d = encoded("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
        let good = p256("");
        let zero = encoded(&"00".repeat(32));
        let rows = [
            (String::new(), Malformed),
            ("[]".to_owned(), Malformed),
            (format!("[{good}]"), Malformed),
            (format!(r#"{{"keys":[{good}]}}"#), Malformed),
            ("-----BEGIN PRIVATE KEY-----".to_owned(), Malformed),
            (r#"{"kty":"EC"}"#.to_owned(), Malformed),
            (p256(r#","kty":"EC""#), Malformed),
            (p256(r#","kid":7"#), Malformed),
            (p256(r#","key_ops":"sign""#), Malformed),
            (good.replace(&d, d.get(1..).unwrap()), Malformed),
            (good.replace(&d, &format!("{d}AA")), Malformed),
            (good.replace(&d, &format!("{d}=")), Malformed),
            (good.replace(&d, &zero), Malformed),
            (good.replace(&format!("\"{d}\""), "null"), Malformed),
            (good.replace("\"y\"", "\"Y\""), Malformed),
            (good.replace("\"d\"", "\"D\""), Public),
            (good.replace("P-256", "P-384"), Type),
            (good.replace("P-256", "secp256k1"), Type),
            (ED25519.replace("Ed25519", "X25519"), Type),
            (
                r#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}"#.to_owned(),
                Malformed,
            ),
            (r#"{"kty":"oct","k":"AQAB"}"#.to_owned(), Type),
            (p256(r#","use":"enc""#), Use),
            (p256(r#","key_ops":["verify"]"#), Use),
            (p256(r#","alg":"ES384""#), Use),
            (p256(r#","alg":"RS256""#), Use),
            (good.replace(&d, &other), Mismatch),
            (ED25519.replace("nWGx", "nWGy"), Mismatch),
        ];
        for (document, problem) in rows {
            let found = PrivateKey::parse(&document).map(|_| ());
            assert_eq!(found, Err(problem), "{document}");
        }
        for more in [
            r#","key_ops":["sign"]"#,
            r#","key_ops":["verify","sign"],"alg":"ES256""#,
            r#","x5c":[],"ext":true"#,
        ] {
            assert!(PrivateKey::parse(&p256(more)).is_ok(), "{more}");
        }
    }

    /// Keeps what it is asked to sign, and answers.
    struct Signs(Option<&'static [u8]>, core::cell::RefCell<Vec<Vec<u8>>>);

    impl SignatureHost for Signs {
        fn verify(&self, _: Algorithm, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }

        fn sign(&self, algorithm: Algorithm, key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
            assert_eq!(algorithm, Algorithm::Rs256);
            self.1.borrow_mut().extend([key.to_vec(), message.to_vec()]);
            self.0.map(<[u8]>::to_vec)
        }
    }

    /// The key, its PrivateKeyInfo and its signature of the test message are from another
    /// implementation.
    #[test]
    fn rfc7518_s3_3_with_an_rsa_key_the_host_signs() {
        let document = include_str!("test_keys/rsa.json");
        let key = PrivateKey::parse(document).unwrap();
        assert_eq!(
            (key.kid(), key.algorithm(), key.needs_host()),
            (Some("rsa"), Algorithm::Rs256, true)
        );
        assert_eq!(key.sign(b"message", &NoSignatureHost), None);
        assert!(!key.signs_by(&NoSignatureHost));
        let signature = include_bytes!("test_keys/rsa.sig");
        let host = Signs(Some(signature), Vec::new().into());
        assert!(key.signs_by(&host));
        let expected = [include_bytes!("test_keys/rsa.pk8").as_slice(), b"a test"];
        assert_eq!(*host.1.borrow(), expected);
        // A signature of something else, of the right length and of another.
        for bad in [[0x5a; 256].as_slice(), &signature[1..], b""] {
            let bad: &'static [u8] = bad.to_vec().leak();
            assert!(!key.signs_by(&Signs(Some(bad), Vec::new().into())));
        }
        assert!(!key.signs_by(&Signs(None, Vec::new().into())));
    }

    #[test]
    fn rfc7518_s6_3_2_an_rsa_key_has_all_its_numbers_and_signs_by_rs256() {
        use PrivateKeyProblem::{Malformed, Public, Use};
        let document = include_str!("test_keys/rsa.json");
        let with = |member: &str| document.replacen('{', &format!("{{{member},"), 1);
        for name in RSA_SECRETS {
            let absent =
                document.replacen(&format!(r#""{name}": "#), &format!(r#""_{name}": "#), 1);
            assert_ne!(absent, document);
            let expected = if name == "d" { Public } else { Malformed };
            assert_eq!(
                PrivateKey::parse(&absent).map(|_| ()),
                Err(expected),
                "{name}"
            );
        }
        let rows = [
            (with(r#""oth":[]"#), Malformed),
            (with(r#""crv":"P-256""#), PrivateKeyProblem::Type),
            (with(r#""alg":"PS256""#), Use),
            (with(r#""alg":"ES256""#), Use),
            (with(r#""use":"enc""#), Use),
            (with(r#""key_ops":["decrypt"]"#), Use),
        ];
        for (document, problem) in rows {
            assert_eq!(PrivateKey::parse(&document).map(|_| ()), Err(problem));
        }
        for more in [r#""alg":"RS256""#, r#""key_ops":["sign"],"use":"sig""#] {
            assert!(PrivateKey::parse(&with(more)).is_ok(), "{more}");
        }
    }

    #[test]
    fn a_private_key_prints_redacted() {
        let key = PrivateKey::parse(ED25519).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey([redacted])");
    }
}

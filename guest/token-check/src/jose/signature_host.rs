//! Signatures that the host verifies and makes faster than WebAssembly can.

use super::{Algorithm, Algorithms};

/// A host that verifies and makes signatures, such as Envoy with `verify_signature` and `sign`.
pub trait SignatureHost {
    /// Whether the signature is good, or `None` if the host cannot tell: then our own code does.
    ///
    /// The key is a SubjectPublicKeyInfo in DER. A signature of ECDSA is in DER too (RFC 3279
    /// section 2.2.3), and not as it is in a JWS.
    fn verify(
        &self,
        algorithm: Algorithm,
        spki_der: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool>;

    /// Signs. `None`: the host cannot.
    ///
    /// The key is a PrivateKeyInfo in DER (RFC 5208 section 5).
    fn sign(&self, _algorithm: Algorithm, _pkcs8_der: &[u8], _message: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// A host that verifies nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSignatureHost;

impl SignatureHost for NoSignatureHost {
    fn verify(&self, _: Algorithm, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

/// A host that is asked only about the algorithms for which it told a good signature from a bad
/// one at start.
pub struct TestedSignatureHost<H> {
    host: H,
    trusted: Algorithms,
}

/// A signature over [`KNOWN_MESSAGE`] by a key that was thrown away.
struct Known {
    algorithm: Algorithm,
    spki_der: &'static [u8],
    signature: &'static [u8],
}

const KNOWN_MESSAGE: &[u8] = b"a known signature";

const KNOWN: [Known; 5] = [
    Known {
        algorithm: Algorithm::Es256,
        spki_der: include_bytes!("known_signatures/p256.der"),
        signature: include_bytes!("known_signatures/es256.sig"),
    },
    Known {
        algorithm: Algorithm::Es384,
        spki_der: include_bytes!("known_signatures/p384.der"),
        signature: include_bytes!("known_signatures/es384.sig"),
    },
    Known {
        algorithm: Algorithm::Rs256,
        spki_der: include_bytes!("known_signatures/rsa.der"),
        signature: include_bytes!("known_signatures/rs256.sig"),
    },
    Known {
        algorithm: Algorithm::Rs384,
        spki_der: include_bytes!("known_signatures/rsa.der"),
        signature: include_bytes!("known_signatures/rs384.sig"),
    },
    Known {
        algorithm: Algorithm::Rs512,
        spki_der: include_bytes!("known_signatures/rsa.der"),
        signature: include_bytes!("known_signatures/rs512.sig"),
    },
];

impl<H: SignatureHost> TestedSignatureHost<H> {
    /// Has the host verify one good and one bad signature of each algorithm that hosts have.
    #[must_use]
    pub fn new(host: H) -> Self {
        let passes = |known: &&Known| {
            let verify = |signature: &[u8]| {
                host.verify(known.algorithm, known.spki_der, KNOWN_MESSAGE, signature)
            };
            let mut bad = known.signature.to_vec();
            if let Some(last) = bad.last_mut() {
                *last ^= 1;
            }
            verify(known.signature) == Some(true) && verify(&bad) == Some(false)
        };
        let trusted = KNOWN.iter().filter(passes);
        let trusted = trusted.map(|known| known.algorithm).collect();
        Self { host, trusted }
    }

    /// What the host verifies.
    #[must_use]
    pub fn trusted(&self) -> Algorithms {
        self.trusted
    }
}

impl<H: SignatureHost> SignatureHost for TestedSignatureHost<H> {
    fn verify(
        &self,
        algorithm: Algorithm,
        spki_der: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        if !self.trusted.contains(algorithm) {
            return None;
        }
        self.host.verify(algorithm, spki_der, message, signature)
    }
    /// Whether it is right is for who has the key to test.
    fn sign(&self, algorithm: Algorithm, pkcs8_der: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        self.host.sign(algorithm, pkcs8_der, message)
    }
}

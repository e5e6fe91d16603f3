//! Signatures that the host verifies faster than WebAssembly can.

use super::Algorithm;

/// A host that verifies signatures, such as Envoy with `verify_signature`.
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
}

/// A host that verifies nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSignatureHost;

impl SignatureHost for NoSignatureHost {
    fn verify(&self, _: Algorithm, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

/// A host that is asked only about the algorithms for which it told a good signature from a bad one
/// at start.
pub struct TestedSignatureHost<H> {
    host: H,
}

impl<H: SignatureHost> TestedSignatureHost<H> {
    /// Has the host verify one good and one bad signature of each algorithm.
    #[must_use]
    pub fn new(host: H) -> Self {
        Self { host }
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
        self.host.verify(algorithm, spki_der, message, signature)
    }
}

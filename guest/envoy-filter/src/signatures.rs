//! Signatures that Envoy verifies, in a fraction of the time that WebAssembly takes.
//!
//! `verify_signature` is a function of Envoy beyond the ABI. It takes and answers messages of
//! `source/extensions/common/wasm/ext/verify_signature.proto`. It knows no RSASSA-PSS and no
//! EdDSA.

use token_check::{Algorithm, SignatureHost, TestedSignatureHost};

use crate::host::Host;

const FUNCTION: &str = "verify_signature";

/// The fields of `VerifySignatureArguments`.
const HASH_FUNCTION: u8 = 1;
const PUBLIC_KEY: u8 = 2;
const SIGNATURE: u8 = 3;
const TEXT: u8 = 4;

/// Field 1 of `VerifySignatureResult`, `result`, is true. If it is false it is absent, and a text
/// says why.
const GOOD: &[u8] = &[1 << 3, 1];

/// Most bytes before the value of a field: its tag, and a length of up to 35 bits.
const MAX_FIELD_HEAD: usize = 6;

/// The wire type of texts and bytes (Protocol Buffers, encoding).
const LENGTH_DELIMITED: u8 = 2;

/// Envoy, as a verifier of signatures.
pub struct EnvoySignatures<H>(H);

/// The algorithms that this Envoy verifies correctly are left to it. To be made once, when the
/// filter is configured.
pub fn tested<H: Host>(host: H) -> TestedSignatureHost<EnvoySignatures<H>> {
    TestedSignatureHost::new(EnvoySignatures(host))
}

impl<H: Host> SignatureHost for EnvoySignatures<H> {
    fn verify(
        &self,
        algorithm: Algorithm,
        spki_der: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let arguments = arguments(algorithm, spki_der, message, signature)?;
        let answer = self.0.call_foreign_function(FUNCTION, &arguments)?;
        Some(answer == GOOD)
    }
}

/// `None`: the function does not know the algorithm.
fn arguments(
    algorithm: Algorithm,
    spki_der: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<Vec<u8>> {
    let hash = match algorithm {
        Algorithm::Es256 | Algorithm::Rs256 => "sha256",
        Algorithm::Es384 | Algorithm::Rs384 => "sha384",
        Algorithm::Rs512 => "sha512",
        Algorithm::EdDsa | Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 => return None,
    };
    let fields = [
        (HASH_FUNCTION, hash.as_bytes()),
        (PUBLIC_KEY, spki_der),
        (SIGNATURE, signature),
        (TEXT, message),
    ];
    let length = |(_, value): &(u8, &[u8])| value.len().saturating_add(MAX_FIELD_HEAD);
    let mut arguments = Vec::with_capacity(fields.iter().map(length).sum());
    for (field, value) in fields {
        arguments.push(field << 3 | LENGTH_DELIMITED);
        push_length(value.len(), &mut arguments);
        arguments.extend(value);
    }
    Some(arguments)
}

/// A varint: seven bits a byte, the lowest first, and a mark on all but the last.
fn push_length(mut length: usize, to: &mut Vec<u8>) {
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            return to.push(low & 0x7f);
        }
        to.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_a_message_of_verify_signature_proto() {
        let message = [b'm'; 300];
        let expected = [
            b"\x0a\x06sha256\x12\x03key\x1a\x04sign\x22\xac\x02".as_slice(),
            &message,
        ];
        let arguments = |algorithm| arguments(algorithm, b"key", &message, b"sign");
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            assert_eq!(arguments(algorithm), Some(expected.concat()));
        }
        let hash = |algorithm| Some(arguments(algorithm)?.get(2..8)?.to_vec());
        assert_eq!(
            hash(Algorithm::Rs384).as_deref(),
            Some(b"sha384".as_slice())
        );
        assert_eq!(
            hash(Algorithm::Es384).as_deref(),
            Some(b"sha384".as_slice())
        );
        assert_eq!(
            hash(Algorithm::Rs512).as_deref(),
            Some(b"sha512".as_slice())
        );
        for algorithm in [
            Algorithm::Ps256,
            Algorithm::Ps384,
            Algorithm::Ps512,
            Algorithm::EdDsa,
        ] {
            assert_eq!(arguments(algorithm), None, "{algorithm:?}");
        }
    }

    #[test]
    fn lengths_are_varints() {
        for (length, expected) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 1]),
        ] {
            let mut varint = Vec::new();
            push_length(length, &mut varint);
            assert_eq!(varint, expected, "{length}");
        }
    }
}

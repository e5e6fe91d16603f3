//! Signatures that Envoy verifies and makes, in a fraction of the time that WebAssembly takes.
//!
//! `verify_signature` and `sign` are functions of Envoy beyond the ABI. They take and answer messages
//! of `verify_signature.proto` and `sign.proto` in `source/extensions/common/wasm/ext`. They know no
//! RSASSA-PSS and no EdDSA.

use token_check::{Algorithm, SignatureHost, TestedSignatureHost};
use zeroize::Zeroizing;

use crate::host::Host;

const VERIFY: &str = "verify_signature";
const SIGN: &str = "sign";

/// The fields of `VerifySignatureArguments`.
const HASH_FUNCTION: u8 = 1;
const PUBLIC_KEY: u8 = 2;
const SIGNATURE: u8 = 3;
const TEXT: u8 = 4;

/// Of `SignArguments`, which begins with the hash function too.
const PRIVATE_KEY: u8 = 2;
const TEXT_TO_SIGN: u8 = 3;

/// Field 1 of `VerifySignatureResult`, `result`, is true. If it is false it is absent, and a text
/// says why.
const GOOD: &[u8] = &[1 << 3, 1];

/// Field 2 of `SignResult`, `signature`, after a `result` that is true.
const SIGNED: &[u8] = &[1 << 3, 1, 2 << 3 | LENGTH_DELIMITED];

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
        let answer = self.0.call_foreign_function(VERIFY, &arguments)?;
        Some(answer == GOOD)
    }

    fn sign(&self, algorithm: Algorithm, pkcs8_der: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        // The copy of the key is wiped.
        let arguments = Zeroizing::new(encoded(&[
            (HASH_FUNCTION, hash(algorithm)?.as_bytes()),
            (PRIVATE_KEY, pkcs8_der),
            (TEXT_TO_SIGN, message),
        ]));
        let answer = self.0.call_foreign_function(SIGN, &arguments)?;
        let signature = answer.strip_prefix(SIGNED)?;
        // The length is a varint, whatever it is; an error would follow the signature.
        let (length, signature) = read_length(signature)?;
        (signature.len() == length).then(|| signature.to_vec())
    }
}

/// `None`: the function does not know the algorithm.
fn arguments(
    algorithm: Algorithm,
    spki_der: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<Vec<u8>> {
    Some(encoded(&[
        (HASH_FUNCTION, hash(algorithm)?.as_bytes()),
        (PUBLIC_KEY, spki_der),
        (SIGNATURE, signature),
        (TEXT, message),
    ]))
}

/// The name of the hash function. `None`: Envoy does not know the algorithm.
const fn hash(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Es256 | Algorithm::Rs256 => Some("sha256"),
        Algorithm::Es384 | Algorithm::Rs384 => Some("sha384"),
        Algorithm::Rs512 => Some("sha512"),
        Algorithm::EdDsa | Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 => None,
    }
}

/// A message of these fields, which are texts or bytes.
fn encoded(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let length = |(_, value): &(u8, &[u8])| value.len().saturating_add(MAX_FIELD_HEAD);
    let mut arguments = Vec::with_capacity(fields.iter().map(length).sum());
    for (field, value) in fields {
        arguments.push(field << 3 | LENGTH_DELIMITED);
        push_length(value.len(), &mut arguments);
        arguments.extend(*value);
    }
    arguments
}

/// The varint at the beginning, and what follows. `None`: there is none that a signature can have.
fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [low @ ..0x80, rest @ ..] => Some((usize::from(*low), rest)),
        [low, high @ ..0x80, rest @ ..] => {
            let (low, high) = (usize::from(low & 0x7f), usize::from(*high));
            Some((high << 7 | low, rest))
        }
        _ => None,
    }
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
    fn the_length_of_a_signature_is_a_varint_of_one_or_two_bytes() {
        for (bytes, expected) in [
            (&[][..], None),
            (&[0x80], None),
            (&[0x80, 0x80, 1], None),
            (&[5, 9], Some((5, &[9][..]))),
            (&[0x80, 2, 9], Some((256, &[9]))),
            (&[0xff, 0x7f], Some((16_383, &[]))),
        ] {
            assert_eq!(read_length(bytes), expected, "{bytes:?}");
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

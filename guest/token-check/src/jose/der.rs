//! Writes what a host takes: keys and signatures in DER (X.690 section 10).

use zeroize::Zeroizing;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Most bytes of an INTEGER besides the number: tag, length, and a zero before a first bit.
const MAX_INTEGER_HEAD: usize = 5;

/// AlgorithmIdentifier of rsaEncryption (RFC 3279 section 2.3.1).
#[rustfmt::skip]
const RSA: [u8; 15] = [
    SEQUENCE, 13,
        0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1,
        0x05, 0,
];

/// A SubjectPublicKeyInfo before the coordinates (RFC 5480 section 2): id-ecPublicKey, secp256r1,
/// and a bit string of 65 bytes, all of them used, of which the first says that the point is not
/// compressed.
#[rustfmt::skip]
const P256: [u8; 27] = [
    SEQUENCE, 89,
        SEQUENCE, 19,
            0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1,
            0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
        BIT_STRING, 66, 0, 4,
];

/// The same of secp384r1, with 97 bytes.
#[rustfmt::skip]
const P384: [u8; 24] = [
    SEQUENCE, 118,
        SEQUENCE, 16,
            0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1,
            0x06, 5, 0x2b, 0x81, 4, 0, 34,
        BIT_STRING, 98, 0, 4,
];

/// A SubjectPublicKeyInfo before the key (RFC 8410 section 4): id-Ed25519, and a bit string of 32
/// bytes.
#[rustfmt::skip]
const ED25519: [u8; 12] = [
    SEQUENCE, 42,
        SEQUENCE, 5,
            0x06, 3, 0x2b, 0x65, 0x70,
        BIT_STRING, 33, 0,
];

/// SubjectPublicKeyInfo of an RSA key: modulus and exponent, big-endian.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = value(SEQUENCE, &[&integer(modulus), &integer(exponent)]);
    value(SEQUENCE, &[&RSA, &value(BIT_STRING, &[&[0], &key])])
}

/// PrivateKeyInfo (RFC 5208 section 5) of an RSAPrivateKey of two primes (RFC 8017 appendix A.1.2).
/// `numbers`: from the modulus to the coefficient, big-endian. No copy is left behind.
pub(super) fn rsa_private_key(numbers: &[Zeroizing<Vec<u8>>]) -> Zeroizing<Vec<u8>> {
    let version = integer(&[0]);
    let mut key = Zeroizing::new(Vec::new());
    // As many as are in all of them, with room for signs and lengths: no copy is left behind.
    let length: usize = numbers.iter().map(|number| number.len()).sum();
    key.reserve(length.saturating_add(MAX_INTEGER_HEAD.saturating_mul(numbers.len() + 1)));
    key.extend(&version);
    for number in numbers {
        key.extend(Zeroizing::new(integer(number)).iter());
    }
    let key = Zeroizing::new(value(SEQUENCE, &[&key]));
    let key = Zeroizing::new(value(OCTET_STRING, &[&key]));
    Zeroizing::new(value(SEQUENCE, &[&version, &RSA, &key]))
}

/// SubjectPublicKeyInfo of a point of P-256.
pub(super) fn p256_key(x: &[u8; 32], y: &[u8; 32]) -> Vec<u8> {
    [P256.as_slice(), x, y].concat()
}

/// SubjectPublicKeyInfo of a point of P-384.
pub(super) fn p384_key(x: &[u8; 48], y: &[u8; 48]) -> Vec<u8> {
    [P384.as_slice(), x, y].concat()
}

/// SubjectPublicKeyInfo of an Ed25519 key.
pub(super) fn ed25519_key(key: &[u8; 32]) -> Vec<u8> {
    [ED25519.as_slice(), key].concat()
}

/// Ecdsa-Sig-Value (RFC 3279 section 2.2.3) of R and S one after another, as a JWS has them (RFC
/// 7518 section 3.4).
pub(super) fn ecdsa_signature(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    value(SEQUENCE, &[&integer(r), &integer(s)])
}

/// An INTEGER of a big-endian number that is not negative.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let (_, number) = number.split_at(zeros);
    // A first bit would be the sign, and a number has at least one byte.
    let sign: &[u8] = match number.first() {
        Some(..0x80) => &[],
        Some(_) | None => &[0],
    };
    value(INTEGER, &[sign, number])
}

/// Tag, length and contents, which are these parts. Contents over 64 KiB are never made.
fn value(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length = contents.iter().map(|part| part.len()).sum::<usize>();
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, ..0x80) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    let mut value = Vec::with_capacity(head.len().saturating_add(length));
    value.extend(head);
    for part in contents {
        value.extend(*part);
    }
    value
}

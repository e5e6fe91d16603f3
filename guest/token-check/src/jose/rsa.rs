//! RSA signatures (RFC 8017). The arithmetic is crypto-bigint's. Nothing here is secret, so nothing
//! has to take constant time.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};

use super::Unusable;
use super::hash::Hash;

/// RFC 7518 section 3.3 demands 2048. Longer than 4096 is slow and nobody's.
const MODULUS_BITS: core::ops::RangeInclusive<usize> = 2048..=4096;

/// 65537, big-endian. With smaller ones, forgeries of lax verifiers were found, and none is in use.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// 65537 = 2^16 + 1.
const SQUARINGS: usize = 16;

/// RFC 8017 section 9.1: eight octets of zero before the hash and the salt.
const PSS_PREFIX: [u8; 8] = [0; 8];

/// RFC 8017 section 9.1.1 step 12.
const PSS_TRAILER: u8 = 0xbc;

pub(super) struct RsaKey {
    modulus: BoxedMontyParams,
    /// Length in bits of the modulus.
    bits: usize,
}

impl RsaKey {
    /// Big-endian numbers without leading zeros, as RFC 7518 section 6.3.1 has them.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, Unusable> {
        let (Some(&first), Some(0x01..)) = (modulus.first(), exponent.first()) else {
            return Err(Unusable::Malformed);
        };
        if first == 0 {
            return Err(Unusable::Malformed);
        }
        let zeros = usize::try_from(first.leading_zeros()).unwrap_or_default();
        let bits = modulus.len().saturating_mul(8).saturating_sub(zeros);
        if !MODULUS_BITS.contains(&bits) || exponent != EXPONENT {
            return Err(Unusable::Weak);
        }
        let modulus = BoxedUint::from_be_slice_vartime(modulus);
        let modulus = Odd::new(modulus).into_option().ok_or(Unusable::Malformed)?;
        Ok(Self {
            modulus: BoxedMontyParams::new_vartime(modulus),
            bits,
        })
    }

    /// Length in octets of the modulus and of each signature.
    pub(super) const fn length(&self) -> usize {
        self.bits.div_ceil(8)
    }

    /// Big-endian, without leading zeros.
    pub(super) fn modulus(&self) -> Box<[u8]> {
        self.modulus
            .modulus()
            .as_ref()
            .to_be_bytes_trimmed_vartime()
    }

    /// RSASSA-PKCS1-v1_5 (section 8.2.2): the one encoding of the hash is made and compared, so no
    /// padding is parsed.
    pub(super) fn verifies_pkcs1(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let expected = encode_pkcs1(hash, message, self.length());
        expected.is_some() && self.message_representative(signature) == expected
    }

    /// RSASSA-PSS (sections 8.1.2 and 9.1.2), with a salt as long as the hash and MGF1 of the same
    /// hash (RFC 7518 section 3.5).
    pub(super) fn verifies_pss(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let is_good = |encoded: Vec<u8>| {
            let encoded_bits = self.bits.checked_sub(1)?;
            let beyond = encoded.len().checked_sub(encoded_bits.div_ceil(8))?;
            let (beyond, encoded) = encoded.split_at_checked(beyond)?;
            let is_short = beyond.iter().all(|byte| *byte == 0);
            Some(is_short && is_pss(hash, message, encoded, encoded_bits)?)
        };
        let encoded = self.message_representative(signature);
        encoded.and_then(is_good).unwrap_or_default()
    }

    /// RSAVP1 (section 5.2.2), as octets of the length of the modulus. `None`: the signature has
    /// another length, or is not below the modulus.
    fn message_representative(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.length() {
            return None;
        }
        let precision = self.modulus.bits_precision();
        let signature = BoxedUint::from_be_slice(signature, precision).ok()?;
        if signature >= *self.modulus.modulus().as_ref() {
            return None;
        }
        let signature = BoxedMontyForm::new(signature, &self.modulus);
        let mut power = signature.square();
        for _ in 1..SQUARINGS {
            power = power.square();
        }
        let octets = power.mul(&signature).retrieve().to_be_bytes();
        let start = octets.len().checked_sub(self.length())?;
        octets.get(start..).map(<[u8]>::to_vec)
    }
}

/// EMSA-PKCS1-v1_5 (section 9.2). `None`: it does not fit, which no accepted modulus is too short
/// for.
fn encode_pkcs1(hash: Hash, message: &[u8], length: usize) -> Option<Vec<u8>> {
    let prefix = digest_info(hash);
    let digest = hash.of(&[message]);
    let suffix = prefix.len().checked_add(digest.bytes().len())?;
    let padding = length.checked_sub(suffix)?.checked_sub(3)?;
    let mut encoded = Vec::with_capacity(length);
    encoded.extend([0, 1]);
    encoded.extend(core::iter::repeat_n(0xff, padding));
    encoded.push(0);
    encoded.extend(prefix);
    encoded.extend(digest.bytes());
    Some(encoded)
}

/// The beginning of `DigestInfo` in DER (section 9.2, note 1).
const fn digest_info(hash: Hash) -> [u8; 19] {
    let (length, name) = match hash {
        Hash::Sha256 => (32, 1),
        Hash::Sha384 => (48, 2),
        Hash::Sha512 => (64, 3),
    };
    #[rustfmt::skip]
    let prefix = [
        0x30, length + 17,
            0x30, 13,
                0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, name,
                0x05, 0,
            0x04, length,
    ];
    prefix
}

/// EMSA-PSS-VERIFY (section 9.1.2), with its steps.
fn is_pss(hash: Hash, message: &[u8], encoded: &[u8], encoded_bits: usize) -> Option<bool> {
    let digest = hash.of(&[message]);
    // 4, 5: EM = maskedDB || H || 0xbc.
    let (&trailer, encoded) = encoded.split_last()?;
    let block = encoded.len().checked_sub(hash.length())?;
    let (masked_block, check) = encoded.split_at_checked(block)?;
    // 6, 9: the bits of EM beyond its length are zero.
    let unused = encoded_bits
        .div_ceil(8)
        .checked_mul(8)?
        .checked_sub(encoded_bits)?;
    let used = u32::try_from(unused)
        .ok()
        .and_then(|unused| 0xff_u8.checked_shr(unused))?;
    if trailer != PSS_TRAILER || masked_block.first()? & !used != 0 {
        return Some(false);
    }
    // 7, 8.
    let mut block = masked_block.to_vec();
    unmask(hash, check, &mut block);
    *block.first_mut()? &= used;
    // 10, 11: DB = zeros || 0x01 || salt.
    let (padding, salt) = block.split_at_checked(block.len().checked_sub(hash.length())?)?;
    let (&end, zeros) = padding.split_last()?;
    if end != 1 || zeros.iter().any(|byte| *byte != 0) {
        return Some(false);
    }
    // 12 to 14.
    Some(hash.of(&[&PSS_PREFIX, digest.bytes(), salt]).bytes() == check)
}

/// XORs with MGF1 of a seed (appendix B.2.1).
fn unmask(hash: Hash, seed: &[u8], block: &mut [u8]) {
    for (counter, chunk) in (0_u32..).zip(block.chunks_mut(hash.length())) {
        let mask = hash.of(&[seed, &counter.to_be_bytes()]);
        for (byte, mask) in chunk.iter_mut().zip(mask.bytes()) {
            *byte ^= mask;
        }
    }
}

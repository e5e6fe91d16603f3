//! The hash that stands for a token.

use siphasher::sip128::SipHasher24;

/// SipHash-2-4 with 128 bits: a pseudorandom function of its key.
pub struct KeyedHash(SipHasher24);

impl KeyedHash {
    /// The one with this key.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key))
    }

    /// The hash of these bytes, which are one whole message.
    #[must_use]
    pub fn of(&self, bytes: &[u8]) -> [u64; 2] {
        let hash = self.0.hash(bytes);
        [hash.h1, hash.h2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the messages of the vectors that the authors of SipHash publish, `vectors_sip128`:
    /// the bytes 0, 1, 2 and so on.
    #[test]
    fn siphash_2_4_128_has_the_values_of_its_reference() {
        let key: [u8; 16] = core::array::from_fn(|at| u8::try_from(at).unwrap_or_default());
        let message: Vec<u8> = (0..64).collect();
        for (length, expected) in [
            (0, "a3817f04ba25a8e66df67214c7550293"),
            (1, "da87c1d86b99af44347659119b22fc45"),
            (63, "5150d1772f50834a503e069a973fbd7c"),
        ] {
            let bytes = message.get(..length).unwrap_or_default();
            let [first, second] = KeyedHash::new(&key).of(bytes);
            let hash = [first.to_le_bytes(), second.to_le_bytes()].concat();
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, expected, "{length} bytes");
        }
    }
}

//! The key under which a token is known in memory.

use core::hash::{BuildHasher, Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

/// Stands for a whole token in this instance's memory, where the token itself is not kept: a 128-bit keyed hash
/// (SipHash-2-4, a pseudorandom function), so that nobody without the key finds two tokens that share one. The key is
/// made of random bytes at the start and never leaves the instance.
///
/// Issuer endpoint and client are part of the key by construction: they belong to the policy, and each policy has an
/// [`crate::AuthCheck`], and so a key, of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenKey([u64; 2]);

impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Half of a hash is a hash.
        let [half, _] = self.0;
        state.write_u64(half);
    }
}

/// Makes the keys.
pub(crate) struct TokenKeys(SipHasher24);

impl TokenKeys {
    pub(crate) fn new(seed: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(seed))
    }

    pub(crate) fn key(&self, token: &[u8]) -> TokenKey {
        let mut hasher = self.0;
        hasher.write(token);
        let hash = hasher.finish128();
        TokenKey([hash.h1, hash.h2])
    }
}

/// A [`TokenKey`] is a keyed hash already.
#[derive(Clone, Copy, Default)]
pub(crate) struct AsItIs;

#[derive(Default)]
pub(crate) struct AsItIsHasher(u64);

impl BuildHasher for AsItIs {
    type Hasher = AsItIsHasher;

    fn build_hasher(&self) -> AsItIsHasher {
        AsItIsHasher::default()
    }
}

impl Hasher for AsItIsHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

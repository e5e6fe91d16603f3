//! The key that stands for a token in memory.

use core::hash::{BuildHasher, Hash, Hasher};

use codec::KeyedHash;

/// Stands for a whole token in the memory of this instance, which does not keep the token itself: a
/// 128-bit keyed hash (SipHash-2-4, a pseudorandom function), so that nobody without the key finds
/// two tokens with the same hash. The key is random, made at the start, and never leaves the
/// instance.
///
/// Issuer endpoint and client are part of the key by construction: they belong to the policy, and
/// each policy has its own [`crate::AuthCheck`] with its own key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenKey([u64; 2]);

impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The key is uniform, so its first 64 bits are hash enough.
        let [half, _] = self.0;
        state.write_u64(half);
    }
}

/// Makes the keys of one instance.
pub(crate) struct TokenKeys(KeyedHash);

impl TokenKeys {
    pub(crate) fn new(seed: &[u8; 16]) -> Self {
        Self(KeyedHash::new(seed))
    }

    pub(crate) fn key(&self, token: &[u8]) -> TokenKey {
        TokenKey(self.0.of(token))
    }
}

/// Hasher that returns a [`TokenKey`] unchanged: it is already a keyed hash.
#[derive(Clone, Copy, Default)]
pub(crate) struct BuildPassThroughHasher;

#[derive(Default)]
pub(crate) struct PassThroughHasher(u64);

impl BuildHasher for BuildPassThroughHasher {
    type Hasher = PassThroughHasher;

    fn build_hasher(&self) -> PassThroughHasher {
        PassThroughHasher::default()
    }
}

impl Hasher for PassThroughHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 ^= half;
    }
}

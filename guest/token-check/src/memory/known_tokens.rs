//! Which tokens were active lately: their requests go first when there is more to do than the limits
//! allow.

use std::collections::HashSet;

use super::token_key::{BuildPassThroughHasher, TokenKey};

type Keys = HashSet<TokenKey, BuildPassThroughHasher>;

/// The tokens that the issuer called active last: as many as the policy caches, and at most as many
/// again. No request gets in for being among them.
pub(crate) struct KnownTokens {
    limit: usize,
    recent: Keys,
    /// Replaced by the recent ones when there are too many of these.
    older: Keys,
}

impl KnownTokens {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            recent: Keys::with_hasher(BuildPassThroughHasher),
            older: Keys::with_hasher(BuildPassThroughHasher),
        }
    }

    pub(crate) fn contains(&self, key: TokenKey) -> bool {
        self.recent.contains(&key) || self.older.contains(&key)
    }

    /// The issuer said whether this token is active.
    pub(crate) fn note(&mut self, key: TokenKey, is_active: bool) {
        if !is_active {
            self.recent.remove(&key);
            self.older.remove(&key);
            return;
        }
        if self.recent.len() >= self.limit {
            self.older =
                core::mem::replace(&mut self.recent, Keys::with_hasher(BuildPassThroughHasher));
        }
        self.recent.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::token_key::TokenKeys;
    use super::*;

    #[test]
    fn the_last_tokens_are_known_and_memory_is_bounded() {
        let keys = TokenKeys::new(&[7; 16]);
        let key = |n: u32| keys.key(&n.to_be_bytes());
        let mut known = KnownTokens::new(4);
        for n in 0..100 {
            known.note(key(n), true);
            for last in n.saturating_sub(3)..=n {
                assert!(known.contains(key(last)), "{last} of {n}");
            }
            assert!(known.recent.len() + known.older.len() <= 8);
        }
        assert!(!known.contains(key(0)));
        known.note(key(99), false);
        known.note(key(96), false);
        assert!(!known.contains(key(99)) && !known.contains(key(96)));
        assert!(known.contains(key(98)));
    }
}

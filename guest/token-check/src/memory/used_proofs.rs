//! Which proofs of possession were used (RFC 9449 section 11.1), in this instance: another Envoy
//! worker or Spin instance does not know of them.

use std::collections::{BTreeMap, HashSet};

use super::{BuildPassThroughHasher, TokenKey, TokenKeys};

/// Most proofs remembered. At 17 to 34 bytes each they take 4 MiB at most. Envoy verifies no more than
/// 15 000 a second, so those of the seconds that the clock of a caller may be ahead always fit.
const MAX_PROOFS: usize = 131_072;

/// A proof, among those of its second.
#[derive(Clone, Copy)]
pub(crate) struct ProofId {
    key: TokenKey,
    /// In seconds since 1970.
    made: i64,
}

impl ProofId {
    /// `id`: the `jti` of a proof. Nobody can use up that of another caller's key.
    pub(crate) fn new(keys: &TokenKeys, thumbprint: &[u8; 32], id: &str, made: i64) -> Self {
        let key = keys.key(&[thumbprint, id.as_bytes()].concat());
        Self { key, made }
    }
}

/// The proofs that were used.
pub(crate) struct UsedProofs {
    by_second: BTreeMap<i64, HashSet<TokenKey, BuildPassThroughHasher>>,
    count: usize,
    max: usize,
    /// Proofs of this second and of those before it may have been forgotten.
    forgotten: i64,
}

impl Default for UsedProofs {
    fn default() -> Self {
        Self::with_room_for(MAX_PROOFS)
    }
}

impl UsedProofs {
    fn with_room_for(max: usize) -> Self {
        Self {
            by_second: BTreeMap::new(),
            count: 0,
            max,
            forgotten: i64::MIN,
        }
    }

    /// Uses a proof. `false`: it was used before, or is too old to tell. `oldest`: what is older is
    /// accepted by nobody, in seconds since 1970.
    ///
    /// When there are too many, the oldest are forgotten, and no proof as old as those is accepted any
    /// more: so memory is bounded and still no proof is good twice.
    pub(crate) fn is_first_use(&mut self, proof: ProofId, oldest: i64) -> bool {
        while let Some(second) = self.by_second.first_entry()
            && *second.key() < oldest
        {
            self.count = self.count.saturating_sub(second.remove().len());
        }
        // A proof that was still good when its request came may be older by now.
        if proof.made < oldest
            || proof.made <= self.forgotten
            || !self
                .by_second
                .entry(proof.made)
                .or_default()
                .insert(proof.key)
        {
            return false;
        }
        self.count = self.count.saturating_add(1);
        if self.count > self.max
            && let Some((second, proofs)) = self.by_second.pop_first()
        {
            self.count = self.count.saturating_sub(proofs.len());
            self.forgotten = second;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str, made: i64) -> ProofId {
        ProofId::new(&TokenKeys::new(&[7; 16]), &[1; 32], id, made)
    }

    #[test]
    fn rfc9449_s11_1_a_proof_is_good_once_as_long_as_anybody_would_accept_it() {
        let mut used = UsedProofs::default();
        assert!(used.is_first_use(id("a", 100), 40));
        assert!(!used.is_first_use(id("a", 100), 40));
        assert!(used.is_first_use(id("b", 100), 40));
        assert!(used.is_first_use(id("c", 101), 100));
        assert!(!used.is_first_use(id("a", 100), 100));
        let other = ProofId::new(&TokenKeys::new(&[7; 16]), &[2; 32], "a", 100);
        assert!(used.is_first_use(other, 100), "of another caller");
        assert_eq!(used.count, 4);
        assert!(
            !used.is_first_use(id("a", 100), 101),
            "its use is forgotten, so it is too old"
        );
        assert!(used.is_first_use(id("d", 101), 101));
        assert_eq!((used.count, used.by_second.len()), (2, 1));
    }

    #[test]
    fn j8_memory_is_bounded_and_a_forgotten_proof_is_still_not_good_twice() {
        let mut used = UsedProofs::with_room_for(3);
        for (name, made) in [("a", 100), ("b", 101), ("c", 101)] {
            assert!(used.is_first_use(id(name, made), 40));
        }
        assert!(used.is_first_use(id("d", 102), 40));
        assert_eq!((used.count, used.forgotten), (3, 100));
        for (name, made, is_good) in [
            ("a", 100, false),
            ("e", 100, false),
            ("e", 99, false),
            ("b", 101, false),
            ("e", 102, true),
        ] {
            assert_eq!(used.is_first_use(id(name, made), 40), is_good, "{name}");
        }
        assert_eq!((used.count, used.forgotten), (2, 101));
        assert!(!used.is_first_use(id("b", 101), 40));
    }

    #[test]
    fn j8_all_of_one_second_are_forgotten_together() {
        let mut used = UsedProofs::with_room_for(2);
        assert!(
            ["a", "b", "c"]
                .iter()
                .all(|name| used.is_first_use(id(name, 100), 40))
        );
        assert_eq!((used.count, used.by_second.len()), (0, 0));
        assert!(
            !["a", "d"]
                .iter()
                .any(|name| used.is_first_use(id(name, 100), 40))
        );
        assert!(used.is_first_use(id("a", 101), 40));
    }
}

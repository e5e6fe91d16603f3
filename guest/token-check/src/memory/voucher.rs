//! Whose word cached facts are. They end with it.

use core::time::Duration;

use smallvec::SmallVec;

use crate::time::milliseconds;

/// Who vouches for facts: the issuer, which was asked, or a key that signed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voucher(u32);

impl Voucher {
    /// The issuer's word, which ages.
    pub(crate) const ISSUER: Self = Self(0);

    pub(crate) fn is_key(self) -> bool {
        self != Self::ISSUER
    }

    /// One that no key has had before.
    #[cfg(feature = "jwt")]
    pub(crate) const fn next(self) -> Self {
        // 64 new keys every five seconds take ten years to get there.
        Self(self.0.saturating_add(1))
    }
}

/// Issuers have one to four keys.
const TYPICAL_KEYS: usize = 4;

/// The keys that vouch now.
#[derive(Default)]
pub(crate) struct Vouchers {
    keys: SmallVec<[Voucher; TYPICAL_KEYS]>,
    /// In milliseconds of the monotonic clock.
    until: i64,
}

impl Vouchers {
    /// Whether this key still vouches for what it signed.
    pub(crate) fn has(&self, key: Voucher, now: Duration) -> bool {
        milliseconds(now) < self.until && self.keys.contains(&key)
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn keys(&self) -> &[Voucher] {
        &self.keys
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn set(&mut self, keys: impl Iterator<Item = Voucher>) {
        self.keys = keys.collect();
    }

    #[cfg(feature = "jwt")]
    pub(crate) const fn set_end(&mut self, until: i64) {
        self.until = until;
    }

    /// Whether they have ended.
    #[cfg(feature = "jwt")]
    pub(crate) fn have_ended(&self, now: Duration) -> bool {
        milliseconds(now) >= self.until
    }
}

//! The keys of the issuer, and when to fetch them.
//!
//! Callers cause no more fetches than the settings allow, whatever they send: each attempt counts,
//! whatever comes of it. An issuer that is down does not take its keys along, and a key that it has
//! removed takes along what it signed.

use core::time::Duration;

use super::voucher::{Voucher, Vouchers};
use crate::introspection::Fault;
use crate::jose::{Jws, Key, KeySet};
use crate::policy::{KeySource, Policy, Verification};
use crate::time::milliseconds;

/// How much longer old keys are used than until the next attempt to fetch them: hosts with a timer
/// make it within a second, and no request waits for it.
const GRACE: Duration = Duration::from_secs(2);

/// Keys of the issuer.
pub(crate) struct KeyRing {
    set: Option<KeySet>,
    /// Of the keys in `set`, in its order.
    vouchers: Vouchers,
    last_voucher: Voucher,
    /// When the call that brought `set` was sent, in milliseconds of the monotonic clock: another
    /// instance may have sent it before ours began.
    fetched: i64,
    /// Before this time nothing is fetched, because it failed.
    retry_at: Duration,
    /// Before this time unknown keys cause no fetch.
    next_for_unknown: Duration,
    /// Before this time bad signatures cause no fetch: they must not use up what is for unknown
    /// keys, or a forger could have the first tokens of a new key refused.
    next_for_bad: Duration,
    /// Before this time responses with unknown keys cause no fetch: what callers send must not use up
    /// what is for the issuer's own responses.
    next_for_response: Duration,
    /// When the last attempt began.
    attempted: Duration,
    /// Failed attempts in a row.
    failures: u32,
    /// The issuer has said since that it has no keys.
    is_ended: bool,
    /// Of the last attempt, if it failed.
    fault: Option<Fault>,
    /// The issuer publishes its keys in another place since they were fetched.
    has_moved: bool,
    /// A signature was bad: the issuer may have given a new key an old name.
    is_doubted: bool,
}

/// Why keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// There are none, or they are old.
    Due,
    /// The issuer has signed a response with a key that is not there.
    Response,
    /// A token names a key that is not there.
    Unknown,
    /// A signature was bad, although its key is known.
    BadSignature,
}

impl KeyRing {
    /// Empty, if keys are fetched.
    pub(crate) fn new(verification: &Verification) -> Self {
        let mut ring = Self {
            set: None,
            vouchers: Vouchers::default(),
            last_voucher: Voucher::ISSUER,
            fetched: i64::MIN,
            retry_at: Duration::ZERO,
            next_for_unknown: Duration::ZERO,
            next_for_bad: Duration::ZERO,
            next_for_response: Duration::ZERO,
            attempted: Duration::ZERO,
            failures: 0,
            is_ended: false,
            fault: None,
            has_moved: false,
            is_doubted: false,
        };
        if let KeySource::Set(set) = verification.keys() {
            ring.replace(set.clone());
            ring.vouchers.set_end(i64::MAX);
        }
        ring
    }

    pub(crate) const fn vouchers(&self) -> &Vouchers {
        &self.vouchers
    }

    /// Whether there are keys that may be used without asking the issuer first.
    pub(crate) fn is_usable(&self, now: Duration) -> bool {
        self.set.is_some() && !self.vouchers.have_ended(now)
    }

    /// The key that made the signature, if what is in the header is true.
    pub(crate) fn find(&self, jws: &Jws<'_>) -> Option<(&Key, Voucher)> {
        let (position, found) = self.set.as_ref()?.find_with_position(jws)?;
        Some((found, *self.vouchers.keys().get(position)?))
    }

    /// When the call that brought the keys was sent, in milliseconds of the monotonic clock.
    pub(crate) const fn fetched(&self) -> i64 {
        self.fetched
    }

    /// What was wrong with the last attempt to fetch keys.
    pub(crate) const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// When the next attempt may be made after a failed one.
    pub(crate) const fn retry_at(&self) -> Duration {
        self.retry_at
    }

    /// Whether this is a reason to fetch keys now.
    pub(crate) fn may_fetch(&self, why: Fetch, now: Duration) -> bool {
        now >= self.retry_at
            && match why {
                Fetch::Due => true,
                Fetch::Response => now >= self.next_for_response,
                Fetch::Unknown => now >= self.next_for_unknown,
                Fetch::BadSignature => self.is_doubted && now >= self.next_for_bad,
            }
    }

    /// Why keys are to be fetched although no request waits for them, if they are: also in time
    /// before they are too old to be used.
    pub(crate) fn is_due(&self, verification: &Verification, now: Duration) -> Option<Fetch> {
        if matches!(verification.keys(), KeySource::Set(_)) {
            return None;
        }
        let fresh = verification.ttl().saturating_mul(4) / 5;
        let end = self.fetched.saturating_add(milliseconds(fresh));
        let is_old = self.set.is_none() || self.has_moved || milliseconds(now) >= end;
        let is_reason = |why: &Fetch| match why {
            Fetch::Due => is_old && self.may_fetch(*why, now),
            Fetch::Unknown | Fetch::Response | Fetch::BadSignature => self.may_fetch(*why, now),
        };
        [Fetch::BadSignature, Fetch::Due]
            .into_iter()
            .find(is_reason)
    }

    /// A call is made for this reason, and ends by `ends`. If the one before failed, nobody waits
    /// for it who knows its key.
    pub(crate) fn starts(
        &mut self,
        why: Fetch,
        verification: &Verification,
        now: Duration,
        ends: Duration,
    ) {
        if self.failures > 0 {
            self.use_old_until(ends, verification);
        }
        let next = now.saturating_add(verification.min_interval());
        match why {
            Fetch::Due => {}
            Fetch::Response => self.next_for_response = next,
            Fetch::Unknown => self.next_for_unknown = next,
            Fetch::BadSignature => self.next_for_bad = next,
        }
        self.is_doubted = false;
        self.attempted = now;
    }

    /// The host dropped the last attempt, so nothing is known of what it would have brought. Another
    /// one soon, and not at once: if a host does so when callers leave, they may leave often.
    pub(crate) fn forget_attempt(&mut self) {
        let next = self.attempted.saturating_add(GRACE);
        self.next_for_unknown = self.next_for_unknown.min(next);
        self.next_for_bad = self.next_for_bad.min(next);
        self.next_for_response = self.next_for_response.min(next);
    }

    /// The issuer publishes its keys in another place from now on.
    pub(crate) const fn move_away(&mut self) {
        self.has_moved = true;
    }

    /// A signature was bad, although its key is known.
    pub(crate) const fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// The issuer has responded with these keys. `asked`: when the call was sent, in milliseconds of
    /// the monotonic clock.
    pub(crate) fn learn(&mut self, set: KeySet, verification: &Verification, asked: i64) {
        self.replace(set);
        self.has_moved = false;
        self.is_ended = false;
        self.fetched = asked;
        self.retry_at = Duration::ZERO;
        self.failures = 0;
        self.fault = None;
        self.vouchers
            .set_end(asked.saturating_add(milliseconds(verification.ttl())));
    }

    /// The issuer has responded that it has no keys: the old ones end in their time.
    pub(crate) fn end(&mut self, fault: Fault, policy: &Policy, now: Duration) {
        self.is_ended = true;
        self.fail(fault, policy, now);
    }

    /// The issuer did not respond with keys. The old ones stay for a while.
    pub(crate) fn fail(&mut self, fault: Fault, policy: &Policy, now: Duration) {
        let Some(verification) = policy.verification() else {
            return;
        };
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = policy.probe_interval().saturating_mul(factor);
        self.retry_at = now.saturating_add(pause.min(verification.min_interval()));
        self.failures = self.failures.saturating_add(1);
        self.fault = Some(fault);
        self.use_old_until(self.retry_at, verification);
    }

    /// Keys that cannot be fetched again are used past their time, up to their greatest age: but no
    /// longer than until it is known whether they can be.
    fn use_old_until(&mut self, time: Duration, verification: &Verification) {
        let time = if self.is_ended { Duration::ZERO } else { time };
        let at_age = |age| self.fetched.saturating_add(milliseconds(age));
        let until = milliseconds(time.saturating_add(GRACE)).min(at_age(verification.max_age()));
        self.vouchers.set_end(until.max(at_age(verification.ttl())));
    }

    /// A key that is there already keeps its voucher, and with it what it signed.
    fn replace(&mut self, set: KeySet) {
        let old = self.set.take();
        let old = old.iter().flat_map(KeySet::keys).zip(self.vouchers.keys());
        let old: Vec<_> = old.map(|(key, voucher)| (key.clone(), *voucher)).collect();
        let last = &mut self.last_voucher;
        let vouchers = set.keys().map(|key| {
            let known = old.iter().find(|(known, _)| known == key);
            known.map_or_else(
                || {
                    *last = last.next();
                    *last
                },
                |(_, voucher)| *voucher,
            )
        });
        self.vouchers.set(vouchers);
        self.set = Some(set);
    }
}

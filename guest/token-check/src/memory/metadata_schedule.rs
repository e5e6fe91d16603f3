//! When to fetch the metadata of the issuer.

use core::time::Duration;

use crate::introspection::Fault;
use crate::policy::Policy;
use crate::time::milliseconds;

/// How old metadata get before they are fetched again: endpoints move rarely, and the old ones stay
/// in use until new ones are there.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// Longest pause between attempts that fail: who starts while the issuer is down does not wait
/// longer for it than that.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Whether the metadata are known, and when the next attempt to fetch them may be made.
#[derive(Default)]
pub(crate) struct MetadataSchedule {
    /// When the call that brought them was sent, in milliseconds of the monotonic clock: another
    /// instance may have sent it before ours began. `None`: they are not known.
    fetched: Option<i64>,
    /// Before this time nothing is fetched, because it failed.
    retry_at: Duration,
    /// Failed attempts in a row.
    failures: u32,
    /// Of the last attempt, if it failed.
    fault: Option<Fault>,
}

impl MetadataSchedule {
    pub(crate) const fn is_known(&self) -> bool {
        self.fetched.is_some()
    }

    /// Whether an attempt may be made now.
    pub(crate) fn may_fetch(&self, now: Duration) -> bool {
        now >= self.retry_at
    }

    /// Whether they are to be fetched although no request waits for them.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let is_old =
            |fetched: i64| milliseconds(now) >= fetched.saturating_add(milliseconds(MAX_AGE));
        self.fetched.is_none_or(is_old) && self.may_fetch(now)
    }

    /// Whether metadata that were asked for then are newer than the known ones.
    pub(crate) fn is_newer(&self, asked: i64) -> bool {
        self.fetched.is_none_or(|fetched| asked > fetched)
    }

    /// What was wrong with the last attempt.
    pub(crate) const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// When the next attempt may be made after a failed one.
    pub(crate) const fn retry_at(&self) -> Duration {
        self.retry_at
    }

    /// `asked`: when the call was sent, in milliseconds of the monotonic clock.
    pub(crate) fn learn(&mut self, asked: i64) {
        *self = Self {
            fetched: Some(asked),
            ..Self::default()
        };
    }

    /// The issuer did not respond with metadata that can be used.
    pub(crate) fn fail(&mut self, fault: Fault, policy: &Policy, now: Duration) {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = policy.probe_interval().saturating_mul(factor);
        self.retry_at = now.saturating_add(pause.min(MAX_PAUSE));
        self.failures = self.failures.saturating_add(1);
        self.fault = Some(fault);
    }
}

//! What to do while the issuer fails: leave it alone, and say so at once.

use core::time::Duration;

use super::token_key::TokenKey;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::time::Now;

/// Why nobody is asked now, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) reason: Reason,
    /// Seconds, at least 1.
    pub(crate) retry_after: u32,
}

/// A circuit breaker: after so many faults in a row the issuer is left alone, but for one question per interval.
///
/// What a caller can do to it is kept small: bad answers about one token in a row count as one, and a token that had one is
/// not the next probe while others could be.
pub(crate) struct Breaker {
    /// 0: never opens by faults.
    limit: u32,
    interval: Duration,
    faults: u32,
    /// The token about which the last fault was an answer.
    suspect: Option<TokenKey>,
    open: Option<Open>,
}

struct Open {
    reason: Reason,
    since: Duration,
    until: Duration,
    /// When the question that probes must have its answer, if there is one on its way.
    probe_ends: Option<Duration>,
}

impl Breaker {
    pub(crate) const fn new(limit: u32, interval: Duration) -> Self {
        Self {
            limit,
            interval,
            faults: 0,
            suspect: None,
            open: None,
        }
    }

    /// May the issuer be asked about this token? `Ok(true)`: as a probe, which ends at `deadline`.
    pub(crate) fn admit(
        &mut self,
        token: TokenKey,
        deadline: Duration,
        now: Now,
    ) -> Result<bool, Held> {
        if let Some(held) = self.held(token, now) {
            return Err(held);
        }
        let is_probe = self.open.as_mut().map(|open| {
            open.probe_ends = Some(deadline);
        });
        Ok(is_probe.is_some())
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Why the issuer must not be asked about this token now.
    pub(crate) fn held(&self, token: TokenKey, now: Now) -> Option<Held> {
        let open = self.open.as_ref()?;
        let busy = open
            .probe_ends
            .filter(|ends| now.monotonic < *ends)
            // Nobody knows how long a probe takes; often not long.
            .map(|_| now.monotonic.saturating_add(self.interval));
        let until = if self.suspect == Some(token) {
            open.until.saturating_add(self.interval)
        } else {
            open.until
        };
        let until = busy.or_else(|| Some(until).filter(|until| now.monotonic < *until))?;
        Some(Held {
            reason: open.reason,
            retry_after: whole_seconds(until.saturating_sub(now.monotonic)),
        })
    }

    /// The issuer gave an answer, whatever it says, to a question asked at `asked`.
    pub(crate) fn answered(&mut self, asked: Duration) {
        self.faults = 0;
        self.suspect = None;
        // What was asked before the issuer wanted to be left alone does not say that it wants it no more.
        self.open
            .take_if(|open| open.reason == Reason::IssuerCircuitOpen || asked > open.since);
    }

    /// The issuer failed. `suspect`: it gave an answer, which may be for the sake of this token.
    pub(crate) fn failed(&mut self, suspect: Option<TokenKey>, was_probe: bool, now: Now) {
        if suspect.is_none() || self.suspect != suspect {
            self.faults = self.faults.saturating_add(1);
        }
        self.suspect = suspect;
        let is_over = self.limit > 0 && self.faults >= self.limit;
        // Calls that were on their way when it opened do not put the next probe off.
        if is_over && (was_probe || self.open.is_none()) {
            self.hold(Reason::IssuerCircuitOpen, self.interval, now);
        } else if was_probe {
            self.open.take_if(|open| now.monotonic >= open.until);
        }
    }

    /// The issuer asks to be left alone.
    pub(crate) fn hold(&mut self, reason: Reason, time: Duration, now: Now) {
        let until = now.monotonic.saturating_add(time);
        self.open = Some(Open {
            reason,
            since: now.monotonic,
            // A pause that the issuer asked for is not made shorter by an answer to an older question.
            until: self
                .open
                .as_ref()
                .map_or(until, |open| open.until.max(until)),
            probe_ends: None,
        });
    }

    /// The probe was given up without an outcome: the next request may be one.
    pub(crate) fn gave_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe_ends = None;
        }
    }
}

/// Whether an answer with this status says that the issuer is down or drowning. A 500 does not: some issuers give it for
/// a token they cannot read, and then any caller could have everybody shut out.
pub(crate) const fn is_overwhelmed(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// Rounded up; at least [`RETRY_AFTER_SECONDS`].
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    let up = time.saturating_add(Duration::from_nanos(999_999_999));
    u32::try_from(up.as_secs())
        .unwrap_or(u32::MAX)
        .max(RETRY_AFTER_SECONDS)
}

//! What to do while the issuer fails: leave it alone, and say so at once.

use core::time::Duration;
use std::time::UNIX_EPOCH;

use crate::answer::IssuerAnswer;
use crate::check::Now;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};

/// The longest `Retry-After` obeyed, in seconds: past five minutes it is more likely a mistake than a wish, and one
/// question every five minutes is no burden.
const MAX_HOLD_SECONDS: u64 = 300;

/// Why nobody is asked now, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) reason: Reason,
    /// Seconds, at least 1.
    pub(crate) retry_after: u32,
}

/// A circuit breaker: after so many faults in a row the issuer is left alone, but for one question per interval.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// 0: never opens by faults.
    limit: u32,
    interval: Duration,
    faults: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    reason: Reason,
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
            open: None,
        }
    }

    /// May the issuer be asked? `Ok(true)`: as a probe, which ends at `deadline`.
    pub(crate) fn admit(&mut self, deadline: Duration, now: Now) -> Result<bool, Held> {
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        let busy = open
            .probe_ends
            .filter(|ends| now.monotonic < *ends)
            // Nobody knows how long a probe takes; often not long.
            .map(|_| now.monotonic.saturating_add(self.interval));
        let held_until = busy.or_else(|| Some(open.until).filter(|until| now.monotonic < *until));
        match held_until {
            Some(until) => Err(Held {
                reason: open.reason,
                retry_after: whole_seconds(until.saturating_sub(now.monotonic)),
            }),
            None => {
                open.probe_ends = Some(deadline);
                Ok(true)
            }
        }
    }

    /// The issuer gave an answer, whatever it says.
    pub(crate) fn answered(&mut self) {
        self.faults = 0;
        self.open = None;
    }

    /// The issuer failed.
    pub(crate) fn failed(&mut self, was_probe: bool, now: Now) {
        self.faults = self.faults.saturating_add(1);
        let is_over = self.limit > 0 && self.faults >= self.limit;
        // Calls that were on their way when it opened do not put the next probe off.
        if is_over && (was_probe || self.open.is_none()) {
            self.hold(Reason::IssuerCircuitOpen, self.interval, now);
        } else if was_probe {
            self.open = None;
        }
    }

    /// The issuer asks to be left alone.
    pub(crate) fn hold(&mut self, reason: Reason, time: Duration, now: Now) {
        self.open = Some(Open {
            reason,
            until: now.monotonic.saturating_add(time),
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

/// The `Retry-After` of an answer that says 429 or 503 (RFC 9110 section 10.2.3): seconds, or a date.
pub(crate) fn wanted_pause(answer: &IssuerAnswer, now: Now) -> Option<Duration> {
    if !matches!(answer.status, 429 | 503) {
        return None;
    }
    let text = core::str::from_utf8(answer.retry_after.as_deref()?)
        .ok()?
        .trim_ascii();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(UNIX_EPOCH)
            .ok()?
            .checked_sub(now.unix)?,
    };
    Some(pause.min(Duration::from_secs(MAX_HOLD_SECONDS))).filter(|pause| !pause.is_zero())
}

/// Rounded up; at least [`RETRY_AFTER_SECONDS`].
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    let up = time.saturating_add(Duration::from_nanos(999_999_999));
    u32::try_from(up.as_secs())
        .unwrap_or(u32::MAX)
        .max(RETRY_AFTER_SECONDS)
}

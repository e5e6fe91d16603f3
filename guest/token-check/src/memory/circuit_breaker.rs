//! The circuit breaker in front of the issuer.
//!
//! A caller chooses which token the issuer is asked about, so what happens to one token says nothing
//! about the issuer. Only a call of our own, the probe, opens the circuit: an introspection call for
//! a token that was never issued. A healthy issuer answers that it is not active.

use core::time::Duration;
use std::collections::HashMap;

use super::token_key::{BuildPassThroughHasher, TokenKey};
use crate::introspection::retry_after_seconds;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::time::Now;

/// How many tokens are held at once, which bounds memory. A token that is not held costs one call
/// per request, as any other.
const MAX_HELD: usize = 1024;

/// Why no call is made now, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) reason: Reason,
    /// In seconds, at least 1.
    pub(crate) retry_after: u32,
    /// The circuit is open. Otherwise only this token is held.
    pub(crate) is_outage: bool,
}

/// A probe that could go before the call about a token.
#[derive(Clone, Copy)]
pub(crate) struct ProbeFirst {
    /// When it ends at the latest.
    pub(crate) ends: Duration,
    /// Whether that leaves it enough time.
    pub(crate) is_in_time: bool,
    /// Whether the token has stale facts, which may be used if the probe fails.
    pub(crate) is_urgent: bool,
}

/// How a call was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Nothing is wrong with the issuer.
    Normal,
    /// The issuer may be down: the probe goes first.
    ProbeFirst,
}

/// Calls for a probe after a number of consecutive faults. If the probe fails too, no call is made
/// but one probe per interval, until one is answered.
pub(crate) struct CircuitBreaker {
    /// Faults after which the probe decides. 0: they open nothing.
    limit: u32,
    interval: Duration,
    faults: u32,
    /// The issuer asked to wait in responses about two tokens: it may mean all of them.
    is_suspect: bool,
    /// When the pending probe ends at the latest, if there is one.
    probe_ends: Option<Duration>,
    /// When the last probe was answered.
    last_answer: Option<Duration>,
    /// When the last call about a token was answered.
    last_response: Option<Duration>,
    open: Option<Open>,
    /// Tokens for which the issuer asked to wait.
    held: HashMap<TokenKey, Hold, BuildPassThroughHasher>,
    /// The token that was held last.
    last_held: Option<(TokenKey, Hold)>,
}

struct Open {
    reason: Reason,
    since: Duration,
    until: Duration,
}

#[derive(Clone, Copy)]
struct Hold {
    reason: Reason,
    until: Duration,
}

impl Hold {
    fn rejected(self, is_outage: bool, now: Now) -> Option<Rejected> {
        (now.monotonic < self.until).then(|| Rejected {
            reason: self.reason,
            retry_after: retry_after_seconds(self.until.saturating_sub(now.monotonic)),
            is_outage,
        })
    }
}

impl CircuitBreaker {
    pub(crate) fn new(limit: u32, interval: Duration) -> Self {
        Self {
            limit,
            interval,
            faults: 0,
            is_suspect: false,
            probe_ends: None,
            last_answer: None,
            last_response: None,
            open: None,
            held: HashMap::with_hasher(BuildPassThroughHasher),
            last_held: None,
        }
    }

    /// Whether a call about this token may be made. `probe`: the probe that could go first.
    pub(crate) fn admit(
        &mut self,
        token: TokenKey,
        probe: ProbeFirst,
        now: Now,
    ) -> Result<Permit, Rejected> {
        if let Some(rejected) = self.rejects(token, now) {
            return Err(rejected);
        }
        match &self.open {
            Some(open) if !probe.is_in_time => Err(Rejected {
                reason: open.reason,
                retry_after: RETRY_AFTER_SECONDS,
                is_outage: true,
            }),
            None if !probe.is_in_time
                || !self.needs_probe(probe.is_urgent, now)
                || self.is_probing(now) =>
            {
                Ok(Permit::Normal)
            }
            _ => {
                self.probe_ends = Some(probe.ends);
                Ok(Permit::ProbeFirst)
            }
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn is_probing(&self, now: Now) -> bool {
        self.probe_ends.is_some_and(|ends| now.monotonic < ends)
    }

    /// `is_urgent`: after any fault.
    fn needs_probe(&self, is_urgent: bool, now: Now) -> bool {
        let interval_ends = self
            .last_answer
            .map(|answered| answered.saturating_add(self.interval));
        let is_over_limit = self.limit > 0 && self.faults >= self.limit;
        (self.is_suspect || is_over_limit || (is_urgent && self.faults > 0))
            && interval_ends.is_none_or(|ends| now.monotonic >= ends)
    }

    /// Why a call about this token must not be made now.
    pub(crate) fn rejects(&self, token: TokenKey, now: Now) -> Option<Rejected> {
        let open = self.open.as_ref().and_then(|open| {
            let until = if self.is_probing(now) {
                // The probe is pending; suggest one interval as Retry-After.
                now.monotonic.saturating_add(self.interval)
            } else {
                open.until
            };
            let reason = open.reason;
            Hold { reason, until }.rejected(true, now)
        });
        open.or_else(|| self.held.get(&token)?.rejected(false, now))
    }

    /// The issuer responded, in whatever way, to a call about a token that was sent at `called`.
    pub(crate) fn record_response(&mut self, called: Duration) {
        self.faults = 0;
        self.is_suspect = false;
        // A response to a call made before the `Retry-After` of a probe does not lift the hold.
        self.open
            .take_if(|open| open.reason == Reason::IssuerCircuitOpen || called > open.since);
    }

    /// The issuer answered a call about a token as one does that is there: not with a 5xx.
    pub(crate) const fn note_answer(&mut self, now: Now) {
        self.last_response = Some(now.monotonic);
    }

    /// The issuer failed in a call about a token.
    pub(crate) const fn record_fault(&mut self) {
        self.faults = self.faults.saturating_add(1);
    }

    /// The issuer failed in a call about this token, and asked to wait.
    pub(crate) fn hold(&mut self, token: TokenKey, reason: Reason, wait: Duration, now: Now) {
        let until = now.monotonic.saturating_add(wait);
        let hold = Hold { reason, until };
        self.is_suspect |= self
            .last_held
            .replace((token, hold))
            .is_some_and(|(last, hold)| last != token && now.monotonic < hold.until);
        if self.held.len() >= MAX_HELD {
            self.held.retain(|_, hold| now.monotonic < hold.until);
        }
        if self.held.len() < MAX_HELD {
            self.held.insert(token, hold);
        }
        self.record_fault();
    }

    /// The probe was answered: whatever happens to tokens, the issuer is there.
    pub(crate) fn probe_answered(&mut self, now: Now) {
        self.faults = 0;
        self.is_suspect = false;
        self.probe_ends = None;
        self.last_answer = Some(now.monotonic);
        self.open = None;
    }

    /// Whether the issuer answered anything after `time`.
    pub(crate) fn has_answered_since(&self, time: Duration) -> bool {
        (self.last_answer.max(self.last_response)).is_some_and(|answered| answered > time)
    }

    /// The probe failed. `wait`: the issuer asked to wait this long.
    pub(crate) fn probe_failed(&mut self, reason: Reason, wait: Option<Duration>, now: Now) {
        self.probe_ends = None;
        self.record_fault();
        match wait {
            Some(wait) => self.open(reason, wait, now),
            None if self.limit > 0 && self.faults >= self.limit => {
                self.open(Reason::IssuerCircuitOpen, self.interval, now);
            }
            None => self.open = None,
        }
    }

    fn open(&mut self, reason: Reason, time: Duration, now: Now) {
        self.open = Some(Open {
            reason,
            since: now.monotonic,
            until: now.monotonic.saturating_add(time),
        });
    }

    /// The probe ended without an outcome: the next call may be one.
    pub(crate) const fn cancel_probe(&mut self) {
        self.probe_ends = None;
    }
}

/// Whether a response with this status means that the issuer is down or overloaded. A 500 does not:
/// some issuers send it for a token that they cannot parse, such as the probe's.
pub(crate) const fn counts_as_fault(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

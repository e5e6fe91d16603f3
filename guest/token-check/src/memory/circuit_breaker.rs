//! The circuit breaker in front of the issuer.

use core::time::Duration;

use super::token_key::TokenKey;
use crate::introspection::retry_after_seconds;
use crate::reason::Reason;
use crate::time::Now;

/// Why no call is made now, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) reason: Reason,
    /// In seconds, at least 1.
    pub(crate) retry_after: u32,
}

/// How a call was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// The circuit is closed.
    Normal,
    /// The circuit is open, and this call finds out whether the issuer is back.
    Probe,
}

/// Opens after a number of consecutive faults, and then lets one call per interval through.
///
/// Limits what one caller can do: consecutive error responses for one token count once, and that
/// token waits one interval longer before it may probe.
pub(crate) struct CircuitBreaker {
    /// Faults that open the circuit. 0: none do.
    limit: u32,
    interval: Duration,
    faults: u32,
    /// The token whose introspection was answered with the last fault.
    last_fault_token: Option<TokenKey>,
    open: Option<Open>,
}

struct Open {
    reason: Reason,
    since: Duration,
    until: Duration,
    /// When the pending probe ends at the latest, if there is one.
    probe_ends: Option<Duration>,
}

impl CircuitBreaker {
    pub(crate) const fn new(limit: u32, interval: Duration) -> Self {
        Self {
            limit,
            interval,
            faults: 0,
            last_fault_token: None,
            open: None,
        }
    }

    /// Whether a call about this token may be made, which ends at `deadline`.
    pub(crate) fn admit(
        &mut self,
        token: TokenKey,
        deadline: Duration,
        now: Now,
    ) -> Result<Permit, Rejected> {
        if let Some(rejected) = self.rejects(token, now) {
            return Err(rejected);
        }
        match &mut self.open {
            None => Ok(Permit::Normal),
            Some(open) => {
                open.probe_ends = Some(deadline);
                Ok(Permit::Probe)
            }
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Why a call about this token must not be made now.
    pub(crate) fn rejects(&self, token: TokenKey, now: Now) -> Option<Rejected> {
        let open = self.open.as_ref()?;
        let probed = open
            .probe_ends
            .filter(|ends| now.monotonic < *ends)
            // A probe is pending; suggest one interval as Retry-After.
            .map(|_| now.monotonic.saturating_add(self.interval));
        let until = if self.last_fault_token == Some(token) {
            open.until.saturating_add(self.interval)
        } else {
            open.until
        };
        let until = probed.or_else(|| Some(until).filter(|until| now.monotonic < *until))?;
        Some(Rejected {
            reason: open.reason,
            retry_after: retry_after_seconds(until.saturating_sub(now.monotonic)),
        })
    }

    /// The issuer responded, in whatever way, to a call sent at `called`.
    pub(crate) fn record_response(&mut self, called: Duration) {
        self.faults = 0;
        self.last_fault_token = None;
        // A response to a call made before the `Retry-After` hold does not lift the hold.
        self.open
            .take_if(|open| open.reason == Reason::IssuerCircuitOpen || called > open.since);
    }

    /// The issuer failed. `token`: if the fault was a response that this token may have caused.
    pub(crate) fn record_fault(&mut self, token: Option<TokenKey>, permit: Permit, now: Now) {
        if token.is_none() || self.last_fault_token != token {
            self.faults = self.faults.saturating_add(1);
        }
        self.last_fault_token = token;
        let was_probe = permit == Permit::Probe;
        let is_over = self.limit > 0 && self.faults >= self.limit;
        // Calls that were pending when the circuit opened do not delay the next probe.
        if is_over && (was_probe || self.open.is_none()) {
            self.open(Reason::IssuerCircuitOpen, self.interval, now);
        } else if was_probe {
            self.open.take_if(|open| now.monotonic >= open.until);
        }
    }

    /// Opens the circuit for this long.
    pub(crate) fn open(&mut self, reason: Reason, time: Duration, now: Now) {
        let until = now.monotonic.saturating_add(time);
        self.open = Some(Open {
            reason,
            since: now.monotonic,
            // The response to an older call does not shorten a wait that the issuer asked for.
            until: self
                .open
                .as_ref()
                .map_or(until, |open| open.until.max(until)),
            probe_ends: None,
        });
    }

    /// The probe ended without an outcome: the next call may be one.
    pub(crate) fn cancel_probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe_ends = None;
        }
    }
}

/// Whether a response with this status means that the issuer is down or overloaded. A 500 does not:
/// some issuers send it for a token that they cannot parse, and then one caller could open the
/// circuit for everyone.
pub(crate) const fn counts_as_fault(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

//! The way of a flight: shared store, lease, issuer.

use core::time::Duration;
use std::sync::Arc;

use super::flight::{FlightFault, FlightResult, FlightState, StoreRead};
use super::log_event::{LogEvent, LogThrottle};
use super::verdict::CacheStatus;
use crate::introspection::{
    self, CallFailure, Detail, Fault, Introspected, IntrospectionCall, IssuerResponse,
};
use crate::memory::{
    CachedFacts, CircuitBreaker, FactsCache, Permit, Record, SharedStore, SlotState, StoreKey,
    counts_as_fault,
};
use crate::policy::Policy;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::time::{Now, milliseconds};

/// Backoff while another instance introspects the same token: starts here, doubles up to
/// [`LONGEST_BACKOFF`].
pub(super) const INITIAL_BACKOFF: Duration = Duration::from_millis(2);
const LONGEST_BACKOFF: Duration = Duration::from_millis(16);

/// A call counts against the issuer only if it had at least `timeout` divided by this; a healthy
/// issuer answers in less.
const CONCLUSIVE_PART_OF_TIMEOUT: u32 = 4;

/// What a flight does next.
pub(super) enum Next {
    Introspect(IntrospectionCall),
    StoreGet(StoreKey),
    StoreCompareAndSwap(StoreKey, Vec<u8>),
    Sleep(Duration),
    Finish(FlightResult),
}

/// What a finished flight has to write and to report.
#[derive(Default)]
pub(super) struct Aftermath {
    pub(super) records: Vec<Record>,
    pub(super) sweep: Vec<StoreKey>,
    pub(super) fault: Option<Fault>,
    pub(super) event: Option<LogEvent>,
}

/// Everything that a lookup reads and updates.
pub(super) struct Lookup {
    pub(super) cache: FactsCache,
    pub(super) store: Option<SharedStore>,
    pub(super) breaker: CircuitBreaker,
    pub(super) log: LogThrottle,
}

impl Lookup {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            cache: FactsCache::new(policy),
            store: None,
            breaker: CircuitBreaker::new(policy.breaker_faults(), policy.probe_interval()),
            log: LogThrottle::default(),
        }
    }

    /// The first action: read the shared store, if there is one, else introspect.
    ///
    /// Routes with a `ttl` of 0 read the store too, so that an inactive result can erase the
    /// record.
    #[inline]
    pub(super) fn start(&mut self, flight: &mut FlightState, policy: &Policy, now: Now) -> Next {
        match &flight.shared {
            Some(shared) => {
                flight.reads = StoreRead::Facts;
                Next::StoreGet(shared.facts_key())
            }
            None => self.introspect(flight, policy, now),
        }
    }

    pub(super) fn store_read(
        &mut self,
        flight: &mut FlightState,
        value: Option<&[u8]>,
        policy: &Policy,
        now: Now,
    ) -> Next {
        match flight.reads {
            StoreRead::Facts => self.facts_read(flight, value, policy, now),
            StoreRead::Lease => self.lease_read(flight, value, policy, now),
        }
    }

    fn facts_read(
        &mut self,
        flight: &mut FlightState,
        value: Option<&[u8]>,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let (Some(store), Some(shared)) = (&self.store, &flight.shared) else {
            return Next::Finish(FlightResult::Abandoned);
        };
        let key = flight.context.key;
        let (slot, facts) = store.read_slot(shared, value, now);
        flight.slot = slot;
        let facts = facts.filter(|facts| !self.cache.has_newer(key, facts));
        let requirements = &flight.context.requirements;
        match facts {
            Some(facts) if facts.is_fresh(requirements, policy, now) => {
                if facts.facts.claims().is_some() {
                    self.log.saw_active_token();
                }
                return Next::Finish(FlightResult::Facts {
                    facts,
                    source: CacheStatus::Shared,
                    latency: None,
                });
            }
            // Keep the expired record: `stale_if_error` may need it.
            Some(facts) => self.cache.insert(key, facts),
            None => {}
        }
        // With the circuit open, do not wait for another instance: it may never get a response.
        let may_wait =
            !flight.has_lease && !self.breaker.is_open() && policy.ttl_seconds(requirements) > 0;
        if store.supports_leases() && may_wait {
            flight.reads = StoreRead::Lease;
            return Next::StoreGet(shared.lease_key());
        }
        self.introspect(flight, policy, now)
    }

    fn lease_read(
        &mut self,
        flight: &mut FlightState,
        value: Option<&[u8]>,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let (Some(store), Some(shared)) = (&self.store, &flight.shared) else {
            return Next::Finish(FlightResult::Abandoned);
        };
        if value.is_some_and(|value| store.is_leased(shared, value, policy.timeout(), now)) {
            return self.back_off(flight, policy, now);
        }
        let lease = store.lease(shared, flight.time_left(now.monotonic), now);
        Next::StoreCompareAndSwap(shared.lease_key(), lease)
    }

    /// Holding the lease, read the record once more: the previous holder may have written one.
    pub(super) fn lease_swapped(
        &mut self,
        flight: &mut FlightState,
        is_ours: bool,
        policy: &Policy,
        now: Now,
    ) -> Next {
        if is_ours {
            flight.has_lease = true;
            self.start(flight, policy, now)
        } else {
            self.back_off(flight, policy, now)
        }
    }

    pub(super) fn store_failed(
        &mut self,
        flight: &mut FlightState,
        policy: &Policy,
        now: Now,
    ) -> Next {
        if let Some(store) = &mut self.store {
            store.cool_down(now);
        }
        self.introspect(flight, policy, now)
    }

    /// Another instance introspects this token and will write the result to the store.
    fn back_off(&mut self, flight: &mut FlightState, policy: &Policy, now: Now) -> Next {
        // The holder of the lease may be gone, so half of the time is reserved for our own call.
        if flight.time_left(now.monotonic) <= policy.timeout() / 2 {
            return self.introspect(flight, policy, now);
        }
        let backoff = flight.backoff;
        flight.backoff = backoff.saturating_mul(2).min(LONGEST_BACKOFF);
        Next::Sleep(backoff)
    }

    #[inline]
    fn introspect(&mut self, flight: &mut FlightState, policy: &Policy, now: Now) -> Next {
        let context = &flight.context;
        let left = flight.time_left(now.monotonic);
        if left.is_zero() {
            return Next::Finish(FlightResult::Abandoned);
        }
        if !flight.is_retry {
            match self.breaker.admit(context.key, context.deadline, now) {
                Ok(permit) => flight.permit = permit,
                Err(rejected) => {
                    return Next::Finish(FlightResult::Fault(FlightFault {
                        fault: Fault::new(rejected.reason, Detail::None),
                        retry_after: rejected.retry_after,
                        latency: None,
                    }));
                }
            }
        }
        flight.result.note_call(now.monotonic);
        flight.last_call = Some(now.monotonic);
        Next::Introspect(IntrospectionCall::new(
            Arc::clone(policy.endpoint()),
            &context.token,
            context.traceparent.clone(),
            policy.timeouts(left),
        ))
    }

    #[inline]
    pub(super) fn responded(
        &mut self,
        flight: &mut FlightState,
        response: &IssuerResponse,
        policy: &Policy,
        now: Now,
    ) -> FlightResult {
        let latency = flight.latency(now.monotonic);
        let called = flight.last_call.unwrap_or_default();
        let encoded = policy.endpoint().encoding_changes_credentials();
        let fault = match introspection::interpret(response, encoded) {
            Ok(Introspected {
                facts,
                error_status,
            }) => {
                self.breaker.record_response(called);
                let is_active = facts.claims().is_some();
                flight.event = self.log.introspected(is_active, error_status, now);
                return FlightResult::Facts {
                    facts: CachedFacts {
                        facts,
                        called: milliseconds(called),
                    },
                    source: CacheStatus::Miss,
                    latency,
                };
            }
            Err(fault) => fault,
        };
        let mut retry_after = RETRY_AFTER_SECONDS;
        if let Some(wait) = introspection::requested_wait(response, now) {
            retry_after = introspection::retry_after_seconds(wait);
            self.breaker.open(fault.reason(), wait, now);
        } else if counts_as_fault(response.status) {
            let token = Some(flight.context.key);
            self.breaker.record_fault(token, flight.permit, now);
        } else {
            self.breaker.record_response(called);
        }
        FlightResult::Fault(FlightFault {
            fault,
            retry_after,
            latency,
        })
    }

    pub(super) fn call_failed(
        &mut self,
        flight: &mut FlightState,
        failure: CallFailure,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let fault = FlightFault::from_call(failure, flight.latency(now.monotonic));
        match failure.reason() {
            Reason::IssuerCallDenied => {
                self.breaker.cancel_probe();
                return Next::Finish(FlightResult::Fault(fault));
            }
            // Too little of the deadline was left to blame the issuer.
            Reason::IssuerTimeout if !flight.had_at_least(min_conclusive_wait(policy)) => {
                return Next::Finish(FlightResult::Abandoned);
            }
            // Retry once, and never after a response: the issuer may have closed an idle connection
            // just as the call went out on it.
            Reason::IssuerUnreachable
                if !flight.is_retry && now.monotonic < flight.context.deadline =>
            {
                flight.is_retry = true;
                return self.introspect(flight, policy, now);
            }
            _ => {}
        }
        self.breaker.record_fault(None, flight.permit, now);
        Next::Finish(FlightResult::Fault(fault))
    }

    /// Caches the result, and lists what the host has to do about it.
    #[inline]
    pub(super) fn finish(
        &mut self,
        flight: &mut FlightState,
        result: &FlightResult,
        policy: &Policy,
        now: Now,
    ) -> Aftermath {
        let mut aftermath = Aftermath {
            event: flight.event.take(),
            ..Aftermath::default()
        };
        match result {
            FlightResult::Facts { facts, source, .. } => {
                self.cache.insert(flight.context.key, facts.clone());
                if *source == CacheStatus::Miss
                    && let Some(record) = self.record(flight, facts, policy, now)
                {
                    aftermath.records.push(record);
                    if let (Some(store), Some(shared)) = (&self.store, &flight.shared) {
                        aftermath.sweep = store.keys_to_sweep(shared);
                    }
                }
            }
            FlightResult::Fault(FlightFault { fault, .. }) => {
                // Nothing is wrong with the issuer where the circuit breaker stopped the call.
                aftermath.fault = flight.last_call.map(|_| *fault);
                aftermath.event = aftermath.fault.and_then(|fault| self.log.fault(fault, now));
            }
            FlightResult::Abandoned if flight.permit == Permit::Probe => {
                self.breaker.cancel_probe();
            }
            FlightResult::Abandoned => {}
        }
        if let Some(shared) = flight.shared.as_ref().filter(|_| flight.has_lease) {
            aftermath.records.push(Record::erase(shared.lease_key()));
        }
        aftermath
    }

    /// The record to write; an empty one if these facts contradict the record that was read. That a
    /// token is inactive is written only to a slot that holds no active one, so that a spray of
    /// tokens evicts nothing.
    fn record(
        &self,
        flight: &FlightState,
        facts: &CachedFacts,
        policy: &Policy,
        now: Now,
    ) -> Option<Record> {
        let (store, shared) = (self.store.as_ref()?, flight.shared.as_ref()?);
        let is_shared = facts.facts.claims().is_some()
            || (flight.slot != SlotState::Occupied
                && policy.negative_ttl_seconds(&flight.context.requirements) > 0);
        let record = is_shared
            .then(|| store.record(shared, facts, now))
            .flatten();
        let erase =
            || (flight.slot == SlotState::SameToken).then(|| Record::erase(shared.facts_key()));
        record.or_else(erase)
    }
}

/// A call that had less time than this says nothing about the issuer if it gets no response.
pub(super) fn min_conclusive_wait(policy: &Policy) -> Duration {
    policy.timeout() / CONCLUSIVE_PART_OF_TIMEOUT
}

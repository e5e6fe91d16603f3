//! The way of a flight: shared store, lease, issuer.

use core::time::Duration;
#[cfg(feature = "jwt")]
use std::rc::Rc;
use std::sync::Arc;

use super::flight::{FlightFault, FlightResult, FlightState, Purpose, StoreRead};
use super::log_event::{LogEvent, LogThrottle};
use super::verdict::CacheStatus;
#[cfg(feature = "jwt")]
use crate::introspection::AssertionIds;
use crate::introspection::{
    self, CallFailure, Detail, Endpoint, Fault, Introspected, IntrospectionCall, IssuerResponse,
    ResponseContent,
};
#[cfg(feature = "jwt")]
use crate::jose::{NoSignatureHost, SignatureHost};
use crate::memory::{
    CachedFacts, CircuitBreaker, FactsCache, KnownTokens, Permit, ProbeFirst, Record, Rejected,
    SharedStore, SlotState, StoreKey, counts_as_fault,
};
use crate::policy::Policy;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::secret::AccessToken;
use crate::time::{Now, milliseconds};

/// Backoff while another instance introspects the same token: starts here, doubles up to
/// [`LONGEST_BACKOFF`].
pub(super) const INITIAL_BACKOFF: Duration = Duration::from_millis(2);
const LONGEST_BACKOFF: Duration = Duration::from_millis(16);

/// The token of the probe. No issuer ever issued it; a healthy one answers that it is not active.
const PROBE_TOKEN: &[u8] = b"trust-triangle-probe";

/// What a flight does next.
pub(super) enum Next {
    Introspect(IntrospectionCall),
    StoreGet(StoreKey),
    StoreCompareAndSwap(StoreKey, Vec<u8>),
    Sleep(Duration),
    /// Take a place among the calls, then [`Lookup::introspect`] again.
    Call,
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
    pub(super) known: KnownTokens,
    pub(super) store: Option<SharedStore>,
    pub(super) breaker: CircuitBreaker,
    pub(super) log: LogThrottle,
    /// How long the issuer took to answer, averaged over about the last eight calls. `None`: none was
    /// made yet.
    time_of_calls: Option<Duration>,
    #[cfg(feature = "jwt")]
    assertion_ids: AssertionIds,
    /// What verifies and signs in place of our own code.
    #[cfg(feature = "jwt")]
    pub(super) signature_host: Rc<dyn SignatureHost>,
    /// `None`: there is none, or it is not known yet.
    pub(super) endpoint: Option<Arc<Endpoint>>,
}

impl Lookup {
    /// `seed`: random bytes. `issuer`: its number.
    #[cfg_attr(
        not(feature = "jwt"),
        expect(unused_variables, reason = "for assertions")
    )]
    pub(super) fn new(policy: &Policy, seed: &[u8; 16], issuer: usize) -> Self {
        Self {
            cache: FactsCache::new(policy),
            known: KnownTokens::new(policy.cache_entries()),
            store: None,
            breaker: CircuitBreaker::new(policy.breaker_faults(), policy.probe_interval()),
            log: LogThrottle::new(policy.only_issuer()),
            time_of_calls: None,
            #[cfg(feature = "jwt")]
            assertion_ids: AssertionIds::new(seed, issuer),
            #[cfg(feature = "jwt")]
            signature_host: Rc::new(NoSignatureHost),
            endpoint: policy.endpoint().map(Arc::new),
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
            Some(facts) => {
                if facts.facts.claims().is_some() {
                    self.known.note(key, true);
                    flight.context.is_known = true;
                }
                self.cache.insert(key, facts);
            }
            None => {}
        }
        let requirements = &flight.context.requirements;
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
        let left = flight.time_left(now.monotonic);
        // The holder of the lease may be gone, so half of the time is reserved for our own call, unless
        // the issuer lately took longer: the holder is more likely to have its response in time.
        let is_enough = self.time_of_calls.unwrap_or_default() <= left;
        if left.is_zero() || (left <= policy.timeout() / 2 && is_enough) {
            return self.introspect(flight, policy, now);
        }
        if left <= policy.timeout() / 2 {
            // From now on it waits for the issuer, whom the holder has called.
            flight.result.note_call(now.monotonic);
        }
        let backoff = flight.backoff;
        flight.backoff = backoff.saturating_mul(2).min(LONGEST_BACKOFF);
        Next::Sleep(backoff)
    }

    /// Calls the issuer, if the circuit breaker allows it.
    #[inline]
    pub(super) fn introspect(
        &mut self,
        flight: &mut FlightState,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let context = &flight.context;
        if flight.time_left(now.monotonic).is_zero() {
            return Next::Finish(FlightResult::Abandoned);
        }
        if flight.place.is_none() {
            return match self.breaker.rejects(context.key, now) {
                Some(rejected) => Next::Finish(FlightResult::Fault(rejected.into())),
                None => Next::Call,
            };
        }
        let probe = ProbeFirst {
            ends: context.deadline,
            is_in_time: flight.time_left(now.monotonic) >= min_time_for_probe(policy),
            is_urgent: self.has_stale(flight, policy, now),
        };
        match self.breaker.admit(context.key, probe, now) {
            Ok(Permit::Normal) => self.call(flight, Purpose::Token, policy, now),
            Ok(Permit::ProbeFirst) => self.call(flight, Purpose::ProbeFirst, policy, now),
            Err(rejected) => Next::Finish(FlightResult::Fault(rejected.into())),
        }
    }

    fn has_stale(&self, flight: &FlightState, policy: &Policy, now: Now) -> bool {
        let context = &flight.context;
        (self.cache).has_stale(context.key, &context.requirements, policy, now)
    }

    #[inline]
    pub(super) fn responded(
        &mut self,
        flight: &mut FlightState,
        response: &IssuerResponse,
        content: ResponseContent,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let latency = flight.latency(now.monotonic);
        let called = flight.last_call.unwrap_or_default();
        self.note_time_of_call(flight.time_of_call(now.monotonic));
        let Some(endpoint) = &self.endpoint else {
            return Next::Finish(FlightResult::Fault(misconfigured().into()));
        };
        let credentials = endpoint.credentials_kind();
        let claims_header = policy.claims_header();
        let interpreted = introspection::interpret(response, content, claims_header, credentials);
        if !matches!(flight.purpose, Purpose::Token) {
            return self.probe_responded(flight, response, interpreted.err(), policy, now);
        }
        if response.status < 500 {
            self.breaker.note_answer(now);
        }
        let fault = match interpreted {
            Ok(Introspected {
                facts,
                error_status,
            }) => {
                self.breaker.record_response(called);
                let is_active = facts.claims().is_some();
                flight.event = self.log.introspected(is_active, error_status, now);
                return Next::Finish(FlightResult::Facts {
                    facts: CachedFacts {
                        facts: flight.context.confirmed(facts, policy.token_types()),
                        voucher: flight.context.voucher(),
                        called: milliseconds(called),
                    },
                    source: CacheStatus::Miss,
                    latency,
                });
            }
            Err(fault) => fault,
        };
        let mut retry_after = RETRY_AFTER_SECONDS;
        if let Some(wait) = introspection::requested_wait(response, now) {
            retry_after = introspection::retry_after_seconds(wait);
            (self.breaker).hold(flight.context.key, fault.reason(), wait, now);
        } else if counts_as_fault(response.status) {
            self.breaker.record_fault();
        } else {
            self.breaker.record_response(called);
        }
        let fault = FlightFault {
            fault,
            retry_after,
            latency,
            is_outage: false,
        };
        self.failed(flight, fault, policy, now)
    }

    /// The issuer responded with what nobody can read yet: whoever waits looks again at what is
    /// known.
    pub(super) fn responded_too_early(&mut self, flight: &FlightState, now: Now) -> Next {
        self.note_time_of_call(flight.time_of_call(now.monotonic));
        self.breaker.note_answer(now);
        (self.breaker).record_response(flight.last_call.unwrap_or_default());
        Next::Finish(FlightResult::Abandoned)
    }

    /// `fault`: what was wrong with the response.
    fn probe_responded(
        &mut self,
        flight: &mut FlightState,
        response: &IssuerResponse,
        fault: Option<Fault>,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let wait = introspection::requested_wait(response, now);
        let failed = fault.filter(|_| wait.is_some() || counts_as_fault(response.status));
        match (failed, flight.purpose) {
            (Some(fault), _) => {
                let probe = FlightFault {
                    fault,
                    retry_after: wait
                        .map_or(RETRY_AFTER_SECONDS, introspection::retry_after_seconds),
                    latency: flight.latency(now.monotonic),
                    is_outage: true,
                };
                self.probe_failed(flight, probe, wait, now)
            }
            // It fails for the token and for the probe.
            (None, Purpose::ProbeAfter(failed)) if response.status >= 500 => {
                Next::Finish(FlightResult::Fault(failed.in_outage()))
            }
            (None, Purpose::ProbeAfter(failed)) => {
                self.breaker.probe_answered(now);
                Next::Finish(FlightResult::Fault(failed))
            }
            (None, Purpose::ProbeFirst | Purpose::Token) => {
                self.breaker.probe_answered(now);
                flight.is_retry = false;
                if flight.time_left(now.monotonic).is_zero() {
                    return Next::Finish(FlightResult::Abandoned);
                }
                self.call(flight, Purpose::Token, policy, now)
            }
        }
    }

    /// `probe`: what happened to the probe.
    fn probe_failed(
        &mut self,
        flight: &FlightState,
        probe: FlightFault,
        wait: Option<Duration>,
        now: Now,
    ) -> Next {
        self.breaker.probe_failed(probe.fault.reason(), wait, now);
        Next::Finish(FlightResult::Fault(match flight.purpose {
            Purpose::ProbeAfter(failed) => failed.in_outage(),
            Purpose::ProbeFirst | Purpose::Token => probe,
        }))
    }

    pub(super) fn call_failed(
        &mut self,
        flight: &mut FlightState,
        failure: CallFailure,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let fault = FlightFault::from_call(failure, flight.latency(now.monotonic));
        if failure.reason() == Reason::IssuerTimeout {
            // The issuer takes longer than that, who knows how long.
            self.note_time_of_call(flight.time_of_call(now.monotonic).saturating_mul(2));
        }
        let is_conclusive = flight.had_at_least(min_conclusive_wait(policy));
        match (failure.reason(), flight.purpose) {
            (Reason::IssuerCallDenied, _) => {
                self.breaker.cancel_probe();
                Next::Finish(FlightResult::Fault(fault))
            }
            (Reason::IssuerTimeout, Purpose::ProbeFirst | Purpose::Token) if !is_conclusive => {
                Next::Finish(FlightResult::Abandoned)
            }
            (Reason::IssuerTimeout, Purpose::ProbeAfter(failed)) if !is_conclusive => {
                Next::Finish(FlightResult::Fault(failed))
            }
            // Retry once, and never after a response: the issuer may have closed an idle connection
            // just as the call went out on it.
            (Reason::IssuerUnreachable, purpose)
                if !flight.is_retry && !flight.time_left(now.monotonic).is_zero() =>
            {
                flight.is_retry = true;
                self.call(flight, purpose, policy, now)
            }
            (_, Purpose::ProbeFirst | Purpose::ProbeAfter(_)) => {
                self.probe_failed(flight, fault.in_outage(), None, now)
            }
            (_, Purpose::Token) => {
                self.breaker.record_fault();
                self.failed(flight, fault, policy, now)
            }
        }
    }

    /// The call about the token failed. If stale facts could be used, the probe tells whether the
    /// issuer is down: what it does to one token is no outage.
    fn failed(
        &mut self,
        flight: &mut FlightState,
        fault: FlightFault,
        policy: &Policy,
        now: Now,
    ) -> Next {
        let fault = FlightFault {
            is_outage: self.breaker.is_open(),
            ..fault
        };
        if fault.is_outage
            || !fault.fault.reason().is_outage()
            || !self.may_probe(flight, policy, now)
        {
            return Next::Finish(FlightResult::Fault(fault));
        }
        flight.is_retry = false;
        self.call(flight, Purpose::ProbeAfter(fault), policy, now)
    }

    /// Whether a probe after the call about the token could tell something new, and in time.
    fn may_probe(&self, flight: &FlightState, policy: &Policy, now: Now) -> bool {
        let called = flight.last_call.unwrap_or_default();
        flight.time_left(now.monotonic) >= min_time_for_probe(policy)
            && !self.breaker.has_answered_since(called)
            && self.has_stale(flight, policy, now)
    }

    /// Calls the issuer for this purpose, with all the time that is left.
    #[inline]
    fn call(
        &mut self,
        flight: &mut FlightState,
        purpose: Purpose,
        policy: &Policy,
        now: Now,
    ) -> Next {
        flight.purpose = purpose;
        flight.result.note_call(now.monotonic);
        flight.last_call = Some(now.monotonic);
        let probe;
        let token = match purpose {
            Purpose::Token => &*flight.context.token,
            Purpose::ProbeFirst | Purpose::ProbeAfter(_) => {
                probe = AccessToken::new(PROBE_TOKEN);
                &probe
            }
        };
        let Some(endpoint) = &self.endpoint else {
            return Next::Finish(FlightResult::Fault(misconfigured().into()));
        };
        let left = flight.time_left(now.monotonic);
        #[cfg(feature = "jwt")]
        let assertion = {
            let ids = &mut self.assertion_ids;
            endpoint.assertion(ids, &*self.signature_host, now)
        };
        #[cfg(not(feature = "jwt"))]
        let assertion = None;
        Next::Introspect(IntrospectionCall::new(
            Arc::clone(endpoint),
            token,
            assertion,
            flight.context.traceparent.clone(),
            policy.timeouts(left),
        ))
    }

    fn note_time_of_call(&mut self, took: Duration) {
        let average = |before: Duration| before.saturating_mul(7).saturating_add(took) / 8;
        self.time_of_calls = Some(self.time_of_calls.map_or(took, average));
    }

    /// The least time with which a call is worth its place: what the issuer lately took, as long as
    /// that is no more than half of the timeout.
    pub(super) fn min_time_for_call(&self, policy: &Policy) -> Duration {
        self.time_of_calls
            .unwrap_or_default()
            .min(policy.timeout() / 2)
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
                let is_active = facts.facts.claims().is_some();
                self.known.note(flight.context.key, is_active);
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
            FlightResult::Abandoned => {
                if matches!(flight.purpose, Purpose::ProbeFirst) {
                    self.breaker.cancel_probe();
                }
            }
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

/// Nothing introspects where there is no endpoint.
const fn misconfigured() -> Fault {
    Fault::new(Reason::Misconfigured, Detail::None)
}

impl From<Fault> for FlightFault {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            retry_after: RETRY_AFTER_SECONDS,
            latency: None,
            is_outage: false,
        }
    }
}

impl From<Rejected> for FlightFault {
    fn from(rejected: Rejected) -> Self {
        Self {
            fault: Fault::new(rejected.reason, Detail::None),
            retry_after: rejected.retry_after,
            latency: None,
            is_outage: rejected.is_outage,
        }
    }
}

/// The least time with which a probe is sent.
fn min_time_for_probe(policy: &Policy) -> Duration {
    policy.timeout() * 9 / 20
}

/// A call that had less time than this and got no answer says nothing about the issuer, which may
/// only be slow. A little less than the whole, since a host may send a call late.
fn min_conclusive_wait(policy: &Policy) -> Duration {
    policy.timeout() * 9 / 10
}

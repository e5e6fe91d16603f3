//! The loop of every request: begin, lead or join a flight, resume.

use std::sync::Arc;

use super::audit::{self, AuditContext};
use super::flight::{
    Flight, FlightFault, FlightResult, FlightState, FlightTable, Parked, PendingRequest,
    RequestContext, StoreRead,
};
use super::log_event::LogEvent;
use super::lookup::{INITIAL_BACKOFF, Lookup, Next, min_conclusive_wait};
use super::protocol::{
    Action, AwaitingResponse, AwaitingSwap, AwaitingValue, AwaitingWake, Finished, Progress, Step,
    StoreFailed,
};
use super::verdict::{CacheStatus, Verdict, VerdictContext};
use crate::decision::{Decision, Refusal, RouteAccess, decide, route_access};
use crate::introspection::{CallFailure, Facts, IssuerResponse};
use crate::memory::{Digests, Permit, SharedStore, Sharing, SlotState, TokenKeys};
use crate::policy::Policy;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::request::{RequestHead, bearer, traceparent};
use crate::secret::AccessToken;
use crate::time::Now;

/// The auth check of one policy. `W` is what the host wakes a parked request with.
pub struct AuthCheck<W> {
    policy: Policy,
    keys: TokenKeys,
    /// `None`: no audit lines are written.
    digests: Option<Digests>,
    lookup: Lookup,
    flights: FlightTable<W>,
}

/// The issuer is unavailable for a request.
#[derive(Clone, Copy)]
struct Unavailable {
    reason: Reason,
    /// In seconds.
    retry_after: u32,
    latency: Option<core::time::Duration>,
    /// Whether the issuer is known to be down, so that `stale_if_error` applies.
    is_outage: bool,
}

impl From<&FlightFault> for Unavailable {
    fn from(fault: &FlightFault) -> Self {
        let reason = fault.fault.reason();
        Self {
            reason,
            retry_after: fault.retry_after,
            latency: fault.latency,
            is_outage: reason.is_outage(),
        }
    }
}

impl<W> AuthCheck<W> {
    /// `seed`: random bytes for the keyed hash that identifies tokens in memory.
    #[must_use]
    pub fn new(policy: Policy, seed: [u8; 16]) -> Self {
        Self {
            keys: TokenKeys::new(&seed),
            digests: policy.audits().then(|| Digests::new(&policy)).flatten(),
            lookup: Lookup::new(&policy),
            flights: FlightTable::new(),
            policy,
        }
    }

    /// Shares facts with other instances through the host's store, if the policy caches any.
    #[must_use]
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.lookup.store = SharedStore::new(&self.policy, sharing);
        self
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A request has arrived.
    pub fn begin(&mut self, request: &RequestHead<'_>, now: Now) -> Step {
        let context = VerdictContext {
            host: request.authority,
            ..VerdictContext::default()
        };
        let requirements = match route_access(request, &self.policy) {
            RouteAccess::NeedsToken(requirements) => requirements,
            RouteAccess::Decided(decision) => return self.done(decision, context, None, now),
        };
        let token = match bearer::token(request, self.policy.max_token_bytes()) {
            Ok(token) => token,
            Err(reason) => {
                let refused = Decision::Refused(Refusal::new(reason, requirements));
                return self.done(refused, context, None, now);
            }
        };
        let key = self.keys.key(token);
        if let Some(facts) = (self.lookup.cache).fresh(key, &requirements, &self.policy, now) {
            let decision = decide(facts, &requirements, &self.policy, now.unix_seconds());
            let context = VerdictContext {
                token: Some(token),
                claims: facts.claims(),
                cache: Some(CacheStatus::Hit),
                ..context
            };
            let event = (self.lookup.log).decided(&decision, context.claims, &requirements, now);
            return self.done(decision, context, event, now);
        }
        let host = request.authority.filter(|_| self.policy.audits());
        let context = RequestContext {
            key,
            token: Arc::new(AccessToken::new(token)),
            requirements,
            deadline: now.monotonic.saturating_add(self.policy.timeout()),
            traceparent: traceparent::parent(request.traceparent),
            host: host.map(Into::into),
        };
        self.lead_or_join(context, now)
    }

    /// Parks a request until its flight finishes; `waker` is then in [`Finished::woken`].
    pub fn park(&mut self, request: &PendingRequest, waker: W) -> Parked<W> {
        self.flights.park(request, waker)
    }

    /// The issuer responded, with any status, or the call failed.
    pub fn responded(
        &mut self,
        ticket: AwaitingResponse,
        response: Result<IssuerResponse, CallFailure>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingResponse(mut flight) = ticket;
        let (state, policy) = (&mut *flight.0, &self.policy);
        let next = match response {
            Ok(response) => Next::Finish(self.lookup.responded(state, &response, policy, now)),
            Err(failure) => self.lookup.call_failed(state, failure, policy, now),
        };
        self.advance(flight, next, now)
    }

    /// The shared store returned the value of the key, if there is one.
    pub fn store_read(
        &mut self,
        ticket: AwaitingValue,
        value: Result<Option<Vec<u8>>, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingValue(mut flight) = ticket;
        let (state, policy) = (&mut *flight.0, &self.policy);
        let next = match value {
            Ok(value) => self.lookup.store_read(state, value.as_deref(), policy, now),
            Err(StoreFailed) => self.lookup.store_failed(state, policy, now),
        };
        self.advance(flight, next, now)
    }

    /// The shared store wrote the value (`true`), or found that the key had changed.
    pub fn store_swapped(
        &mut self,
        ticket: AwaitingSwap,
        swapped: Result<bool, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingSwap(mut flight) = ticket;
        let (state, policy) = (&mut *flight.0, &self.policy);
        let next = match swapped {
            Ok(is_ours) => self.lookup.lease_swapped(state, is_ours, policy, now),
            Err(StoreFailed) => self.lookup.store_failed(state, policy, now),
        };
        self.advance(flight, next, now)
    }

    /// The time of an [`Action::Sleep`] is over.
    pub fn woke(&mut self, ticket: AwaitingWake, now: Now) -> Progress<W> {
        let AwaitingWake(mut flight) = ticket;
        let next = self.lookup.start(&mut flight.0, &self.policy, now);
        self.advance(flight, next, now)
    }

    /// The host gives a flight up, because its request was cancelled. The parked requests start
    /// over when they are resumed.
    pub fn abandon(&mut self, flight: impl Into<Flight>, now: Now) -> Finished<W> {
        self.finish(flight.into(), FlightResult::Abandoned, now)
    }

    /// Continues a request whose flight has finished or whose deadline has come. Too early, it is
    /// returned to be parked again.
    pub fn resume(&mut self, request: PendingRequest, now: Now) -> Step {
        let context = &request.context;
        match request.result.get() {
            Some(FlightResult::Facts {
                facts,
                source,
                latency,
            }) => {
                // A fresh response satisfies any `ttl`; a shared record must still be young enough
                // for this route.
                if *source == CacheStatus::Shared
                    && !facts.is_fresh(&context.requirements, &self.policy, now)
                {
                    return self.lead_or_join(request.context, now);
                }
                let verdict = VerdictContext {
                    cache: Some(if request.leads {
                        *source
                    } else {
                        CacheStatus::Collapsed
                    }),
                    latency: *latency,
                    ..context.into()
                };
                self.decided(context, &facts.facts, verdict, now)
            }
            Some(FlightResult::Fault(fault)) => self.unavailable(&request, fault.into(), now),
            Some(FlightResult::Abandoned) => self.lead_or_join(request.context, now),
            None if now.monotonic >= context.deadline => self.on_deadline(&request, now),
            None => Step::Join(request),
        }
    }

    /// Whether these bytes of the shared store are an expired record of ours, which the host may
    /// erase.
    #[must_use]
    pub fn has_expired(&self, bytes: &[u8], now: Now) -> bool {
        let store = self.lookup.store.as_ref();
        store.is_some_and(|store| store.has_expired(bytes, now))
    }

    fn lead_or_join(&mut self, context: RequestContext, now: Now) -> Step {
        let joined = self.flights.in_progress(context.key);
        let request = PendingRequest {
            context,
            leads: joined.is_none(),
            result: joined.map(Arc::clone).unwrap_or_default(),
        };
        if now.monotonic >= request.deadline() {
            return self.on_deadline(&request, now);
        }
        if !request.leads {
            // With the circuit open, only the request that probes waits for the issuer.
            let is_calling = request.result.first_call().is_some();
            let rejected = self.lookup.breaker.rejects(request.context.key, now);
            return match rejected.filter(|_| is_calling) {
                Some(rejected) => {
                    let unavailable = Unavailable {
                        reason: rejected.reason,
                        retry_after: rejected.retry_after,
                        latency: None,
                        is_outage: rejected.reason.is_outage(),
                    };
                    self.unavailable(&request, unavailable, now)
                }
                None => Step::Join(request),
            };
        }
        self.lead(request, now)
    }

    fn lead(&mut self, request: PendingRequest, now: Now) -> Step {
        let context = &request.context;
        self.flights.start(context.key, Arc::clone(&request.result));
        let store = self.lookup.store.as_ref();
        let mut flight = Flight(Box::new(FlightState {
            context: context.clone(),
            result: Arc::clone(&request.result),
            shared: store
                .filter(|store| !store.is_cooling_down(now))
                .map(|store| store.token(context.token.secret())),
            reads: StoreRead::Facts,
            last_call: None,
            is_retry: false,
            permit: Permit::Normal,
            has_lease: false,
            slot: SlotState::Occupied,
            backoff: INITIAL_BACKOFF,
            event: None,
        }));
        let next = self.lookup.start(&mut flight.0, &self.policy, now);
        match self.advance(flight, next, now) {
            Progress::Continue(action) => Step::Lead(request, action),
            // No other request can have joined yet.
            Progress::Finished(_) => self.resume(request, now),
        }
    }

    fn advance(&mut self, flight: Flight, next: Next, now: Now) -> Progress<W> {
        Progress::Continue(match next {
            Next::Introspect(call) => Action::Introspect(AwaitingResponse(flight), call),
            Next::StoreGet(key) => Action::StoreGet(AwaitingValue(flight), key),
            Next::StoreCompareAndSwap(key, value) => {
                Action::StoreCompareAndSwap(AwaitingSwap(flight), key, value)
            }
            Next::Sleep(time) => Action::Sleep(AwaitingWake(flight), time),
            Next::Finish(result) => return Progress::Finished(self.finish(flight, result, now)),
        })
    }

    fn finish(&mut self, mut flight: Flight, result: FlightResult, now: Now) -> Finished<W> {
        let state = &mut *flight.0;
        let aftermath = self.lookup.finish(state, &result, &self.policy, now);
        state.result.set(result);
        Finished {
            woken: self.flights.finish(state.context.key, &state.result),
            records: aftermath.records,
            sweep: aftermath.sweep,
            fault: aftermath.fault,
            event: aftermath.event,
        }
    }

    /// The deadline has passed. It counts as an outage only if a call was pending long enough.
    fn on_deadline(&mut self, request: &PendingRequest, now: Now) -> Step {
        let first_call = self.flights.first_call(request.context.key);
        let waited = first_call.map(|first| now.monotonic.saturating_sub(first));
        let unavailable = Unavailable {
            reason: Reason::IssuerTimeout,
            retry_after: RETRY_AFTER_SECONDS,
            latency: None,
            is_outage: waited.is_some_and(|waited| waited >= min_conclusive_wait(&self.policy)),
        };
        self.unavailable(request, unavailable, now)
    }

    /// Decides from stale facts where `stale_if_error` allows that; else refuses.
    fn unavailable(
        &mut self,
        request: &PendingRequest,
        unavailable: Unavailable,
        now: Now,
    ) -> Step {
        let context = &request.context;
        let latency = unavailable.latency;
        if unavailable.is_outage
            && let Some(facts) =
                (self.lookup.cache).stale(context.key, &context.requirements, &self.policy, now)
        {
            let verdict = VerdictContext {
                cache: Some(CacheStatus::Stale),
                latency,
                ..context.into()
            };
            return self.decided(context, &facts, verdict, now);
        }
        let refusal = Refusal::new(unavailable.reason, Arc::clone(&context.requirements))
            .retry_after(unavailable.retry_after);
        let verdict = VerdictContext {
            cache: Some(if request.leads {
                CacheStatus::Miss
            } else {
                CacheStatus::Collapsed
            }),
            latency,
            ..context.into()
        };
        let event = self.lookup.log.unavailable(unavailable.reason, now);
        self.done(Decision::Refused(refusal), verdict, event, now)
    }

    fn decided(
        &mut self,
        context: &RequestContext,
        facts: &Facts,
        verdict: VerdictContext<'_>,
        now: Now,
    ) -> Step {
        let requirements = &context.requirements;
        let decision = decide(facts, requirements, &self.policy, now.unix_seconds());
        let claims = facts.claims();
        let event = if verdict.cache == Some(CacheStatus::Stale) {
            self.lookup.log.stale(now)
        } else {
            (self.lookup.log).decided(&decision, claims, requirements, now)
        };
        self.done(decision, VerdictContext { claims, ..verdict }, event, now)
    }

    fn done(
        &self,
        decision: Decision,
        context: VerdictContext<'_>,
        event: Option<LogEvent>,
        now: Now,
    ) -> Step {
        let audit = self.policy.audits().then(|| {
            let digests = self.digests.as_ref();
            let context = AuditContext {
                fingerprint: (context.token.zip(digests))
                    .map(|(token, digests)| digests.fingerprint(token)),
                verdict: context,
                unix: now.unix,
            };
            audit::line(&decision, context)
        });
        let audit = audit.flatten();
        Step::Done(Verdict {
            decision,
            cache: context.cache,
            issuer_latency: context.latency,
            event,
            audit,
        })
    }
}

impl<'a> From<&'a RequestContext> for VerdictContext<'a> {
    fn from(context: &'a RequestContext) -> Self {
        Self {
            host: context.host.as_deref(),
            token: Some(context.token.secret()),
            ..Self::default()
        }
    }
}

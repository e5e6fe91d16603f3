//! The loop of every request to one issuer: begin, lead or join a flight, resume.

use core::time::Duration;
use std::sync::Arc;

use super::admission::{Admission, Place};
use super::audit::{self, AuditContext};
#[cfg(feature = "jwt")]
use super::documents::{Documents, Need};
use super::flight::{
    About, Flight, FlightFault, FlightResult, FlightState, FlightTable, NextTurn, Parked,
    PendingRequest, Presented, Purpose, RequestContext, SharedResult, StoreRead,
};
use super::log_event::LogEvent;
use super::lookup::{INITIAL_BACKOFF, Lookup, Next};
#[cfg(feature = "jwt")]
use super::proofs::{GoodProof, Proofs, Unproved};
use super::protocol::{
    Action, AwaitingResponse, AwaitingSwap, AwaitingValue, AwaitingWake, Finished, Progress, Step,
    StoreFailed,
};
use super::unavailable::Unavailable;
use super::verdict::{CacheStatus, Verdict, VerdictContext};
#[cfg(not(feature = "jwt"))]
use super::without_jwt::{Documents, Need};
use crate::decision::{Decision, Possession, Refusal, RouteAccess, decide, route_access};
#[cfg(not(feature = "jwt"))]
use crate::introspection::ResponseContent;
use crate::introspection::{CallFailure, Facts, IssuerResponse};
#[cfg(feature = "jwt")]
use crate::memory::Voucher;
use crate::memory::{DerivedKeys, SharedStore, Sharing, SlotState, TokenKey, TokenKeys};
use crate::policy::{Policy, Requirements};
use crate::reason::Reason;
use crate::request::{Credentials, RequestHead, Scheme, bearer, traceparent};
use crate::secret::AccessToken;
use crate::time::Now;

/// A token of no issuer of the policy.
#[cfg(feature = "jwt")]
pub(super) struct Foreign<'r> {
    pub(super) credentials: Credentials<'r>,
    pub(super) reason: Reason,
    pub(super) requirements: Arc<Requirements>,
    /// What it names.
    pub(super) issuer: Option<String>,
}

/// What a request waits for.
enum Wait {
    /// This flight.
    Flight(About),
    /// The issuer's word on a token whose signature was verified.
    #[cfg(feature = "jwt")]
    Confirm(Facts, Voucher),
    #[cfg(feature = "jwt")]
    Unavailable(Unavailable),
}

/// The auth check of one issuer.
pub(super) struct IssuerCheck<W> {
    /// Its position among the issuers of the policy.
    pub(super) number: usize,
    pub(super) policy: Arc<Policy>,
    token_keys: TokenKeys,
    /// `None`: nothing needs them.
    derived_keys: Option<DerivedKeys>,
    pub(super) documents: Documents,
    pub(super) lookup: Lookup,
    pub(super) flights: FlightTable<W>,
    admission: Admission,
    #[cfg(feature = "jwt")]
    proofs: Proofs,
}

impl<W> IssuerCheck<W> {
    pub(super) fn new(policy: Arc<Policy>, number: usize, seed: [u8; 16]) -> Self {
        let derived_keys = (policy.needs_derived_keys())
            .then(|| DerivedKeys::new(&policy))
            .flatten();
        Self {
            number,
            documents: Documents::new(&policy),
            token_keys: TokenKeys::new(&seed),
            #[cfg(feature = "jwt")]
            proofs: Proofs::new(&policy, derived_keys.as_ref()),
            derived_keys,
            lookup: Lookup::new(&policy, &seed, number),
            flights: FlightTable::new(),
            admission: Admission::new(&policy),
            policy,
        }
    }

    pub(super) fn share(&mut self, sharing: Sharing) {
        let keys = self.derived_keys.clone();
        self.lookup.store = SharedStore::new(&self.policy, sharing, keys, self.number);
    }

    pub(super) fn pause_sharing(&mut self, is_paused: bool) {
        if let Some(store) = &mut self.lookup.store {
            store.pause(is_paused);
        }
    }

    #[cfg(not(feature = "jwt"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    const fn need(&mut self, presented: &Presented<'_>, _: Now) -> Need {
        Need::Flight(About::Token(presented.key))
    }

    /// No response is signed.
    #[cfg(not(feature = "jwt"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    const fn open(&self, _: &FlightState, _: &IssuerResponse, _: Now) -> Option<ResponseContent> {
        Some(ResponseContent::Plain)
    }

    /// A request has arrived.
    pub(super) fn begin(&mut self, request: &RequestHead<'_>, now: Now) -> Step<W> {
        let context = VerdictContext {
            host: request.authority,
            ..VerdictContext::default()
        };
        let requirements = match route_access(request, &self.policy) {
            RouteAccess::NeedsToken(requirements) => requirements,
            RouteAccess::Decided(decision) => return self.done(decision, context, None, now),
        };
        let max_bytes = self.policy.max_token_bytes();
        let accepts_dpop = self.policy.accepts_dpop();
        let credentials = match bearer::credentials(request, max_bytes, accepts_dpop) {
            Ok(credentials) => credentials,
            Err(reason) => {
                let refused = Decision::Refused(Refusal::new(reason, requirements));
                return self.done(refused, context, None, now);
            }
        };
        let key = self.key(credentials.token);
        self.begin_with(request, requirements, credentials, key, now)
    }

    /// The key that stands for this token, which is the same for all issuers.
    pub(super) fn key(&self, token: &[u8]) -> TokenKey {
        self.token_keys.key(token)
    }

    /// Whether a key vouches for the facts about this token in memory, however old they are.
    #[cfg(feature = "jwt")]
    pub(super) fn has_verified(&self, key: TokenKey) -> bool {
        self.lookup.cache.voucher(key).is_some_and(Voucher::is_key)
    }

    /// A request has arrived that needs a token and has one. `key`: of its token.
    pub(super) fn begin_with(
        &mut self,
        request: &RequestHead<'_>,
        requirements: Arc<Requirements>,
        credentials: Credentials<'_>,
        key: TokenKey,
        now: Now,
    ) -> Step<W> {
        let context = VerdictContext {
            host: request.authority,
            ..VerdictContext::default()
        };
        let token = credentials.token;
        let possession = self.possession(request, credentials.scheme);
        #[cfg(feature = "jwt")]
        let (possession, proof) = match self.proof(request, &credentials, now) {
            Ok(None) => (possession, None),
            Ok(Some(proof)) => {
                let dpop_key = Some(proof.key);
                (
                    Possession {
                        dpop_key,
                        ..possession
                    },
                    Some(proof.id),
                )
            }
            Err(unproved) => {
                let event = unproved.event(&mut self.lookup.log, now);
                let refusal = unproved.refusal(requirements, credentials.scheme);
                let context = VerdictContext {
                    token: Some(token),
                    ..context
                };
                return self.done(Decision::Refused(refusal), context, event, now);
            }
        };
        let vouchers = self.documents.vouchers();
        let cache = &self.lookup.cache;
        if let Some(facts) = cache.fresh(key, &requirements, vouchers, &self.policy, now) {
            let unix = now.unix_seconds();
            let decision = decide(facts, &requirements, &possession, &self.policy, unix);
            #[cfg(feature = "jwt")]
            let decision = (self.proofs).spend(decision, proof, &requirements, &self.policy, now);
            let context = VerdictContext {
                token: Some(token),
                claims: facts.claims(),
                cache: Some(CacheStatus::Hit),
                ..context
            };
            let event = (self.lookup.log).decided(&decision, context.claims, &requirements, now);
            return self.done(decision, context, event, now);
        }
        let presented = Presented {
            key,
            token,
            requirements: &requirements,
            possession: &possession,
            #[cfg(feature = "jwt")]
            proof,
            deadline: now.monotonic.saturating_add(self.policy.timeout()),
            host: request.authority.filter(|_| self.policy.audits()),
        };
        // A token that is verified here does not wait, and is not copied.
        let wait = match self.answer(&presented, now) {
            Ok(step) => return step,
            Err(wait) => wait,
        };
        let (deadline, host) = (presented.deadline, presented.host.map(Into::into));
        let context = RequestContext {
            issuer: self.number,
            key,
            token: Arc::new(AccessToken::new(token)),
            requirements,
            possession,
            #[cfg(feature = "jwt")]
            proof,
            deadline,
            traceparent: traceparent::parent(request.traceparent),
            host,
            is_known: self.lookup.known.contains(key),
            #[cfg(feature = "jwt")]
            verified: None,
        };
        let place = self.admission.waiting.take(context.is_known);
        self.wait(context, wait, place, now)
    }

    /// A token of no issuer of the policy.
    #[cfg(feature = "jwt")]
    pub(super) fn refuse(
        &mut self,
        foreign: Foreign<'_>,
        request: &RequestHead<'_>,
        now: Now,
    ) -> Step<W> {
        let Foreign {
            credentials,
            reason,
            requirements,
            issuer,
        } = foreign;
        let event = (self.lookup.log).foreign(reason, issuer.as_deref(), &requirements, now);
        let refusal = Refusal::new(reason, requirements).of(credentials.scheme);
        let context = VerdictContext {
            host: request.authority,
            token: Some(credentials.token),
            ..VerdictContext::default()
        };
        // The event is about none of the issuers, so none is named.
        Step::Done(self.verdict(Decision::Refused(refusal), context, event, now))
    }

    /// What the request shows about the keys of its caller.
    fn possession(&self, request: &RequestHead<'_>, scheme: Scheme) -> Possession {
        let format = self.policy.bound_tokens().certificate_format();
        Possession {
            scheme,
            dpop_key: None,
            certificate: format.and_then(|format| format.sha256(request.client_certificate)),
        }
    }

    /// Its DPoP proof. `None`: it needs none.
    #[cfg(feature = "jwt")]
    fn proof(
        &self,
        request: &RequestHead<'_>,
        credentials: &Credentials<'_>,
        now: Now,
    ) -> Result<Option<GoodProof>, Unproved> {
        let Some(dpop) = self.policy.dpop() else {
            return Ok(None);
        };
        let host = &*self.lookup.signature_host;
        self.proofs
            .check(request, credentials, dpop, &self.token_keys, host, now)
    }

    /// Parks a request until its flight finishes; `waker` is then in [`Finished::woken`].
    pub(super) fn park(&mut self, request: &PendingRequest, waker: W) -> Parked<W> {
        self.flights.park(request, waker)
    }

    /// The issuer responded, with any status, or the call failed.
    pub(super) fn responded(
        &mut self,
        mut flight: Flight,
        response: Result<IssuerResponse, CallFailure>,
        now: Now,
    ) -> Progress<W> {
        let state = &mut *flight.0;
        let next = match response {
            Ok(response) => match self.open(state, &response, now) {
                Some(content) => {
                    (self.lookup).responded(state, &response, content, &self.policy, now)
                }
                None => self.lookup.responded_too_early(state, now),
            },
            Err(failure) => (self.lookup).call_failed(state, failure, &self.policy, now),
        };
        self.advance(flight, next, now)
    }

    /// The shared store returned the value of the key, if there is one.
    pub(super) fn store_read(
        &mut self,
        mut flight: Flight,
        value: Result<Option<Vec<u8>>, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let (state, policy) = (&mut *flight.0, &self.policy);
        let next = match value {
            Ok(value) => self.lookup.store_read(state, value.as_deref(), policy, now),
            Err(StoreFailed) => self.lookup.store_failed(state, policy, now),
        };
        self.advance(flight, next, now)
    }

    /// The shared store wrote the value (`true`), or found that the key had changed.
    pub(super) fn store_swapped(
        &mut self,
        mut flight: Flight,
        swapped: Result<bool, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let (state, policy) = (&mut *flight.0, &self.policy);
        let next = match swapped {
            Ok(is_ours) => self.lookup.lease_swapped(state, is_ours, policy, now),
            Err(StoreFailed) => self.lookup.store_failed(state, policy, now),
        };
        self.advance(flight, next, now)
    }

    /// The time of an [`Action::Sleep`] is over.
    pub(super) fn woke(&mut self, mut flight: Flight, now: Now) -> Progress<W> {
        let next = self.lookup.start(&mut flight.0, &self.policy, now);
        self.advance(flight, next, now)
    }

    /// The host gives a flight up, because its request was cancelled. The parked requests start
    /// over when they are resumed.
    pub(super) fn abandon(&mut self, flight: Flight, now: Now) -> Finished<W> {
        self.finish(flight, FlightResult::Abandoned, now)
    }

    /// The caller of a waiting request has left. Returns the wakers of requests to resume.
    #[must_use = "these requests would wait until their deadline"]
    pub(super) fn leave(&mut self, request: PendingRequest, now: Now) -> Finished<W> {
        drop(request);
        let mut finished = Finished::default();
        self.next_turns(&mut finished, now);
        finished
    }

    /// Whether this request waits because there are too many calls.
    #[must_use]
    pub(super) fn is_queued(&self, request: &PendingRequest) -> bool {
        self.flights.is_queued(request.result.about())
    }

    /// Whether any request waits for this call. One that nobody waits for need not be sent:
    /// [`abandon`](Self::abandon) its flight.
    #[must_use]
    pub(super) fn is_awaited(&self, flight: &Flight) -> bool {
        self.flights.is_awaited(&flight.0)
    }

    /// Continues a request whose flight has finished, whose turn to call has come, or whose deadline
    /// has come. Too early, it is returned to be parked again.
    pub(super) fn resume(&mut self, request: PendingRequest, now: Now) -> Step<W> {
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
                    return self.lead_or_join_again(request, now);
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
                self.decided(&context.presented(), &facts.facts, verdict, now)
            }
            Some(FlightResult::Fault(fault)) => {
                // Nobody called.
                let leads = request.leads || fault.fault.reason() == Reason::TooBusy;
                self.unavailable(context, leads, fault.into(), now)
            }
            Some(FlightResult::Abandoned) => self.start_over(request, now),
            None => match self.flights.take_over(&request) {
                Some(flight) => self.take_over(request, flight, now),
                None if now.monotonic >= context.deadline => self.on_deadline(&request, now),
                None => Step::Join(request),
            },
        }
    }

    /// Whether these bytes of the shared store are an expired record of ours, which the host may
    /// erase.
    #[must_use]
    pub(super) fn has_expired(&self, bytes: &[u8], now: Now) -> bool {
        let store = self.lookup.store.as_ref();
        store.is_some_and(|store| store.has_expired(bytes, now))
    }

    /// The flight ended without a result.
    fn start_over(&mut self, request: PendingRequest, now: Now) -> Step<W> {
        let context = &request.context;
        let (cache, requirements) = (&self.lookup.cache, &context.requirements);
        let vouchers = self.documents.vouchers();
        // Another flight may have had a result since.
        let Some(facts) = cache.fresh(context.key, requirements, vouchers, &self.policy, now)
        else {
            return self.lead_or_join_again(request, now);
        };
        let facts = facts.clone();
        let verdict = VerdictContext {
            cache: Some(CacheStatus::Hit),
            ..context.into()
        };
        self.decided(&context.presented(), &facts, verdict, now)
    }

    fn lead_or_join_again(&mut self, request: PendingRequest, now: Now) -> Step<W> {
        if !matches!(request.result.about(), About::Token(_)) {
            // With keys, a token is verified without a call, however late the host resumes it.
            return self.lead_or_join(request.context, request.place, now);
        }
        // Otherwise its call would not end in time, and everybody who comes would wait for that.
        let needed = match self.flights.in_progress(About::Token(request.context.key)) {
            Some(_) => Duration::ZERO,
            None => self.lookup.min_time_for_call(&self.policy),
        };
        if now.monotonic.saturating_add(needed) >= request.deadline() {
            return self.on_deadline(&request, now);
        }
        self.lead_or_join(request.context, request.place, now)
    }

    fn lead_or_join(&mut self, context: RequestContext, place: Place, now: Now) -> Step<W> {
        match self.answer(&context.presented(), now) {
            Ok(step) => step,
            Err(wait) => self.wait(context, wait, Some(place), now),
        }
    }

    /// Answers a request if nobody has to be asked about its token, else tells what it needs.
    fn answer(&mut self, presented: &Presented<'_>, now: Now) -> Result<Step<W>, Wait> {
        match self.need(presented, now) {
            Need::Flight(about) => Err(Wait::Flight(about)),
            #[cfg(feature = "jwt")]
            Need::Confirm(facts, voucher) => Err(Wait::Confirm(facts, voucher)),
            #[cfg(feature = "jwt")]
            Need::Unavailable(unavailable) => Err(Wait::Unavailable(unavailable)),
            #[cfg(feature = "jwt")]
            Need::Facts(facts) => {
                let verdict = VerdictContext {
                    cache: Some(CacheStatus::Verified),
                    ..presented.into()
                };
                Ok(self.decided(presented, &facts, verdict, now))
            }
            #[cfg(feature = "jwt")]
            Need::Refuse(reason, event) => {
                let refusal = Refusal::new(reason, Arc::clone(presented.requirements))
                    .of(presented.possession.scheme);
                let refused = Decision::Refused(refusal);
                Ok(self.done(refused, presented.into(), event, now))
            }
        }
    }

    /// `place`: none is free, so the request cannot wait.
    #[cfg_attr(
        not(feature = "jwt"),
        expect(unused_mut, reason = "nothing is verified")
    )]
    fn wait(
        &mut self,
        mut context: RequestContext,
        wait: Wait,
        place: Option<Place>,
        now: Now,
    ) -> Step<W> {
        #[cfg_attr(
            not(feature = "jwt"),
            expect(
                clippy::infallible_destructuring_match,
                reason = "there is one way only"
            )
        )]
        let about = match wait {
            Wait::Flight(about) => about,
            #[cfg(feature = "jwt")]
            Wait::Confirm(facts, voucher) => {
                context.verified = Some((facts, voucher));
                About::Token(context.key)
            }
            #[cfg(feature = "jwt")]
            Wait::Unavailable(unavailable) => {
                return self.unavailable(&context, true, unavailable, now);
            }
        };
        if now.monotonic >= context.deadline {
            let unavailable = Unavailable::because(Reason::IssuerTimeout);
            return self.unavailable(&context, true, unavailable, now);
        }
        let Some(place) = place else {
            return self.too_busy(&context, now);
        };
        let joined = self.flights.in_progress(about);
        let request = PendingRequest {
            context,
            leads: joined.is_none(),
            result: joined.map_or_else(|| Arc::new(SharedResult::new(about)), Arc::clone),
            place,
        };
        if request.leads {
            self.lead(request, now)
        } else {
            self.join(request, now)
        }
    }

    fn join(&mut self, request: PendingRequest, now: Now) -> Step<W> {
        let about = request.result.about();
        if !matches!(about, About::Token(_)) {
            // Everybody waits for them.
            self.flights.joined(about, request.context.deadline);
            return Step::Join(request);
        }
        if SharedResult::requests(&request.result) > self.admission.waiting.share() {
            return self.too_busy(&request.context, now);
        }
        let context = &request.context;
        self.flights.joined(about, context.deadline);
        if let Some(flight) = self.flights.take_over(&request) {
            return self.take_over(request, flight, now);
        }
        if self.is_queued(&request) {
            // If a host dropped a ticket, its place is free, and nobody was told.
            let mut finished = Finished::default();
            self.next_turns(&mut finished, now);
            return Step::Finished(request, finished);
        }
        // With the circuit open, only the request that probes waits for the issuer.
        let is_calling = request.result.first_call().is_some();
        let rejected = self.lookup.breaker.rejects(request.context.key, now);
        match rejected.filter(|_| is_calling) {
            Some(rejected) => self.unavailable(&request.context, false, rejected.into(), now),
            None => Step::Join(request),
        }
    }

    fn lead(&mut self, request: PendingRequest, now: Now) -> Step<W> {
        let context = &request.context;
        let result = Arc::clone(&request.result);
        self.flights.start(result, context.deadline);
        let store = self.lookup.store.as_ref();
        let mut flight = Flight(Box::new(FlightState {
            context: context.clone(),
            result: Arc::clone(&request.result),
            shared: store
                .filter(|store| store.is_in_use_for_facts(now) && !context.is_verified())
                .map(|store| store.token(context.token.secret())),
            reads: StoreRead::Facts,
            last_call: None,
            is_retry: false,
            purpose: Purpose::Token,
            place: None,
            has_lease: false,
            slot: SlotState::Occupied,
            backoff: INITIAL_BACKOFF,
            event: None,
        }));
        let next = self.lookup.start(&mut flight.0, &self.policy, now);
        self.led(request, flight, next, now)
    }

    /// It is the turn of a flight that this request waits for.
    fn take_over(&mut self, mut request: PendingRequest, mut flight: Flight, now: Now) -> Step<W> {
        request.leads = true;
        flight.0.context = request.context.clone();
        let next = self.lookup.introspect(&mut flight.0, &self.policy, now);
        self.led(request, flight, next, now)
    }

    fn led(&mut self, request: PendingRequest, flight: Flight, next: Next, now: Now) -> Step<W> {
        match self.advance(flight, next, now) {
            Progress::Continue(action) => Step::Lead(request, action),
            Progress::Queued => Step::Join(PendingRequest {
                leads: false,
                ..request
            }),
            Progress::Finished(finished) => Step::Finished(request, finished),
        }
    }

    fn advance(&mut self, mut flight: Flight, next: Next, now: Now) -> Progress<W> {
        Progress::Continue(match next {
            Next::Introspect(call) => Action::Introspect(AwaitingResponse(flight), call),
            Next::StoreGet(key) => Action::StoreGet(AwaitingValue(flight), key),
            Next::StoreCompareAndSwap(key, value) => {
                Action::StoreCompareAndSwap(AwaitingSwap(flight), key, value)
            }
            Next::Sleep(time) => Action::Sleep(AwaitingWake(flight), time),
            Next::Finish(result) => return Progress::Finished(self.finish(flight, result, now)),
            Next::Call => {
                let Some(place) = self.admission.calls.take(flight.0.context.is_known) else {
                    return self.queue(flight, now);
                };
                flight.0.place = Some(place);
                let next = self.lookup.introspect(&mut flight.0, &self.policy, now);
                return self.advance(flight, next, now);
            }
        })
    }

    /// All places for calls are taken: the flight waits for its turn.
    fn queue(&mut self, flight: Flight, now: Now) -> Progress<W> {
        let living = self.admission.waiting.taken();
        for mut dead in self.flights.queue(flight, living) {
            // Its records would release a lease, which ends by itself.
            let _ = (self.lookup).finish(&mut dead.0, &FlightResult::Abandoned, &self.policy, now);
        }
        Progress::Queued
    }

    fn finish(&mut self, flight: Flight, result: FlightResult, now: Now) -> Finished<W> {
        let mut finished = Finished::default();
        self.settle(flight, result, &mut finished, now);
        self.next_turns(&mut finished, now);
        finished
    }

    /// Ends a flight, and frees its place.
    fn settle(
        &mut self,
        mut flight: Flight,
        result: FlightResult,
        finished: &mut Finished<W>,
        now: Now,
    ) {
        let state = &mut *flight.0;
        let aftermath = self.lookup.finish(state, &result, &self.policy, now);
        state.result.set(result);
        let woken = self.flights.finish(&state.result);
        finished.woken.extend(woken);
        finished.records.extend(aftermath.records);
        finished.sweep.extend(aftermath.sweep);
        finished.fault = finished.fault.or(aftermath.fault);
        let event = aftermath.event.map(|event| self.lookup.log.named(event));
        finished.event = finished.event.take().or(event);
    }

    /// Gives free places for calls to the flights whose turn is next.
    fn next_turns(&mut self, finished: &mut Finished<W>, now: Now) {
        let mut dead = self.flights.take_deserted();
        let min_time = self.lookup.min_time_for_call(&self.policy);
        let earliest = now.monotonic.saturating_add(min_time);
        loop {
            for flight in dead.drain(..) {
                self.settle(flight, FlightResult::Abandoned, finished, now);
            }
            match self.flights.next_turn(earliest) {
                NextTurn::None => return,
                NextTurn::Dead(flight) => dead.push(flight),
                NextTurn::TooLate(flight) => {
                    let result = FlightResult::Fault(FlightFault::too_busy());
                    self.settle(flight, result, finished, now);
                }
                NextTurn::Waits { is_known } => match self.admission.calls.take(is_known) {
                    Some(place) => finished.woken.extend(self.flights.admit(is_known, place)),
                    None => return,
                },
            }
        }
    }

    /// The deadline has passed.
    fn on_deadline(&mut self, request: &PendingRequest, now: Now) -> Step<W> {
        if request.result.first_call().is_none() {
            // It never was its turn.
            return self.too_busy(&request.context, now);
        }
        let unavailable = Unavailable {
            // The flight for the same token may have begun much later than this request.
            is_outage: self.lookup.breaker.is_open(),
            ..Unavailable::because(Reason::IssuerTimeout)
        };
        self.unavailable(&request.context, request.leads, unavailable, now)
    }

    fn too_busy(&mut self, context: &RequestContext, now: Now) -> Step<W> {
        self.unavailable(context, true, Unavailable::because(Reason::TooBusy), now)
    }

    /// Decides from stale facts where `stale_if_error` allows that; else refuses.
    fn unavailable(
        &mut self,
        context: &RequestContext,
        leads: bool,
        unavailable: Unavailable,
        now: Now,
    ) -> Step<W> {
        let latency = unavailable.latency;
        if unavailable.is_outage
            && let Some(facts) = (self.lookup.cache).stale(
                context.key,
                &context.requirements,
                self.documents.vouchers(),
                &self.policy,
                now,
            )
        {
            let verdict = VerdictContext {
                cache: Some(CacheStatus::Stale),
                latency,
                ..context.into()
            };
            return self.decided(&context.presented(), &facts, verdict, now);
        }
        let refusal = Refusal::new(unavailable.reason, Arc::clone(&context.requirements))
            .retry_after(unavailable.retry_after);
        let verdict = VerdictContext {
            cache: Some(if leads {
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
        presented: &Presented<'_>,
        facts: &Facts,
        verdict: VerdictContext<'_>,
        now: Now,
    ) -> Step<W> {
        let (requirements, possession) = (presented.requirements, presented.possession);
        let unix = now.unix_seconds();
        let decision = decide(facts, requirements, possession, &self.policy, unix);
        #[cfg(feature = "jwt")]
        let decision =
            (self.proofs).spend(decision, presented.proof, requirements, &self.policy, now);
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
    ) -> Step<W> {
        let event = event.map(|event| self.lookup.log.named(event));
        Step::Done(self.verdict(decision, context, event, now))
    }

    /// `event`: with its issuer.
    fn verdict(
        &self,
        decision: Decision,
        context: VerdictContext<'_>,
        event: Option<LogEvent>,
        now: Now,
    ) -> Verdict {
        let audit = self.policy.audits().then(|| {
            let keys = self.derived_keys.as_ref();
            let context = AuditContext {
                fingerprint: (context.token.zip(keys)).map(|(token, keys)| keys.fingerprint(token)),
                verdict: context,
                unix: now.unix,
            };
            audit::line(&decision, context)
        });
        let audit = audit.flatten();
        Verdict {
            decision,
            cache: context.cache,
            issuer_latency: context.latency,
            event,
            audit,
        }
    }
}

impl<'a> From<&Presented<'a>> for VerdictContext<'a> {
    fn from(presented: &Presented<'a>) -> Self {
        Self {
            host: presented.host,
            token: Some(presented.token),
            ..Self::default()
        }
    }
}

impl<'a> From<&'a RequestContext> for VerdictContext<'a> {
    fn from(context: &'a RequestContext) -> Self {
        (&context.presented()).into()
    }
}

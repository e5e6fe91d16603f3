//! Tokens that are verified here: by which key, and what to do while it is not there.

use core::time::Duration;
use std::sync::Arc;

use super::auth_check::AuthCheck;
use super::flight::{About, FlightResult, RequestContext};
use super::keys::{KeysFlight, Need};
use super::protocol::{Action, AwaitingKeys, Finished, Progress, StoreFailed};
use super::unavailable::Unavailable;
use crate::decision::{Decision, Refusal, decide};
use crate::introspection::{
    CallFailure, Detail, Facts, Fault, IssuerResponse, KeySetCall, KeysFault, unexpected_status,
};
use crate::jose::{Jws, JwsProblem, KeySet, KeySetProblem, Typ};
use crate::memory::{AGELESS, CachedFacts, Fetch, Voucher};
use crate::policy::KeySource;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::time::{Now, milliseconds};

/// What there is to verify a signature.
enum Found {
    /// Whether the key made the signature, and the key's voucher.
    Verified(bool, Voucher),
    NoKey(Need),
}

impl<W> AuthCheck<W> {
    /// What is to be done for the host's own sake: the keys of the issuer are to be fetched. To be
    /// asked for after each [`begin`](Self::begin) and [`resume`](Self::resume), and by a timer if
    /// there is one. No request leads it: run it whoever leaves.
    pub fn errand(&mut self, now: Now) -> Option<Action> {
        let verification = self.policy.verification()?;
        let ring = self.keys.ring.as_mut()?;
        let ends = now.monotonic.saturating_add(self.policy.timeout());
        let (result, why) = match self.keys.wanted.take() {
            Some(wanted) => wanted,
            None => {
                let why = ring.is_due(verification, now.monotonic)?;
                if self.flights.in_progress(About::Keys).is_some() {
                    return None;
                }
                ring.starts(why, verification, now.monotonic, ends);
                (self.flights.start_keys(ends), why)
            }
        };
        let flight = KeysFlight {
            result,
            called: now.monotonic,
            ends,
            is_retry: false,
            // For another reason, what another instance has fetched may not do.
            may_share: why == Fetch::Due,
        };
        let store = self.lookup.store.as_ref();
        match store.filter(|store| flight.may_share && store.is_in_use(now)) {
            Some(store) => Some(Action::ReadKeys(AwaitingKeys(flight), store.keys_key())),
            None => self.fetch(flight, now),
        }
    }

    /// The shared store returned the value of the key, if there is one.
    pub fn keys_read(
        &mut self,
        ticket: AwaitingKeys,
        value: Result<Option<Vec<u8>>, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingKeys(flight) = ticket;
        match (value, &mut self.lookup.store) {
            (Ok(Some(value)), Some(store)) => {
                if let (Some(ring), Some(how)) = (&mut self.keys.ring, self.policy.verification())
                    && let KeySource::Url(url) = how.keys()
                    && let Some((document, asked)) = store.read_keys(url.as_str(), &value, now)
                    && asked > ring.fetched()
                    && let Ok(set) = KeySet::parse(&document)
                {
                    ring.learn(set, how, asked);
                    if ring.is_due(how, now.monotonic).is_none() {
                        return self.end_fetch(&flight, Finished::default());
                    }
                }
            }
            (Err(StoreFailed), Some(store)) => store.cool_down(now),
            _ => {}
        }
        match self.fetch(flight, now) {
            Some(action) => Progress::Continue(action),
            None => Progress::Finished(Finished::default()),
        }
    }

    /// Whoever waits looks again at what is known.
    fn end_fetch(&mut self, flight: &KeysFlight, finished: Finished<W>) -> Progress<W> {
        flight.result.set(FlightResult::Abandoned);
        self.keys.is_rotating = false;
        Progress::Finished(Finished {
            woken: self.flights.finish(&flight.result),
            ..finished
        })
    }

    /// Whether keys are fetched from time to time, so that a host that has a timer keeps it running.
    #[must_use]
    pub fn has_errands(&self) -> bool {
        self.policy.fetches_keys()
    }

    /// The key endpoint responded, with any status, or the call failed.
    pub fn keys_responded(
        &mut self,
        ticket: AwaitingKeys,
        response: Result<IssuerResponse, CallFailure>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingKeys(mut flight) = ticket;
        let mut finished = Finished::default();
        let fault = match response {
            Ok(response) => match key_set(&response) {
                Ok((set, document)) => {
                    if let (Some(ring), Some(how)) =
                        (&mut self.keys.ring, self.policy.verification())
                        && let KeySource::Url(url) = how.keys()
                    {
                        let asked = milliseconds(flight.called);
                        ring.learn(set, how, asked);
                        let store = self.lookup.store.as_ref();
                        let record = store
                            .filter(|store| store.is_in_use(now))
                            .and_then(|store| {
                                store.keys_record(url.as_str(), document, asked, now)
                            });
                        finished.records.extend(record);
                    }
                    None
                }
                Err(fault) => Some(fault),
            },
            // The issuer may have closed an idle connection just as the call went out on it.
            Err(failure)
                if failure.reason() == Reason::IssuerUnreachable
                    && !flight.is_retry
                    && now.monotonic < flight.ends =>
            {
                flight.is_retry = true;
                match self.fetch(flight, now) {
                    Some(action) => return Progress::Continue(action),
                    None => return Progress::Finished(Finished::default()),
                }
            }
            Err(failure) => Some(Fault::from_call(failure)),
        };
        if let (Some(ring), Some(fault)) = (&mut self.keys.ring, fault) {
            match fault.is_without_keys() {
                true => ring.end(fault, &self.policy, now.monotonic),
                false => ring.fail(fault, &self.policy, now.monotonic),
            }
        }
        finished.fault = fault;
        finished.event = fault.and_then(|fault| self.lookup.log.fault(fault, now));
        self.end_fetch(&flight, finished)
    }

    fn fetch(&self, mut flight: KeysFlight, now: Now) -> Option<Action> {
        let KeySource::Url(url) = self.policy.verification()?.keys() else {
            return None;
        };
        flight.called = now.monotonic;
        flight.result.note_call(now.monotonic);
        let timeouts = (self.policy).timeouts(flight.ends.saturating_sub(now.monotonic));
        let call = KeySetCall::new(Arc::clone(url), timeouts);
        Some(Action::FetchKeys(AwaitingKeys(flight), call))
    }

    /// How to learn about the token of this request, whatever it takes to read a response about it.
    pub(super) fn need_of_token(&mut self, context: &mut RequestContext, now: Now) -> Need {
        let introspect = Need::Flight(About::Token(context.key));
        let how = self.policy.verification();
        let Some(how) = how.filter(|how| !how.introspects_all()) else {
            return introspect;
        };
        let token = Arc::clone(&context.token);
        let jws = match core::str::from_utf8(token.secret())
            .ok()
            .and_then(Jws::parse)
        {
            None if how.introspects_opaque() => return introspect,
            None => return Need::Refuse(Reason::NotAJwt, None),
            Some(Err(problem)) => return Need::Refuse(refused(problem), None),
            Some(Ok(jws)) => jws,
        };
        let is_allowed = |algorithm| how.algorithms().contains(algorithm);
        if !jws.algorithm().is_some_and(is_allowed) {
            return Need::Refuse(Reason::AlgorithmNotAllowed, None);
        }
        let is_access_token = jws.typ() == Typ::AtJwt;
        if how.requires_at_jwt() && !is_access_token {
            return Need::Refuse(Reason::WrongTokenType, None);
        }
        let header = self.policy.claims_header();
        let facts = Facts::of_claims(jws.claims(), how.claim_names(), is_access_token, header);
        let Ok(facts) = facts else {
            return Need::Refuse(Reason::MalformedJwt, None);
        };
        // Before any call: a token of somebody else must not make us fetch keys.
        let issuer = facts.claims().and_then(|claims| claims.issuer());
        let issuers = context.requirements.issuers.as_slice();
        if !issuers.iter().any(|known| Some(known.as_str()) == issuer) {
            let reason = Reason::WrongIssuer;
            let refusal = Refusal::new(reason, Arc::clone(&context.requirements));
            let refused = Decision::Refused(refusal);
            let event =
                (self.lookup.log).decided(&refused, facts.claims(), &context.requirements, now);
            return Need::Refuse(reason, event);
        }
        let arrived = context.deadline.saturating_sub(self.policy.timeout());
        let voucher = match self.verify(&jws, arrived, now) {
            Found::Verified(true, voucher) => voucher,
            Found::Verified(false, _) => return Need::Refuse(Reason::InvalidSignature, None),
            Found::NoKey(need) => return need,
        };
        let is_confirmed =
            (self.policy.verification()).is_some_and(|how| how.introspects_verified());
        if is_confirmed {
            let now = now.unix_seconds();
            let possession = &context.possession;
            let decision = decide(&facts, &context.requirements, possession, &self.policy, now);
            // The issuer may say to which key the token is bound where the token does not.
            let is_bound = facts.claims().is_some_and(|claims| claims.is_key_bound());
            let may_be_bound =
                |refusal: &Refusal| !is_bound && refusal.reason().is_about_possession();
            return match decision {
                Decision::Refused(refusal) if may_be_bound(&refusal) => {
                    context.verified = Some((facts, voucher));
                    introspect
                }
                Decision::Granted(_) => {
                    context.verified = Some((facts, voucher));
                    introspect
                }
                Decision::Refused(_) | Decision::Answered(_) => Need::Facts(facts),
            };
        }
        self.lookup.known.note(context.key, true);
        let cached = CachedFacts {
            facts: facts.clone(),
            voucher,
            called: AGELESS,
        };
        self.lookup.cache.insert(context.key, cached);
        Need::Facts(facts)
    }

    /// `arrived`: when the request did, on the monotonic clock.
    fn verify(&mut self, jws: &Jws<'_>, arrived: Duration, now: Now) -> Found {
        let (Some(ring), Some(how)) = (&mut self.keys.ring, self.policy.verification()) else {
            return Found::NoKey(Need::Refuse(Reason::UnknownKey, None));
        };
        let is_usable = ring.is_usable(now.monotonic);
        if is_usable && let Some((key, voucher)) = ring.find(jws) {
            let is_good = key.verify(jws, &*self.signature_host);
            if !is_good {
                ring.doubt();
            }
            return Found::Verified(is_good, voucher);
        }
        // Keys that were fetched for this request are all that there are.
        let is_final = matches!(how.keys(), KeySource::Set(_))
            || (is_usable && ring.fault().is_none() && ring.fetched() >= milliseconds(arrived));
        let why = if is_usable {
            Fetch::Unknown
        } else {
            Fetch::Due
        };
        Found::NoKey(if is_final {
            Need::Refuse(Reason::UnknownKey, None)
        } else if self.fetches_keys(why, now) {
            Need::Flight(About::Keys)
        } else if let Some(unavailable) = self.keys_unavailable(now) {
            Need::Unavailable(unavailable)
        } else {
            Need::Refuse(Reason::UnknownKey, None)
        })
    }

    /// Whether keys are being fetched, from now on or already: for this reason they may be.
    pub(super) fn fetches_keys(&mut self, why: Fetch, now: Now) -> bool {
        let (Some(ring), Some(how)) = (&mut self.keys.ring, self.policy.verification()) else {
            return false;
        };
        if matches!(how.keys(), KeySource::Set(_)) {
            return false;
        }
        if self.flights.was_dropped(About::Keys) {
            ring.forget_attempt();
        }
        if self.flights.in_progress(About::Keys).is_some() {
            return true;
        }
        let now = now.monotonic;
        if !ring.may_fetch(why, now) {
            return false;
        }
        let ends = now.saturating_add(self.policy.timeout());
        ring.starts(why, how, now, ends);
        self.keys.wanted = Some((self.flights.start_keys(ends), why));
        true
    }

    /// What there is to say while keys cannot be fetched, if it is the issuer's fault.
    pub(super) fn keys_unavailable(&self, now: Now) -> Option<Unavailable> {
        let ring = self.keys.ring.as_ref()?;
        let unavailable = Unavailable::because(ring.fault()?.reason());
        let pause = ring.retry_at().saturating_sub(now.monotonic);
        let pause = u32::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Some(unavailable.for_seconds(pause.max(RETRY_AFTER_SECONDS)))
    }
}

/// The reason for a token that looks like a JWT and is none that can be verified.
const fn refused(problem: JwsProblem) -> Reason {
    match problem {
        JwsProblem::HeaderTooLong | JwsProblem::MalformedHeader | JwsProblem::NotBase64 => {
            Reason::MalformedJwt
        }
        JwsProblem::UnsupportedHeader => Reason::InvalidSignature,
        JwsProblem::WrongType => Reason::WrongTokenType,
    }
}

/// Reads the response of the key endpoint. Its media type does not matter: issuers disagree about
/// it.
fn key_set(response: &IssuerResponse) -> Result<(KeySet, &[u8]), Fault> {
    let fault = |reason, fault| Err(Fault::new(reason, Detail::Keys(fault)));
    if response.status != 200 {
        let status = KeysFault::Status(response.status);
        return fault(unexpected_status(response.status), status);
    }
    let unusable = Reason::IssuerKeysUnusable;
    let Some(document) = response.body.bytes() else {
        return fault(unusable, KeysFault::TooLarge);
    };
    if response.coding().is_some() {
        return fault(unusable, KeysFault::Malformed);
    }
    let set = KeySet::parse(document).map(|set| (set, document));
    set.or_else(|problem| {
        let problem = match problem {
            KeySetProblem::Malformed => KeysFault::Malformed,
            KeySetProblem::NoUsableKey => KeysFault::NoUsableKey,
            KeySetProblem::TooLong => KeysFault::TooLarge,
            KeySetProblem::TooManyKeys => KeysFault::TooManyKeys,
        };
        fault(unusable, problem)
    })
}

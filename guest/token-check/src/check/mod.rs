//! One loop for every request: begin, lead or join, settle, resume.

mod audit;
mod log_event;
mod verdict;

pub use log_event::{Mismatch, Note};
pub use verdict::{CacheUse, Verdict};

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::decision::{Decision, Refusal, decide, route};
use crate::introspection::IssuerAnswer;
use crate::introspection::{self, CallFailure, Claims, Detail, Facts, Fault, OutboundCall};
use crate::memory::{
    self, AsItIs, Breaker, Digests, FactsCache, Known, Occupant, Record, SharedToken, Sharing,
    Store, StoreKey, TokenKey, TokenKeys,
};
use crate::policy::Policy;
use crate::policy::Requirements;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::request::{RequestHead, bearer, traceparent};
use crate::secret::AccessToken;
use crate::time::{Now, milliseconds};
use log_event::Journal;

/// The first wait for another instance's question, and the longest one: each is twice the one before.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// The part of `timeout` that [`AuthCheck::good_while`] is: more than a sound issuer takes.
const GOOD_WHILE: u32 = 4;

/// What to do with a request next.
#[must_use]
#[derive(Debug)]
pub enum Step {
    /// Decided.
    Done(Verdict),
    /// Run this errand, give what comes of it to [`AuthCheck::settle`], run what that says next, and when the flight has
    /// ended, [`AuthCheck::resume`].
    Lead(Waiting, Flight, Errand),
    /// Somebody runs the errands for the same token already: [`AuthCheck::park`], and [`AuthCheck::resume`] when woken or
    /// when [`Waiting::deadline`] has come.
    Join(Waiting),
}

/// What the host does for the request that leads, within its [`Waiting::deadline`].
#[must_use]
#[derive(Debug)]
pub enum Errand {
    /// Send this call: [`Outcome::Answered`] or [`Outcome::Failed`].
    Ask(OutboundCall),
    /// Read this key of the shared store: [`Outcome::Found`] or [`Outcome::StoreFailed`].
    Look(StoreKey),
    /// Write these bytes if the key still has the value of the last `Look`: [`Outcome::Claimed`]. Only a host that says
    /// its store can do this is asked to.
    Claim(StoreKey, Vec<u8>),
    /// Wait so long: [`Outcome::Paused`].
    Pause(Duration),
}

/// A request that waits for the issuer. Its only use is [`AuthCheck::resume`], which takes it.
#[must_use]
pub struct Waiting {
    asker: Asker,
    slot: Arc<Slot>,
    leads: bool,
}

/// What is kept of a request while it waits.
#[derive(Clone)]
struct Asker {
    key: TokenKey,
    token: Arc<AccessToken>,
    requirements: Arc<Requirements>,
    deadline: Duration,
    traceparent: Option<Box<str>>,
    /// For the audit.
    host: Option<Box<[u8]>>,
}

impl Waiting {
    /// When this request must be answered, on the host's monotonic clock.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.asker.deadline
    }
}

impl core::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Waiting")
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// The duty to settle an errand. If it is dropped instead (its request was cancelled), those who wait go on without it.
#[must_use]
pub struct Flight(Box<Flying>);

struct Flying {
    asker: Asker,
    slot: Arc<Slot>,
    stage: Stage,
    shared: Option<SharedToken>,
    /// When the issuer was asked first, and when last.
    asked: Option<(Duration, Duration)>,
    is_retry: bool,
    is_probe: bool,
    has_lease: bool,
    /// What stood in the token's slot of the store.
    occupant: Occupant,
    pause: Duration,
    /// For the log, of an answer that was understood.
    note: Option<Note>,
}

/// Which errand is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asking,
    LookingForFacts,
    LookingForLease,
    Claiming,
    /// With the lease: whoever had it before may have written meanwhile.
    LookingAgain,
    Pausing,
}

impl Drop for Flight {
    fn drop(&mut self) {
        // No effect on a slot that was settled.
        let _ = self.0.slot.0.set(Settled::Abandoned);
    }
}

impl core::fmt::Debug for Flight {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// What came of an [`Errand`].
pub enum Outcome {
    /// The issuer's HTTP answer, whatever its status.
    Answered(IssuerAnswer),
    /// The issuer gave none.
    Failed(CallFailure),
    /// What the store has under the key.
    Found(Option<Vec<u8>>),
    /// The store is out of order or too slow: it is left alone for a while.
    StoreFailed,
    /// Whether the bytes were written.
    Claimed(bool),
    /// The pause is over.
    Paused,
    /// The errand was given up for a reason of ours; those who wait go on without it.
    Abandoned,
}

/// How a flight goes on.
#[must_use]
#[derive(Debug)]
pub enum Progress<W> {
    /// With another errand.
    More(Flight, Errand),
    /// It has ended.
    Ended(Ended<W>),
}

/// The end of a flight.
#[must_use]
#[derive(Debug)]
pub struct Ended<W> {
    /// Everyone to wake.
    pub woken: Vec<W>,
    /// What to write into the shared store. Whether that succeeds changes nothing but what others have to ask.
    pub records: Vec<Record>,
    /// Keys of the shared store to look at, in a host whose store knows no expiry: what [`AuthCheck::has_expired`] there may
    /// be erased. No caller waits for it.
    pub sweep: Vec<StoreKey>,
    /// What was wrong with the issuer, once per question, for metrics.
    pub fault: Option<Fault>,
    /// What the log says of it, each kind once per interval.
    pub note: Option<Note>,
}

struct Slot(OnceLock<Settled>);

enum Settled {
    Facts {
        known: Known,
        /// [`CacheUse::Miss`] or [`CacheUse::Store`].
        source: CacheUse,
        latency: Option<Duration>,
    },
    Fault {
        fault: Fault,
        /// Seconds.
        retry_after: u32,
        latency: Option<Duration>,
    },
    Abandoned,
}

impl Settled {
    const fn failed(failure: CallFailure, latency: Option<Duration>) -> Self {
        Self::Fault {
            fault: Fault::of_call(failure),
            retry_after: RETRY_AFTER_SECONDS,
            latency,
        }
    }
}

struct InFlight<W> {
    slot: Arc<Slot>,
    parked: Vec<W>,
    /// When the issuer was asked first.
    asked: Option<Duration>,
}

/// The auth check of one policy. `W` is what the host wakes a parked request with.
pub struct AuthCheck<W> {
    policy: Policy,
    keys: TokenKeys,
    cache: FactsCache,
    store: Option<Store>,
    /// For the audit.
    digests: Option<Digests>,
    breaker: Breaker,
    journal: Journal,
    flights: HashMap<TokenKey, InFlight<W>, AsItIs>,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Default)]
struct Grounds<'a> {
    host: Option<&'a [u8]>,
    token: Option<&'a [u8]>,
    claims: Option<Claims<'a>>,
    cache: Option<CacheUse>,
    latency: Option<Duration>,
}

impl<W> AuthCheck<W> {
    /// `seed`: random bytes, for the keyed hash by which tokens are known in memory.
    #[must_use]
    pub fn new(policy: Policy, seed: [u8; 16]) -> Self {
        Self {
            keys: TokenKeys::new(&seed),
            cache: FactsCache::new(&policy),
            store: None,
            digests: policy.audits().then(|| Digests::new(&policy)).flatten(),
            breaker: Breaker::new(policy.breaker_faults(), policy.probe_interval()),
            journal: Journal::default(),
            flights: HashMap::with_hasher(AsItIs),
            policy,
        }
    }

    /// Shares facts with other instances through a store of the host, if the policy keeps any.
    #[must_use]
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.store = Store::new(&self.policy, sharing);
        self
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A request has come.
    pub fn begin(&mut self, request: &RequestHead<'_>, now: Now) -> Step {
        let mut grounds = Grounds {
            host: request.authority,
            ..Grounds::default()
        };
        let requirements = match route(request, &self.policy) {
            Ok(requirements) => requirements,
            Err(decision) => return self.done(decision, grounds, None, now),
        };
        let token = match bearer::token(request, self.policy.max_token_bytes()) {
            Ok(token) => token,
            Err(reason) => {
                let refused = Decision::Refused(Refusal::new(reason, requirements));
                return self.done(refused, grounds, None, now);
            }
        };
        let key = self.keys.key(token);
        if let Some(facts) = self.cache.fresh(key, &requirements, &self.policy, now) {
            let decision = decide(facts, &requirements, &self.policy, now.unix_seconds());
            grounds.token = Some(token);
            grounds.claims = facts.claims();
            grounds.cache = Some(CacheUse::Hit);
            let note = self
                .journal
                .decided(&decision, grounds.claims, &requirements, now);
            return self.done(decision, grounds, note, now);
        }
        let asker = Asker {
            key,
            token: Arc::new(AccessToken::new(token)),
            requirements,
            deadline: now.monotonic.saturating_add(self.policy.timeout()),
            traceparent: traceparent::parent(request.traceparent),
            host: self
                .policy
                .audits()
                .then(|| request.authority.map(Into::into))
                .flatten(),
        };
        self.lead_or_join(asker, now)
    }

    /// A parked request waits to be woken with `waker`. If the flight has ended meanwhile, `waker` comes back: resume now.
    #[must_use]
    pub fn park(&mut self, waiting: &Waiting, waker: W) -> Option<W> {
        match self.flights.get_mut(&waiting.asker.key) {
            Some(flight)
                if Arc::ptr_eq(&flight.slot, &waiting.slot) && waiting.slot.0.get().is_none() =>
            {
                flight.parked.push(waker);
                None
            }
            _ => Some(waker),
        }
    }

    /// An errand has been run.
    pub fn settle(&mut self, mut flight: Flight, outcome: Outcome, now: Now) -> Progress<W> {
        let flying = &mut *flight.0;
        let next = match (flying.stage, outcome) {
            (Stage::Asking, Outcome::Answered(answer)) => Err(self.answered(flying, &answer, now)),
            (Stage::Asking, Outcome::Failed(failure)) => self.failed(flying, failure, now),
            (Stage::LookingForFacts | Stage::LookingAgain, Outcome::Found(bytes)) => {
                self.found_facts(flying, bytes.as_deref(), now)
            }
            (Stage::LookingForLease, Outcome::Found(bytes)) => {
                self.found_lease(flying, bytes.as_deref(), now)
            }
            (Stage::Claiming, Outcome::Claimed(true)) => {
                flying.has_lease = true;
                match &flying.shared {
                    Some(shared) => {
                        flying.stage = Stage::LookingAgain;
                        Ok(Errand::Look(shared.facts_key()))
                    }
                    None => Err(Settled::Abandoned),
                }
            }
            (Stage::Claiming, Outcome::Claimed(false)) => self.pause(flying, now),
            (Stage::Pausing, Outcome::Paused) => self.look(flying, now),
            (
                Stage::LookingForFacts
                | Stage::LookingForLease
                | Stage::Claiming
                | Stage::LookingAgain,
                Outcome::StoreFailed,
            ) => {
                if let Some(store) = &mut self.store {
                    store.failed(now);
                }
                self.ask(flying, now)
            }
            // The errand was given up, or what came is not what this flight was sent for.
            _ => Err(Settled::Abandoned),
        };
        match next {
            Ok(errand) => Progress::More(flight, errand),
            Err(settled) => Progress::Ended(self.end(&mut flight, settled, now)),
        }
    }

    /// A waiting request goes on: decided if its flight has ended or its time is up; else it leads, or waits on.
    pub fn resume(&mut self, waiting: Waiting, now: Now) -> Step {
        let asker = &waiting.asker;
        match waiting.slot.0.get() {
            Some(Settled::Facts {
                known,
                source,
                latency,
            }) => {
                // What the issuer says now counts whatever the age that a route allows; what was found does not.
                if *source == CacheUse::Store
                    && !known.is_fresh(&asker.requirements, &self.policy, now)
                {
                    return self.lead_or_join(waiting.asker, now);
                }
                let cache = if waiting.leads {
                    *source
                } else {
                    CacheUse::Joined
                };
                self.decided(asker, &known.facts, cache, *latency, now)
            }
            Some(Settled::Fault {
                fault,
                retry_after,
                latency,
            }) => self.fault(&waiting, fault.reason(), *retry_after, *latency, now),
            Some(Settled::Abandoned) => self.lead_or_join(waiting.asker, now),
            None if now.monotonic >= asker.deadline => self.late(&waiting, now),
            None => Step::Join(waiting),
        }
    }

    fn lead_or_join(&mut self, asker: Asker, now: Now) -> Step {
        let flown = self
            .flights
            .get(&asker.key)
            .filter(|flight| flight.slot.0.get().is_none());
        let is_asking = flown.is_some_and(|flight| flight.asked.is_some());
        let waiting = Waiting {
            asker,
            leads: flown.is_none(),
            slot: flown.map_or_else(
                || Arc::new(Slot(OnceLock::new())),
                |flight| Arc::clone(&flight.slot),
            ),
        };
        if now.monotonic >= waiting.deadline() {
            return self.late(&waiting, now);
        }
        if !waiting.leads {
            let held = self.breaker.held(waiting.asker.key, now);
            // With the circuit open only the one who probes waits for the issuer.
            return match held.filter(|_| is_asking) {
                Some(held) => self.fault(&waiting, held.reason, held.retry_after, None, now),
                None => Step::Join(waiting),
            };
        }
        // An abandoned flight may still hold wakers: they stay parked on the new one.
        let parked = self
            .flights
            .remove(&waiting.asker.key)
            .map(|old| old.parked)
            .unwrap_or_default();
        let slot = Arc::clone(&waiting.slot);
        self.flights.insert(
            waiting.asker.key,
            InFlight {
                slot,
                parked,
                asked: None,
            },
        );
        let mut flight = Flight(Box::new(Flying {
            asker: waiting.asker.clone(),
            slot: Arc::clone(&waiting.slot),
            stage: Stage::Asking,
            shared: (self.store.as_ref())
                .filter(|store| !store.is_resting(now))
                .map(|store| store.token(waiting.asker.token.secret())),
            asked: None,
            is_retry: false,
            is_probe: false,
            has_lease: false,
            occupant: Occupant::Other,
            pause: PAUSE,
            note: None,
        }));
        match self.look(&mut flight.0, now) {
            Ok(errand) => Step::Lead(waiting, flight, errand),
            Err(settled) => {
                // Nobody has had the time to join.
                let _ended = self.end(&mut flight, settled, now);
                self.resume(waiting, now)
            }
        }
    }

    /// To the store, if there is one; else to the issuer.
    fn look(&mut self, flying: &mut Flying, now: Now) -> Result<Errand, Settled> {
        match &flying.shared {
            // A route that always asks looks too: if the issuer says that the token is over, its record must go.
            Some(shared) => {
                flying.stage = Stage::LookingForFacts;
                Ok(Errand::Look(shared.facts_key()))
            }
            None => self.ask(flying, now),
        }
    }

    fn found_facts(
        &mut self,
        flying: &mut Flying,
        bytes: Option<&[u8]>,
        now: Now,
    ) -> Result<Errand, Settled> {
        let (Some(store), Some(shared)) = (&self.store, &flying.shared) else {
            return Err(Settled::Abandoned);
        };
        let (occupant, known) = store.found(shared, bytes, now);
        flying.occupant = occupant;
        let known = known.filter(|known| !self.cache.is_outdated(flying.asker.key, known));
        match known {
            Some(known) if known.is_fresh(&flying.asker.requirements, &self.policy, now) => {
                if known.facts.claims().is_some() {
                    self.journal.active();
                }
                Err(Settled::Facts {
                    known,
                    source: CacheUse::Store,
                    latency: None,
                })
            }
            known => {
                // Past its time it counts here as it does where it was heard, should the issuer fail.
                if let Some(known) = known {
                    self.cache.put(flying.asker.key, known);
                }
                // Of an issuer that fails nobody knows when another instance hears anything.
                let may_wait = !flying.has_lease
                    && !self.breaker.is_open()
                    && self.policy.ttl_seconds(&flying.asker.requirements) > 0;
                if store.can_claim() && may_wait {
                    flying.stage = Stage::LookingForLease;
                    return Ok(Errand::Look(shared.lease_key()));
                }
                self.ask(flying, now)
            }
        }
    }

    fn found_lease(
        &mut self,
        flying: &mut Flying,
        bytes: Option<&[u8]>,
        now: Now,
    ) -> Result<Errand, Settled> {
        let (Some(store), Some(shared)) = (&self.store, &flying.shared) else {
            return Err(Settled::Abandoned);
        };
        let longest = self.policy.timeout();
        if bytes.is_some_and(|bytes| store.is_leased(shared, bytes, longest, now)) {
            return self.pause(flying, now);
        }
        let left = flying.asker.deadline.saturating_sub(now.monotonic);
        let lease = store.lease(shared, left, now);
        flying.stage = Stage::Claiming;
        Ok(Errand::Claim(shared.lease_key(), lease))
    }

    /// Another instance asks: what it hears will be in the store.
    fn pause(&mut self, flying: &mut Flying, now: Now) -> Result<Errand, Settled> {
        let left = flying.asker.deadline.saturating_sub(now.monotonic);
        // Whoever has the lease may be gone: half the time is for a question of our own.
        if left <= self.policy.timeout() / 2 {
            return self.ask(flying, now);
        }
        flying.stage = Stage::Pausing;
        let pause = flying.pause;
        flying.pause = flying.pause.saturating_mul(2).min(LONGEST_PAUSE);
        Ok(Errand::Pause(pause))
    }

    fn ask(&mut self, flying: &mut Flying, now: Now) -> Result<Errand, Settled> {
        let asker = &flying.asker;
        let left = asker.deadline.saturating_sub(now.monotonic);
        if left.is_zero() {
            return Err(Settled::Abandoned);
        }
        if !flying.is_retry {
            flying.is_probe =
                self.breaker
                    .admit(asker.key, asker.deadline, now)
                    .map_err(|held| Settled::Fault {
                        fault: Fault::new(held.reason, Detail::None),
                        retry_after: held.retry_after,
                        latency: None,
                    })?;
        }
        let first = flying.asked.map_or(now.monotonic, |(first, _)| first);
        flying.asked = Some((first, now.monotonic));
        flying.stage = Stage::Asking;
        if let Some(flight) = self.flights.get_mut(&asker.key) {
            flight.asked = Some(first);
        }
        Ok(Errand::Ask(OutboundCall::new(
            Arc::clone(self.policy.endpoint()),
            &asker.token,
            asker.traceparent.clone(),
            self.policy.timeouts(left),
        )))
    }

    fn answered(&mut self, flying: &mut Flying, answer: &IssuerAnswer, now: Now) -> Settled {
        let latency = flying.latency(now);
        let (_, asked) = flying.asked.unwrap_or_default();
        let fault = match introspection::read(answer, self.policy.endpoint().are_changed()) {
            Ok(heard) => {
                self.breaker.answered(asked);
                let is_active = heard.facts.claims().is_some();
                flying.note = self.journal.heard(is_active, heard.error, now);
                return Settled::Facts {
                    known: Known {
                        facts: heard.facts,
                        asked: milliseconds(asked),
                    },
                    source: CacheUse::Miss,
                    latency,
                };
            }
            Err(fault) => fault,
        };
        let mut retry_after = RETRY_AFTER_SECONDS;
        if let Some(pause) = introspection::wanted_pause(answer, now) {
            retry_after = memory::whole_seconds(pause);
            self.breaker.hold(fault.reason(), pause, now);
        } else if memory::is_overwhelmed(answer.status) {
            self.breaker
                .failed(Some(flying.asker.key), flying.is_probe, now);
        } else {
            self.breaker.answered(asked);
        }
        Settled::Fault {
            fault,
            retry_after,
            latency,
        }
    }

    fn failed(
        &mut self,
        flying: &mut Flying,
        failure: CallFailure,
        now: Now,
    ) -> Result<Errand, Settled> {
        match failure.reason() {
            Reason::IssuerCallDenied => {
                self.breaker.gave_up();
                return Err(Settled::failed(failure, flying.latency(now)));
            }
            // It had too little time to say anything of the issuer: its caller led late.
            Reason::IssuerTimeout if !flying.had(self.good_while()) => {
                return Err(Settled::Abandoned);
            }
            // Once, and never after an answer: an idle connection may have been closed as the question went out on it.
            Reason::IssuerUnreachable
                if !flying.is_retry && now.monotonic < flying.asker.deadline =>
            {
                flying.is_retry = true;
                return self.ask(flying, now);
            }
            _ => {}
        }
        self.breaker.failed(None, flying.is_probe, now);
        Err(Settled::failed(failure, flying.latency(now)))
    }

    /// Keeps what there is to keep, and lets go of those who wait.
    fn end(&mut self, flight: &mut Flight, settled: Settled, now: Now) -> Ended<W> {
        let flying = &mut *flight.0;
        let mut records = Vec::new();
        let mut sweep = Vec::new();
        let mut note = flying.note.take();
        let mut fault = None;
        match &settled {
            Settled::Facts { known, source, .. } => {
                self.cache.put(flying.asker.key, known.clone());
                if *source == CacheUse::Miss {
                    records.extend(self.record(flying, known, now));
                    if let (Some(store), Some(shared), false) =
                        (&self.store, &flying.shared, records.is_empty())
                    {
                        sweep = store.neighbours(shared);
                    }
                }
            }
            Settled::Fault { fault: met, .. } => {
                fault = flying.asked.is_some().then_some(*met);
                note = fault.and_then(|fault| self.journal.fault(fault, now));
            }
            Settled::Abandoned if flying.is_probe => self.breaker.gave_up(),
            Settled::Abandoned => {}
        }
        if let Some(shared) = flying.shared.as_ref().filter(|_| flying.has_lease) {
            records.push(Record {
                key: shared.lease_key(),
                bytes: Vec::new(),
            });
        }
        let _ = flying.slot.0.set(settled);
        let woken = match self.flights.get(&flying.asker.key) {
            Some(ours) if Arc::ptr_eq(&ours.slot, &flying.slot) => self
                .flights
                .remove(&flying.asker.key)
                .map(|ended| ended.parked)
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        Ended {
            woken,
            records,
            sweep,
            fault,
            note,
        }
    }

    /// What the store shall have of these facts. Where it has some that they contradict, those are over. That a token is not
    /// active is written only where no active one loses its place: a spray of tokens drives out nothing.
    fn record(&self, flying: &Flying, known: &Known, now: Now) -> Option<Record> {
        let (store, shared) = (self.store.as_ref()?, flying.shared.as_ref()?);
        let is_shared = known.facts.claims().is_some()
            || (flying.occupant != Occupant::Other
                && self.policy.negative_ttl_seconds(&flying.asker.requirements) > 0);
        let record = is_shared
            .then(|| store.record(shared, known, now))
            .flatten();
        let over = || {
            (flying.occupant == Occupant::This).then(|| Record {
                key: shared.facts_key(),
                bytes: Vec::new(),
            })
        };
        record.or_else(over)
    }

    /// Whether these bytes of the shared store are a record of ours that nobody uses any more, so that the host may erase it.
    #[must_use]
    pub fn has_expired(&self, bytes: &[u8], now: Now) -> bool {
        (self.store.as_ref()).is_some_and(|store| store.has_expired(bytes, now))
    }

    fn decided(
        &mut self,
        asker: &Asker,
        facts: &Facts,
        cache: CacheUse,
        latency: Option<Duration>,
        now: Now,
    ) -> Step {
        let decision = decide(facts, &asker.requirements, &self.policy, now.unix_seconds());
        let grounds = Grounds {
            claims: facts.claims(),
            cache: Some(cache),
            latency,
            ..asker.grounds()
        };
        let note = if cache == CacheUse::Stale {
            self.journal.stale(now)
        } else {
            let demands = &asker.requirements;
            (self.journal).decided(&decision, grounds.claims, demands, now)
        };
        self.done(decision, grounds, note, now)
    }

    /// The issuer failed: what it said before counts, where the policy lets it; else nobody gets in.
    fn fault(
        &mut self,
        waiting: &Waiting,
        reason: Reason,
        retry_after: u32,
        latency: Option<Duration>,
        now: Now,
    ) -> Step {
        self.fault_or_stale(
            waiting,
            reason,
            retry_after,
            latency,
            reason.is_outage(),
            now,
        )
    }

    fn fault_or_stale(
        &mut self,
        waiting: &Waiting,
        reason: Reason,
        retry_after: u32,
        latency: Option<Duration>,
        is_outage: bool,
        now: Now,
    ) -> Step {
        let asker = &waiting.asker;
        let stale = || {
            self.cache
                .stale(asker.key, &asker.requirements, &self.policy, now)
        };
        if let Some(facts) = is_outage.then(stale).flatten() {
            return self.decided(asker, &facts, CacheUse::Stale, latency, now);
        }
        let refusal =
            Refusal::new(reason, Arc::clone(&asker.requirements)).retry_after(retry_after);
        let grounds = Grounds {
            cache: Some(if waiting.leads {
                CacheUse::Miss
            } else {
                CacheUse::Joined
            }),
            latency,
            ..asker.grounds()
        };
        let note = self.journal.held(reason, now);
        self.done(Decision::Refused(refusal), grounds, note, now)
    }

    /// Its time is up. That the issuer fails is known only if a question has waited for a good while.
    fn late(&mut self, waiting: &Waiting, now: Now) -> Step {
        let is_outage = (self.flights.get(&waiting.asker.key))
            .and_then(|flight| flight.asked)
            .is_some_and(|asked| now.monotonic.saturating_sub(asked) >= self.good_while());
        let reason = Reason::IssuerTimeout;
        self.fault_or_stale(waiting, reason, RETRY_AFTER_SECONDS, None, is_outage, now)
    }

    /// A question that had less says nothing of the issuer if it gets no answer.
    fn good_while(&self) -> Duration {
        self.policy.timeout() / GOOD_WHILE
    }

    fn done(&self, decision: Decision, grounds: Grounds<'_>, note: Option<Note>, now: Now) -> Step {
        let audit = self.digests.as_ref().and_then(|digests| {
            let about = audit::About {
                host: grounds.host,
                fingerprint: grounds.token.map(|token| digests.fingerprint(token)),
                claims: grounds.claims,
                cache: grounds.cache,
                issuer_latency: grounds.latency,
                unix: now.unix,
            };
            audit::line(&decision, &about)
        });
        Step::Done(Verdict {
            decision,
            cache: grounds.cache,
            issuer_latency: grounds.latency,
            note,
            audit,
        })
    }
}

impl Asker {
    fn grounds(&self) -> Grounds<'_> {
        Grounds {
            host: self.host.as_deref(),
            token: Some(self.token.secret()),
            ..Grounds::default()
        }
    }
}

impl Flying {
    /// Whether its question had so much time.
    fn had(&self, time: Duration) -> bool {
        self.asked
            .is_some_and(|(first, _)| self.asker.deadline.saturating_sub(first) >= time)
    }

    /// Since the issuer was asked first.
    fn latency(&self, now: Now) -> Option<Duration> {
        let (first, _) = self.asked?;
        Some(now.monotonic.saturating_sub(first))
    }
}

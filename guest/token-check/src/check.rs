//! One loop for every request: begin, lead or join, settle, resume.

use core::hash::BuildHasher;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use siphasher::sip::SipHasher13;

use crate::answer::IssuerAnswer;
use crate::bearer::{self, RequestHead};
use crate::decision::{Decision, Refusal, decide, route};
use crate::facts::{self, Facts};
use crate::introspection::OutboundCall;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::requirements::Requirements;
use crate::secret::AccessToken;
use crate::store::{Record, StoreKey};
use crate::trace;
use crate::verdict::{CacheUse, Verdict};

/// The time, as the host reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Seconds since 1970, for what the issuer says about a token's life.
    pub unix_seconds: i64,
    /// A clock that never goes back, for how long a caller waits. Any starting point.
    pub monotonic: Duration,
}

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
struct Asker {
    token: Arc<AccessToken>,
    requirements: Arc<Requirements>,
    deadline: Duration,
    traceparent: Option<Box<str>>,
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
pub struct Flight {
    token: Arc<AccessToken>,
    slot: Arc<Slot>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        // No effect on a slot that was settled.
        let _ = self.slot.0.set(Settled::Abandoned);
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
    /// What was wrong with the issuer, once per question, for logs and metrics.
    pub fault: Option<Reason>,
}

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The host forbids the call.
    Denied,
    /// The time was up.
    Timeout,
    /// No connection, or it broke: DNS, TCP, TLS, HTTP.
    Unreachable,
}

struct Slot(OnceLock<Settled>);

enum Settled {
    Facts(Arc<Facts>),
    Fault(Reason),
    Abandoned,
}

struct InFlight<W> {
    slot: Arc<Slot>,
    parked: Vec<W>,
}

/// Keyed, so that nobody can choose tokens that collide.
struct KeyedHash(SipHasher13);

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}

/// The auth check of one policy. `W` is what the host wakes a parked request with.
///
/// The calls in flight are keyed by the whole token. Issuer endpoint and client are part of the key by construction: they
/// belong to the policy, and each policy has an `AuthCheck` of its own.
pub struct AuthCheck<W> {
    policy: Policy,
    flights: HashMap<Arc<AccessToken>, InFlight<W>, KeyedHash>,
}

impl<W> AuthCheck<W> {
    /// `seed`: random bytes, for the hash only.
    #[must_use]
    pub fn new(policy: Policy, seed: [u8; 16]) -> Self {
        Self {
            policy,
            flights: HashMap::with_hasher(KeyedHash(SipHasher13::new_with_key(&seed))),
        }
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A request has come.
    pub fn begin(&mut self, request: &RequestHead<'_>, now: Now) -> Step {
        let requirements = match route(request, &self.policy) {
            Ok(requirements) => requirements,
            Err(decision) => return Step::Done(Verdict::new(decision, None)),
        };
        match bearer::token(request) {
            Err(reason) => {
                let refused = Decision::Refused(Refusal::new(reason, requirements));
                Step::Done(Verdict::new(refused, None))
            }
            Ok(token) => {
                let asker = Asker {
                    token: Arc::new(token),
                    requirements,
                    deadline: now.monotonic.saturating_add(self.policy.timeout()),
                    traceparent: trace::parent(request.traceparent),
                };
                self.lead_or_join(asker, now)
            }
        }
    }

    /// A parked request waits to be woken with `waker`. If the flight has ended meanwhile, `waker` comes back: resume now.
    #[must_use]
    pub fn park(&mut self, waiting: &Waiting, waker: W) -> Option<W> {
        match self.flights.get_mut(&waiting.asker.token) {
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
    pub fn settle(&mut self, flight: Flight, outcome: Outcome, _now: Now) -> Progress<W> {
        let settled = match outcome {
            Outcome::Answered(answer) => facts::read(&answer)
                .map_or_else(Settled::Fault, |facts| Settled::Facts(Arc::new(facts))),
            Outcome::Failed(CallFailure::Denied) => Settled::Fault(Reason::IssuerCallDenied),
            Outcome::Failed(CallFailure::Timeout) => Settled::Fault(Reason::IssuerTimeout),
            Outcome::Failed(CallFailure::Unreachable) => Settled::Fault(Reason::IssuerUnreachable),
            // What comes of an errand that was not this flight's is nothing.
            Outcome::Found(_)
            | Outcome::StoreFailed
            | Outcome::Claimed(_)
            | Outcome::Paused
            | Outcome::Abandoned => Settled::Abandoned,
        };
        let fault = match settled {
            Settled::Fault(reason) => Some(reason),
            Settled::Facts(_) | Settled::Abandoned => None,
        };
        let _ = flight.slot.0.set(settled);
        let woken = match self.flights.get(&flight.token) {
            Some(ours) if Arc::ptr_eq(&ours.slot, &flight.slot) => self
                .flights
                .remove(&flight.token)
                .map(|ended| ended.parked)
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        Progress::Ended(Ended {
            woken,
            records: Vec::new(),
            fault,
        })
    }

    /// A waiting request goes on: decided if its flight has ended or its time is up; else it leads, or waits on.
    pub fn resume(&mut self, waiting: Waiting, now: Now) -> Step {
        let cache = if waiting.leads {
            CacheUse::Miss
        } else {
            CacheUse::Joined
        };
        let reason = match waiting.slot.0.get() {
            Some(Settled::Facts(facts)) => {
                let requirements = &waiting.asker.requirements;
                let decision = decide(facts, requirements, &self.policy, now.unix_seconds);
                return Step::Done(Verdict::new(decision, Some(cache)));
            }
            Some(Settled::Fault(reason)) => *reason,
            Some(Settled::Abandoned) => return self.lead_or_join(waiting.asker, now),
            None if now.monotonic >= waiting.deadline() => Reason::IssuerTimeout,
            None => return Step::Join(waiting),
        };
        let decision = Decision::Refused(Refusal::new(reason, waiting.asker.requirements));
        Step::Done(Verdict::new(decision, Some(cache)))
    }

    fn lead_or_join(&mut self, asker: Asker, now: Now) -> Step {
        let left = asker.deadline.saturating_sub(now.monotonic);
        if left.is_zero() {
            let timeout = Refusal::new(Reason::IssuerTimeout, asker.requirements);
            let refused = Decision::Refused(timeout);
            return Step::Done(Verdict::new(refused, Some(CacheUse::Miss)));
        }
        if let Some(flight) = self
            .flights
            .get(&asker.token)
            .filter(|flight| flight.slot.0.get().is_none())
        {
            return Step::Join(Waiting {
                slot: Arc::clone(&flight.slot),
                asker,
                leads: false,
            });
        }
        let slot = Arc::new(Slot(OnceLock::new()));
        // An abandoned flight may still hold wakers: they stay parked on the new one.
        let parked = self
            .flights
            .remove(&asker.token)
            .map(|old| old.parked)
            .unwrap_or_default();
        self.flights.insert(
            Arc::clone(&asker.token),
            InFlight {
                slot: Arc::clone(&slot),
                parked,
            },
        );
        let call = OutboundCall::introspection(
            &self.policy,
            &asker.token,
            asker.traceparent.clone(),
            left,
        );
        let flight = Flight {
            token: Arc::clone(&asker.token),
            slot: Arc::clone(&slot),
        };
        let waiting = Waiting {
            asker,
            slot,
            leads: true,
        };
        Step::Lead(waiting, flight, Errand::Ask(call))
    }
}

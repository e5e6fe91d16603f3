//! One loop for every request: begin, ask or join, settle, resume.

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
    Done(Decision),
    /// Send this call, give what comes of it to [`AuthCheck::settle`], then [`AuthCheck::resume`].
    Ask(Waiting, Flight, OutboundCall),
    /// Somebody asks about the same token already: [`AuthCheck::park`], and [`AuthCheck::resume`] when woken or when
    /// [`Waiting::deadline`] has come.
    Join(Waiting),
}

/// A request that waits for the issuer. Its only use is [`AuthCheck::resume`], which takes it.
#[must_use]
pub struct Waiting {
    token: Arc<AccessToken>,
    requirements: Arc<Requirements>,
    slot: Arc<Slot>,
    deadline: Duration,
}

impl Waiting {
    /// When this request must be answered, on the host's monotonic clock.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }
}

impl core::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Waiting")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The duty to settle a call. If it is dropped instead (its request was cancelled), those who wait ask again.
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

/// What came of an [`OutboundCall`].
pub enum Outcome {
    /// An HTTP answer, whatever its status.
    Answered(IssuerAnswer),
    /// None.
    Failed(CallFailure),
    /// The call was given up for a reason of ours; those who wait ask again.
    Abandoned,
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
            Err(decision) => return Step::Done(decision),
        };
        match bearer::token(request) {
            Err(reason) => Step::Done(Decision::Refused(Refusal::new(reason, requirements))),
            Ok(token) => {
                let deadline = now.monotonic.saturating_add(self.policy.timeout());
                self.ask_or_join(Arc::new(token), requirements, deadline, now)
            }
        }
    }

    /// A parked request waits to be woken with `waker`. If the flight has ended meanwhile, `waker` comes back: resume now.
    #[must_use]
    pub fn park(&mut self, waiting: &Waiting, waker: W) -> Option<W> {
        match self.flights.get_mut(&waiting.token) {
            Some(flight)
                if Arc::ptr_eq(&flight.slot, &waiting.slot) && waiting.slot.0.get().is_none() =>
            {
                flight.parked.push(waker);
                None
            }
            _ => Some(waker),
        }
    }

    /// A call has ended. Returns everyone to wake.
    #[must_use]
    pub fn settle(&mut self, flight: Flight, outcome: Outcome) -> Vec<W> {
        let settled = match outcome {
            Outcome::Answered(answer) => facts::read(&answer)
                .map_or_else(Settled::Fault, |facts| Settled::Facts(Arc::new(facts))),
            Outcome::Failed(CallFailure::Denied) => Settled::Fault(Reason::IssuerCallDenied),
            Outcome::Failed(CallFailure::Timeout) => Settled::Fault(Reason::IssuerTimeout),
            Outcome::Failed(CallFailure::Unreachable) => Settled::Fault(Reason::IssuerUnreachable),
            Outcome::Abandoned => Settled::Abandoned,
        };
        let _ = flight.slot.0.set(settled);
        match self.flights.get(&flight.token) {
            Some(ours) if Arc::ptr_eq(&ours.slot, &flight.slot) => self
                .flights
                .remove(&flight.token)
                .map(|ended| ended.parked)
                .unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// A waiting request goes on: decided if its call has ended or its time is up; else it asks, or waits on.
    pub fn resume(&mut self, waiting: Waiting, now: Now) -> Step {
        match waiting.slot.0.get() {
            Some(Settled::Facts(facts)) => {
                let requirements = &waiting.requirements;
                Step::Done(decide(facts, requirements, &self.policy, now.unix_seconds))
            }
            Some(Settled::Fault(reason)) => Step::Done(Decision::Refused(Refusal::new(
                *reason,
                waiting.requirements,
            ))),
            Some(Settled::Abandoned) => {
                self.ask_or_join(waiting.token, waiting.requirements, waiting.deadline, now)
            }
            None if now.monotonic >= waiting.deadline => {
                let timeout = Refusal::new(Reason::IssuerTimeout, waiting.requirements);
                Step::Done(Decision::Refused(timeout))
            }
            None => Step::Join(waiting),
        }
    }

    fn ask_or_join(
        &mut self,
        token: Arc<AccessToken>,
        requirements: Arc<Requirements>,
        deadline: Duration,
        now: Now,
    ) -> Step {
        let left = deadline.saturating_sub(now.monotonic);
        if left.is_zero() {
            let timeout = Refusal::new(Reason::IssuerTimeout, requirements);
            return Step::Done(Decision::Refused(timeout));
        }
        if let Some(flight) = self
            .flights
            .get(&token)
            .filter(|flight| flight.slot.0.get().is_none())
        {
            return Step::Join(Waiting {
                token,
                requirements,
                slot: Arc::clone(&flight.slot),
                deadline,
            });
        }
        let slot = Arc::new(Slot(OnceLock::new()));
        // An abandoned flight may still hold wakers: they stay parked on the new one.
        let parked = self
            .flights
            .remove(&token)
            .map(|old| old.parked)
            .unwrap_or_default();
        self.flights.insert(
            Arc::clone(&token),
            InFlight {
                slot: Arc::clone(&slot),
                parked,
            },
        );
        let call = OutboundCall::introspection(&self.policy, &token, left);
        let flight = Flight {
            token: Arc::clone(&token),
            slot: Arc::clone(&slot),
        };
        Step::Ask(
            Waiting {
                token,
                requirements,
                slot,
                deadline,
            },
            flight,
            call,
        )
    }
}

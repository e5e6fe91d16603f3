//! Flights: one lookup shared by all requests that carry the same token at the same time.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::log_event::LogEvent;
use super::verdict::CacheStatus;
use crate::introspection::{CallFailure, Fault};
use crate::memory::{
    BuildPassThroughHasher, CachedFacts, Permit, SharedToken, SlotState, TokenKey,
};
use crate::policy::Requirements;
use crate::reason::RETRY_AFTER_SECONDS;
use crate::secret::AccessToken;

/// A request that waits for a flight. Its only use is
/// [`AuthCheck::resume`](crate::AuthCheck::resume), which consumes it.
#[must_use]
pub struct PendingRequest {
    pub(super) context: RequestContext,
    pub(super) result: Arc<SharedResult>,
    /// Whether this request leads the flight.
    pub(super) leads: bool,
}

impl PendingRequest {
    /// When this request must be answered, on the host's monotonic clock.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.context.deadline
    }
}

impl core::fmt::Debug for PendingRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PendingRequest")
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// What is kept of a request while it waits.
#[derive(Clone)]
pub(super) struct RequestContext {
    pub(super) key: TokenKey,
    pub(super) token: Arc<AccessToken>,
    pub(super) requirements: Arc<Requirements>,
    pub(super) deadline: Duration,
    pub(super) traceparent: Option<Box<str>>,
    /// For the audit line.
    pub(super) host: Option<Box<[u8]>>,
}

/// A lookup in progress.
///
/// When its request is cancelled, pass it to [`AuthCheck::abandon`](crate::AuthCheck::abandon),
/// which returns the wakers of the requests that wait for it. Dropping it wakes nobody: they would
/// sleep until their deadline.
#[must_use]
pub struct Flight(pub(super) Box<FlightState>);

impl Drop for Flight {
    fn drop(&mut self) {
        // Has no effect once the flight has a result.
        self.0.result.set(FlightResult::Abandoned);
    }
}

impl core::fmt::Debug for Flight {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// What a flight remembers from one action to the next.
pub(super) struct FlightState {
    /// Of the leader.
    pub(super) context: RequestContext,
    pub(super) result: Arc<SharedResult>,
    /// `None`: there is no shared store, or it is not used now.
    pub(super) shared: Option<SharedToken>,
    /// What the current [`Action::StoreGet`](super::Action::StoreGet) reads.
    pub(super) reads: StoreRead,
    /// When the last introspection call was sent.
    pub(super) last_call: Option<Duration>,
    pub(super) is_retry: bool,
    pub(super) permit: Permit,
    pub(super) has_lease: bool,
    pub(super) slot: SlotState,
    /// How long to sleep the next time another instance holds the lease.
    pub(super) backoff: Duration,
    /// About a response that could be interpreted.
    pub(super) event: Option<LogEvent>,
}

/// Which entry of the shared store is read.
#[derive(Clone, Copy)]
pub(super) enum StoreRead {
    Facts,
    Lease,
}

impl FlightState {
    /// Since the first introspection call was sent.
    pub(super) fn latency(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.result.first_call()?))
    }

    /// Whether its introspection calls had at least this much time.
    pub(super) fn had_at_least(&self, time: Duration) -> bool {
        let first = self.result.first_call();
        first.is_some_and(|first| self.context.deadline.saturating_sub(first) >= time)
    }

    pub(super) fn time_left(&self, now: Duration) -> Duration {
        self.context.deadline.saturating_sub(now)
    }
}

/// The result of a flight, shared by everyone who waits for it.
#[derive(Default)]
pub(super) struct SharedResult {
    result: OnceLock<FlightResult>,
    first_call: OnceLock<Duration>,
}

impl SharedResult {
    pub(super) fn get(&self) -> Option<&FlightResult> {
        self.result.get()
    }

    /// The first result counts.
    pub(super) fn set(&self, result: FlightResult) {
        let _ = self.result.set(result);
    }

    /// When the first introspection call was sent, if any was.
    pub(super) fn first_call(&self) -> Option<Duration> {
        self.first_call.get().copied()
    }

    pub(super) fn note_call(&self, now: Duration) {
        // A retry is not the first call.
        let _ = self.first_call.set(now);
    }
}

/// How a flight ended.
pub(super) enum FlightResult {
    Facts {
        facts: CachedFacts,
        /// [`CacheStatus::Miss`] or [`CacheStatus::Shared`].
        source: CacheStatus,
        latency: Option<Duration>,
    },
    Fault(FlightFault),
    /// Without a result: each waiting request starts over.
    Abandoned,
}

/// A flight that failed because of the issuer.
#[derive(Clone, Copy)]
pub(super) struct FlightFault {
    pub(super) fault: Fault,
    /// In seconds.
    pub(super) retry_after: u32,
    pub(super) latency: Option<Duration>,
}

impl FlightFault {
    pub(super) const fn from_call(failure: CallFailure, latency: Option<Duration>) -> Self {
        Self {
            fault: Fault::from_call(failure),
            retry_after: RETRY_AFTER_SECONDS,
            latency,
        }
    }
}

/// Whether a request was parked.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Parked<W> {
    /// It is woken when its flight finishes.
    Yes,
    /// Its flight has finished already. Its waker comes back: resume the request now.
    FlightOver(W),
}

/// The flights in progress, by token.
pub(super) struct FlightTable<W>(HashMap<TokenKey, FlightEntry<W>, BuildPassThroughHasher>);

struct FlightEntry<W> {
    result: Arc<SharedResult>,
    parked: Vec<W>,
}

impl<W> FlightTable<W> {
    pub(super) fn new() -> Self {
        Self(HashMap::with_hasher(BuildPassThroughHasher))
    }

    /// The flight for this token, unless it has ended.
    pub(super) fn in_progress(&self, key: TokenKey) -> Option<&Arc<SharedResult>> {
        let entry = self.0.get(&key)?;
        entry.result.get().is_none().then_some(&entry.result)
    }

    /// When the last flight for this token sent its first introspection call.
    pub(super) fn first_call(&self, key: TokenKey) -> Option<Duration> {
        self.0.get(&key)?.result.first_call()
    }

    /// Starts a flight. An abandoned one may still hold wakers: the new one takes them over.
    pub(super) fn start(&mut self, key: TokenKey, result: Arc<SharedResult>) {
        let abandoned = self.0.remove(&key);
        let parked = abandoned.map(|entry| entry.parked).unwrap_or_default();
        self.0.insert(key, FlightEntry { result, parked });
    }

    pub(super) fn park(&mut self, request: &PendingRequest, waker: W) -> Parked<W> {
        match self.0.get_mut(&request.context.key) {
            Some(entry)
                if Arc::ptr_eq(&entry.result, &request.result) && entry.result.get().is_none() =>
            {
                entry.parked.push(waker);
                Parked::Yes
            }
            _ => Parked::FlightOver(waker),
        }
    }

    /// Removes the flight and returns its wakers, unless a later flight has taken its place.
    pub(super) fn finish(&mut self, key: TokenKey, result: &Arc<SharedResult>) -> Vec<W> {
        match self.0.get(&key) {
            Some(entry) if Arc::ptr_eq(&entry.result, result) => {
                let entry = self.0.remove(&key);
                entry.map(|entry| entry.parked).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

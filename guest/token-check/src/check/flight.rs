//! Flights: one lookup shared by all requests that carry the same token at the same time, and one
//! fetch of a document of the issuer shared by all that need it.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use super::admission::Place;
use super::log_event::LogEvent;
use super::verdict::CacheStatus;
use crate::decision::Possession;
use crate::introspection::{CallFailure, Detail, Facts, Fault};
#[cfg(feature = "jwt")]
use crate::memory::ProofId;
use crate::memory::{
    BuildPassThroughHasher, CachedFacts, SharedToken, SlotState, TokenKey, Voucher,
};
use crate::policy::Requirements;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::secret::AccessToken;

/// A request that waits for a flight. Its only use is
/// [`AuthCheck::resume`](crate::AuthCheck::resume), which consumes it.
#[must_use]
pub struct PendingRequest {
    pub(super) context: RequestContext,
    pub(super) result: Arc<SharedResult>,
    /// Whether this request leads the flight.
    pub(super) leads: bool,
    /// Its place among the requests without a verdict.
    pub(super) place: Place,
}

impl PendingRequest {
    /// When this request must be answered, on the host's monotonic clock.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.context.deadline
    }

    /// The number of its issuer.
    pub(super) const fn issuer(&self) -> usize {
        self.context.issuer
    }
}

impl core::fmt::Debug for PendingRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PendingRequest")
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// What a flight finds out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum About {
    Token(TokenKey),
    /// The keys of the issuer.
    #[cfg(feature = "jwt")]
    Keys,
    /// The metadata of the issuer.
    #[cfg(feature = "jwt")]
    Metadata,
}

/// What is kept of a request while it waits.
#[derive(Clone)]
pub(super) struct RequestContext {
    /// The number of the issuer.
    pub(super) issuer: usize,
    pub(super) key: TokenKey,
    pub(super) token: Arc<AccessToken>,
    pub(super) requirements: Arc<Requirements>,
    pub(super) possession: Possession,
    /// To be used once.
    #[cfg(feature = "jwt")]
    pub(super) proof: Option<ProofId>,
    pub(super) deadline: Duration,
    pub(super) traceparent: Option<Arc<str>>,
    /// For the audit line.
    pub(super) host: Option<Box<[u8]>>,
    /// Whether the token was active lately.
    pub(super) is_known: bool,
    /// What a verified token says, if the issuer is to confirm it.
    #[cfg(feature = "jwt")]
    pub(super) verified: Option<(Facts, Voucher)>,
}

/// What the request of a token asks, for as long as it does not wait.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) key: TokenKey,
    pub(super) token: &'a [u8],
    pub(super) requirements: &'a Arc<Requirements>,
    pub(super) possession: &'a Possession,
    /// To be used once.
    #[cfg(feature = "jwt")]
    pub(super) proof: Option<ProofId>,
    pub(super) deadline: Duration,
    /// For the audit line.
    pub(super) host: Option<&'a [u8]>,
}

impl RequestContext {
    #[inline]
    pub(super) fn presented(&self) -> Presented<'_> {
        Presented {
            key: self.key,
            token: self.token.secret(),
            requirements: &self.requirements,
            possession: &self.possession,
            #[cfg(feature = "jwt")]
            proof: self.proof,
            deadline: self.deadline,
            host: self.host.as_deref(),
        }
    }

    /// Whether the token was verified, and the issuer is to confirm it. Its word alone is not what
    /// instances share.
    pub(super) const fn is_verified(&self) -> bool {
        #[cfg(feature = "jwt")]
        return self.verified.is_some();
        #[cfg(not(feature = "jwt"))]
        return false;
    }

    /// What the issuer says about the token, together with what the token says if it was verified.
    /// `token_types`: those that are accepted beyond the known ones.
    #[inline]
    pub(super) fn confirmed(&self, facts: Facts, token_types: &[String]) -> Facts {
        #[cfg(feature = "jwt")]
        if let (Some((verified, _)), Some(word)) = (&self.verified, facts.claims()) {
            return verified.confirmed(word, token_types);
        }
        #[cfg(not(feature = "jwt"))]
        let _ = token_types;
        facts
    }

    /// The key that verified the token, if the issuer is to confirm it.
    #[inline]
    pub(super) fn voucher(&self) -> Voucher {
        #[cfg(feature = "jwt")]
        if let Some((_, voucher)) = self.verified {
            return voucher;
        }
        Voucher::ISSUER
    }
}

/// A lookup in progress.
///
/// When its request is cancelled, pass it to [`AuthCheck::abandon`](crate::AuthCheck::abandon),
/// which returns the wakers of the requests that wait for it. Dropping it wakes nobody: they would
/// sleep until their deadline.
#[must_use]
pub struct Flight(pub(super) Box<FlightState>);

impl Flight {
    /// The number of its issuer.
    pub(super) const fn issuer(&self) -> usize {
        self.0.context.issuer
    }
}

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
    /// What the current introspection call is for.
    pub(super) purpose: Purpose,
    /// Its place among the calls; `None` before the first one.
    pub(super) place: Option<Place>,
    pub(super) has_lease: bool,
    pub(super) slot: SlotState,
    /// How long to sleep the next time another instance holds the lease.
    pub(super) backoff: Duration,
    /// About a response that could be interpreted.
    pub(super) event: Option<LogEvent>,
}

/// What an introspection call is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// To learn about the token.
    Token,
    /// To learn whether the issuer is back, or there at all, before it is called about the token.
    ProbeFirst,
    /// To learn whether the issuer is down, after the call about the token failed like this.
    ProbeAfter(FlightFault),
}

/// Which entry of the shared store is read.
#[derive(Clone, Copy)]
pub(super) enum StoreRead {
    Facts,
    Lease,
}

impl FlightState {
    /// Whether the current introspection call is about the token, and not the probe's.
    #[cfg(feature = "jwt")]
    pub(super) const fn is_about_token(&self) -> bool {
        matches!(self.purpose, Purpose::Token)
    }

    /// Since the first introspection call was sent.
    pub(super) fn latency(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.result.first_call()?))
    }

    /// How long the current introspection call has taken.
    pub(super) fn time_of_call(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_call.unwrap_or_default())
    }

    /// Whether the current introspection call had at least this much time.
    pub(super) fn had_at_least(&self, time: Duration) -> bool {
        (self.last_call).is_some_and(|called| self.time_left(called) >= time)
    }

    pub(super) fn time_left(&self, now: Duration) -> Duration {
        self.context.deadline.saturating_sub(now)
    }
}

/// The result of a flight, shared by everyone who waits for it.
pub(super) struct SharedResult {
    about: About,
    result: OnceLock<FlightResult>,
    first_call: OnceLock<Duration>,
}

impl SharedResult {
    pub(super) const fn new(about: About) -> Self {
        Self {
            about,
            result: OnceLock::new(),
            first_call: OnceLock::new(),
        }
    }

    pub(super) const fn about(&self) -> About {
        self.about
    }

    /// How many requests wait for it.
    pub(super) fn requests(this: &Arc<Self>) -> usize {
        // The flight and the table hold it too.
        Arc::strong_count(this).saturating_sub(2)
    }

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
    /// The issuer failed the probe too, so that `stale_if_error` applies.
    pub(super) is_outage: bool,
}

impl FlightFault {
    /// The same, with the probe failed too.
    pub(super) const fn in_outage(self) -> Self {
        Self {
            is_outage: true,
            ..self
        }
    }

    /// The turn of the flight would come too late.
    pub(super) const fn too_busy() -> Self {
        Self {
            fault: Fault::new(Reason::TooBusy, Detail::None),
            retry_after: RETRY_AFTER_SECONDS,
            latency: None,
            is_outage: false,
        }
    }

    pub(super) const fn from_call(failure: CallFailure, latency: Option<Duration>) -> Self {
        Self {
            fault: Fault::from_call(failure),
            retry_after: RETRY_AFTER_SECONDS,
            latency,
            is_outage: false,
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

/// Dead flights in the queue beyond those of living requests, before they are swept out.
const MAX_DEAD: usize = 64;

/// The flights in progress.
pub(super) struct FlightTable<W> {
    flights: Entries<W>,
    /// Flights that wait for their turn to call the issuer, in the order of arrival: those of known
    /// tokens, which go first, and the others.
    known: VecDeque<About>,
    strangers: VecDeque<About>,
    /// Flights whose turn has come and that no request has taken over yet.
    admitted: Vec<About>,
}

struct FlightEntry<W> {
    result: Arc<SharedResult>,
    parked: Vec<W>,
    /// The flight itself while no request leads it.
    waiting: Option<Flight>,
    /// Of the requests that have joined it.
    latest_deadline: Duration,
}

impl<W> FlightEntry<W> {
    /// Whether a request waits for this flight, which no request leads.
    fn is_awaited(&self) -> bool {
        SharedResult::requests(&self.result) > 0
    }
}

/// What to do about the flight whose turn is next.
pub(super) enum NextTurn {
    /// There is none.
    None,
    /// Nobody waits for it any more, and it is no longer in the table.
    Dead(Flight),
    /// All that wait for it have too little time left for a call.
    TooLate(Flight),
    /// It may call if there is a place.
    Waits {
        /// Whether its token was active lately.
        is_known: bool,
    },
}

impl<W> FlightTable<W> {
    pub(super) fn new() -> Self {
        Self {
            flights: HashMap::with_hasher(BuildPassThroughHasher),
            known: VecDeque::new(),
            strangers: VecDeque::new(),
            admitted: Vec::new(),
        }
    }

    /// The flight about this, unless it has ended.
    pub(super) fn in_progress(&self, about: About) -> Option<&Arc<SharedResult>> {
        let entry = self.flights.get(&about)?;
        entry.result.get().is_none().then_some(&entry.result)
    }

    /// Whether the host dropped the flight about this before it had finished.
    #[cfg(feature = "jwt")]
    pub(super) fn was_dropped(&self, about: About) -> bool {
        let entry = self.flights.get(&about);
        entry.is_some_and(|entry| entry.result.get().is_some())
    }

    /// Whether the flight about this waits for its turn.
    pub(super) fn is_queued(&self, about: About) -> bool {
        let entry = self.flights.get(&about);
        entry.is_some_and(|entry| entry.waiting.is_some())
    }

    /// Whether any request waits for this flight, which its host runs.
    pub(super) fn is_awaited(&self, flight: &FlightState) -> bool {
        let entry = self.flights.get(&flight.result.about);
        let is_here = entry.is_some_and(|entry| Arc::ptr_eq(&entry.result, &flight.result));
        Arc::strong_count(&flight.result) > 1 + usize::from(is_here)
    }

    /// Starts a flight. One that its host dropped may still hold wakers: the new one takes them
    /// over.
    pub(super) fn start(&mut self, result: Arc<SharedResult>, deadline: Duration) {
        let about = result.about;
        let dropped = self.flights.remove(&about);
        let entry = FlightEntry {
            result,
            parked: dropped.map(|entry| entry.parked).unwrap_or_default(),
            waiting: None,
            latest_deadline: deadline,
        };
        self.flights.insert(about, entry);
    }

    /// Starts a fetch of a document, which no request leads.
    #[cfg(feature = "jwt")]
    pub(super) fn start_fetch(&mut self, about: About, ends: Duration) -> Arc<SharedResult> {
        let result = Arc::new(SharedResult::new(about));
        self.start(Arc::clone(&result), ends);
        result
    }

    /// A request with this deadline has joined the flight.
    pub(super) fn joined(&mut self, about: About, deadline: Duration) {
        if let Some(entry) = self.flights.get_mut(&about) {
            entry.latest_deadline = entry.latest_deadline.max(deadline);
        }
    }

    pub(super) fn park(&mut self, request: &PendingRequest, waker: W) -> Parked<W> {
        match self.flights.get_mut(&request.result.about) {
            Some(entry)
                if Arc::ptr_eq(&entry.result, &request.result) && entry.result.get().is_none() =>
            {
                entry.parked.push(waker);
                Parked::Yes
            }
            _ => Parked::FlightOver(waker),
        }
    }

    /// The flight waits for its turn. Returns dead flights that were swept out. `living`: how many
    /// requests have no verdict.
    pub(super) fn queue(&mut self, flight: Flight, living: usize) -> Vec<Flight> {
        let (key, is_known) = (flight.0.result.about, flight.0.context.is_known);
        if let Some(entry) = self.flights.get_mut(&key) {
            entry.waiting = Some(flight);
            self.queue_of(is_known).push_back(key);
        }
        // At least half of the queue is dead then, so that each flight pays for sweeping one.
        let length = self.known.len().saturating_add(self.strangers.len());
        if length <= living.saturating_mul(2).saturating_add(MAX_DEAD) {
            return Vec::new();
        }
        let mut dead = Vec::new();
        for queue in [&mut self.known, &mut self.strangers] {
            queue.retain(|key| {
                let is_dead = is_dead(&self.flights, *key);
                if is_dead {
                    dead.extend(take_dead(&mut self.flights, *key));
                }
                !is_dead
            });
        }
        dead
    }

    const fn queue_of(&mut self, is_known: bool) -> &mut VecDeque<About> {
        if is_known {
            &mut self.known
        } else {
            &mut self.strangers
        }
    }

    /// Takes an admitted flight over.
    pub(super) fn take_over(&mut self, request: &PendingRequest) -> Option<Flight> {
        let about = request.result.about;
        let entry = self.flights.get_mut(&about)?;
        let is_admitted = Arc::ptr_eq(&entry.result, &request.result)
            && (entry.waiting.as_ref()).is_some_and(|flight| flight.0.place.is_some());
        if !is_admitted {
            return None;
        }
        self.admitted.retain(|admitted| *admitted != about);
        entry.waiting.take()
    }

    /// Admitted flights whose request has left.
    pub(super) fn take_deserted(&mut self) -> Vec<Flight> {
        let flights = &mut self.flights;
        let dead: Vec<_> = (self.admitted)
            .extract_if(.., |key| is_dead(flights, *key))
            .collect();
        let dead = dead.into_iter();
        dead.filter_map(|key| take_dead(flights, key)).collect()
    }

    /// `earliest`: a call that must end before this is not worth its place.
    pub(super) fn next_turn(&mut self, earliest: Duration) -> NextTurn {
        for is_known in [true, false] {
            while let Some(key) = self.queue_of(is_known).front().copied() {
                if is_dead(&self.flights, key) {
                    self.queue_of(is_known).pop_front();
                    if let Some(flight) = take_dead(&mut self.flights, key) {
                        return NextTurn::Dead(flight);
                    }
                    continue;
                }
                let late = (self.flights.get_mut(&key))
                    .filter(|entry| entry.latest_deadline < earliest)
                    .and_then(|entry| entry.waiting.take());
                let Some(flight) = late else {
                    return NextTurn::Waits { is_known };
                };
                self.queue_of(is_known).pop_front();
                return NextTurn::TooLate(flight);
            }
        }
        NextTurn::None
    }

    /// The turn of the next of these flights has come. Returns the wakers of the requests that wait
    /// for it, the last to arrive first: the first one to be resumed takes it over, and that one has
    /// the most time for a call.
    pub(super) fn admit(&mut self, is_known: bool, place: Place) -> Vec<W> {
        let Some(key) = self.queue_of(is_known).pop_front() else {
            return Vec::new();
        };
        let Some(entry) = self.flights.get_mut(&key) else {
            return Vec::new();
        };
        if let Some(flight) = &mut entry.waiting {
            flight.0.place = Some(place);
            self.admitted.push(key);
        }
        let mut woken = core::mem::take(&mut entry.parked);
        woken.reverse();
        woken
    }

    /// Removes the flight and returns its wakers, unless a later flight has taken its place. Of one
    /// without a result, the last to arrive is the first: it leads the next flight, on which all
    /// others wait, and has the most time for a call.
    pub(super) fn finish(&mut self, result: &Arc<SharedResult>) -> Vec<W> {
        let key = result.about;
        let is_ours = |entry: &FlightEntry<W>| Arc::ptr_eq(&entry.result, result);
        if !self.flights.get(&key).is_some_and(is_ours) {
            return Vec::new();
        }
        let entry = self.flights.remove(&key);
        let mut woken = entry.map(|entry| entry.parked).unwrap_or_default();
        let is_led = matches!(result.about, About::Token(_));
        if is_led && matches!(result.get(), Some(FlightResult::Abandoned)) {
            woken.reverse();
        }
        woken
    }
}

type Entries<W> = HashMap<About, FlightEntry<W>, BuildPassThroughHasher>;

/// Whether nobody waits for the flight about this, which no request leads.
fn is_dead<W>(flights: &Entries<W>, key: About) -> bool {
    (flights.get(&key)).is_none_or(|entry| entry.waiting.is_none() || !entry.is_awaited())
}

fn take_dead<W>(flights: &mut Entries<W>, key: About) -> Option<Flight> {
    flights.get(&key)?.waiting.as_ref()?;
    flights.remove(&key)?.waiting
}

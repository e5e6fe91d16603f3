//! The hosts: several instances, one store, one clock. Each does what the contract of the core says,
//! at any time that it allows and in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use token_check::{
    Action, AuthCheck, CallFailure, Decision, Finished, Flight, IssuerCall as _, Now, Parked,
    PendingRequest, Progress, Step,
};

use super::event::{
    CallOutcome, Config, Event, Leave, Nudge, Outcome, ROUTES, RULES, StoreOutcome, TOKENS,
};
use super::issuer::{State, TokenId};
use super::model::{About, Asked, LOST_AFTER, Model};
use super::store::Store;
use crate::support::{SECRET, START, head, token, try_policy};

/// After this long no hold, lease, result or probe of before has any effect: a `Retry-After` counts
/// for a minute at most.
const RECOVERY: Duration = Duration::from_secs(130);
/// Most requests, one per two seconds, until one is decided by a recovered issuer.
const MAX_ATTEMPTS: usize = 8;
/// The token of the probe.
const PROBE: &[u8] = b"trust-triangle-probe";
/// Longest sleep that the core asks for.
const MAX_SLEEP: Duration = Duration::from_millis(16);

struct Instance {
    check: AuthCheck<u32>,
    tenant: usize,
    /// Monotonic clocks start anywhere.
    offset: Duration,
    /// A ticket was dropped, against the contract: its place is free, and nobody was told. Requests
    /// that wait for their turn may wait until their deadline.
    has_lost_place: bool,
}

struct Request {
    asked: Asked,
    pending: PendingRequest,
    deadline: Duration,
    is_woken: bool,
    /// Its flight's ticket was dropped: it may sleep until its deadline.
    has_lost_flight: bool,
}

/// An action in progress.
struct Running {
    instance: usize,
    id: TokenId,
    leader: u32,
    action: Action,
    /// When the action was asked for.
    since: Duration,
    /// Of the leader.
    deadline: Duration,
    /// Of the value that was read last.
    version: Option<u64>,
}

pub(super) struct World {
    max_calls: usize,
    max_waiting: usize,
    now: Duration,
    instances: Vec<Instance>,
    store: Store,
    requests: BTreeMap<u32, Request>,
    running: Vec<Running>,
    model: Model,
    last_request: u32,
}

impl World {
    pub(super) fn new(config: &Config) -> Self {
        let instances = (0..config.instances).map(|place| {
            let is_other = config.has_two_tenants && place + 1 == config.instances;
            Instance {
                check: auth_check(config, is_other),
                tenant: usize::from(is_other),
                offset: Duration::from_nanos(5_000_123_456_789) * u32::try_from(place).unwrap_or(0),
                has_lost_place: false,
            }
        });
        Self {
            max_calls: config.max_calls,
            max_waiting: config.max_waiting,
            now: Duration::ZERO,
            instances: instances.collect(),
            store: Store::default(),
            requests: BTreeMap::new(),
            running: Vec::new(),
            model: Model::new(config),
            last_request: 0,
        }
    }

    fn clock(&self, instance: usize) -> Now {
        Now {
            unix: Duration::from_secs(START) + self.now,
            monotonic: self.instances[instance].offset + self.now,
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Begin {
                instance,
                token,
                route,
            } => {
                self.begin(instance % self.instances.len(), token, route);
            }
            Event::Act(place, outcome) => {
                if !self.running.is_empty() {
                    self.act(place % self.running.len(), outcome);
                }
            }
            Event::Resume(place) => {
                if let Some(id) = self.request_at(place) {
                    self.resume(id);
                }
            }
            Event::ResumeAllWoken => self.resume_woken(),
            Event::Leave(place, leave) => {
                if let Some(id) = self.request_at(place) {
                    self.leave(id, leave);
                }
            }
            Event::Advance(time) => self.advance_to(self.now + time),
            Event::AdvanceTo(place, nudge) => self.advance_near(place, nudge),
            Event::Truth { token, truth } => self.model.issuer.set(token, truth, self.now),
            Event::Tamper(tamper) => self.store.tamper(tamper),
            Event::StoreTakesRecords(takes) => self.store.refuses_records = !takes,
        }
        self.check();
    }

    fn request_at(&self, place: usize) -> Option<u32> {
        let place = place.checked_rem(self.requests.len())?;
        self.requests.keys().nth(place).copied()
    }

    // Requests.

    fn begin(&mut self, instance: usize, token: usize, route: usize) {
        let id = TokenId {
            tenant: self.instances[instance].tenant,
            token,
        };
        let asked = Asked {
            instance,
            id,
            route,
            begun: self.now,
        };
        let line = format!("Bearer {}", id.text());
        let now = self.clock(instance);
        let lines: [&[u8]; 1] = [line.as_bytes()];
        let head = head(&lines, ROUTES[route].0.as_bytes());
        let step = self.instances[instance].check.begin(&head, now);
        self.last_request += 1;
        self.advance_request(self.last_request, asked, step);
    }

    fn advance_request(&mut self, request: u32, asked: Asked, mut step: Step<u32>) {
        let instance = asked.instance;
        let now = self.clock(instance);
        for _ in 0..4 {
            let pending = match step {
                Step::Done(verdict) => {
                    let others = self.waiting_in(instance);
                    self.model.check(asked, &verdict, self.now, others);
                    check_text(verdict.audit.as_deref());
                    check_text(verdict.event.map(|event| event.to_string()).as_deref());
                    return;
                }
                Step::Lead(pending, action) => {
                    self.start(request, asked, &pending, action);
                    self.insert(request, asked, pending);
                    return;
                }
                Step::Finished(pending, finished) => {
                    self.finish(instance, request, finished);
                    step = self.instances[instance].check.resume(pending, now);
                    continue;
                }
                Step::Join(pending) => pending,
            };
            match self.instances[instance].check.park(&pending, request) {
                Parked::Yes => {
                    let check = &self.instances[instance].check;
                    assert!(
                        self.is_in_flight(asked) || check.is_queued(&pending),
                        "joins a flight that nobody leads: {asked:?}"
                    );
                    return self.insert(request, asked, pending);
                }
                Parked::FlightOver(_) => {
                    step = self.instances[instance].check.resume(pending, now);
                }
            }
        }
        panic!("neither parked nor decided: {asked:?}");
    }

    fn insert(&mut self, request: u32, asked: Asked, pending: PendingRequest) {
        let deadline = pending.deadline() - self.instances[asked.instance].offset;
        assert_eq!(deadline, asked.begun + self.model.timeout());
        assert!(deadline > self.now, "waits past its deadline: {asked:?}");
        let (is_woken, has_lost_flight) = (false, false);
        self.requests.insert(
            request,
            Request {
                asked,
                pending,
                deadline,
                is_woken,
                has_lost_flight,
            },
        );
    }

    fn waiting_in(&self, instance: usize) -> usize {
        let is_there = |request: &&Request| request.asked.instance == instance;
        self.requests.values().filter(is_there).count()
    }

    fn is_in_flight(&self, asked: Asked) -> bool {
        self.flights_of(asked.instance, asked.id) > 0
    }

    fn flights_of(&self, instance: usize, id: TokenId) -> usize {
        let is_it = |flight: &&Running| (flight.instance, flight.id) == (instance, id);
        self.running.iter().filter(is_it).count()
    }

    fn resume(&mut self, id: u32) {
        if let Some(Request { asked, pending, .. }) = self.requests.remove(&id) {
            let now = self.clock(asked.instance);
            let step = self.instances[asked.instance].check.resume(pending, now);
            self.advance_request(id, asked, step);
        }
    }

    fn resume_woken(&mut self) {
        let woken = self.requests.iter().filter(|(_, request)| request.is_woken);
        for id in woken.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.resume(id);
        }
    }

    fn leave(&mut self, id: u32, leave: Leave) {
        let Some(Request { asked, pending, .. }) = self.requests.remove(&id) else {
            return;
        };
        let instance = asked.instance;
        let now = self.clock(instance);
        let leads = |flight: &Running| flight.leader == id;
        let Some(place) = self.running.iter().position(leads) else {
            let finished = self.instances[instance].check.leave(pending, now);
            self.finish(instance, id, finished);
            return;
        };
        if matches!(leave, Leave::Continues) {
            let finished = self.instances[instance].check.leave(pending, now);
            self.finish(instance, id, finished);
            return;
        }
        let ticket = ticket(self.running.remove(place).action);
        if matches!(leave, Leave::Abandoned) {
            let finished = self.instances[instance].check.abandon(ticket, now);
            self.finish(instance, id, finished);
        } else {
            drop(ticket);
            self.instances[instance].has_lost_place = true;
            for request in self.requests.values_mut() {
                let other = request.asked;
                let is_it = (other.instance, other.id) == (asked.instance, asked.id);
                request.has_lost_flight |= is_it;
            }
        }
    }

    // Flights.

    fn start(&mut self, leader: u32, asked: Asked, pending: &PendingRequest, action: Action) {
        let deadline = pending.deadline() - self.instances[asked.instance].offset;
        assert!(!self.is_in_flight(asked), "two flights for {asked:?}");
        self.run(Running {
            instance: asked.instance,
            id: asked.id,
            leader,
            action,
            since: self.now,
            deadline,
            version: None,
        });
    }

    fn run(&mut self, flight: Running) {
        match &flight.action {
            Action::Introspect(_, call) => {
                let left = flight.deadline.saturating_sub(self.now);
                assert!(
                    call.timeout() <= left && !left.is_zero(),
                    "a call past the deadline"
                );
                let about = token(call);
                assert!(
                    about == PROBE
                        || TokenId::from_text(flight.id.tenant, &about) == Some(flight.id),
                    "a call about another token"
                );
            }
            Action::Sleep(_, time) => assert!(!time.is_zero() && *time <= MAX_SLEEP, "{time:?}"),
            Action::StoreGet(..) | Action::StoreCompareAndSwap(..) => {}
            Action::ReadDocument(..) | Action::FetchDocument(..) => {
                unreachable!("every token is introspected")
            }
        }
        self.running.push(flight);
    }

    fn act(&mut self, place: usize, outcome: Outcome) {
        let flight = self.running.remove(place);
        let Running {
            instance,
            id,
            leader,
            since,
            deadline,
            mut version,
            ..
        } = flight;
        let now = self.clock(instance);
        let check = &mut self.instances[instance].check;
        let progress = match flight.action {
            Action::Introspect(ticket, call) => {
                let is_awaited = check.is_awaited(&ticket);
                let is_it = |request: &&Request| {
                    (request.asked.instance, request.asked.id) == (instance, id)
                };
                let mut waiting = self.requests.values().filter(is_it);
                assert!(
                    is_awaited
                        || waiting.all(|request| request.is_woken || request.has_lost_flight),
                    "somebody waits for this call"
                );
                if !is_awaited && matches!(outcome.call, CallOutcome::Truth { when_sent: true }) {
                    // As the Envoy filter does if it has not sent it yet.
                    let finished = check.abandon(ticket, now);
                    self.finish(instance, leader, finished);
                    return;
                }
                let about = if token(&call) == PROBE {
                    About::Probe
                } else {
                    About::Token(id)
                };
                let result = (self.model).respond(instance, about, since, self.now, &outcome.call);
                check.responded(ticket, result, now)
            }
            Action::StoreGet(ticket, key) => {
                version = self.store.version(key.as_str());
                check.store_read(ticket, self.store.read(key.as_str(), outcome.store), now)
            }
            Action::StoreCompareAndSwap(ticket, key, value) => {
                let swapped = (self.store).swap(key.as_str(), version, &value, &outcome.store);
                check.store_swapped(ticket, swapped, now)
            }
            Action::Sleep(ticket, _) => check.woke(ticket, now),
            Action::ReadDocument(..) | Action::FetchDocument(..) => {
                unreachable!("every token is introspected")
            }
        };
        match progress {
            Progress::Continue(action) => {
                let since = self.now;
                self.run(Running {
                    instance,
                    id,
                    leader,
                    action,
                    since,
                    deadline,
                    version,
                });
            }
            Progress::Queued => self.wake([leader]),
            Progress::Finished(finished) => self.finish(instance, leader, finished),
        }
    }

    fn wake(&mut self, requests: impl IntoIterator<Item = u32>) {
        for request in requests {
            if let Some(request) = self.requests.get_mut(&request) {
                request.is_woken = true;
            }
        }
    }

    fn finish(&mut self, instance: usize, leader: u32, finished: Finished<u32>) {
        self.wake(finished.woken.into_iter().chain([leader]));
        for record in &finished.records {
            let text = String::from_utf8_lossy(&record.bytes);
            assert!(
                !text.contains("-of-somebody") && !text.contains(SECRET),
                "a token in the store"
            );
            if !self.store.refuses_records {
                self.store.write(record.key.as_str(), &record.bytes);
            }
        }
        for key in &finished.sweep {
            let value = self.store.read(key.as_str(), StoreOutcome::Works);
            let now = self.clock(instance);
            let check = &self.instances[instance].check;
            if value.is_ok_and(|value| value.is_some_and(|value| check.has_expired(&value, now))) {
                self.store.write(key.as_str(), b"");
            }
        }
        check_text(finished.event.map(|event| event.to_string()).as_deref());
    }

    // Time, and the store.

    /// Whatever is due by then happens on the way: requests are resumed at their deadline, and
    /// actions given up some time after it.
    fn advance_to(&mut self, end: Duration) {
        loop {
            let deadlines = self.requests.values().map(|request| request.deadline);
            let losses = self
                .running
                .iter()
                .map(|flight| flight.deadline + LOST_AFTER);
            let next = deadlines.chain(losses).min().filter(|next| *next <= end);
            self.now = self.now.max(next.unwrap_or(end));
            if next.is_none() {
                return;
            }
            let overdue = self
                .requests
                .iter()
                .filter(|(_, request)| request.deadline <= self.now);
            for id in overdue.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.resume(id);
            }
            let now = self.now;
            let is_lost = |flight: &Running| flight.deadline + LOST_AFTER <= now;
            while let Some(place) = self.running.iter().position(is_lost) {
                let call = CallOutcome::Failed(CallFailure::Timeout);
                self.act(
                    place,
                    Outcome {
                        call,
                        store: StoreOutcome::Fails,
                    },
                );
            }
        }
    }

    fn advance_near(&mut self, place: usize, nudge: Nudge) {
        let deadlines = self.requests.values().map(|request| request.deadline);
        let times: Vec<_> = deadlines
            .chain(self.model.ends())
            .filter(|time| *time > self.now)
            .collect();
        let Some(place) = place.checked_rem(times.len()) else {
            return;
        };
        let step = Duration::from_micros(1);
        let time = match nudge {
            Nudge::Before => times[place] - step,
            Nudge::At => times[place],
            Nudge::After => times[place] + step,
        };
        self.advance_to(time);
    }

    // Properties.

    fn check(&self) {
        for flight in &self.running {
            let flights = self.flights_of(flight.instance, flight.id);
            assert_eq!(flights, 1, "two flights for {:?}", flight.id);
        }
        for request in self.requests.values() {
            let is_cared_for = request.is_woken || request.has_lost_flight;
            let asked = request.asked;
            let check = &self.instances[asked.instance].check;
            // It waits for a call to end, or for somebody whose turn it is.
            let will_end =
                self.is_busy(asked.instance) || self.instances[asked.instance].has_lost_place;
            let is_in_line = check.is_queued(&request.pending) && will_end;
            assert!(
                is_cared_for || self.is_in_flight(asked) || is_in_line,
                "nobody will wake {asked:?}"
            );
        }
        for instance in 0..self.instances.len() {
            let is_call = |flight: &&Running| {
                flight.instance == instance && matches!(flight.action, Action::Introspect(..))
            };
            let calls = self.running.iter().filter(is_call).count();
            assert!(calls <= self.max_calls, "{calls} calls");
            let waiting = self.waiting_in(instance);
            assert!(waiting <= self.max_waiting, "{waiting} requests wait");
        }
    }

    /// Whether a call, or a request whose turn it is, holds a place.
    fn is_busy(&self, instance: usize) -> bool {
        let calls = |flight: &Running| {
            flight.instance == instance && matches!(flight.action, Action::Introspect(..))
        };
        let has_turn = |request: &Request| {
            request.asked.instance == instance
                && request.is_woken
                && self.instances[instance].check.is_queued(&request.pending)
        };
        self.running.iter().any(calls) || self.requests.values().any(has_turn)
    }

    /// Everything ends by itself; then issuer and store are well again, and so is every decision.
    pub(super) fn end(&mut self) {
        self.advance_to(self.now + self.model.timeout() * 3 + LOST_AFTER * 2);
        assert!(self.requests.is_empty(), "somebody still waits");
        assert!(self.running.is_empty(), "a flight does not end");
        self.advance_to(self.now + RECOVERY);
        self.store.refuses_records = false;
        for instance in 0..self.instances.len() {
            for token in 0..TOKENS {
                self.check_recovered(instance, token);
            }
        }
    }

    fn check_recovered(&mut self, instance: usize, token: usize) {
        let id = TokenId {
            tenant: self.instances[instance].tenant,
            token,
        };
        let line = format!("Bearer {}", id.text());
        let lines: [&[u8]; 1] = [line.as_bytes()];
        for _ in 0..MAX_ATTEMPTS {
            let asked = Asked {
                instance,
                id,
                route: 0,
                begun: self.now,
            };
            let now = self.clock(instance);
            let mut step = self.instances[instance]
                .check
                .begin(&head(&lines, b"/"), now);
            let verdict = loop {
                match step {
                    Step::Done(verdict) => break verdict,
                    Step::Lead(pending, action) => {
                        self.start(0, asked, &pending, action);
                        while let Some(flight) = self.running.first() {
                            if let Action::Sleep(_, time) = &flight.action {
                                self.now += *time;
                            }
                            let call = CallOutcome::Truth { when_sent: false };
                            self.act(
                                0,
                                Outcome {
                                    call,
                                    store: StoreOutcome::Works,
                                },
                            );
                        }
                        let now = self.clock(instance);
                        step = self.instances[instance].check.resume(pending, now);
                    }
                    Step::Finished(pending, finished) => {
                        self.finish(instance, 0, finished);
                        let now = self.clock(instance);
                        step = self.instances[instance].check.resume(pending, now);
                    }
                    Step::Join(_) => panic!("joins a flight that nobody leads: {asked:?}"),
                }
            };
            self.model.check(asked, &verdict, self.now, 0);
            let truth = match self.model.issuer.at(id, self.now) {
                State::Inactive => false,
                State::Active(exp) => exp.is_none_or(|exp| exp > START + self.now.as_secs()),
            };
            match &verdict.decision {
                Decision::Refused(refusal) if refusal.reason().status() == 503 => {}
                decision => {
                    assert_eq!(
                        matches!(decision, Decision::Granted(_)),
                        truth,
                        "{decision:?}"
                    );
                    return;
                }
            }
            self.now += Duration::from_secs(2);
        }
        panic!("does not recover: {id:?} in instance {instance}");
    }
}

fn auth_check(config: &Config, is_other: bool) -> AuthCheck<u32> {
    let numbers = [
        ("cache_ttl", config.cache_ttl),
        ("negative_cache_ttl", config.negative_cache_ttl),
        ("stale_if_error", config.stale_if_error),
        ("timeout", config.timeout),
        ("leeway", config.leeway),
        ("breaker_faults", config.breaker_faults),
        ("cache_entries", config.cache_entries),
        ("max_calls", config.max_calls as u64),
        ("max_waiting", config.max_waiting as u64),
    ];
    let numbers: Vec<_> = (numbers.iter())
        .map(|(key, value)| (*key, value.to_string()))
        .collect();
    let mut settings: Vec<_> = (numbers.iter())
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    settings.push(("audit", if config.audit { "true" } else { "false" }));
    settings.push(("rules", if config.has_rules { RULES } else { "" }));
    if is_other {
        settings.push(("resource_client_id", "other-service"));
    }
    let policy = try_policy(&settings).expect("these settings are valid");
    AuthCheck::new(policy, [7; 16]).sharing(config.sharing)
}

fn ticket(action: Action) -> Flight {
    match action {
        Action::Introspect(ticket, _) => ticket.into(),
        Action::StoreGet(ticket, _) => ticket.into(),
        Action::StoreCompareAndSwap(ticket, ..) => ticket.into(),
        Action::Sleep(ticket, _) => ticket.into(),
        Action::ReadDocument(..) | Action::FetchDocument(..) => {
            unreachable!("every token is introspected")
        }
    }
}

/// A line of a log: one line in ASCII, without token and secret.
fn check_text(line: Option<&str>) {
    let Some(line) = line else { return };
    assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
    assert!(
        !line.contains("-of-somebody") && !line.contains(SECRET),
        "{line:?}"
    );
}

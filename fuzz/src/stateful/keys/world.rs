//! The hosts: up to two instances, one store, one clock.

use std::collections::BTreeMap;
use std::time::Duration;

use token_check::{
    Action, Algorithm, AuthCheck, CallFailure, Decision, Finished, Now, Parked, PendingRequest,
    Progress, SignatureHost, Step,
};

use super::event::{Config, Event, FetchOutcome, KEYS, Outcome, SHORT_LIVED, Token};
use super::model::{Asked, Model, is_signed_by};
use crate::stateful::event::StoreOutcome;
use crate::stateful::model::LOST_AFTER;
use crate::stateful::store::Store;
use crate::support::{SECRET, START, head, json, token, try_policy};

/// Most requests, one per two seconds, until one is decided by recovered keys.
const MAX_ATTEMPTS: usize = 12;
/// The key that has the name of the first one.
const LAST: u8 = 1 << (KEYS - 1);
/// The token of the probe.
const PROBE: &[u8] = b"trust-triangle-probe";

/// Knows who "made" a signature.
struct Signatures;

impl SignatureHost for Signatures {
    fn verify(&self, _: Algorithm, spki: &[u8], _: &[u8], signature: &[u8]) -> Option<bool> {
        Some(is_signed_by(spki, signature))
    }
}

struct Instance {
    check: AuthCheck<u32>,
    /// Monotonic clocks start anywhere.
    offset: Duration,
}

struct Request {
    asked: Asked,
    pending: PendingRequest,
    deadline: Duration,
    is_woken: bool,
    /// The host dropped the fetch that it waits for: it may sleep until its deadline.
    has_lost_fetch: bool,
}

/// An action in progress.
struct Running {
    instance: usize,
    /// `None`: a fetch of keys.
    leader: Option<u32>,
    token: Option<Token>,
    action: Action,
    since: Duration,
    /// Of the flight.
    deadline: Duration,
    /// Of the value that was read last.
    version: Option<u64>,
}

pub(super) struct World {
    config: Config,
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
        let instances = (0..config.instances).map(|place| Instance {
            check: auth_check(config),
            offset: Duration::from_nanos(5_000_123_456_789) * u32::try_from(place).unwrap_or(0),
        });
        Self {
            config: config.clone(),
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
            Event::Begin { instance, token } => {
                self.begin(instance % self.instances.len(), token);
            }
            Event::Timer(instance) => self.run_fetch(instance % self.instances.len()),
            Event::Act(place, outcome) => {
                if let Some(place) = place.checked_rem(self.running.len()) {
                    self.act(place, outcome);
                }
            }
            Event::Drop(place) => self.drop_fetch(place),
            Event::Resume(place) => {
                if let Some(id) = self.request_at(place) {
                    self.resume(id);
                }
            }
            Event::ResumeAllWoken => self.resume_woken(),
            Event::Leave(place) => {
                if let Some(id) = self.request_at(place) {
                    self.leave(id);
                }
            }
            Event::Advance(time) => self.advance_to(self.now + time),
            Event::AdvanceTo(place, is_after) => self.advance_near(place, is_after),
            Event::Publish(published) => self.model.publish(published, self.now),
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

    fn begin(&mut self, instance: usize, token: Token) {
        let asked = Asked {
            instance,
            token,
            begun: self.now,
        };
        let line = format!("Bearer {}", token.text());
        let lines: [&[u8]; 1] = [line.as_bytes()];
        let now = self.clock(instance);
        let step = self.instances[instance]
            .check
            .begin(&head(&lines, b"/"), now);
        self.last_request += 1;
        self.advance_request(self.last_request, asked, step);
    }

    fn advance_request(&mut self, request: u32, asked: Asked, mut step: Step<u32>) {
        let instance = asked.instance;
        let now = self.clock(instance);
        for _ in 0..4 {
            self.run_fetch(instance);
            let pending = match step {
                Step::Done(verdict) => {
                    let others = self.waiting_in(instance);
                    self.model.check(asked, &verdict, self.now, others);
                    check_text(verdict.audit.as_deref());
                    check_text(verdict.event.map(|event| event.to_string()).as_deref());
                    return;
                }
                Step::Lead(pending, action) => {
                    let deadline = pending.deadline() - self.instances[instance].offset;
                    self.run(Running {
                        instance,
                        leader: Some(request),
                        token: Some(asked.token),
                        action,
                        since: self.now,
                        deadline,
                        version: None,
                    });
                    return self.insert(request, asked, pending);
                }
                Step::Finished(pending, finished) => {
                    self.finish(Some(request), finished);
                    step = self.instances[instance].check.resume(pending, now);
                    continue;
                }
                Step::Join(pending) => pending,
            };
            match self.instances[instance].check.park(&pending, request) {
                Parked::Yes => return self.insert(request, asked, pending),
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
        let request_ = Request {
            asked,
            pending,
            deadline,
            is_woken: false,
            has_lost_fetch: false,
        };
        self.requests.insert(request, request_);
    }

    fn waiting_in(&self, instance: usize) -> usize {
        let is_there = |request: &&Request| request.asked.instance == instance;
        self.requests.values().filter(is_there).count()
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

    /// The flight that it leads goes on.
    fn leave(&mut self, id: u32) {
        if let Some(Request { asked, pending, .. }) = self.requests.remove(&id) {
            let now = self.clock(asked.instance);
            let finished = self.instances[asked.instance].check.leave(pending, now);
            self.finish(Some(id), finished);
        }
    }

    // Flights.

    /// What a host asks for after each request, and by a timer.
    fn run_fetch(&mut self, instance: usize) {
        let now = self.clock(instance);
        let Some(action) = self.instances[instance].check.next_fetch(now) else {
            return;
        };
        let others = self
            .running
            .iter()
            .filter(|running| running.instance == instance);
        assert!(
            others.filter(|running| running.leader.is_none()).count() == 0,
            "two fetches in instance {instance}"
        );
        self.model.attempted(instance, self.now);
        self.run(Running {
            instance,
            leader: None,
            token: None,
            action,
            since: self.now,
            deadline: self.now + self.model.timeout(),
            version: None,
        });
    }

    fn run(&mut self, running: Running) {
        match &running.action {
            Action::ReadDocument(..) | Action::FetchDocument(..) => {
                assert_eq!(running.leader, None)
            }
            Action::Introspect(_, call) => {
                let about = token(call);
                let expected = running.token.map(Token::text);
                let is_it = expected.is_some_and(|text| text.as_bytes() == about);
                assert!(about == PROBE || is_it, "a call about another token");
                // What cannot be verified never gets to the issuer.
                match running.token {
                    Some(Token::Opaque) => assert_eq!(self.config.strategy, "auto"),
                    Some(Token::Signed { .. }) => assert_eq!(self.config.strategy, "both"),
                    other => panic!("introspected: {other:?}"),
                }
            }
            Action::StoreGet(..) | Action::StoreCompareAndSwap(..) | Action::Sleep(..) => {}
        }
        self.running.push(running);
    }

    fn act(&mut self, place: usize, outcome: Outcome) {
        let mut running = self.running.remove(place);
        let (instance, leader) = (running.instance, running.leader);
        let now = self.clock(instance);
        let check = &mut self.instances[instance].check;
        let progress = match running.action {
            Action::FetchDocument(ticket, _) => {
                let response =
                    (self.model).respond(instance, running.since, self.now, outcome.fetch);
                check.document_responded(ticket, response, now)
            }
            Action::ReadDocument(ticket, key) => {
                check.document_read(ticket, self.store.read(key.as_str(), outcome.store), now)
            }
            Action::Introspect(ticket, call) => {
                let client = running.token.map(Token::client).unwrap_or_default();
                let result = if self.now >= running.deadline + LOST_AFTER {
                    self.model.has_lost_call = true;
                    Err(CallFailure::Timeout)
                } else if token(&call) == PROBE {
                    Ok(json(r#"{"active":false}"#))
                } else {
                    Ok(json(&format!(
                        r#"{{"active":true,"iss":"https://issuer.example","aud":"service-b","client_id":"{client}"}}"#
                    )))
                };
                check.responded(ticket, result, now)
            }
            Action::StoreGet(ticket, key) => {
                running.version = self.store.version(key.as_str());
                check.store_read(ticket, self.store.read(key.as_str(), outcome.store), now)
            }
            Action::StoreCompareAndSwap(ticket, key, value) => {
                let (version, how) = (running.version, &outcome.store);
                let swapped = self.store.swap(key.as_str(), version, &value, how);
                check.store_swapped(ticket, swapped, now)
            }
            Action::Sleep(ticket, _) => check.woke(ticket, now),
        };
        match progress {
            Progress::Continue(action) => {
                running.action = action;
                running.since = self.now;
                self.run(running);
            }
            Progress::Queued => self.wake(leader),
            Progress::Finished(finished) => self.finish(leader, finished),
        }
    }

    /// Against the contract: nobody is told.
    fn drop_fetch(&mut self, place: usize) {
        let fetches: Vec<_> = (0..self.running.len())
            .filter(|place| self.running[*place].leader.is_none())
            .collect();
        let Some(place) = place.checked_rem(fetches.len()) else {
            return;
        };
        let running = self.running.remove(fetches[place]);
        self.model.dropped(running.instance, self.now);
        for request in self.requests.values_mut() {
            request.has_lost_fetch |= request.asked.instance == running.instance;
        }
    }

    fn wake(&mut self, requests: impl IntoIterator<Item = u32>) {
        for request in requests {
            if let Some(request) = self.requests.get_mut(&request) {
                request.is_woken = true;
            }
        }
    }

    fn finish(&mut self, leader: Option<u32>, finished: Finished<u32>) {
        self.wake(finished.woken.into_iter().chain(leader));
        for record in &finished.records {
            let text = String::from_utf8_lossy(&record.bytes);
            assert!(
                !text.contains("-of-somebody")
                    && !text.contains(SECRET)
                    && !text.contains("Ed25519"),
                "in clear in the store"
            );
            if !self.store.refuses_records {
                self.store.write(record.key.as_str(), &record.bytes);
            }
        }
        check_text(finished.event.map(|event| event.to_string()).as_deref());
    }

    // Time.

    /// Whatever is due by then happens on the way.
    fn advance_to(&mut self, end: Duration) {
        loop {
            let deadlines = self.requests.values().map(|request| request.deadline);
            let losses = (self.running.iter()).map(|running| running.deadline + LOST_AFTER);
            let next = deadlines.chain(losses).min().filter(|next| *next <= end);
            self.now = self.now.max(next.unwrap_or(end));
            if next.is_none() {
                return;
            }
            let now = self.now;
            let overdue = (self.requests.iter()).filter(|(_, request)| request.deadline <= now);
            for id in overdue.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.resume(id);
            }
            let is_lost = |running: &Running| running.deadline + LOST_AFTER <= now;
            while let Some(place) = self.running.iter().position(is_lost) {
                self.act(
                    place,
                    Outcome {
                        fetch: FetchOutcome::Failed(CallFailure::Timeout),
                        store: StoreOutcome::Fails,
                    },
                );
            }
        }
    }

    fn advance_near(&mut self, place: usize, is_after: bool) {
        let deadlines = self.requests.values().map(|request| request.deadline);
        let ends = deadlines.chain(self.model.ends());
        let times: Vec<_> = ends.filter(|time| *time > self.now).collect();
        if let Some(place) = place.checked_rem(times.len()) {
            let step = Duration::from_millis(4);
            let time = if is_after {
                times[place] + step
            } else {
                times[place].saturating_sub(step)
            };
            self.advance_to(self.now.max(time));
        }
    }

    // Properties.

    fn check(&self) {
        for request in self.requests.values() {
            let asked = request.asked;
            let works_for_it = |running: &Running| {
                running.instance == asked.instance
                    && (running.leader.is_none() || running.token == Some(asked.token))
            };
            assert!(
                request.is_woken || request.has_lost_fetch || self.running.iter().any(works_for_it),
                "nobody will wake {asked:?}"
            );
        }
        for instance in 0..self.instances.len() {
            let waiting = self.waiting_in(instance);
            assert!(
                waiting <= self.config.max_waiting,
                "{waiting} requests wait"
            );
        }
    }

    /// Everything ends by itself; then issuer and store are well again, and so is every decision.
    pub(super) fn end(&mut self) {
        self.advance_to(self.now + self.model.timeout() * 3 + LOST_AFTER * 2);
        assert!(self.requests.is_empty(), "somebody still waits");
        // A fetch may go on in an instance without requests.
        while !self.running.is_empty() {
            self.act(0, well());
        }
        // Some keys, and no two of one name.
        let published = self.model.published(self.now) & (LAST - 1);
        self.model.publish(published.max(1), self.now);
        self.advance_to(self.now + self.model.recovery());
        self.store.refuses_records = false;
        for instance in 0..self.instances.len() {
            let signed = (0..KEYS)
                .flat_map(|key| (0..=SHORT_LIVED).map(move |number| Token::Signed { key, number }));
            let others = [Token::Forged { key: 1 }, Token::UnknownKey, Token::Opaque];
            for token in signed.chain(others) {
                self.check_recovered(instance, token);
            }
        }
    }

    fn check_recovered(&mut self, instance: usize, token: Token) {
        for _ in 0..MAX_ATTEMPTS {
            let is_granted = self.drive(instance, token);
            if is_granted == Some(self.model.is_good(token, self.now)) {
                return;
            }
            // A 503, or a new key for which it is too early to look.
            self.advance_to(self.now + Duration::from_secs(2));
        }
        panic!(
            "does not recover: {token:?} in instance {instance} at {:?}",
            self.now
        );
    }

    /// One request in a host where everything works. `None`: it got a 503.
    fn drive(&mut self, instance: usize, token: Token) -> Option<bool> {
        let begun = self.now;
        let asked = Asked {
            instance,
            token,
            begun,
        };
        let line = format!("Bearer {}", token.text());
        let lines: [&[u8]; 1] = [line.as_bytes()];
        let now = self.clock(instance);
        let mut step = self.instances[instance]
            .check
            .begin(&head(&lines, b"/"), now);
        loop {
            self.run_fetch(instance);
            let pending = match step {
                Step::Done(verdict) => {
                    while !self.running.is_empty() {
                        self.act(0, well());
                    }
                    self.model.check(asked, &verdict, self.now, 0);
                    return match &verdict.decision {
                        Decision::Refused(refusal) if refusal.reason().status() == 503 => None,
                        decision => Some(matches!(decision, Decision::Granted(_))),
                    };
                }
                Step::Lead(pending, action) => {
                    self.run(Running {
                        instance,
                        leader: Some(0),
                        token: Some(token),
                        action,
                        since: self.now,
                        deadline: self.now + self.model.timeout(),
                        version: None,
                    });
                    pending
                }
                Step::Finished(pending, finished) => {
                    self.finish(Some(0), finished);
                    pending
                }
                Step::Join(pending) => pending,
            };
            while let Some(running) = self.running.first() {
                if let Action::Sleep(_, time) = &running.action {
                    self.now += *time;
                }
                self.act(0, well());
            }
            let now = self.clock(instance);
            step = self.instances[instance].check.resume(pending, now);
        }
    }
}

fn well() -> Outcome {
    Outcome {
        fetch: FetchOutcome::Keys { when_sent: false },
        store: StoreOutcome::Works,
    }
}

fn auth_check(config: &Config) -> AuthCheck<u32> {
    let numbers = [
        ("jwks_ttl", config.ttl),
        ("jwks_min_interval", config.min_interval),
        ("jwks_max_age", config.max_age),
        ("timeout", config.timeout),
        ("max_waiting", config.max_waiting as u64),
        ("cache_entries", config.cache_entries),
    ];
    let numbers: Vec<_> = (numbers.iter())
        .map(|(key, value)| (*key, value.to_string()))
        .collect();
    let mut settings: Vec<_> = (numbers.iter())
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    settings.extend([
        ("strategy", config.strategy),
        ("jwks_url", "https://issuer.example/jwks"),
        ("expected_issuer", "https://issuer.example"),
        ("expected_aud", "service-b"),
        ("leeway", "0"),
        ("audit", if config.audit { "true" } else { "false" }),
    ]);
    let policy = try_policy(&settings).expect("these settings are valid");
    AuthCheck::new(policy, [7; 16])
        .sharing(config.sharing)
        .verifying_with(Box::new(Signatures))
}

/// A line of a log: one line in ASCII, without token and secret.
fn check_text(line: Option<&str>) {
    let Some(line) = line else { return };
    assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
    let secrets = ["-of-somebody", ".eyJ", SECRET];
    assert!(
        !secrets.iter().any(|secret| line.contains(secret)),
        "{line:?}"
    );
}

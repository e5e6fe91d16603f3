//! Random sequences of events in two workers that share data, against a naive model: a list of all
//! responses of the issuer.

use core::fmt::{self, Display};
use core::time::Duration;
use std::hash::{BuildHasher, Hasher, RandomState};

use envoy_filter_core::host::DispatchError;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::json;

use crate::fake::{
    Configuration, Response, SharedStore, Stream, StreamEnd, Worker, active, inactive, ms, request,
};

const CASES: u32 = 400;
const TOKENS: usize = 4;
const TIMEOUT: Duration = ms(1000);
/// How long after its timeout the filter gives a call up.
const LOST_AFTER: Duration = ms(1000);
const TICK: Duration = ms(50);
/// The token of the probe.
const PROBE: &str = "trust-triangle-probe";
/// Ages are rounded up, and once more in shared records.
const ROUNDING: Duration = ms(2);

#[derive(Clone, Debug)]
enum Event {
    Request(usize),
    /// A request that waits loses its caller.
    CallerLeaves(Index),
    /// Envoy answers a request that waits.
    AnsweredByEnvoy(Index),
    /// A call gets its response, in time or, if it was lost before, late.
    Response(Index, Outcome),
    CallLost(Index),
    NextCallRefused(DispatchError),
    QueueCallback,
    QueueCallbackLost,
    Reconfigured,
    TimePasses(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Active,
    Inactive,
    ServerError,
    NoConnection,
    BrokenOff,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Active),
        3 => Just(Outcome::Inactive),
        1 => Just(Outcome::ServerError),
        1 => Just(Outcome::NoConnection),
        1 => Just(Outcome::BrokenOff),
    ]
}

fn refusal() -> impl Strategy<Value = DispatchError> {
    prop_oneof![
        Just(DispatchError::BadArgument),
        Just(DispatchError::InternalFailure)
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..TOKENS).prop_map(Event::Request),
        1 => any::<Index>().prop_map(Event::CallerLeaves),
        1 => any::<Index>().prop_map(Event::AnsweredByEnvoy),
        12 => (any::<Index>(), outcome()).prop_map(|(call, outcome)| Event::Response(call, outcome)),
        2 => any::<Index>().prop_map(Event::CallLost),
        1 => refusal().prop_map(Event::NextCallRefused),
        6 => Just(Event::QueueCallback),
        1 => Just(Event::QueueCallbackLost),
        1 => Just(Event::Reconfigured),
        4 => (1..20_u64).prop_map(Event::TimePasses),
        2 => (20..1200_u64).prop_map(Event::TimePasses),
    ]
}

/// For how long results may be used, in seconds.
#[derive(Clone, Copy, Debug)]
struct Ages {
    cache_ttl: u64,
    stale_if_error: u64,
}

fn ages() -> impl Strategy<Value = Ages> {
    prop_oneof![Just((0, 0)), Just((2, 0)), Just((1, 2))].prop_map(|(cache_ttl, stale_if_error)| {
        Ages {
            cache_ttl,
            stale_if_error,
        }
    })
}

/// A response of the issuer about a token.
struct Answer {
    worker: usize,
    /// The root context, which has its own cache.
    root: u32,
    token: String,
    is_active: bool,
    /// When the call was sent.
    sent: Duration,
    /// When the call was first attempted: the filter compares answers by that time.
    first_attempt: Duration,
    received: Duration,
}

struct OpenStream {
    worker: usize,
    id: u32,
    token: String,
}

struct Simulation {
    ages: Ages,
    configuration: Configuration,
    workers: [Worker; 2],
    open: Vec<OpenStream>,
    answers: Vec<Answer>,
    /// How much later than at the next tick a request may be answered.
    slack: Duration,
}

impl Simulation {
    fn new(ages: Ages) -> Self {
        let configuration = Configuration::new(json!({
            "cache_ttl": ages.cache_ttl,
            "stale_if_error": ages.stale_if_error,
            // More than there are tokens, so that no answer is evicted.
            "cache_entries": 16,
        }));
        let store = SharedStore::default();
        let workers = [(); 2].map(|()| Worker::sharing(&configuration, &store));
        Self {
            ages,
            configuration,
            workers,
            open: Vec::new(),
            answers: Vec::new(),
            slack: Duration::ZERO,
        }
    }

    fn now(&self) -> Duration {
        self.workers[0].now()
    }

    fn apply(&mut self, worker: usize, event: &Event) {
        match event {
            Event::Request(token) => {
                let token = format!("token-{token}");
                let id = self.workers[worker].request(request(&token));
                self.open.push(OpenStream { worker, id, token });
            }
            Event::CallerLeaves(index) => {
                if let Some(id) = self.waiting(worker, index) {
                    self.workers[worker].leave(id);
                }
            }
            Event::AnsweredByEnvoy(index) => {
                if let Some(id) = self.waiting(worker, index) {
                    self.workers[worker].answer_by_envoy(id);
                }
            }
            Event::Response(index, outcome) => self.respond(worker, index, *outcome),
            Event::CallLost(index) => {
                let calls = self.workers[worker].calls();
                if !calls.is_empty() {
                    self.workers[worker].lose(index.get(&calls).id);
                }
            }
            Event::NextCallRefused(error) => {
                let mut faults = self.workers[worker].faults();
                faults.dispatch = [*error].into();
            }
            Event::QueueCallback => {
                self.workers[worker].run_one_posted();
            }
            Event::QueueCallbackLost => {
                if self.workers[worker].lose_posted() {
                    self.slack += TICK;
                }
            }
            Event::Reconfigured => {
                assert!(self.workers[worker].configure(&self.configuration));
            }
            Event::TimePasses(time) => self.advance(ms(*time)),
        }
    }

    fn waiting(&self, worker: usize, index: &Index) -> Option<u32> {
        let open: Vec<_> = (self.open.iter())
            .filter(|stream| stream.worker == worker)
            .map(|stream| stream.id)
            .collect();
        (!open.is_empty()).then(|| *index.get(&open))
    }

    fn respond(&mut self, worker: usize, index: &Index, outcome: Outcome) {
        let calls = self.workers[worker].calls();
        if calls.is_empty() {
            return;
        }
        let call = index.get(&calls);
        if let (Some(token), Outcome::Active | Outcome::Inactive) = (call.token(), outcome) {
            self.answers.push(Answer {
                worker,
                root: call.owner,
                token: token.to_owned(),
                is_active: outcome == Outcome::Active,
                sent: call.sent,
                first_attempt: call.first_attempt,
                received: self.now(),
            });
        }
        let response = match (outcome, call.token()) {
            (Outcome::Active, Some(token)) => active(&format!("client-of-{token}")),
            (Outcome::Active | Outcome::Inactive, None) => Response::new(404, ""),
            (Outcome::Inactive, Some(_)) => inactive(),
            (Outcome::ServerError, _) => Response::new(500, ""),
            (Outcome::NoConnection, _) => Response::local_reply(503, "no healthy upstream"),
            (Outcome::BrokenOff, _) => Response::none(),
        };
        self.workers[worker].respond(call.id, response);
    }

    /// Both workers have the same clocks.
    fn advance(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            let next = self.workers.iter().filter_map(Worker::next_event_at);
            let next = next.min().map_or(end, |next| next.min(end));
            let step = next.saturating_sub(self.now());
            for worker in &mut self.workers {
                worker.advance(step);
            }
        }
    }

    /// Checks what has become of each open request, and forgets those that have ended.
    fn check(&mut self) {
        let open = core::mem::take(&mut self.open);
        for stream in open {
            let state = self.workers[stream.worker].stream(stream.id);
            let latest = state.begun + TIMEOUT + TICK + self.slack;
            let Some((end, ended)) = &state.end else {
                assert!(self.now() <= latest, "{stream} waits longer than it may");
                assert!(
                    !self.missed_an_answer(&stream, &state),
                    "{stream} was not woken"
                );
                self.open.push(stream);
                continue;
            };
            assert!(*ended <= latest, "{stream} was answered late");
            match end {
                StreamEnd::Forwarded => {
                    let client = format!("client-of-{}", stream.token);
                    assert_eq!(state.values("x-auth-client-id"), [client], "{stream}");
                    assert!(state.values("authorization").is_empty(), "{stream}");
                    let cache = state.filter_state.get("auth_cache").map(String::as_str);
                    let waited = TIMEOUT + LOST_AFTER + TICK + self.slack;
                    let ttl = Duration::from_secs(self.ages.cache_ttl);
                    let stale = Duration::from_secs(self.ages.stale_if_error);
                    let longest_age = match cache {
                        None => ttl,
                        Some("shared") => ttl + ROUNDING,
                        Some("stale") => ttl + stale,
                        Some(_) => waited.max(ttl),
                    };
                    self.check_grant(&stream, &state, *ended, longest_age);
                }
                StreamEnd::Answered { .. } => {
                    let (status, reason) = state.refusal().unwrap();
                    let was_inactive = (self.answers.iter())
                        .any(|answer| !answer.is_active && answer.token == stream.token);
                    let is_allowed = match (status, reason.as_str()) {
                        (401, "inactive") => was_inactive,
                        (503, reason) => reason.starts_with("issuer_"),
                        _ => false,
                    };
                    assert!(is_allowed, "{stream}: {status} {reason}");
                }
                StreamEnd::AnsweredByEnvoy | StreamEnd::CallerLeft => {}
            }
        }
        self.check_calls();
    }

    /// An active answer about this very token, young enough, and not contradicted since.
    fn check_grant(
        &self,
        stream: &OpenStream,
        state: &Stream,
        ended: Duration,
        longest_age: Duration,
    ) {
        let Stream { begun, root, .. } = *state;
        let about = || (self.answers.iter()).filter(|answer| answer.token == stream.token);
        // What this root context heard last before the request came.
        let last_heard = about()
            .filter(|answer| (answer.worker, answer.root) == (stream.worker, root))
            .rfind(|answer| answer.received < begun);
        let contradicted = last_heard.filter(|answer| !answer.is_active);
        let is_justified = about().any(|answer| {
            answer.is_active
                && answer.received <= ended
                && ended - answer.sent <= longest_age
                && contradicted.is_none_or(|later| answer.sent + ROUNDING >= later.first_attempt)
        });
        assert!(is_justified, "{stream} was granted without a reason");
    }

    /// Whether the flight that the stream waits for has ended long ago.
    fn missed_an_answer(&self, stream: &OpenStream, state: &Stream) -> bool {
        (self.answers.iter())
            .filter(|answer| (answer.worker, answer.root) == (stream.worker, state.root))
            .filter(|answer| answer.token == stream.token && answer.received > state.begun)
            .any(|answer| self.now() > answer.received + TICK + self.slack)
    }

    /// For each token at most one call of each configuration is on its way.
    fn check_calls(&self) {
        for worker in &self.workers {
            let calls: Vec<_> = (worker.calls().into_iter())
                .filter(|call| self.now() <= call.sent + call.timeout + LOST_AFTER)
                .filter_map(|call| Some((call.owner, call.token()?.to_owned())))
                .collect();
            for (place, call) in calls.iter().enumerate() {
                // Each flight may send the probe.
                let is_twice = call.1 != PROBE && calls[..place].contains(call);
                assert!(!is_twice, "two calls about {call:?}");
            }
        }
    }

    /// No further event happens: everything ends by itself.
    fn end(&mut self) {
        self.advance(ms(10_000));
        self.check();
        assert_eq!(self.open.len(), 0, "a request that nobody answers");
        for worker in &mut self.workers {
            assert_eq!(worker.run_posted(), 0);
            assert_eq!(worker.tick_period(), Duration::ZERO, "something is pending");
            assert!(worker.calls().iter().all(|call| call.is_lost));
        }
    }
}

impl Display for OpenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, id, token } = self;
        write!(f, "stream {id} of worker {worker} with {token}")
    }
}

#[test]
fn every_request_is_decided_once_in_time_and_for_a_reason() {
    let seed = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::with_cases(CASES)
    });
    let events = prop::collection::vec((0..2_usize, event()), 1..60);
    let result = runner.run(&(ages(), events), |(ages, events)| {
        let mut simulation = Simulation::new(ages);
        for (worker, event) in &events {
            simulation.apply(*worker, event);
            simulation.check();
        }
        simulation.end();
        Ok(())
    });
    if let Err(error) = result {
        panic!("run again with SEED={seed}: {error}");
    }
}

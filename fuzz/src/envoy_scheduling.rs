//! The Envoy filter in a simulated Envoy: callbacks in any order, calls answered late, twice or
//! never, host calls that fail; against a list of all responses of the issuer.
//!
//! - A stream is answered once, in time and for a reason; its body passes only after a grant.
//! - No identity header of a caller passes.
//! - A request that waits is woken when its flight has ended.
//! - At the end nothing is left: no request, no timer, no queued callback.
//! - When everything works again, so does the filter.

#[path = "../../guest/envoy-filter-core/tests/simulation/fake/mod.rs"]
#[expect(dead_code, reason = "the tests of the filter use more of it")]
mod fake;

use std::time::Duration;

use arbitrary::Unstructured;
use envoy_filter_core::host::{Action, DispatchError};
use serde_json::json;
use token_check::is_identity_header;

use crate::support::{below, flag, pick};
use fake::{
    Call, Configuration, Response, SharedStore, Stream, StreamEnd, Worker, active, inactive, lines,
    ms, request,
};

const MAX_EVENTS: usize = 120;
const TOKENS: usize = 4;
const TIMEOUT: Duration = ms(1000);
/// How long after its timeout the filter gives a call up.
const LOST_AFTER: Duration = ms(1000);
const TICK: Duration = ms(50);
/// The token of the probe.
const PROBE: &str = "trust-triangle-probe";
/// Ages are rounded up, and once more in shared records.
const ROUNDING: Duration = ms(2);
/// Without a queue, each step of a request takes a tick, and so does every eighth wake-up.
const NO_QUEUE_SLACK: Duration = ms(50 * 20);
/// Most streams that wait at a time, so that twenty ticks are enough.
const MAX_OPEN: usize = 64;
/// Callbacks inside one another: one, the wake-ups of one callback, and the end of a stream.
const MAX_DEPTH: usize = 10;
/// A `Retry-After` counts for a minute at most.
const RECOVERY: Duration = ms(70_000);
/// Most requests until one is decided by a recovered issuer, one per two seconds.
const MAX_ATTEMPTS: usize = 8;

/// Runs a sequence.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut simulation = Simulation::new(&mut input);
    for _ in 0..MAX_EVENTS {
        if input.is_empty() {
            break;
        }
        simulation.apply(&mut input);
        simulation.check();
    }
    simulation.end();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Active,
    Inactive,
    ServerError,
    Busy,
    Overloaded,
    RejectedClient,
    NotJson,
    TooLarge,
    NoConnection,
    LocalTimeout,
    BrokenOff,
}

const OUTCOMES: [Outcome; 16] = [
    Outcome::Active,
    Outcome::Active,
    Outcome::Active,
    Outcome::Active,
    Outcome::Inactive,
    Outcome::Inactive,
    Outcome::Inactive,
    Outcome::ServerError,
    Outcome::Busy,
    Outcome::Overloaded,
    Outcome::RejectedClient,
    Outcome::NotJson,
    Outcome::TooLarge,
    Outcome::NoConnection,
    Outcome::LocalTimeout,
    Outcome::BrokenOff,
];

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
    /// The filter cannot have given the call up before.
    is_in_time: bool,
}

/// A stream that is not decided.
struct Open {
    worker: usize,
    id: u32,
    token: String,
    has_credentials: bool,
}

struct Simulation {
    cache_ttl: u64,
    stale_if_error: u64,
    max_calls: usize,
    configuration: Configuration,
    workers: [Worker; 2],
    open: Vec<Open>,
    /// Forwarded streams that have not ended, and streams with a response that nobody has read.
    lingering: Vec<(usize, u32)>,
    answers: Vec<Answer>,
    ended_calls: Vec<(usize, Call)>,
    /// How much later than at the next tick a request may be answered.
    slack: Duration,
}

impl Simulation {
    fn new(input: &mut Unstructured<'_>) -> Self {
        let (cache_ttl, stale_if_error) = pick(input, &[(2, 0), (0, 0), (1, 2)]);
        let max_calls = pick(input, &[1024, 1, 2]);
        let configuration = Configuration::new(json!({
            "cache_ttl": cache_ttl,
            "stale_if_error": stale_if_error,
            "negative_cache_ttl": pick(input, &[0, 1]),
            "max_calls": max_calls,
            "max_waiting": pick(input, &[4096, 1, 4]),
            "breaker_faults": pick(input, &[5, 0, 1]),
            // More than there are tokens, so that no answer is evicted.
            "cache_entries": 16,
            "max_answer_bytes": 1024,
        }));
        let store = SharedStore::default();
        let workers = [(); 2].map(|()| Worker::sharing(&configuration, &store));
        Self {
            cache_ttl,
            stale_if_error,
            max_calls,
            configuration,
            workers,
            open: Vec::new(),
            lingering: Vec::new(),
            answers: Vec::new(),
            ended_calls: Vec::new(),
            slack: Duration::ZERO,
        }
    }

    fn now(&self) -> Duration {
        self.workers[0].now()
    }

    fn apply(&mut self, input: &mut Unstructured<'_>) {
        let worker = below(input, 2);
        match below(input, 40) {
            0..=8 => self.request(worker, input),
            9 => {
                if let Some(id) = self.waiting(worker, input) {
                    self.workers[worker].leave(id);
                }
            }
            10 => {
                if let Some(id) = self.waiting(worker, input) {
                    self.workers[worker].answer_by_envoy(id);
                }
            }
            11 => {
                if let Some(id) = self.waiting(worker, input) {
                    assert_eq!(
                        self.workers[worker].body(id),
                        Action::Pause,
                        "a body passes"
                    );
                }
            }
            12 => {
                if let Some(id) = self.waiting(worker, input) {
                    assert_eq!(self.trailers(worker, id), Action::Pause, "trailers pass");
                }
            }
            13 => self.touch_lingering(input),
            14..=23 => self.respond(worker, input),
            24 => self.respond_again(input),
            25 => {
                if let Some(call) = self.call(worker, input) {
                    self.workers[worker].lose(call.id);
                }
            }
            26 => {
                let errors = [
                    DispatchError::BadArgument,
                    DispatchError::InternalFailure,
                    DispatchError::Other,
                ];
                let refusals = (0..=below(input, 3)).map(|_| pick(input, &errors));
                let refusals = refusals.collect();
                self.workers[worker].faults().dispatch = refusals;
            }
            27..=30 => _ = self.workers[worker].run_one_posted(),
            31 => {
                if self.workers[worker].lose_posted() {
                    self.slack += TICK;
                }
            }
            32 => assert!(self.workers[worker].configure(&self.configuration)),
            33 => {
                let is_broken = flag(input);
                self.workers[worker].faults().no_shared_data = is_broken;
            }
            34 => {
                let mut faults = self.workers[worker].faults();
                faults.no_queue = flag(input);
                faults.no_metrics = flag(input);
                self.slack = self.slack.max(NO_QUEUE_SLACK);
            }
            35 => self.workers[worker].callers_read = flag(input),
            36 | 37 => self.advance(ms(below(input, 20) as u64)),
            _ => self.advance(ms(below(input, 1200) as u64)),
        }
    }

    // Streams.

    fn request(&mut self, worker: usize, input: &mut Unstructured<'_>) {
        let token = format!("token-{}", below(input, TOKENS));
        let kind = below(input, 8);
        // More than are woken in one callback.
        let count = if kind == 4 { 12 } else { 1 };
        for _ in 0..count.min(MAX_OPEN.saturating_sub(self.open.len())) {
            self.request_of_kind(worker, kind, token.clone());
        }
    }

    fn request_of_kind(&mut self, worker: usize, kind: usize, token: String) {
        let mut headers = request(&token);
        if kind == 1 {
            headers.extend(lines(&[
                ("x-auth-client-id", "forged"),
                ("X_Auth.Subject", "forged"),
            ]));
        }
        let has_credentials = kind != 2;
        if !has_credentials {
            headers.retain(|(name, _)| name != "authorization");
        }
        let is_read_only = kind == 3;
        let id =
            self.workers[worker].request_with(headers, |stream| stream.is_read_only = is_read_only);
        self.open.push(Open {
            worker,
            id,
            token,
            has_credentials,
        });
    }

    fn waiting(&self, worker: usize, input: &mut Unstructured<'_>) -> Option<u32> {
        let open: Vec<_> = (self.open.iter())
            .filter(|stream| stream.worker == worker)
            .map(|stream| stream.id)
            .collect();
        (!open.is_empty()).then(|| pick(input, &open))
    }

    fn trailers(&mut self, worker: usize, id: u32) -> Action {
        let trailers = lines(&[("x-auth-subject", "forged"), ("grpc-status", "0")]);
        let status = self.workers[worker].trailers(id, trailers);
        let stream = self.workers[worker].stream(id);
        if !stream.is_read_only {
            assert_eq!(stream.trailer_values("x-auth-subject"), [""; 0]);
            assert_eq!(stream.trailer_values("grpc-status"), ["0"]);
        }
        status
    }

    fn touch_lingering(&mut self, input: &mut Unstructured<'_>) {
        if self.lingering.is_empty() {
            return;
        }
        let place = below(input, self.lingering.len());
        let (worker, id) = self.lingering[place];
        let is_forwarded = self.workers[worker].stream(id).is_forwarded();
        match below(input, 3) {
            0 if is_forwarded => assert_eq!(self.workers[worker].body(id), Action::Continue),
            1 if is_forwarded => assert_eq!(self.trailers(worker, id), Action::Continue),
            _ => {
                self.lingering.swap_remove(place);
                self.workers[worker].end_stream(id);
            }
        }
    }

    // Calls.

    fn call(&self, worker: usize, input: &mut Unstructured<'_>) -> Option<Call> {
        let calls = self.workers[worker].calls();
        (!calls.is_empty()).then(|| calls[below(input, calls.len())].clone())
    }

    fn respond(&mut self, worker: usize, input: &mut Unstructured<'_>) {
        let Some(call) = self.call(worker, input) else {
            return;
        };
        self.respond_with(worker, &call, pick(input, &OUTCOMES));
    }

    fn respond_with(&mut self, worker: usize, call: &Call, outcome: Outcome) {
        if let (Some(token), Outcome::Active | Outcome::Inactive) = (call.token(), outcome) {
            self.answers.push(Answer {
                worker,
                root: call.owner,
                token: token.to_owned(),
                is_active: outcome == Outcome::Active,
                sent: call.sent,
                first_attempt: call.first_attempt,
                received: self.now(),
                is_in_time: self.now() <= call.sent + call.timeout + LOST_AFTER,
            });
        }
        let response = response(call, outcome);
        self.workers[worker].respond(call.id, response);
        self.ended_calls.push((worker, call.clone()));
    }

    /// A call has no second response: whatever it says, nobody is let in by it.
    fn respond_again(&mut self, input: &mut Unstructured<'_>) {
        if !self.ended_calls.is_empty() {
            let place = below(input, self.ended_calls.len());
            let (worker, call) = &self.ended_calls[place];
            let response = response(call, Outcome::Active);
            self.workers[*worker].respond_again(call, response);
        }
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

    // Properties.

    /// Checks what has become of each open stream.
    fn check(&mut self) {
        for stream in core::mem::take(&mut self.open) {
            let state = self.workers[stream.worker].stream(stream.id);
            let latest = state.begun + TIMEOUT + TICK + self.slack;
            let Some((end, ended)) = &state.end else {
                assert!(
                    self.now() <= latest,
                    "stream {} waits longer than it may",
                    stream.id
                );
                assert!(
                    !self.missed_an_answer(&stream, &state),
                    "stream {} was not woken",
                    stream.id
                );
                self.open.push(stream);
                continue;
            };
            assert!(*ended <= latest, "stream {} was answered late", stream.id);
            match end {
                StreamEnd::Forwarded => self.check_forwarded(&stream, &state, *ended),
                StreamEnd::Answered { .. } => self.check_refused(&stream, &state),
                StreamEnd::AnsweredByEnvoy | StreamEnd::CallerLeft => {}
            }
            if state.exists {
                self.lingering.push((stream.worker, stream.id));
            }
        }
        self.check_calls();
    }

    fn check_forwarded(&self, stream: &Open, state: &Stream, ended: Duration) {
        assert!(stream.has_credentials && !state.is_read_only);
        let client = format!("client-of-{}", stream.token);
        assert_eq!(state.values("x-auth-client-id"), [client]);
        assert_eq!(state.values("authorization"), [""; 0]);
        let mut names = state
            .headers
            .iter()
            .map(|(name, _)| name)
            .filter(|name| is_identity_header(name.as_bytes()));
        assert!(
            names.all(|name| name == "x-auth-client-id" || name == "x-auth-claims"),
            "a forged header"
        );
        let waited = TIMEOUT + LOST_AFTER + TICK + self.slack;
        let ttl = Duration::from_secs(self.cache_ttl);
        let stale = Duration::from_secs(self.stale_if_error);
        let longest_age = match state.filter_state.get("auth_cache").map(String::as_str) {
            None => ttl,
            Some("shared") => ttl + ROUNDING,
            Some("stale") => ttl + stale,
            Some(_) => waited.max(ttl),
        };
        let about = || (self.answers.iter()).filter(|answer| answer.token == stream.token);
        // What this root context heard last before the request came.
        let last_heard = about()
            .filter(|answer| (answer.worker, answer.root) == (stream.worker, state.root))
            .rfind(|answer| answer.received < state.begun);
        let contradicted = last_heard.filter(|answer| !answer.is_active);
        let is_justified = about().any(|answer| {
            answer.is_active
                && answer.received <= ended
                && ended - answer.sent <= longest_age
                && contradicted.is_none_or(|later| answer.sent + ROUNDING >= later.first_attempt)
        });
        assert!(
            is_justified,
            "stream {} was granted without a reason",
            stream.id
        );
    }

    fn check_refused(&self, stream: &Open, state: &Stream) {
        let (status, reason) = state.refusal().expect("a refusal");
        let was_inactive =
            (self.answers.iter()).any(|answer| !answer.is_active && answer.token == stream.token);
        let is_allowed = match (status, reason.as_str()) {
            (401, "inactive") => was_inactive,
            (401, "no_credentials") => !stream.has_credentials,
            (503, "misconfigured") => state.is_read_only,
            (503, _) => stream.has_credentials,
            _ => false,
        };
        assert!(is_allowed, "stream {}: {status} {reason}", stream.id);
    }

    /// Whether the flight that the stream waits for has ended in an earlier turn of Envoy's loop. If
    /// callbacks of queues get lost, ticks make up for them.
    fn missed_an_answer(&self, stream: &Open, state: &Stream) -> bool {
        let patience = if self.slack.is_zero() {
            Duration::ZERO
        } else {
            TICK + self.slack
        };
        (self.answers.iter())
            .filter(|answer| (answer.worker, answer.root) == (stream.worker, state.root))
            .filter(|answer| answer.token == stream.token && answer.received > state.begun)
            .any(|answer| answer.is_in_time && self.now() > answer.received + patience)
    }

    /// Of each configuration at most `max_calls` are on their way, and one for each token.
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
                let together = calls.iter().filter(|other| other.0 == call.0).count();
                assert!(together <= self.max_calls, "{together} calls");
            }
            assert!(
                worker.max_depth() <= MAX_DEPTH,
                "{} callbacks in one another",
                worker.max_depth()
            );
        }
    }

    /// No further event happens: everything ends by itself. Then everything works again.
    fn end(&mut self) {
        self.advance(ms(10_000));
        self.check();
        assert!(self.open.is_empty(), "a request that nobody answers");
        for (worker, id) in core::mem::take(&mut self.lingering) {
            self.workers[worker].end_stream(id);
        }
        for worker in &mut self.workers {
            assert_eq!(worker.run_posted(), 0);
            assert_eq!(worker.tick_period(), Duration::ZERO, "something is pending");
            assert!(worker.calls().iter().all(|call| call.is_lost));
            *worker.faults() = Default::default();
        }
        self.advance(RECOVERY);
        for worker in 0..2 {
            for token in 0..TOKENS {
                self.check_recovered(worker, &format!("token-{token}"));
            }
        }
    }

    fn check_recovered(&mut self, worker: usize, token: &str) {
        for _ in 0..MAX_ATTEMPTS {
            let id = self.workers[worker].request(request(token));
            for _ in 0..4 {
                self.advance(TICK);
                let calls = self.workers[worker].calls();
                for call in calls.into_iter().filter(|call| !call.is_lost) {
                    self.respond_with(worker, &call, Outcome::Active);
                }
            }
            let stream = self.workers[worker].stream(id);
            if stream.is_forwarded() {
                return;
            }
            let refusal = stream.refusal();
            assert!(
                refusal.as_ref().is_some_and(|(status, _)| *status == 503),
                "{refusal:?}"
            );
            self.advance(ms(2000));
        }
        panic!("worker {worker} does not recover");
    }
}

fn response(call: &Call, outcome: Outcome) -> Response {
    let with_wait = |status, seconds| {
        let mut response = Response::new(status, "");
        response.headers.extend(lines(&[("retry-after", seconds)]));
        response
    };
    match (outcome, call.token()) {
        (Outcome::Active, Some(token)) => active(&format!("client-of-{token}")),
        (Outcome::Inactive, Some(_)) => inactive(),
        (Outcome::Active | Outcome::Inactive, None) => Response::new(404, ""),
        (Outcome::ServerError, _) => Response::new(500, ""),
        (Outcome::Busy, _) => with_wait(503, "1"),
        (Outcome::Overloaded, _) => with_wait(429, "60"),
        (Outcome::RejectedClient, _) => Response::new(401, r#"{"error":"invalid_client"}"#),
        (Outcome::NotJson, _) => Response::new(200, "<html>"),
        (Outcome::TooLarge, _) => Response::new(
            200,
            &format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(2000)),
        ),
        (Outcome::NoConnection, _) => Response::local_reply(503, "no healthy upstream"),
        (Outcome::LocalTimeout, _) => Response::local_reply(504, "upstream request timeout"),
        (Outcome::BrokenOff, _) => Response::none(),
    }
}

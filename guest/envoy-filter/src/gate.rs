//! The one auth check of a plugin configuration in a worker, and who waits for what.
//!
//! A call belongs to the Envoy context that made it: were that the caller's, the answer would be lost when the caller
//! leaves, and everyone who waits for it stranded. So calls are made in callbacks of the root context only. A request
//! puts its question into the outbox and rings (an Envoy queue that only this VM knows): the root is called back in the
//! same turn of the worker's loop.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use token_check::{
    AuthCheck, CallFailure, Decision, Ended, Errand, Flight, Grant, Now, OutboundCall, Outcome,
    Progress, Reason, Reply, RequestHead, Step, Verdict, Waiting,
};

use crate::host::{self, LogLevel};
use crate::issuer::{self, Came, Way};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// How often deadlines are looked at while anybody waits. Envoy's own timeouts are exact; this is the second line.
const TICK: Duration = Duration::from_millis(50);
/// Requests woken in one callback. Envoy carries out what a callback has asked for after it, one inside the other where that
/// calls the VM again, as the answer to a request does: a thousand in a row are a thousand deep and overflow the stack.
const WAKE_AT_ONCE: usize = 8;
/// An ended call is called back by Envoy; one that is not is given up this long after its time.
const LOST: Duration = Duration::from_secs(1);
/// A fault of the issuer is told to the log no more often, per reason.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// How long the first connection to the issuer may take.
const FIRST_KNOCK: Duration = Duration::from_secs(5);

pub(crate) type SharedGate = Rc<RefCell<Gate>>;

/// What is left to the stream whose request was decided.
pub(crate) enum Carried {
    /// The request goes on as edited.
    Forward,
    /// It has its answer.
    Answered,
}

/// A request that waits.
struct Waiter {
    waiting: Waiting,
    /// The method, where the request is for the path that the filter answers itself.
    whoami: Option<Vec<u8>>,
}

/// A question to the issuer. Whoever asked first is woken with those who joined.
struct Question {
    leader: u32,
    flight: Flight,
    call: OutboundCall,
    /// On our monotonic clock.
    since: Duration,
    may_try_again: bool,
}

/// A call on its way.
struct Sent {
    /// `None`: we only knock at the issuer's door. A question that waits for that is in `Some` too.
    question: Option<Question>,
    is_knock: bool,
    at: Duration,
    timeout: Duration,
}

pub(crate) struct Gate {
    root: u32,
    start: Instant,
    check: AuthCheck<u32>,
    way: Way,
    whoami_path: Option<String>,
    metrics: Metrics,
    /// By stream context.
    waiting: HashMap<u32, Waiter>,
    outbox: Vec<Question>,
    /// By Envoy's id of the call.
    sent: HashMap<u32, Sent>,
    /// Stream contexts of requests that can go on.
    ready: VecDeque<u32>,
    queue: Option<u32>,
    has_rung: bool,
    has_knocked: bool,
    is_ticking: bool,
    told: HashMap<Reason, Duration>,
}

impl Gate {
    /// `root`: the root context that calls belong to.
    pub(crate) fn new(root: u32, settings: Settings, seed: [u8; 16]) -> Self {
        // The first tick comes in workers only: the VM in which Envoy tries a configuration out is gone by then.
        host::set_tick_period(Duration::from_millis(1));
        Self {
            root,
            start: Instant::now(),
            check: AuthCheck::new(settings.policy, seed),
            way: Way::new(settings.issuer, settings.issuer_cluster),
            whoami_path: settings.whoami_path,
            metrics: Metrics::define(),
            waiting: HashMap::new(),
            outbox: Vec::new(),
            sent: HashMap::new(),
            ready: VecDeque::new(),
            queue: None,
            has_rung: false,
            has_knocked: false,
            is_ticking: true,
            told: HashMap::new(),
        }
    }

    fn now(&self) -> Now {
        host::now(self.start)
    }

    /// A request has come; its context is in effect. `None`: it waits.
    pub(crate) fn begin(&mut self, id: u32, headers: &[(String, Vec<u8>)]) -> Option<Carried> {
        let mut authorization: Vec<&[u8]> = Vec::with_capacity(1);
        let mut traceparent: Vec<&[u8]> = Vec::new();
        let (mut authority, mut path, mut method) = (None, None, None);
        for (name, value) in headers {
            match name.as_str() {
                "authorization" => authorization.push(value),
                "traceparent" => traceparent.push(value),
                ":authority" => authority = Some(value.as_slice()),
                ":path" => path = Some(value.as_slice()),
                ":method" => method = Some(value.as_slice()),
                _ => {}
            }
        }
        let whoami = method.filter(|_| self.is_whoami(path));
        let head = RequestHead {
            authorization: &authorization,
            method: method.unwrap_or_default(),
            authority,
            path_and_query: path,
            traceparent: &traceparent,
        };
        let now = self.now();
        match self.check.begin(&head, now) {
            Step::Done(verdict) => Some(self.carry_out(verdict, whoami)),
            step => self
                .go_on(id, step, now, whoami)
                .map(|verdict| self.carry_out(verdict, whoami)),
        }
    }

    /// The stream is gone, or was answered by somebody else.
    pub(crate) fn forget(&mut self, id: u32) {
        self.waiting.remove(&id);
    }

    fn is_whoami(&self, path: Option<&[u8]>) -> bool {
        let (Some(ours), Some(path)) = (&self.whoami_path, path) else {
            return false;
        };
        path.split(|b| *b == b'?').next() == Some(ours.as_bytes())
    }

    /// Until a step is a verdict, or the request waits.
    fn go_on(
        &mut self,
        id: u32,
        mut step: Step,
        now: Now,
        whoami: Option<&[u8]>,
    ) -> Option<Verdict> {
        let waiting = loop {
            match step {
                Step::Done(verdict) => return Some(verdict),
                Step::Lead(waiting, flight, errand) => match self.run(id, flight, errand, now) {
                    None => break waiting,
                    Some(ended) => {
                        self.ready.extend(ended.woken);
                        self.ring();
                        step = self.check.resume(waiting, now);
                    }
                },
                Step::Join(waiting) => {
                    if self.check.park(&waiting, id).is_none() {
                        self.metrics.joined();
                        break waiting;
                    }
                    step = self.check.resume(waiting, now);
                }
            }
        };
        let whoami = whoami.map(<[u8]>::to_vec);
        self.waiting.insert(id, Waiter { waiting, whoami });
        if !self.is_ticking {
            self.is_ticking = true;
            host::set_tick_period(TICK);
        }
        None
    }

    /// Puts an errand on its way. `Some`: it is done, and the flight has ended with it.
    fn run(
        &mut self,
        leader: u32,
        mut flight: Flight,
        mut errand: Errand,
        now: Now,
    ) -> Option<Ended<u32>> {
        loop {
            let outcome = match errand {
                Errand::Ask(call) => {
                    self.outbox.push(Question {
                        leader,
                        flight,
                        call,
                        since: now.monotonic,
                        may_try_again: true,
                    });
                    self.ring();
                    return None;
                }
                // The filter has no store.
                Errand::Look(_) => Outcome::StoreFailed,
                Errand::Claim(..) => Outcome::Claimed(false),
                Errand::Pause(_) => Outcome::Paused,
            };
            match self.check.settle(flight, outcome, now) {
                Progress::More(same, next) => (flight, errand) = (same, next),
                Progress::Ended(ended) => return Some(ended),
            }
        }
    }

    /// Asks for a callback of the root context.
    fn ring(&mut self) {
        if !self.has_rung {
            self.has_rung = true;
            if self.queue.is_none() {
                self.queue = host::register_queue();
            }
            self.queue.into_iter().for_each(host::enqueue);
        }
    }

    /// The root context was called back by [`Self::ring`].
    pub(crate) fn rung(&mut self, queue: u32) {
        host::drain(queue);
        self.has_rung = false;
        self.work();
    }

    /// The root context's timer.
    pub(crate) fn tick(&mut self) {
        // Should a ring have got lost, the next one is not left out for it.
        self.has_rung = false;
        if !self.has_knocked {
            self.has_knocked = true;
            self.knock(None, self.now().monotonic, FIRST_KNOCK);
        }
        let now = self.now();
        let lost: Vec<u32> = (self.sent.iter())
            .filter(|(_, sent)| now.monotonic > sent.at + sent.timeout + LOST)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            if let Some(question) = self.sent.remove(&id).and_then(|sent| sent.question) {
                self.settle(question, Outcome::Failed(CallFailure::Timeout), now);
            }
        }
        let overdue = (self.waiting.iter())
            .filter(|(_, waiter)| now.monotonic >= waiter.waiting.deadline())
            .map(|(id, _)| *id);
        self.ready.extend(overdue);
        self.work();
        if self.waiting.is_empty() && self.sent.is_empty() {
            self.is_ticking = false;
            host::set_tick_period(Duration::ZERO);
        } else {
            host::set_tick_period(TICK);
        }
    }

    /// A call has ended. The effective context is the root.
    pub(crate) fn called_back(&mut self, id: u32, headers: usize, body_size: usize) {
        // One that was given up.
        let Some(sent) = self.sent.remove(&id) else {
            return;
        };
        let now = self.now();
        let took = now.monotonic.saturating_sub(sent.at);
        let came = issuer::came(headers, body_size, took, sent.timeout);
        match (sent.question, came) {
            (None, _) => {}
            (Some(question), came) if sent.is_knock => match came {
                Came::Outcome(Outcome::Answered(_)) => self.ask(question, now),
                Came::Outcome(outcome) => self.settle(question, outcome, now),
                Came::NoConnection => self.unreachable(question, now),
            },
            (Some(question), Came::Outcome(outcome)) => self.settle(question, outcome, now),
            (Some(question), Came::NoConnection) => self.try_again(question, now),
        }
        self.work();
    }

    /// What there is to do for the root context.
    fn work(&mut self) {
        let now = self.now();
        for question in core::mem::take(&mut self.outbox) {
            self.ask(question, now);
        }
        for _ in 0..WAKE_AT_ONCE {
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            self.wake(id, now);
        }
        // The root itself is never gone while it is called back.
        let _ = host::set_effective_context(self.root);
        if !self.outbox.is_empty() || !self.ready.is_empty() {
            self.ring();
        }
    }

    fn ask(&mut self, question: Question, now: Now) {
        let Some(timeout) = question.time_left(now) else {
            return self.settle(question, Outcome::Failed(CallFailure::Timeout), now);
        };
        match self.way.ask(&question.call, timeout) {
            Ok(id) => {
                self.sent.insert(
                    id,
                    Sent {
                        question: Some(question),
                        is_knock: false,
                        at: now.monotonic,
                        timeout,
                    },
                );
            }
            Err(status) => match issuer::refused(status) {
                Came::Outcome(outcome) => self.settle(question, outcome, now),
                Came::NoConnection => self.try_again(question, now),
            },
        }
    }

    /// Once, and never after an answer: the host name was not known yet, or the issuer had closed an idle connection.
    fn try_again(&mut self, mut question: Question, now: Now) {
        match question.time_left(now) {
            Some(timeout) if question.may_try_again => {
                question.may_try_again = false;
                self.knock(Some(question), now.monotonic, timeout);
            }
            Some(_) => self.unreachable(question, now),
            None => self.settle(question, Outcome::Failed(CallFailure::Timeout), now),
        }
    }

    fn knock(&mut self, question: Option<Question>, at: Duration, timeout: Duration) {
        match self.way.knock(timeout) {
            Ok(id) => {
                let sent = Sent {
                    question,
                    is_knock: true,
                    at,
                    timeout,
                };
                self.sent.insert(id, sent);
            }
            Err(_) => {
                if let Some(question) = question {
                    let now = self.now();
                    self.unreachable(question, now);
                }
            }
        }
    }

    fn unreachable(&mut self, question: Question, now: Now) {
        self.settle(question, Outcome::Failed(CallFailure::Unreachable), now);
    }

    fn settle(&mut self, question: Question, outcome: Outcome, now: Now) {
        self.metrics
            .introspected(&outcome, now.monotonic.saturating_sub(question.since));
        if matches!(outcome, Outcome::Failed(CallFailure::Denied)) {
            host::log(
                LogLevel::Error,
                &format!("there is no Envoy cluster {:?}", self.way.cluster()),
            );
        }
        let leader = question.leader;
        let ended = match self.check.settle(question.flight, outcome, now) {
            Progress::More(flight, errand) => self.run(leader, flight, errand, now),
            Progress::Ended(ended) => Some(ended),
        };
        if let Some(ended) = ended {
            self.ready.push_back(leader);
            self.ready.extend(ended.woken);
        }
    }

    /// A waiting request goes on, in its own context.
    fn wake(&mut self, id: u32, now: Now) {
        // A stream that is gone waits no more.
        let Some(Waiter { waiting, whoami }) = self.waiting.remove(&id) else {
            return;
        };
        let step = self.check.resume(waiting, now);
        let Some(verdict) = self.go_on(id, step, now, whoami.as_deref()) else {
            return;
        };
        if host::set_effective_context(id) {
            match self.carry_out(verdict, whoami.as_deref()) {
                Carried::Forward => host::resume_request(),
                Carried::Answered => {}
            }
        }
    }

    /// Does what was decided, to the request whose context is in effect.
    fn carry_out(&mut self, verdict: Verdict, whoami: Option<&[u8]>) -> Carried {
        match verdict.decision {
            Decision::Granted(grant) => {
                host::set_filter_state("auth_decision", "granted");
                if let Some(client_id) = header(&grant, "x-auth-client-id") {
                    host::set_filter_state("auth_client_id", client_id);
                }
                if let Some(method) = whoami {
                    let claims = header(&grant, whoami::CLAIMS_HEADER).map(str::as_bytes);
                    let answer = whoami::answer(method, claims);
                    self.metrics.granted();
                    host::reply(answer.status, &answer.headers, &answer.body);
                    return Carried::Answered;
                }
                if is_edited(&grant) {
                    self.metrics.granted();
                    Carried::Forward
                } else {
                    let reply = Reason::Misconfigured.reply(Some(self.check.policy()), None);
                    self.refuse(Reason::Misconfigured, &reply)
                }
            }
            Decision::Refused(refusal) => {
                let reply = refusal.reply(self.check.policy());
                self.refuse(refusal.reason(), &reply)
            }
        }
    }

    fn refuse(&mut self, reason: Reason, reply: &Reply) -> Carried {
        self.metrics.refused(reason);
        host::set_filter_state("auth_decision", "refused");
        host::set_filter_state("auth_reason", reason.name());
        host::reply(reply.status, &reply.headers, &reply.body);
        self.tell(reason);
        Carried::Answered
    }

    /// What is our fault or the issuer's is for the log; what is the caller's is in the access log.
    fn tell(&mut self, reason: Reason) {
        if reason.status() < 500 {
            return;
        }
        let now = self.start.elapsed();
        if (self.told.get(&reason)).is_none_or(|last| now >= *last + TELL_AGAIN) {
            self.told.insert(reason, now);
            let text = format!("{}: {}", reason.name(), reason.description());
            host::log(LogLevel::Error, &text);
        }
    }
}

impl Question {
    fn time_left(&self, now: Now) -> Option<Duration> {
        let spent = now.monotonic.saturating_sub(self.since);
        Some(self.call.timeout().saturating_sub(spent)).filter(|left| !left.is_zero())
    }
}

fn header<'a>(grant: &'a Grant, name: &str) -> Option<&'a str> {
    grant
        .headers()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// Makes the request the one that the grant describes.
fn is_edited(grant: &Grant) -> bool {
    grant
        .headers()
        .all(|(name, value)| host::set_request_header(name, value))
        && (grant.forward_token || host::remove_request_header("authorization"))
}

//! The one auth check of a plugin configuration in a worker, and who waits for what.
//!
//! The SDK hands an answer to the context in whose callback the call was made, and drops it where that is gone: were that
//! the caller's, everyone who waits for the answer would be stranded when the caller leaves. So calls are made in callbacks
//! of the root context only. A request puts its question into the outbox and rings (an Envoy queue that only this VM
//! knows): the root is called back in the same turn of the worker's loop.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use token_check::{
    AuthCheck, CacheUse, CallFailure, Decision, Ended, Errand, Flight, Grant, Note, Now,
    OutboundCall, Outcome, Progress, Reason, Reply, RequestHead, Sharing, Step, Verdict, Waiting,
};

use crate::host::{self, LogLevel};
use crate::issuer::{self, Came, Way};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// How often deadlines are looked at while anybody waits. Envoy's own timeouts are exact; this is the second line.
const TICK: Duration = Duration::from_millis(50);
/// The same while another worker asks about a token that somebody waits for here. Envoy's workers cannot call each other.
const SHORT_TICK: Duration = Duration::from_millis(2);
/// The first tick comes in workers only: the VM in which Envoy tries a configuration out is gone by then.
const FIRST_TICK: Duration = Duration::from_millis(1);
/// Requests woken in one callback. Envoy carries out what a callback has asked for after it, one inside the other where that
/// calls the VM again, as the answer to a request does: a thousand in a row are a thousand deep and overflow the stack.
const WAKE_AT_ONCE: usize = 8;
/// An ended call is called back by Envoy; one that is not is given up this long after its time.
const LOST: Duration = Duration::from_secs(1);
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
    /// When it must have its answer.
    until: Duration,
    /// The last try found no connection, for this reason: the host name may be unknown to Envoy.
    knock_first: Option<CallFailure>,
}

/// A flight that waits for another worker's question.
struct Paused {
    leader: u32,
    flight: Flight,
    until: Duration,
}

/// A call on its way.
struct Sent {
    /// `None`: we only knock at the issuer's door. A question that waits for that is in `Some` too, and says so.
    question: Option<Question>,
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
    paused: Vec<Paused>,
    /// By Envoy's id of the call.
    sent: HashMap<u32, Sent>,
    /// Stream contexts of requests that can go on.
    ready: VecDeque<u32>,
    queue: Option<u32>,
    has_rung: bool,
    has_knocked: bool,
    /// Zero: no timer runs.
    tick_period: Duration,
}

impl Gate {
    /// `root`: the root context that calls belong to.
    pub(crate) fn new(root: u32, settings: Settings, seed: [u8; 16]) -> Self {
        host::set_tick_period(FIRST_TICK);
        Self {
            root,
            start: Instant::now(),
            check: AuthCheck::new(settings.policy, seed).sharing(Sharing::CompareAndSwap),
            way: Way::new(settings.issuer, settings.issuer_cluster),
            whoami_path: settings.whoami_path,
            metrics: Metrics::define(),
            waiting: HashMap::new(),
            outbox: Vec::new(),
            paused: Vec::new(),
            sent: HashMap::new(),
            ready: VecDeque::new(),
            queue: None,
            has_rung: false,
            has_knocked: false,
            tick_period: FIRST_TICK,
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

    pub(crate) fn is_waiting(&self, id: u32) -> bool {
        self.waiting.contains_key(&id)
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
                Step::Lead(waiting, flight, errand) => {
                    match self.run(id, flight, errand, None, now) {
                        None => break waiting,
                        Some(ended) => {
                            self.end(ended);
                            if !self.ready.is_empty() {
                                self.ring();
                            }
                            step = self.check.resume(waiting, now);
                        }
                    }
                }
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
        self.set_tick();
        None
    }

    fn set_tick(&mut self) {
        let period = if !self.paused.is_empty() {
            SHORT_TICK
        } else if !self.waiting.is_empty() || !self.sent.is_empty() {
            TICK
        } else {
            Duration::ZERO
        };
        // The first tick is still to come.
        if self.has_knocked && period != self.tick_period {
            self.tick_period = period;
            host::set_tick_period(period);
        }
    }

    /// Puts an errand on its way. `Some`: it is done, and the flight has ended with it.
    fn run(
        &mut self,
        leader: u32,
        mut flight: Flight,
        mut errand: Errand,
        knock_first: Option<CallFailure>,
        now: Now,
    ) -> Option<Ended<u32>> {
        let mut found = None;
        loop {
            let outcome = match errand {
                Errand::Ask(call) => {
                    self.outbox.push(Question {
                        leader,
                        flight,
                        until: now.monotonic.saturating_add(call.timeout()),
                        call,
                        knock_first,
                    });
                    self.ring();
                    return None;
                }
                Errand::Look(key) => {
                    found = host::shared(key.as_str());
                    match &mut found {
                        Some(slot) => Outcome::Found(slot.bytes.take()),
                        None => Outcome::StoreFailed,
                    }
                }
                Errand::Claim(key, bytes) => match &found {
                    Some(slot) => host::share_if(key.as_str(), &bytes, slot)
                        .map_or(Outcome::StoreFailed, Outcome::Claimed),
                    None => Outcome::StoreFailed,
                },
                Errand::Pause(time) => {
                    self.paused.push(Paused {
                        leader,
                        flight,
                        until: now.monotonic.saturating_add(time),
                    });
                    self.set_tick();
                    return None;
                }
            };
            match self.check.settle(flight, outcome, now) {
                Progress::More(same, next) => (flight, errand) = (same, next),
                Progress::Ended(ended) => return Some(ended),
            }
        }
    }

    /// What is left to do of a flight that has ended.
    fn end(&mut self, ended: Ended<u32>) {
        for record in ended.records {
            host::share(record.key.as_str(), &record.bytes);
        }
        if let Some(fault) = ended.fault {
            self.metrics.failed(fault.reason());
        }
        self.tell(ended.note.as_ref());
        self.ready.extend(ended.woken);
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
        host::dequeue(queue);
        self.has_rung = false;
        self.work(self.now());
    }

    /// The root context's timer.
    pub(crate) fn tick(&mut self) {
        // Should a ring have got lost, the next one is not left out for it.
        self.has_rung = false;
        if !self.has_knocked {
            self.has_knocked = true;
            self.knock(self.now());
        }
        let now = self.now();
        let lost: Vec<u32> = (self.sent.iter())
            .filter(|(_, sent)| now.monotonic > sent.at + sent.timeout + LOST)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            if let Some(sent) = self.sent.remove(&id) {
                self.came(
                    sent,
                    Came::Outcome(Outcome::Failed(CallFailure::Timeout)),
                    now,
                );
            }
        }
        let (over, paused): (Vec<_>, _) = core::mem::take(&mut self.paused)
            .into_iter()
            .partition(|paused| now.monotonic >= paused.until);
        self.paused = paused;
        for Paused { leader, flight, .. } in over {
            let progress = self.check.settle(flight, Outcome::Paused, now);
            self.go_on_with(leader, progress, None, now);
        }
        if self.ready.is_empty() {
            let overdue = (self.waiting.iter())
                .filter(|(_, waiter)| now.monotonic >= waiter.waiting.deadline())
                .map(|(id, _)| *id);
            self.ready.extend(overdue);
        }
        self.work(now);
        self.set_tick();
    }

    /// A call has ended. The effective context is the root.
    pub(crate) fn called_back(&mut self, id: u32, headers: usize, body_size: usize) {
        // One that was given up.
        let Some(sent) = self.sent.remove(&id) else {
            return;
        };
        let now = self.now();
        let took = now.monotonic.saturating_sub(sent.at);
        let limit = self.check.policy().max_answer_bytes();
        let came = issuer::came(headers, body_size, took, sent.timeout, limit);
        self.came(sent, came, now);
        self.work(now);
    }

    fn came(&mut self, sent: Sent, came: Came, now: Now) {
        let Some(mut question) = sent.question else {
            return;
        };
        match came {
            // The door opens.
            Came::Outcome(Outcome::Answered(_)) if question.knock_first.is_some() => {
                question.knock_first = None;
                self.ask(question, now);
            }
            Came::Outcome(outcome) => self.settle(question, outcome, Some(sent.at), None, now),
            Came::NoConnection(failure) => {
                // The reply to a HEAD has no body that could say why: the question before met the same.
                let failure = question.knock_first.unwrap_or(failure);
                self.no_connection(question, failure, Some(sent.at), now);
            }
        }
    }

    /// What there is to do for the root context.
    fn work(&mut self, now: Now) {
        for question in core::mem::take(&mut self.outbox) {
            self.ask(question, now);
        }
        let mut woken = 0;
        while woken < WAKE_AT_ONCE
            && let Some(id) = self.ready.pop_front()
        {
            // Some are gone, or were woken for another reason.
            if self.waiting.contains_key(&id) {
                self.wake(id, now);
                woken += 1;
            }
        }
        // The root itself is never gone while it is called back.
        let _ = host::set_effective_context(self.root);
        if !self.outbox.is_empty() || !self.ready.is_empty() {
            self.ring();
        }
    }

    fn ask(&mut self, question: Question, now: Now) {
        let timeout = question.until.saturating_sub(now.monotonic);
        if timeout.is_zero() {
            let outcome = Outcome::Failed(CallFailure::Timeout);
            return self.settle(question, outcome, None, None, now);
        }
        let sent = if question.knock_first.is_some() {
            self.way.knock(timeout)
        } else {
            self.way.ask(&question.call, timeout)
        };
        match sent {
            Ok(id) => {
                self.sent.insert(
                    id,
                    Sent {
                        question: Some(question),
                        at: now.monotonic,
                        timeout,
                    },
                );
            }
            Err(status) => match issuer::refused(status) {
                Came::Outcome(outcome) => self.settle(question, outcome, None, None, now),
                Came::NoConnection(failure) => self.no_connection(question, failure, None, now),
            },
        }
    }

    /// Knocks at the issuer's door, so that Envoy knows its name when the first question comes.
    fn knock(&mut self, now: Now) {
        if let Ok(id) = self.way.knock(FIRST_KNOCK) {
            let sent = Sent {
                question: None,
                at: now.monotonic,
                timeout: FIRST_KNOCK,
            };
            self.sent.insert(id, sent);
        }
    }

    fn no_connection(
        &mut self,
        question: Question,
        failure: CallFailure,
        at: Option<Duration>,
        now: Now,
    ) {
        let outcome = Outcome::Failed(failure);
        self.settle(question, outcome, at, Some(failure), now);
    }

    /// `at`: when the call was sent, if it was. `knock_first`: before the core's next try, if there is one.
    fn settle(
        &mut self,
        question: Question,
        outcome: Outcome,
        at: Option<Duration>,
        knock_first: Option<CallFailure>,
        now: Now,
    ) {
        let took = at.map_or(Duration::ZERO, |at| now.monotonic.saturating_sub(at));
        self.metrics.introspected(&outcome, took);
        let progress = self.check.settle(question.flight, outcome, now);
        self.go_on_with(question.leader, progress, knock_first, now);
    }

    fn go_on_with(
        &mut self,
        leader: u32,
        progress: Progress<u32>,
        knock_first: Option<CallFailure>,
        now: Now,
    ) {
        let ended = match progress {
            Progress::More(flight, errand) => self.run(leader, flight, errand, knock_first, now),
            Progress::Ended(ended) => Some(ended),
        };
        if let Some(ended) = ended {
            self.ready.push_back(leader);
            self.end(ended);
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
        if let Some(line) = &verdict.audit {
            host::log(LogLevel::Info, line);
        }
        self.tell(verdict.note.as_ref());
        if let Some(cache) = verdict.cache {
            self.metrics.used(cache);
            // A call of the host for what is rare, and none for what is common.
            if cache != CacheUse::Hit {
                host::set_filter_state("auth_cache", cache.name());
            }
        }
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
                    host::log(LogLevel::Error, "Envoy does not let the request be edited");
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
        Carried::Answered
    }

    /// What is our fault or the issuer's is an error; what the caller's token lacks, a warning.
    fn tell(&self, note: Option<&Note>) {
        match note {
            None => {}
            Some(Note::Fault(fault)) if fault.reason() == Reason::IssuerCallDenied => {
                let cluster = self.way.cluster();
                let text = format!("{fault}: there is no Envoy cluster {cluster:?}");
                host::log(LogLevel::Error, &text);
            }
            Some(note) if note.is_error() => host::log(LogLevel::Error, &note.to_string()),
            Some(note) => host::log(LogLevel::Warn, &note.to_string()),
        }
    }
}

fn header<'a>(grant: &'a Grant, name: &str) -> Option<&'a str> {
    grant
        .headers()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// Makes the request the one that the grant describes. Client-sent copies of the headers are gone by now.
fn is_edited(grant: &Grant) -> bool {
    grant
        .headers()
        .all(|(name, value)| host::add_request_header(name, value))
        && (grant.forward_token || host::remove_request_header("authorization"))
}

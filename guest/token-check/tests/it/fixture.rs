//! Instances of the auth check in one thread, with a scripted issuer, a shared store and a clock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use token_check::test_util::{self, Host};
use token_check::{
    Action, AuthCheck, AwaitingResponse, AwaitingWake, BodyCollector, CacheStatus, CallFailure,
    Decision, DocumentCall, Finished, IntrospectionCall, IssuerCall, IssuerResponse, LogEvent, Now,
    PendingRequest, Policy, Progress, Reason, RequestHead, SettingsError, Sharing, Step,
    StoreFailed, StoreKey, Verdict,
};

/// When each clock starts, in seconds since 1970.
pub(crate) const START: u64 = 1_800_000_000;
pub(crate) const SECRET: &str = "s3cr3t-and-then-some";

pub(crate) fn try_policy(settings: &[(&str, &str)]) -> Result<Policy, SettingsError> {
    let base = [
        (
            "introspect_url",
            "https://tenant.verify.ibm.com/oauth2/introspect",
        ),
        ("resource_client_id", "service-b"),
        ("resource_client_secret", SECRET),
    ];
    // Of two values for a key the last one counts.
    let settings = base.iter().chain(settings);
    Policy::new(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

pub(crate) fn policy(settings: &[(&str, &str)]) -> Policy {
    try_policy(settings).unwrap()
}

pub(crate) fn head<'a>(authorization: &'a [&'a [u8]], path: &'a str) -> RequestHead<'a> {
    RequestHead {
        authorization,
        method: b"GET",
        authority: Some(b"service-b.example"),
        path_and_query: Some(path.as_bytes()),
        dpop: &[],
        client_certificate: &[],
        traceparent: &[],
    }
}

/// Starts at [`START`], and far from zero on the monotonic side.
#[derive(Clone, Default)]
pub(crate) struct Clock(Rc<Cell<Duration>>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            unix: Duration::from_secs(START) + self.0.get(),
            monotonic: Duration::from_secs(5000) + self.0.get(),
        }
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.0.set(self.0.get() + time);
    }

    pub(crate) fn advance_ms(&self, milliseconds: u64) {
        self.advance(Duration::from_millis(milliseconds));
    }
}

/// The outcome of an introspection call.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Response {
        status: u16,
        media_type: &'static str,
        retry_after: Option<&'static str>,
        content_encoding: Option<&'static str>,
        challenge: Option<&'static str>,
        body: Vec<u8>,
    },
    Failed(CallFailure),
}

impl Outcome {
    pub(crate) fn http(status: u16, media_type: &'static str, body: impl AsRef<[u8]>) -> Self {
        Self::Response {
            status,
            media_type,
            retry_after: None,
            content_encoding: None,
            challenge: None,
            body: body.as_ref().to_vec(),
        }
    }

    pub(crate) fn json(body: &str) -> Self {
        Self::http(200, "application/json", body)
    }

    /// An OAuth error with this status.
    pub(crate) fn status(code: u16, wait: Option<&'static str>) -> Self {
        let mut error = Self::http(code, "application/json", r#"{"error":"invalid_client"}"#);
        if let Self::Response { retry_after, .. } = &mut error {
            *retry_after = wait;
        }
        error
    }

    /// The same with a Content-Encoding.
    pub(crate) fn coded(mut self, coding: &'static str) -> Self {
        if let Self::Response {
            content_encoding, ..
        } = &mut self
        {
            *content_encoding = Some(coding);
        }
        self
    }

    /// The same with a WWW-Authenticate.
    pub(crate) fn challenge(mut self, value: &'static str) -> Self {
        if let Self::Response { challenge, .. } = &mut self {
            *challenge = Some(value);
        }
        self
    }

    pub(crate) fn response(&self) -> Result<IssuerResponse, CallFailure> {
        match self {
            Self::Failed(failure) => Err(*failure),
            Self::Response {
                status,
                media_type,
                retry_after,
                content_encoding,
                challenge,
                body,
            } => {
                let field = |value: &str| (!value.is_empty()).then(|| value.as_bytes().to_vec());
                let mut collected = BodyCollector::default();
                let _ = collected.push(body);
                Ok(IssuerResponse {
                    status: *status,
                    content_type: field(media_type),
                    content_encoding: content_encoding.and_then(field),
                    retry_after: retry_after.and_then(field),
                    www_authenticate: challenge.and_then(field).into_iter().collect(),
                    body: collected,
                })
            }
        }
    }
}

pub(crate) const UNREACHABLE: Outcome = Outcome::Failed(CallFailure::Unreachable);
pub(crate) const TIMED_OUT: Outcome = Outcome::Failed(CallFailure::Timeout);
pub(crate) const DENIED: Outcome = Outcome::Failed(CallFailure::Denied);

/// `members`: with a comma before each.
pub(crate) fn active(members: &str) -> Outcome {
    Outcome::json(&format!(r#"{{"active":true{members}}}"#))
}

pub(crate) fn inactive() -> Outcome {
    Outcome::json(r#"{"active":false}"#)
}

/// Follows a script, of which the last outcome stands for all that follow.
#[derive(Clone)]
pub(crate) struct Issuer {
    script: Rc<RefCell<Vec<Outcome>>>,
    calls: Rc<Cell<usize>>,
    takes: Rc<Cell<Duration>>,
    keys: Rc<RefCell<Outcome>>,
    key_fetches: Rc<Cell<usize>>,
    /// By URL.
    metadata: Rc<RefCell<BTreeMap<String, Outcome>>>,
    urls: Rc<RefCell<Vec<String>>>,
}

impl Issuer {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            script: Rc::new(RefCell::new(vec![outcome])),
            calls: Rc::default(),
            takes: Rc::default(),
            keys: Rc::new(RefCell::new(UNREACHABLE)),
            key_fetches: Rc::default(),
            metadata: Rc::default(),
            urls: Rc::default(),
        }
    }

    /// What it responds at this URL of metadata from now on; 404 at all others.
    pub(crate) fn describes(&self, url: &str, metadata: Outcome) {
        self.metadata.borrow_mut().insert(url.to_owned(), metadata);
    }

    /// The URLs that were called since this was last read, if it has metadata.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.urls.take()
    }

    fn note_url(&self, call: &impl IssuerCall) {
        // Tests of memory count what is allocated.
        if self.metadata.borrow().is_empty() {
            return;
        }
        let scheme = if call.is_https() { "https" } else { "http" };
        let (authority, path) = (call.authority(), call.path_and_query());
        let url = format!("{scheme}://{authority}{path}");
        self.urls.borrow_mut().push(url);
    }

    fn document(&self, call: &DocumentCall) -> Result<IssuerResponse, CallFailure> {
        self.note_url(call);
        if call.path_and_query().contains("/.well-known/") {
            let urls = self.urls.borrow();
            let metadata = self.metadata.borrow();
            let outcome = urls.last().and_then(|url| metadata.get(url));
            let absent = Outcome::http(404, "text/html", "<p>Not found</p>");
            return outcome.unwrap_or(&absent).response();
        }
        self.key_fetches.set(self.key_fetches.get() + 1);
        self.keys.borrow().response()
    }

    /// What its key endpoint responds from now on.
    pub(crate) fn publishes(&self, keys: Outcome) {
        *self.keys.borrow_mut() = keys;
    }

    /// How often its keys were fetched since this was last read.
    pub(crate) fn key_fetches(&self) -> usize {
        self.key_fetches.take()
    }

    /// How long each call takes from now on.
    pub(crate) fn takes_ms(&self, milliseconds: u64) {
        self.takes.set(Duration::from_millis(milliseconds));
    }

    /// From now on.
    pub(crate) fn responds(&self, outcome: Outcome) {
        self.responds_in_turn([outcome]);
    }

    pub(crate) fn responds_in_turn(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        *self.script.borrow_mut() = outcomes.into_iter().collect();
    }

    /// How many calls it got since this was last read.
    pub(crate) fn calls(&self) -> usize {
        self.calls.take()
    }

    fn respond(&self) -> Result<IssuerResponse, CallFailure> {
        self.calls.set(self.calls.get() + 1);
        let mut script = self.script.borrow_mut();
        if script.len() > 1 {
            script.remove(0).response()
        } else {
            script[0].response()
        }
    }
}

/// By key: a version, and the value.
type Slots = BTreeMap<String, (u64, Vec<u8>)>;

/// A store with versions, so that it can compare and swap.
#[derive(Clone, Default)]
pub(crate) struct SharedStore {
    pub(crate) slots: Rc<RefCell<Slots>>,
    pub(crate) is_broken: Rc<Cell<bool>>,
    pub(crate) reads: Rc<Cell<usize>>,
}

impl SharedStore {
    pub(crate) fn write(&self, key: &str, value: &[u8]) {
        let mut slots = self.slots.borrow_mut();
        let version = slots.get(key).map_or(0, |(version, _)| *version) + 1;
        slots.insert(key.to_owned(), (version, value.to_vec()));
    }

    /// The only record of facts.
    pub(crate) fn facts(&self) -> (String, Vec<u8>) {
        let slots = self.slots.borrow();
        let mut facts = slots
            .iter()
            .filter(|(key, (_, value))| key.contains("facts") && !value.is_empty());
        let (key, (_, value)) = facts.next().expect("there is a record");
        assert!(facts.next().is_none(), "there is one record");
        (key.clone(), value.clone())
    }
}

/// One instance of the auth check.
pub(crate) struct Instance {
    pub(crate) check: AuthCheck<u32>,
    pub(crate) host: FakeHost,
}

pub(crate) struct FakeHost {
    clock: Clock,
    issuer: Issuer,
    store: SharedStore,
    /// Of the value that was read last.
    version: Option<u64>,
    pub(crate) log: Vec<String>,
    /// The lines of the log that are errors.
    pub(crate) errors: Vec<String>,
}

impl FakeHost {
    fn log_event(&mut self, event: Option<&LogEvent>) {
        if let Some(event) = event {
            self.log.push(event.to_string());
            if event.is_error() {
                self.errors.push(event.to_string());
            }
        }
    }
}

impl Host for FakeHost {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn introspect(&mut self, call: &IntrospectionCall) -> Result<IssuerResponse, CallFailure> {
        self.issuer.note_url(call);
        self.clock.advance(self.issuer.takes.get());
        self.issuer.respond()
    }

    fn fetch_document(&mut self, call: &DocumentCall) -> Result<IssuerResponse, CallFailure> {
        self.clock.advance(self.issuer.takes.get());
        self.issuer.document(call)
    }

    fn store_get(&mut self, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreFailed> {
        self.store.reads.set(self.store.reads.get() + 1);
        if self.store.is_broken.get() {
            return Err(StoreFailed);
        }
        let slots = self.store.slots.borrow();
        let slot = slots.get(key.as_str());
        self.version = slot.map(|(version, _)| *version);
        Ok(slot.map(|(_, value)| value.clone()))
    }

    fn store_compare_and_swap(
        &mut self,
        key: &StoreKey,
        value: &[u8],
    ) -> Result<bool, StoreFailed> {
        let slots = self.store.slots.borrow();
        let is_same = slots.get(key.as_str()).map(|(version, _)| *version) == self.version;
        drop(slots);
        if is_same {
            self.store.write(key.as_str(), value);
        }
        Ok(is_same)
    }

    fn sleep(&mut self, time: Duration) {
        self.clock.advance(time);
    }

    fn finished<W>(&mut self, finished: &Finished<W>) {
        self.log_event(finished.event.as_ref());
        if !self.store.is_broken.get() {
            for record in &finished.records {
                self.store.write(record.key.as_str(), &record.bytes);
            }
        }
    }
}

/// How far a flight got without the issuer and without sleep.
#[derive(Debug)]
pub(crate) enum Ran {
    Finished,
    Queued,
    Introspects(AwaitingResponse),
    Sleeps(AwaitingWake, Duration),
}

impl Instance {
    pub(crate) fn new(settings: &[(&str, &str)], issuer: &Issuer, clock: &Clock) -> Self {
        let store = SharedStore::default();
        Self::sharing(settings, issuer, clock, Sharing::None, &store)
    }

    pub(crate) fn sharing(
        settings: &[(&str, &str)],
        issuer: &Issuer,
        clock: &Clock,
        sharing: Sharing,
        store: &SharedStore,
    ) -> Self {
        // Clocks agree here, but where a test says otherwise.
        // Keys that instances share are derived slowly from the client secret.
        let quick = ("cache_key", "0123456789abcdef0123456789abcdef");
        let settings = [&[("leeway", "0"), quick], settings].concat();
        Self {
            check: AuthCheck::new(policy(&settings), [7; 16]).sharing(sharing),
            host: FakeHost {
                clock: clock.clone(),
                issuer: issuer.clone(),
                store: store.clone(),
                version: None,
                log: Vec::new(),
                errors: Vec::new(),
            },
        }
    }

    pub(crate) fn begin(&mut self, path: &str, token: &str) -> Step<u32> {
        let line = format!("Bearer {token}");
        self.check
            .begin(&head(&[line.as_bytes()], path), self.host.now())
    }

    /// Begins a request that must lead.
    pub(crate) fn lead(&mut self, path: &str, token: &str) -> (PendingRequest, Action) {
        leads(self.begin(path, token))
    }

    /// Begins a request that must join a flight.
    pub(crate) fn join(&mut self, path: &str, token: &str) -> PendingRequest {
        match self.begin(path, token) {
            Step::Join(request) => request,
            other => panic!("must join: {other:?}"),
        }
    }

    /// Begins a request that must lead, and runs its flight up to the introspection call.
    pub(crate) fn call(&mut self, path: &str, token: &str) -> (PendingRequest, AwaitingResponse) {
        let (request, action) = self.lead(path, token);
        (request, self.run_to_call(action))
    }

    /// Runs actions of the store.
    pub(crate) fn run(&mut self, mut action: Action) -> Ran {
        loop {
            action = match action {
                Action::Introspect(ticket, _) => return Ran::Introspects(ticket),
                Action::Sleep(ticket, time) => return Ran::Sleeps(ticket, time),
                action => match test_util::run_action(&mut self.check, action, &mut self.host) {
                    Progress::Continue(next) => next,
                    Progress::Queued => return Ran::Queued,
                    Progress::Finished(finished) => {
                        self.host.finished(&finished);
                        return Ran::Finished;
                    }
                },
            };
        }
    }

    pub(crate) fn run_to_call(&mut self, action: Action) -> AwaitingResponse {
        match self.run(action) {
            Ran::Introspects(ticket) => ticket,
            other => panic!("must introspect: {other:?}"),
        }
    }

    pub(crate) fn run_to_sleep(&mut self, action: Action) -> (AwaitingWake, Duration) {
        match self.run(action) {
            Ran::Sleeps(ticket, time) => (ticket, time),
            other => panic!("must sleep: {other:?}"),
        }
    }

    /// Ends a sleep; the flight must continue.
    pub(crate) fn wake(&mut self, ticket: AwaitingWake) -> Action {
        continues(self.check.woke(ticket, self.host.now()))
    }

    /// The issuer responds as its script says, as often as it is called.
    pub(crate) fn respond(&mut self, ticket: AwaitingResponse) -> Finished<u32> {
        let outcome = self.host.issuer.respond();
        match self.check.responded(ticket, outcome, self.host.now()) {
            Progress::Finished(finished) => {
                self.host.finished(&finished);
                finished
            }
            Progress::Continue(action) => {
                test_util::run_flight(&mut self.check, action, &mut self.host)
            }
            Progress::Queued => panic!("it has its place"),
        }
    }

    /// Resumes a request whose flight has finished.
    pub(crate) fn resume(&mut self, request: PendingRequest) -> Verdict {
        let step = self.check.resume(request, self.host.now());
        self.finish(step)
    }

    pub(crate) fn finish(&mut self, step: Step<u32>) -> Verdict {
        match step {
            Step::Done(verdict) => {
                self.host.log_event(verdict.event.as_ref());
                verdict
            }
            Step::Lead(request, action) => {
                let _ = test_util::run_flight(&mut self.check, action, &mut self.host);
                self.resume(request)
            }
            Step::Finished(request, finished) => {
                self.host.finished(&finished);
                self.resume(request)
            }
            Step::Join(request) => panic!("nobody leads: {request:?}"),
        }
    }

    /// A whole request.
    pub(crate) fn request(&mut self, path: &str, token: &str) -> Verdict {
        let step = self.begin(path, token);
        self.finish(step)
    }

    /// The reason of a refusal, and the cache status.
    pub(crate) fn get(&mut self, path: &str, token: &str) -> (Option<Reason>, Option<CacheStatus>) {
        let verdict = self.request(path, token);
        (reason(&verdict.decision), verdict.cache)
    }

    /// A whole request, with the fetches of its host.
    pub(crate) fn drive(&mut self, path: &str, token: &str) -> Verdict {
        let line = format!("Bearer {token}");
        let request = [line.as_bytes()];
        let verdict = test_util::drive(&mut self.check, &head(&request, path), &mut self.host);
        self.host.log_event(verdict.event.as_ref());
        verdict
    }

    /// The reason of a refusal, and its `Retry-After`.
    pub(crate) fn retry_after(&mut self, path: &str, token: &str) -> (Option<Reason>, Option<u32>) {
        let verdict = self.request(path, token);
        let reason = reason(&verdict.decision);
        let response = verdict.into_result(self.check.policy()).unwrap_err();
        let header = response
            .headers
            .iter()
            .find(|(name, _)| *name == "retry-after");
        (reason, header.map(|(_, value)| value.parse().unwrap()))
    }
}

pub(crate) fn leads(step: Step<u32>) -> (PendingRequest, Action) {
    match step {
        Step::Lead(request, action) => (request, action),
        other => panic!("must lead: {other:?}"),
    }
}

pub(crate) fn introspects(
    step: Step<u32>,
) -> (PendingRequest, AwaitingResponse, IntrospectionCall) {
    match step {
        Step::Lead(request, Action::Introspect(ticket, call)) => (request, ticket, call),
        other => panic!("must introspect: {other:?}"),
    }
}

pub(crate) fn continues<W: core::fmt::Debug>(progress: Progress<W>) -> Action {
    match progress {
        Progress::Continue(action) => action,
        Progress::Queued => panic!("must continue: it is queued"),
        Progress::Finished(finished) => panic!("must continue: {finished:?}"),
    }
}

pub(crate) fn finishes<W>(progress: Progress<W>) -> Finished<W> {
    match progress {
        Progress::Finished(finished) => finished,
        Progress::Queued => panic!("must finish: it is queued"),
        Progress::Continue(action) => panic!("must finish: {action:?}"),
    }
}

pub(crate) fn reason(decision: &Decision) -> Option<Reason> {
    match decision {
        Decision::Granted(_) => None,
        Decision::Refused(refusal) => Some(refusal.reason()),
        Decision::Answered(response) => panic!("{response:?}"),
    }
}

//! One worker of the simulated Envoy: its event loop, its streams and its root contexts.

use core::cell::RefMut;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use envoy_filter_core::Vm;
use envoy_filter_core::host::{Action, LogLevel};
use serde_json::json;

use super::host::{Call, Deferred, FakeHost, Faults, State, Stream, StreamEnd, Timer};
use super::{Response, SharedStore, ms};

/// What the operator configures: `timeout` is 1 s if nothing else is said.
pub(crate) struct Configuration(serde_json::Value);

impl Configuration {
    pub(crate) fn new(settings: serde_json::Value) -> Self {
        let mut all = json!({
            "introspect_url": "https://issuer.example/introspect",
            "resource_client_id": "service-b",
            "timeout": 1,
        });
        let all_settings = all.as_object_mut().unwrap();
        all_settings.extend(settings.as_object().unwrap().clone());
        Self(all)
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new(json!({}))
    }
}

pub(crate) struct Worker {
    host: FakeHost,
    vm: Vm<FakeHost>,
    /// The current root context is the last one.
    roots: BTreeSet<u32>,
    last_context: u32,
    announces_streams: bool,
    /// Whether callers read a response at once, so that their stream ends with it.
    pub(crate) callers_read: bool,
}

impl Worker {
    /// A worker alone, whose first tick has come and whose warm-up has ended.
    pub(crate) fn new(configuration: &Configuration) -> Self {
        Self::sharing(configuration, &SharedStore::default())
    }

    /// A worker that shares data with others.
    pub(crate) fn sharing(configuration: &Configuration, store: &SharedStore) -> Self {
        let mut worker = Self::starting(store);
        assert!(worker.configure(configuration), "{:?}", worker.log());
        worker.advance(ms(1));
        let warm_up = worker.only_call();
        assert_eq!(warm_up.token(), None);
        worker.respond(warm_up.id, Response::new(404, ""));
        worker.advance(ms(99));
        worker
    }

    /// A worker without a configuration.
    pub(crate) fn starting(store: &SharedStore) -> Self {
        let host = FakeHost::default();
        host.state_mut().store = store.clone();
        Self {
            vm: Vm::new(host.clone()),
            host,
            roots: BTreeSet::new(),
            last_context: 0,
            announces_streams: true,
            callers_read: true,
        }
    }

    /// Creates a root context for a configuration, and configures it. New streams belong to it.
    pub(crate) fn configure(&mut self, configuration: &Configuration) -> bool {
        let mut settings = configuration.0.clone();
        // They may hold secrets, and so come from the environment.
        let issuers = settings.as_object_mut().unwrap().remove("issuers");
        let text = settings.to_string();
        let size = text.len();
        let secrets = [
            match issuers.as_ref().and_then(serde_json::Value::as_str) {
                Some(issuers) => ("WORKOUT18_ISSUERS", issuers),
                None => ("WORKOUT18_RESOURCE_CLIENT_SECRET", "s3cr3t"),
            },
            ("WORKOUT18_CACHE_KEY", "0123456789abcdef0123456789abcdef"),
        ];
        self.host.state_mut().environment = (secrets.iter())
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        self.host.state_mut().configuration = text;
        let id = self.next_context();
        self.host.state_mut().timers.insert(id, Timer::default());
        let old = self.roots.clone();
        self.roots.insert(id);
        self.vm.on_context_create(id, 0);
        let is_accepted = self.callback(id, |worker| worker.vm.on_configure(id, size));
        for id in old {
            self.remove_unused_root(id);
        }
        is_accepted
    }

    fn next_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }

    // Streams.

    /// A request arrives.
    pub(crate) fn request(&mut self, headers: Vec<(String, Vec<u8>)>) -> u32 {
        self.request_with(headers, |_| {})
    }

    /// A request arrives on a stream whose beginning Envoy did not tell.
    pub(crate) fn request_of_no_configuration(&mut self, headers: Vec<(String, Vec<u8>)>) -> u32 {
        self.announces_streams = false;
        let id = self.request(headers);
        self.announces_streams = true;
        id
    }

    /// A request arrives on a stream that the test prepares.
    pub(crate) fn request_with(
        &mut self,
        headers: Vec<(String, Vec<u8>)>,
        prepare: impl FnOnce(&mut Stream),
    ) -> u32 {
        let id = self.next_context();
        let root = *self.roots.last().unwrap();
        let mut stream = Stream {
            root,
            headers,
            trailers: Vec::new(),
            protocol: "HTTP/1.1",
            client_certificate: None,
            response_edits: Vec::new(),
            is_read_only: false,
            exists: true,
            begun: self.now(),
            end: None,
            filter_state: BTreeMap::new(),
        };
        prepare(&mut stream);
        self.host.state_mut().streams.insert(id, stream);
        self.callback(id, |worker| {
            if worker.announces_streams {
                worker.vm.on_context_create(id, root);
            }
            let status = worker.vm.on_request_headers(id);
            if status == Action::Continue {
                let now = worker.now();
                worker.stream_mut(id).end_as(StreamEnd::Forwarded, now);
            }
        });
        id
    }

    pub(crate) fn body(&mut self, id: u32) -> Action {
        self.callback(id, |worker| worker.vm.on_request_body(id))
    }

    pub(crate) fn trailers(&mut self, id: u32, trailers: Vec<(String, Vec<u8>)>) -> Action {
        self.stream_mut(id).trailers = trailers;
        self.callback(id, |worker| worker.vm.on_request_trailers(id))
    }

    /// The caller closes its connection.
    pub(crate) fn leave(&mut self, id: u32) {
        let now = self.now();
        if self.stream(id).end.is_none() {
            self.stream_mut(id).end_as(StreamEnd::CallerLeft, now);
        }
        self.end_stream(id);
    }

    /// Envoy answers a waiting request itself; its caller does not read the response.
    pub(crate) fn answer_by_envoy(&mut self, id: u32) {
        let now = self.now();
        self.stream_mut(id).end_as(StreamEnd::AnsweredByEnvoy, now);
        self.response_headers(id);
    }

    /// The service behind the filter answers a request that was forwarded.
    pub(crate) fn response_from_upstream(&mut self, id: u32) {
        self.response_headers(id);
    }

    fn response_headers(&mut self, id: u32) {
        self.callback(id, |worker| {
            worker.vm.on_response_headers(id);
        });
    }

    pub(crate) fn end_stream(&mut self, id: u32) {
        self.callback(id, |worker| {
            worker.vm.on_done(id);
        });
        self.stream_mut(id).exists = false;
        let root = self.stream(id).root;
        self.remove_unused_root(root);
    }

    fn remove_unused_root(&mut self, root: u32) {
        let mut state = self.host.state_mut();
        let is_current = self.roots.last().is_some_and(|last| *last == root);
        let is_used = (state.streams.values()).any(|stream| stream.root == root && stream.exists);
        if is_current || is_used {
            return;
        }
        state.timers.remove(&root);
        state.calls.retain(|_, call| call.owner != root);
        drop(state);
        self.callback(root, |worker| worker.vm.on_done(root));
        self.roots.remove(&root);
    }

    // Calls.

    /// Calls on their way, in the order in which they were sent.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.host.state().calls.values().cloned().collect()
    }

    pub(crate) fn only_call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }

    /// Envoy calls back with the response to a call.
    pub(crate) fn respond(&mut self, call: u32, response: Response) {
        let call = self.host.state_mut().calls.remove(&call).unwrap();
        if let (Some(token), true) = (call.token(), response.is_from_issuer()) {
            let attempt = (call.owner, token.to_owned());
            self.host.state_mut().attempts.remove(&attempt);
        }
        self.respond_again(&call, response);
    }

    /// Envoy calls back about a call, whether or not it has done so before.
    pub(crate) fn respond_again(&mut self, call: &Call, response: Response) {
        let (headers, body_size) = (response.headers.len(), response.body.len());
        self.host.state_mut().response = Some(response);
        self.callback(call.owner, |worker| {
            let vm = &mut worker.vm;
            vm.on_http_call_response(call.owner, call.id, headers, body_size);
            worker.host.state_mut().response = None;
        });
    }

    /// Responds to the only call on its way.
    pub(crate) fn respond_to_only(&mut self, response: Response) {
        self.respond(self.only_call().id, response);
    }

    /// Envoy will never call back for this call.
    pub(crate) fn lose(&mut self, call: u32) {
        let mut state = self.host.state_mut();
        state.calls.get_mut(&call).unwrap().is_lost = true;
    }

    // The event loop.

    /// Calls a context back, and does what it asked for.
    fn callback<R>(&mut self, context: u32, callback: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.host.state().current;
        self.host.state_mut().enter(context);
        let result = callback(self);
        loop {
            let deferred = self.host.state_mut().deferred.pop_front();
            match deferred {
                None => break,
                Some(Deferred::Reply(stream)) => {
                    self.response_headers(stream);
                    if self.callers_read {
                        self.end_stream(stream);
                    }
                }
                // The filter sees the body that was held back.
                Some(Deferred::Resume(stream)) => {
                    assert_eq!(self.body(stream), Action::Continue);
                }
            }
        }
        self.host.state_mut().leave(before);
        result
    }

    /// Makes one callback of a queue, if one is due.
    pub(crate) fn run_one_posted(&mut self) -> bool {
        let Some(queue) = self.host.state_mut().posted.pop_front() else {
            return false;
        };
        let place = usize::try_from(queue).unwrap() - 1;
        let root = self.host.state().queues[place];
        self.callback(root, |worker| worker.vm.on_queue_ready(root, queue));
        true
    }

    /// One callback of a queue that is due gets lost.
    pub(crate) fn lose_posted(&mut self) -> bool {
        self.host.state_mut().posted.pop_front().is_some()
    }

    /// Makes the callbacks of queues until none is due. Returns how many.
    pub(crate) fn run_posted(&mut self) -> usize {
        let mut callbacks = 0;
        while self.run_one_posted() {
            callbacks += 1;
            assert!(callbacks < 10_000, "callbacks schedule each other for ever");
        }
        callbacks
    }

    /// Lets time pass: timers fire, and calls run into their timeouts.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now() + time;
        loop {
            self.run_posted();
            let Some((at, event)) = self.next_event().filter(|(at, _)| *at <= end) else {
                break;
            };
            self.host.state_mut().monotonic = at;
            match event {
                Event::Timeout(call) => {
                    self.respond(call, Response::local_reply(504, "upstream request timeout"));
                }
                Event::Tick(root) => {
                    self.callback(root, |worker| worker.vm.on_tick(root));
                    let mut state = self.host.state_mut();
                    let now = state.monotonic;
                    if let Some(timer) = state.timers.get_mut(&root) {
                        timer.fires = now + timer.period;
                    }
                }
            }
        }
        self.host.state_mut().monotonic = end;
    }

    /// When the next timer fires, or the next call runs into its timeout.
    pub(crate) fn next_event_at(&self) -> Option<Duration> {
        self.next_event().map(|(at, _)| at)
    }

    fn next_event(&self) -> Option<(Duration, Event)> {
        let state = self.host.state();
        let timeouts = (state.calls.values())
            .filter(|call| !call.is_lost)
            .map(|call| (call.sent + call.timeout, Event::Timeout(call.id)));
        let ticks = (state.timers.iter())
            .filter(|(_, timer)| !timer.period.is_zero())
            .map(|(root, timer)| (timer.fires, Event::Tick(*root)));
        timeouts.chain(ticks).min_by_key(|(at, _)| *at)
    }

    // What can be seen.

    pub(crate) fn now(&self) -> Duration {
        self.host.state().monotonic
    }

    pub(crate) fn stream(&self, id: u32) -> Stream {
        self.host.state().streams.get(&id).unwrap().clone()
    }

    fn stream_mut(&self, id: u32) -> RefMut<'_, Stream> {
        RefMut::map(self.host.state_mut(), |state: &mut State| {
            state.streams.get_mut(&id).unwrap()
        })
    }

    pub(crate) fn faults(&self) -> RefMut<'_, Faults> {
        RefMut::map(self.host.state_mut(), |state| &mut state.faults)
    }

    /// Lines of the log since the last time.
    pub(crate) fn log(&self) -> Vec<(LogLevel, String)> {
        core::mem::take(&mut self.host.state_mut().log)
    }

    /// Names of the host calls since the last time.
    pub(crate) fn host_calls(&self) -> Vec<&'static str> {
        core::mem::take(&mut self.host.state_mut().host_calls)
    }

    pub(crate) fn max_depth(&self) -> usize {
        self.host.state().max_depth
    }

    /// What was added to a metric, named without its common prefix.
    pub(crate) fn metric(&self, name: &str) -> Vec<u64> {
        let before = self.host.state().current;
        self.host.state_mut().enter(*self.roots.last().unwrap());
        self.vm.flush_metrics();
        self.host.state_mut().leave(before);
        let state = self.host.state();
        let name = format!("trust_triangle_{name}");
        let found = state.metrics.iter().find(|(known, _)| *known == name);
        found
            .unwrap_or_else(|| panic!("no metric {name}"))
            .1
            .clone()
    }

    /// The period of the timer of the current root context.
    pub(crate) fn tick_period(&self) -> Duration {
        let root = self.roots.last().unwrap();
        self.host.state().timers.get(root).unwrap().period
    }

    pub(crate) fn root_contexts(&self) -> usize {
        self.vm.root_contexts()
    }
}

/// What time brings.
#[derive(Clone, Copy)]
enum Event {
    Timeout(u32),
    Tick(u32),
}

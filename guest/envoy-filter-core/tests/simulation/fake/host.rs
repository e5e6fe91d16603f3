//! The host calls of the simulated Envoy, and its state.

use core::cell::{Ref, RefCell, RefMut};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::rc::Rc;

use envoy_filter_core::host::{DispatchError, HeaderMap, Host, LogLevel, MetricKind, SharedData};
use token_check::{Now, StoreFailed};

use super::{Response, SharedStore, UNIX_START, ms};

/// One stream, as its caller and the next filter see it.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) root: u32,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) protocol: &'static str,
    /// SHA-256 of the caller's certificate, in hexadecimal.
    pub(crate) client_certificate: Option<&'static str>,
    /// How the filter edited the response: the new value of a header, or `None` if it is removed.
    pub(crate) response_edits: Vec<(String, Option<String>)>,
    /// Whether Envoy refuses to edit headers and trailers.
    pub(crate) is_read_only: bool,
    /// Whether the filter's context exists.
    pub(crate) exists: bool,
    pub(crate) begun: Duration,
    /// What became of the request, and when.
    pub(crate) end: Option<(StreamEnd, Duration)>,
    pub(crate) filter_state: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// It went to the next filter.
    Forwarded,
    /// The filter answered it.
    Answered {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Envoy answered it.
    AnsweredByEnvoy,
    /// Its caller left first.
    CallerLeft,
}

impl Stream {
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    pub(crate) fn trailer_values(&self, name: &str) -> Vec<&str> {
        values(&self.trailers, name)
    }

    pub(crate) fn is_forwarded(&self) -> bool {
        matches!(self.end, Some((StreamEnd::Forwarded, _)))
    }

    pub(crate) fn ended(&self) -> Option<Duration> {
        Some(self.end.as_ref()?.1)
    }

    /// Status and reason of the filter's response.
    pub(crate) fn refusal(&self) -> Option<(u16, String)> {
        let (StreamEnd::Answered { status, body, .. }, _) = self.end.as_ref()? else {
            return None;
        };
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        Some((*status, body.get("reason")?.as_str()?.to_owned()))
    }

    pub(super) fn end_as(&mut self, end: StreamEnd, now: Duration) {
        assert_eq!(self.end, None, "a second end of a stream: {end:?}");
        self.end = Some((end, now));
    }
}

fn values<'a>(lines: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a str> {
    (lines.iter())
        .filter(|(known, _)| known == name)
        .map(|(_, value)| core::str::from_utf8(value).unwrap())
        .collect()
}

/// A call on its way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: u32,
    /// The context in whose callback it was sent.
    pub(crate) owner: u32,
    pub(crate) cluster: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    pub(crate) sent: Duration,
    /// When the first attempt was made, if this one follows a warm-up.
    pub(crate) first_attempt: Duration,
    pub(crate) timeout: Duration,
    /// Envoy will not call back for it by itself.
    pub(crate) is_lost: bool,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The token that the call is about; `None`: it is a warm-up.
    pub(crate) fn token(&self) -> Option<&str> {
        token(self.body.as_deref()?)
    }
}

fn token(body: &str) -> Option<&str> {
    body.strip_prefix("token=")?.split('&').next()
}

/// A timer of a root context.
#[derive(Clone, Copy, Default)]
pub(super) struct Timer {
    /// Zero: it is off.
    pub(super) period: Duration,
    pub(super) fires: Duration,
}

/// What Envoy does after a callback.
pub(super) enum Deferred {
    Reply(u32),
    Resume(u32),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) monotonic: Duration,
    pub(super) configuration: String,
    pub(super) environment: Vec<(OsString, OsString)>,
    /// The context that is called back.
    pub(super) current: u32,
    effective: u32,
    /// How many callbacks are inside one another, and the most so far.
    pub(super) depth: usize,
    pub(super) max_depth: usize,
    pub(super) timers: BTreeMap<u32, Timer>,
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) calls: BTreeMap<u32, Call>,
    calls_so_far: u32,
    /// When each root context first attempted to introspect each token, until there is a response.
    pub(super) attempts: BTreeMap<(u32, String), Duration>,
    /// The root context of each queue; a queue's id is its place, from 1.
    pub(super) queues: Vec<u32>,
    /// Queues whose root context is to be called back.
    pub(super) posted: VecDeque<u32>,
    pub(super) deferred: VecDeque<Deferred>,
    /// Shown to the callback of a call.
    pub(super) response: Option<Response>,
    pub(super) store: SharedStore,
    pub(super) log: Vec<(LogLevel, String)>,
    pub(super) metrics: Vec<(String, Vec<u64>)>,
    pub(super) host_calls: Vec<&'static str>,
    pub(super) faults: Faults,
}

/// What does not work.
#[derive(Default)]
pub(crate) struct Faults {
    /// How the next calls are refused.
    pub(crate) dispatch: VecDeque<DispatchError>,
    pub(crate) no_queue: bool,
    pub(crate) no_random: bool,
    pub(crate) no_metrics: bool,
    /// Workers' shared data is neither read nor written.
    pub(crate) no_shared_data: bool,
    /// No stream can be made the effective context.
    pub(crate) no_stream_context: bool,
    /// Envoy takes no response for a request.
    pub(crate) no_local_reply: bool,
}

/// One worker's Envoy.
#[derive(Clone, Default)]
pub(crate) struct FakeHost(Rc<RefCell<State>>);

impl FakeHost {
    pub(super) fn state(&self) -> Ref<'_, State> {
        self.0.borrow()
    }

    pub(super) fn state_mut(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// The state, in a host call.
    fn call(&self, name: &'static str) -> RefMut<'_, State> {
        let mut state = self.0.borrow_mut();
        assert!(state.depth > 0, "{name} outside a callback");
        state.host_calls.push(name);
        state
    }

    /// The stream that is the effective context, in a host call.
    fn stream(&self, name: &'static str) -> RefMut<'_, Stream> {
        RefMut::map(self.call(name), |state| {
            let stream = state.streams.get_mut(&state.effective);
            let stream = stream.unwrap_or_else(|| panic!("{name}: not a stream"));
            assert!(stream.exists, "{name}: the stream is gone");
            stream
        })
    }
}

impl State {
    /// The root context of the effective context.
    fn root(&self) -> u32 {
        let effective = self.effective;
        (self.streams.get(&effective)).map_or(effective, |stream| stream.root)
    }

    pub(super) fn enter(&mut self, context: u32) {
        (self.current, self.effective) = (context, context);
        self.depth += 1;
        self.max_depth = self.max_depth.max(self.depth);
    }

    /// Ends a callback; `before`: the context of the callback around it.
    pub(super) const fn leave(&mut self, before: u32) {
        self.depth -= 1;
        self.current = before;
    }

    fn add_to_metric(&mut self, metric: u32, value: u64) {
        let metric = usize::try_from(metric).unwrap();
        self.metrics[metric].1.push(value);
    }

    pub(super) fn exists(&self, context: u32) -> bool {
        let stream = self.streams.get(&context);
        self.timers.contains_key(&context) || stream.is_some_and(|stream| stream.exists)
    }
}

fn remove(lines: &mut Vec<(String, Vec<u8>)>, name: &[u8], is_read_only: bool) -> bool {
    if !is_read_only {
        lines.retain(|(known, _)| known.as_bytes() != name);
    }
    !is_read_only
}

impl Host for FakeHost {
    fn now(&self) -> Now {
        let monotonic = self.call("now").monotonic;
        Now {
            unix: UNIX_START + monotonic,
            monotonic,
        }
    }

    fn random(&self) -> Option<[u8; 16]> {
        (!self.call("random").faults.no_random).then_some([7; 16])
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.call("log").log.push((level, message.to_owned()));
    }

    fn configuration(&self, size: usize) -> Vec<u8> {
        let state = self.call("configuration");
        assert_eq!(size, state.configuration.len());
        state.configuration.clone().into_bytes()
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        self.call("environment").environment.clone()
    }

    fn request_headers(&self) -> HeaderMap {
        header_map(&self.stream("request_headers").headers)
    }

    fn remove_request_header(&self, name: &[u8]) -> bool {
        let mut stream = self.stream("remove_request_header");
        let is_read_only = stream.is_read_only;
        remove(&mut stream.headers, name, is_read_only)
    }

    fn add_request_header(&self, name: &str, value: &str) -> bool {
        let mut stream = self.stream("add_request_header");
        if !stream.is_read_only {
            let line = (name.to_owned(), value.as_bytes().to_vec());
            stream.headers.push(line);
        }
        !stream.is_read_only
    }

    fn request_trailers(&self) -> HeaderMap {
        header_map(&self.stream("request_trailers").trailers)
    }

    fn remove_request_trailer(&self, name: &[u8]) -> bool {
        let mut stream = self.stream("remove_request_trailer");
        let is_read_only = stream.is_read_only;
        remove(&mut stream.trailers, name, is_read_only)
    }

    fn send_local_reply(
        &self,
        status: u16,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> bool {
        if self.state().faults.no_local_reply {
            return false;
        }
        let now = self.state().monotonic;
        let headers = headers.iter();
        let end = StreamEnd::Answered {
            status,
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            body: body.to_owned(),
        };
        self.stream("send_local_reply").end_as(end, now);
        let mut state = self.state_mut();
        let stream = state.effective;
        state.deferred.push_back(Deferred::Reply(stream));
        true
    }

    fn request_protocol(&self) -> Option<String> {
        Some(self.stream("request_protocol").protocol.to_owned())
    }

    fn client_certificate(&self) -> Option<Vec<u8>> {
        let digest = self.stream("client_certificate").client_certificate;
        digest.map(Into::into)
    }

    fn set_response_header(&self, name: &str, value: &str) {
        let edit = (name.to_owned(), Some(value.to_owned()));
        (self.stream("set_response_header").response_edits).push(edit);
    }

    fn remove_response_header(&self, name: &str) {
        let edit = (name.to_owned(), None);
        (self.stream("remove_response_header").response_edits).push(edit);
    }

    fn resume_request(&self) {
        let now = self.state().monotonic;
        self.stream("resume_request")
            .end_as(StreamEnd::Forwarded, now);
        let mut state = self.state_mut();
        let stream = state.effective;
        state.deferred.push_back(Deferred::Resume(stream));
    }

    fn set_filter_state(&self, name: &str, value: &str) {
        (self.stream("set_filter_state").filter_state).insert(name.to_owned(), value.to_owned());
    }

    fn filter_state(&self, name: &str) -> Option<String> {
        let stream = self.stream("filter_state");
        stream.filter_state.get(name).cloned()
    }

    fn set_effective_context(&self, id: u32) -> bool {
        let mut state = self.call("set_effective_context");
        let is_root = !state.streams.contains_key(&id);
        let can_be_chosen = state.exists(id) && (is_root || !state.faults.no_stream_context);
        if can_be_chosen {
            state.effective = id;
        }
        can_be_chosen
    }

    fn set_tick_period(&self, period: Duration) {
        let mut state = self.call("set_tick_period");
        // As a stream's context, the effective one has a root context.
        let root = state.root();
        let fires = state.monotonic + period;
        state.timers.insert(root, Timer { period, fires });
    }

    fn register_queue(&self, name: &str) -> Option<u32> {
        let mut state = self.call("register_queue");
        assert_eq!(name, "07".repeat(16));
        if state.faults.no_queue {
            return None;
        }
        let root = state.root();
        state.queues.push(root);
        u32::try_from(state.queues.len()).ok()
    }

    fn enqueue(&self, queue: u32) {
        self.call("enqueue").posted.push_back(queue);
    }

    fn dequeue(&self, _queue: u32) {
        self.call("dequeue");
    }

    fn dispatch_call(
        &self,
        cluster: &str,
        headers: &HeaderMap,
        body: &[u8],
        timeout: Duration,
    ) -> Result<u32, DispatchError> {
        let mut state = self.call("dispatch_call");
        // A call belongs to the root context, also if it is made for a stream.
        let owner = state.root();
        assert!(!timeout.is_zero(), "Envoy treats 0 as no timeout");
        let now = state.monotonic;
        let body = (!body.is_empty()).then(|| String::from_utf8(body.to_vec()).unwrap());
        let mut first_attempt = now;
        if let Some(token) = body.as_deref().and_then(token) {
            let attempt = (owner, token.to_owned());
            let first = state.attempts.entry(attempt).or_insert(now);
            // No flight takes longer than its timeout.
            if now > *first + ms(1000) {
                *first = now;
            }
            first_attempt = *first;
        }
        if let Some(error) = state.faults.dispatch.pop_front() {
            return Err(error);
        }
        state.calls_so_far += 1;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let owned = |(name, value)| (text(name), text(value));
        let call = Call {
            id: state.calls_so_far,
            owner,
            cluster: cluster.to_owned(),
            headers: headers.iter().map(owned).collect(),
            body,
            sent: now,
            first_attempt,
            timeout,
            is_lost: false,
        };
        let id = call.id;
        state.calls.insert(id, call);
        Ok(id)
    }

    fn call_response_headers(&self) -> HeaderMap {
        let state = self.call("call_response_headers");
        header_map(&state.response.as_ref().expect("a response").headers)
    }

    fn call_response_body(&self, max_size: usize) -> Vec<u8> {
        let state = self.call("call_response_body");
        let body = &state.response.as_ref().expect("a response").body;
        body[..max_size.min(body.len())].to_vec()
    }

    fn shared_data(&self, key: &str) -> Result<SharedData, StoreFailed> {
        let state = self.call("shared_data");
        if state.faults.no_shared_data {
            return Err(StoreFailed);
        }
        Ok(state.store.get(key))
    }

    fn compare_and_swap_shared_data(
        &self,
        key: &str,
        version: Option<u32>,
        value: &[u8],
    ) -> Result<bool, StoreFailed> {
        let state = self.call("compare_and_swap_shared_data");
        if state.faults.no_shared_data {
            return Err(StoreFailed);
        }
        Ok(state.store.compare_and_swap(key, version, value))
    }

    fn set_shared_data(&self, key: &str, value: &[u8]) {
        let state = self.call("set_shared_data");
        if !state.faults.no_shared_data {
            state.store.set(key, value);
        }
    }

    /// As an Envoy without such functions.
    fn call_foreign_function(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        self.call("call_foreign_function");
        None
    }

    fn define_metric(&self, _kind: MetricKind, name: &str) -> Option<u32> {
        let mut state = self.call("define_metric");
        if state.faults.no_metrics {
            return None;
        }
        let known = (state.metrics.iter()).position(|(known, _)| known == name);
        let place = known.unwrap_or_else(|| {
            state.metrics.push((name.to_owned(), Vec::new()));
            state.metrics.len() - 1
        });
        u32::try_from(place).ok()
    }

    fn increment_metric(&self, metric: u32, by: u32) {
        let mut state = self.call("increment_metric");
        for _ in 0..by {
            state.add_to_metric(metric, 1);
        }
    }

    fn record_metric(&self, metric: u32, value: u64) {
        self.call("record_metric").add_to_metric(metric, value);
    }
}

fn header_map(lines: &[(String, Vec<u8>)]) -> HeaderMap {
    HeaderMap::from_lines(lines.iter().map(|(name, value)| (name, value)))
}

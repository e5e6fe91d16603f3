//! Envoy's callbacks in a random order.

use core::time::Duration;
use std::collections::BTreeMap;

use serde_json::json;
use wasmtime::{Engine, Instance, InstancePre, Store, WasmParams, WasmResults};

use super::state::{Answer, Call, End, Faults, Headers, State, Stream};
use crate::{active_answer, bytes, other_answer};

/// The value of every identity header that a caller sends.
pub(super) const FORGED: &[u8] = b"forged";
const CACHE_KEY: &str = "0123456789abcdef0123456789abcdef";
pub(super) const SECRET: &str = "a-secret-of-the-filter";
pub(super) const TOKEN: &str = "chaos-token-";
const TOKENS: u8 = 4;
const EVENTS: usize = 80;
/// How often one host call of so many fails.
const FAULT_RATES: [Option<u32>; 4] = [None, Some(256), Some(64), Some(16)];
/// After so long without any event, nothing waits any more: a timeout of a call, and the second
/// after which the filter gives it up, several times over.
const END: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);

/// The filter says that the request may go on.
const CONTINUE: u32 = 0;

/// The client that the issuer names. It does not have the token in it, which no log may have.
pub(super) fn client_of(token: &str) -> String {
    token.replace(TOKEN, "client-")
}

/// Names the seed of a sequence that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run again with SEED={} SEQUENCES=1", self.0);
        }
    }
}

pub(super) struct Driver {
    store: Store<State>,
    instance: Instance,
    last_context: u32,
    has_trapped: bool,
    ends: BTreeMap<&'static str, u64>,
    _seed: Seed,
}

impl Driver {
    pub(super) fn new(
        engine: &Engine,
        filter: &InstancePre<State>,
        seed: u64,
        faults: Faults,
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (cache_ttl, stale) = *rng.choice(&[(0, 0), (2, 0), (1, 2), (600, 600)]).unwrap();
        let bound = [1, 2, 1000];
        let configuration = json!({
            "introspect_url": "https://issuer.test/introspect",
            "resource_client_id": "b",
            "timeout": 1,
            "cache_ttl": cache_ttl,
            "stale_if_error": stale,
            "cache_entries": rng.u32(1..8),
            "max_calls": rng.choice(bound),
            "max_waiting": rng.choice(bound),
            "audit": rng.bool(),
        });
        // Without the key, each VM would derive one slowly.
        let variables =
            format!("WORKOUT18_RESOURCE_CLIENT_SECRET={SECRET}\0WORKOUT18_CACHE_KEY={CACHE_KEY}\0");
        let state = State {
            rng,
            faults,
            fault_rate: None,
            memory: None,
            allocate: None,
            now: Duration::ZERO,
            environment: variables.into_bytes(),
            variables: 2,
            configuration: configuration.to_string().into_bytes(),
            effective: 0,
            roots: Vec::new(),
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            last_call: 0,
            response_headers: Headers::new(),
            response_body: Vec::new(),
            shared: BTreeMap::new(),
            queues: Vec::new(),
            posted: Vec::new(),
            tick_periods: BTreeMap::new(),
            metrics: 0,
            log: Vec::new(),
            answers: Vec::new(),
            longest_age: Duration::from_secs(cache_ttl + stale),
        };
        let mut store = Store::new(engine, state);
        let instance = filter.instantiate(&mut store).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let allocate = instance
            .get_typed_func(&mut store, "proxy_on_memory_allocate")
            .unwrap();
        store.data_mut().memory = Some(memory);
        store.data_mut().allocate = Some(allocate);
        Self {
            store,
            instance,
            last_context: 0,
            has_trapped: false,
            ends: BTreeMap::new(),
            _seed: Seed(seed),
        }
    }

    /// How often requests ended in which way.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.ends.iter().map(|(end, count)| (*end, *count))
    }

    pub(super) fn run(&mut self) {
        self.callback::<_, ()>(0, "_initialize", ());
        self.configure();
        for _ in 0..EVENTS {
            if self.has_trapped {
                break;
            }
            self.event();
        }
        if !self.has_trapped {
            self.end();
        }
        for id in self.stream_ids(|_| true) {
            self.count(id);
        }
        if self.has_trapped {
            self.ends.insert("trapped", 1);
        }
    }

    fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.store.data_mut().rng
    }

    fn now(&self) -> Duration {
        self.store.data().now
    }

    /// `None`: the filter does not export it, or the VM has trapped, now or before.
    fn callback<P: WasmParams, R: WasmResults>(
        &mut self,
        context: u32,
        name: &str,
        parameters: P,
    ) -> Option<R> {
        if self.has_trapped {
            return None;
        }
        self.store.data_mut().effective = context;
        self.instance.get_func(&mut self.store, name)?;
        let function = self.instance.get_typed_func(&mut self.store, name).unwrap();
        match function.call(&mut self.store, parameters) {
            Ok(result) => Some(result),
            Err(error) => {
                let State { faults, log, .. } = self.store.data();
                assert_eq!(*faults, Faults::Any, "{name}: {error:?}\n{log:#?}");
                self.has_trapped = true;
                None
            }
        }
    }

    fn event(&mut self) {
        match self.rng().u8(..64) {
            0..16 => self.request(),
            16..34 => self.respond(),
            34..44 => self.queue_ready(),
            44..48 => self.tick(),
            48..52 => self.body_or_trailers(),
            52..54 => {
                if let Some(id) = self.any_stream(|stream| stream.has_head) {
                    self.response_headers(id);
                }
            }
            54..57 => {
                if let Some(id) = self.any_stream(|_| true) {
                    self.end_stream(id);
                }
            }
            57 => {
                let rate = self.rng().choice(FAULT_RATES).unwrap();
                self.store.data_mut().fault_rate = rate;
            }
            58 => self.configure(),
            59 => self.pass_up_to(5_000),
            _ => self.pass_up_to(300),
        }
    }

    fn pass_up_to(&mut self, milliseconds: u64) {
        let time = self.rng().u64(..=milliseconds);
        self.pass(Duration::from_millis(time));
    }

    fn pass(&mut self, time: Duration) {
        self.store.data_mut().now += time;
    }

    fn next_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }

    /// A new root context takes the place of the last one, which keeps its streams.
    fn configure(&mut self) {
        let id = self.next_context();
        self.store.data_mut().roots.push(id);
        self.callback::<_, ()>(id, "proxy_on_context_create", (id, 0_u32));
        self.callback::<_, u32>(id, "proxy_on_vm_start", (id, 0_u32));
        let size = u32::try_from(self.store.data().configuration.len()).unwrap();
        self.callback::<_, u32>(id, "proxy_on_configure", (id, size));
        self.remove_unused_roots();
    }

    fn remove_unused_roots(&mut self) {
        let state = self.store.data();
        let last = state.roots.last().copied();
        let is_used = |root: &u32| {
            Some(*root) == last || state.streams.values().any(|stream| stream.root == *root)
        };
        let unused: Vec<_> = (state.roots.iter().copied())
            .filter(|root| !is_used(root))
            .collect();
        for root in unused {
            self.callback::<_, u32>(root, "proxy_on_done", root);
            self.callback::<_, ()>(root, "proxy_on_log", root);
            self.callback::<_, ()>(root, "proxy_on_delete", root);
            let state = self.store.data_mut();
            state.roots.retain(|known| *known != root);
            // Envoy cancels them.
            state.calls.retain(|_, call| call.owner != root);
            state.tick_periods.remove(&root);
        }
    }

    fn request(&mut self) {
        let id = self.next_context();
        let root = *self.store.data().roots.last().unwrap();
        let now = self.now();
        let (request, token) = head(self.rng());
        let stream = Stream {
            root,
            token,
            request,
            trailers: Headers::new(),
            response: Headers::new(),
            filter_state: BTreeMap::new(),
            begun: now,
            end: None,
            has_head: false,
        };
        self.store.data_mut().streams.insert(id, stream);
        self.callback::<_, ()>(id, "proxy_on_context_create", (id, root));
        // A connection may end before its head is complete.
        if self.rng().u8(..16) == 0 {
            return self.end_stream(id);
        }
        let stream = self.store.data_mut().streams.get_mut(&id).unwrap();
        stream.has_head = true;
        let lines = u32::try_from(stream.request.len()).unwrap();
        let is_last = u32::from(self.rng().bool());
        let status = self.callback(id, "proxy_on_request_headers", (id, lines, is_last));
        self.apply(id, status);
    }

    /// What the filter returned about a request.
    fn apply(&mut self, id: u32, status: Option<u32>) {
        if status == Some(CONTINUE) {
            self.store.data_mut().grant(id);
        }
    }

    fn body_or_trailers(&mut self) {
        let Some(id) = self.any_stream(|stream| stream.has_head && stream.end.is_none()) else {
            return;
        };
        let status = if self.rng().bool() {
            let size = self.rng().u32(..);
            self.callback(id, "proxy_on_request_body", (id, size, 0_u32))
        } else {
            let trailers = odd_headers(self.rng());
            let lines = u32::try_from(trailers.len()).unwrap();
            self.store.data_mut().streams.get_mut(&id).unwrap().trailers = trailers;
            self.callback(id, "proxy_on_request_trailers", (id, lines))
        };
        self.apply(id, status);
    }

    /// The service answers, or Envoy does so itself.
    fn response_headers(&mut self, id: u32) {
        let headers = odd_headers(self.rng());
        let stream = self.store.data_mut().streams.get_mut(&id).unwrap();
        let lines = u32::try_from(headers.len()).unwrap();
        stream.response = headers;
        stream.end.get_or_insert(End::Left);
        self.callback::<_, u32>(id, "proxy_on_response_headers", (id, lines, 0_u32));
    }

    fn end_stream(&mut self, id: u32) {
        let stream = self.store.data_mut().streams.get_mut(&id).unwrap();
        stream.end.get_or_insert(End::Left);
        self.callback::<_, u32>(id, "proxy_on_done", id);
        self.callback::<_, ()>(id, "proxy_on_log", id);
        self.callback::<_, ()>(id, "proxy_on_delete", id);
        self.count(id);
        self.remove_unused_roots();
    }

    fn count(&mut self, id: u32) {
        let stream = self.store.data_mut().streams.remove(&id).unwrap();
        let end = match stream.end {
            Some(End::Granted) => "granted",
            Some(End::Refused) => "refused",
            Some(End::Left) => "left",
            None => "held",
        };
        *self.ends.entry(end).or_default() += 1;
    }

    fn stream_ids(&self, is_meant: impl Fn(&Stream) -> bool) -> Vec<u32> {
        let streams = self.store.data().streams.iter();
        streams
            .filter(|(_, stream)| is_meant(stream))
            .map(|(id, _)| *id)
            .collect()
    }

    fn any_stream(&mut self, is_meant: impl Fn(&Stream) -> bool) -> Option<u32> {
        let ids = self.stream_ids(is_meant);
        self.rng().choice(ids)
    }

    /// Mostly a queue with an item, else any.
    fn queue_ready(&mut self) {
        let State {
            rng,
            posted,
            queues,
            roots,
            ..
        } = self.store.data_mut();
        let queue = if posted.is_empty() || rng.u8(..16) == 0 {
            rng.u32(..4)
        } else {
            posted.swap_remove(rng.usize(..posted.len()))
        };
        let owner = (queue as usize)
            .checked_sub(1)
            .and_then(|place| queues.get(place).copied());
        let root = owner.unwrap_or_else(|| *roots.last().unwrap());
        if roots.contains(&root) {
            self.callback::<_, ()>(root, "proxy_on_queue_ready", (root, queue));
        }
    }

    fn tick(&mut self) {
        let roots = self.store.data().roots.clone();
        let root = self.rng().choice(roots).unwrap();
        self.callback::<_, ()>(root, "proxy_on_tick", root);
    }

    /// A call ends, however late.
    fn respond(&mut self) {
        let now = self.now();
        let State { rng, calls, .. } = self.store.data_mut();
        let ids: Vec<u32> = calls.keys().copied().collect();
        let Some(id) = rng.choice(ids) else {
            return;
        };
        let Call { owner, token, sent } = calls.remove(&id).unwrap();
        let (headers, body, is_active) = response(rng, token.as_deref());
        let lines = u32::try_from(headers.len()).unwrap();
        let size = u32::try_from(body.len()).unwrap();
        // Sizes that lie may only spoil an answer.
        let size = if rng.u8(..16) == 0 { rng.u32(..) } else { size };
        let state = self.store.data_mut();
        if let (Some(token), true) = (token, is_active) {
            state.answers.push(Answer {
                token,
                sent,
                received: now,
            });
        }
        state.response_headers = headers;
        state.response_body = body;
        let parameters = (owner, id, lines, size, 0_u32);
        self.callback::<_, ()>(owner, "proxy_on_http_call_response", parameters);
        let state = self.store.data_mut();
        state.response_headers.clear();
        state.response_body.clear();
    }

    /// Nothing happens any more, and no host call fails: every request ends by itself.
    fn end(&mut self) {
        self.store.data_mut().fault_rate = None;
        let end = self.now() + END;
        while self.now() < end {
            self.pass(STEP);
            let state = self.store.data();
            let ticking = state.tick_periods.iter().filter(|(_, period)| **period > 0);
            for root in ticking.map(|(root, _)| *root).collect::<Vec<_>>() {
                self.callback::<_, ()>(root, "proxy_on_tick", root);
            }
            while !self.store.data().posted.is_empty() {
                self.queue_ready();
            }
        }
        let waiting = self.stream_ids(|stream| stream.end.is_none());
        // Whose context Envoy has not made the effective one cannot be answered.
        if self.store.data().faults == Faults::Known {
            assert_eq!(waiting, [0; 0], "nobody answers these");
        }
    }
}

/// A request, and its token if that is well formed.
fn head(rng: &mut fastrand::Rng) -> (Headers, Option<String>) {
    let token = format!("{TOKEN}{}", rng.u8(..TOKENS));
    let bearer = format!("Bearer {token}").into_bytes();
    let (credentials, token) = match rng.u8(..10) {
        0 => (vec![], None),
        1 => (vec![bearer.clone(), bearer], None),
        2 => (vec![[bearer, bytes(rng, 9), vec![0xff]].concat()], None),
        3 => (vec![bytes(rng, 3000)], None),
        _ => (vec![bearer], Some(token)),
    };
    let path = if rng.u8(..8) == 0 {
        bytes(rng, 50)
    } else {
        b"/data".to_vec()
    };
    let mut head: Headers = vec![
        (":method".to_owned(), b"GET".to_vec()),
        (":path".to_owned(), path),
        (":authority".to_owned(), b"b.test".to_vec()),
    ];
    head.extend(odd_headers(rng));
    if rng.u8(..16) == 0 {
        head.remove(rng.usize(..head.len()));
    }
    let names = std::iter::repeat("authorization".to_owned());
    head.extend(names.zip(credentials));
    if rng.u8(..8) == 0 {
        rng.shuffle(&mut head);
    }
    (head, token)
}

/// Header lines that the filter reads or removes, and others.
fn odd_headers(rng: &mut fastrand::Rng) -> Headers {
    const IDENTITY: [&str; 3] = ["x-auth-client-id", "x_auth_subject", "x-auth-claims"];
    const READ: [&str; 4] = ["traceparent", "content-type", "grpc-status", "te"];
    let count = rng.usize(..4);
    let line = |_| match rng.u8(..3) {
        0 => (
            IDENTITY[rng.usize(..IDENTITY.len())].to_owned(),
            FORGED.to_vec(),
        ),
        1 => {
            let values: [&[u8]; 3] = [b"application/grpc", b"trailers", b"14"];
            (
                READ[rng.usize(..READ.len())].to_owned(),
                rng.choice(values).unwrap().to_vec(),
            )
        }
        _ => {
            let name: String = (0..rng.u8(1..20)).map(|_| rng.lowercase()).collect();
            (format!("z{name}"), bytes(rng, 200))
        }
    };
    (0..count).map(line).collect()
}

/// A response to a call about this token, and whether it may grant.
fn response(rng: &mut fastrand::Rng, token: Option<&str>) -> (Headers, Vec<u8>, bool) {
    if rng.u8(..10) == 0 {
        return (Headers::new(), bytes(rng, 100), false);
    }
    let is_known = token.is_some_and(|token| token.starts_with(TOKEN));
    let (body, is_active) = match token {
        Some(token) if is_known && rng.u8(..3) > 0 => active_answer(rng, &client_of(token)),
        _ => (other_answer(rng), false),
    };
    let status = match rng.u8(..6) {
        0 => rng.u16(..).to_string().into_bytes(),
        1 => rng
            .choice(["401", "429", "500", "503", "504"])
            .unwrap()
            .into(),
        2 if rng.bool() => bytes(rng, 4),
        _ => b"200".to_vec(),
    };
    let may_grant = is_active && status == b"200";
    let mut headers: Headers = vec![(":status".to_owned(), status)];
    if rng.u8(..8) > 0 {
        headers.push(("content-type".to_owned(), b"application/json".to_vec()));
    }
    if rng.u8(..3) > 0 {
        headers.push(("x-envoy-upstream-service-time".to_owned(), b"1".to_vec()));
    }
    for name in [
        "content-encoding",
        "retry-after",
        "www-authenticate",
        "content-type",
    ] {
        if rng.u8(..8) == 0 {
            headers.push((name.to_owned(), bytes(rng, 100)));
        }
    }
    if rng.u8(..4) == 0 {
        headers.push((
            "retry-after".to_owned(),
            rng.u16(..).to_string().into_bytes(),
        ));
    }
    (headers, body, may_grant)
}

//! Filters that let everybody in: what a filter costs at least that makes the host calls of the auth
//! check, or some of them, and does nothing else. The plugin's configuration names one:
//!
//! | name | its host calls |
//! | --- | --- |
//! | `reads` | reads the headers of a request |
//! | `calls` | those of the auth check for a cached token |
//! | `asks` | sends the issuer the call of the auth check, and lets the request go on |
//! | `asks-calls` | those of the auth check for a token that it has to ask about |
//! | `verifies` | those of the auth check for a JWT that it verifies, with a constant signature |
//!
//! They are made in the order of the auth check and with as many bytes, with constants for values: see
//! `begin` and `work` in `guest/envoy-filter-core/src/filter.rs`. What does not depend on the request is
//! made ready once. Only the callbacks are exported that `asks-calls` needs: those for the beginning and
//! the end of a stream and for its response, which the auth check exports too, are not.
//!
//! A VM holds one of them, so each needs a `vm_id` of its own. In one VM, the last one to be configured
//! would stand for all, and those that ask would ask nobody.

#![cfg(target_family = "wasm")]

use std::cell::{Cell, OnceCell, RefCell};
use std::time::{Duration, Instant};

use proxy_wasm_abi::hostcalls::{self, BufferType, MapType, MetricType};
use proxy_wasm_abi::{Action, Callbacks, HeaderMap};

use identity::IDENTITY;

mod identity;
mod signature;

/// The cluster of the issuer.
const CLUSTER: &str = "issuer";
const TIMEOUT: Duration = Duration::from_secs(5);
/// The headers of the auth check's call.
const CALL: [(&str, &str); 10] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "127.0.0.1:12345"),
    (":path", "/oauth2/introspect"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("accept", "application/json"),
    ("accept-encoding", "identity"),
    ("user-agent", "trust-triangle/0.1.0"),
    (
        "authorization",
        "Basic c2VydmljZS1iOmErc2VjcmV0K29mK3RoaXMrbWVhc3VyZW1lbnQ=",
    ),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Floor {
    Reads,
    Calls,
    Asks,
    AsksCalls,
    Verifies,
}

thread_local! {
    static FLOOR: Cell<Option<Floor>> = const { Cell::new(None) };
    static METRIC: Cell<u32> = const { Cell::new(0) };
    static CALL_HEADERS: OnceCell<HeaderMap> = const { OnceCell::new() };
    /// Calls and their streams. A call is answered to the root context, whichever context makes it.
    static CALLS: RefCell<Vec<(u32, u32)>> = const { RefCell::new(Vec::new()) };
    /// Where the monotonic clock starts.
    static START: Instant = Instant::now();
}

struct Filter;

proxy_wasm_abi::export!(Filter: on_configure, on_http_call_response, on_request_headers);

impl Callbacks for Filter {
    fn on_configure(_: u32, size: usize) -> bool {
        let name = hostcalls::buffer(BufferType::PluginConfiguration, size);
        let floor = match name.ok().flatten().as_deref() {
            Some(b"reads") => Some(Floor::Reads),
            Some(b"calls") => Some(Floor::Calls),
            Some(b"asks") => Some(Floor::Asks),
            Some(b"asks-calls") => Some(Floor::AsksCalls),
            Some(b"verifies") => Some(Floor::Verifies),
            _ => None,
        };
        let is_alone = FLOOR
            .replace(floor)
            .is_none_or(|other| Some(other) == floor);
        let metric = hostcalls::define_metric(MetricType::Histogram, "milliseconds");
        METRIC.set(metric.unwrap_or_default());
        is_alone && floor.is_some()
    }

    // A host call that fails leaves the request hanging: the bench sees that.
    fn on_request_headers(stream: u32) -> Action {
        let done = match FLOOR.get() {
            Some(Floor::Reads) => token().map(drop),
            Some(Floor::Calls) => token().and_then(|_| calls()),
            Some(Floor::Asks) => {
                token().and_then(|token| ask(stream, &token));
                None
            }
            Some(Floor::AsksCalls) => {
                token().and_then(|token| {
                    clock();
                    ask(stream, &token)
                });
                None
            }
            Some(Floor::Verifies) => token().and_then(|_| {
                clock();
                signature::verify()?;
                hostcalls::set_property("auth_cache", b"verified").ok()?;
                edit()
            }),
            None => None,
        };
        match done {
            Some(()) => Action::Continue,
            None => Action::Pause,
        }
    }

    fn on_http_call_response(_: u32, call: u32, _: usize, body_size: usize) {
        let _ = answered(call, body_size);
    }
}

/// Reads all headers, since identity headers come in many spellings.
fn token() -> Option<Vec<u8>> {
    let headers = hostcalls::header_map(MapType::HttpRequestHeaders).ok()?;
    let token = headers.get("authorization")?.strip_prefix(b"Bearer ")?;
    std::hint::black_box(headers.get(":path"));
    Some(token.to_vec())
}

fn calls() -> Option<()> {
    clock();
    edit()
}

/// The monotonic clock of WASI. The wall clock is read ten times a second, which counts for nothing.
fn clock() {
    START.with(|start| std::hint::black_box(start.elapsed()));
}

fn edit() -> Option<()> {
    let map = MapType::HttpRequestHeaders;
    for (name, value) in IDENTITY {
        hostcalls::add_header(map, name, value.as_bytes()).ok()?;
    }
    hostcalls::remove_header(map, b"authorization").ok()
}

fn ask(stream: u32, token: &[u8]) -> Option<()> {
    let body = [b"token=", token, b"&token_type_hint=access_token"].concat();
    let call = CALL_HEADERS.with(|headers| {
        let headers = headers.get_or_init(|| HeaderMap::from_lines(CALL));
        hostcalls::http_call(CLUSTER, headers, &body, TIMEOUT).ok()
    })?;
    CALLS.with_borrow_mut(|calls| calls.push((call, stream)));
    Some(())
}

fn answered(call: u32, body_size: usize) -> Option<()> {
    let stream = CALLS.with_borrow_mut(|calls| {
        let at = calls.iter().position(|(known, _)| *known == call)?;
        Some(calls.swap_remove(at).1)
    })?;
    let reads_and_edits = matches!(FLOOR.get(), Some(Floor::AsksCalls));
    if reads_and_edits {
        clock();
        let headers = hostcalls::header_map(MapType::HttpCallResponseHeaders).ok()?;
        let body = hostcalls::buffer(BufferType::HttpCallResponseBody, body_size).ok()??;
        std::hint::black_box((headers, body));
        hostcalls::record_metric(METRIC.get(), 1).ok()?;
    }
    hostcalls::set_effective_context(stream).ok()?;
    if reads_and_edits {
        hostcalls::set_property("auth_cache", b"miss").ok()?;
        edit()?;
    }
    hostcalls::continue_request().ok()
}

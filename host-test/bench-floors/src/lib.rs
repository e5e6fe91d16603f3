//! Filters that let everybody in, for what a filter costs that does nothing else. The plugin's
//! configuration is the name of one: `reads`, `calls` or `asks`.
//!
//! `calls` makes the host calls that the auth check makes for a request whose token it has cached,
//! in the same order and about as many bytes, with constants for values: see `gate::begin` and
//! `gate::carry_out` of the filter. `asks` sends the question to the issuer, reads all of the
//! answer, and lets the request go on as it is: in the shortest way that there is.

#![cfg(target_family = "wasm")]

use std::time::{Duration, Instant};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType, MetricType};

use identity::{CLIENT_ID, IDENTITY};

mod identity;

mod start {
    use super::Root;

    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(Root { floor: None }));
    }}
}

/// Where the bench's issuer is asked.
const ISSUER_PATH: &str = "/oauth2/introspect";
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Floor {
    Reads,
    Calls { metrics: Metrics, start: Instant },
    Asks,
}

#[derive(Clone, Copy)]
struct Metrics {
    granted: u32,
    hit: u32,
}

impl Metrics {
    fn define() -> Option<Self> {
        let counter = |name| hostcalls::define_metric(MetricType::Counter, name).ok();
        Some(Self {
            granted: counter("bench_granted")?,
            hit: counter("bench_hit")?,
        })
    }
}

struct Root {
    floor: Option<Floor>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let name = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        self.floor = match name.ok().flatten().as_deref() {
            Some(b"reads") => Some(Floor::Reads),
            Some(b"calls") => Metrics::define().map(|metrics| Floor::Calls {
                metrics,
                start: Instant::now(),
            }),
            Some(b"asks") => Some(Floor::Asks),
            _ => None,
        };
        self.floor.is_some()
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        self.floor
            .map(|floor| -> Box<dyn HttpContext> { Box::new(Stream { floor }) })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    floor: Floor,
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, _: usize, body_size: usize, _: usize) {
        // A call that fails leaves the request hanging: the bench sees that.
        let _ = answered(body_size);
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let done = match self.floor {
            Floor::Reads => reads(),
            Floor::Calls { metrics, start } => calls(metrics, start),
            Floor::Asks => {
                let _ = asks();
                return Action::Pause;
            }
        };
        // A call that fails leaves the request hanging: the bench sees that.
        if done.is_some() {
            Action::Continue
        } else {
            Action::Pause
        }
    }
}

fn reads() -> Option<()> {
    let map = MapType::HttpRequestHeaders;
    hostcalls::get_map_value_bytes(map, "authorization").ok()??;
    Some(())
}

fn calls(metrics: Metrics, start: Instant) -> Option<()> {
    let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).ok()?;
    hostcalls::get_current_time().ok()?;
    // A host call too, of WASI.
    std::hint::black_box(start.elapsed());
    std::hint::black_box(headers);
    let map = MapType::HttpRequestHeaders;
    hostcalls::increment_metric(metrics.hit, 1).ok()?;
    hostcalls::set_property(vec!["auth_decision"], Some(b"granted")).ok()?;
    hostcalls::set_property(vec!["auth_client_id"], Some(CLIENT_ID.as_bytes())).ok()?;
    for (name, value) in IDENTITY {
        hostcalls::add_map_value_bytes(map, name, value.as_bytes()).ok()?;
    }
    hostcalls::remove_map_value(map, "authorization").ok()?;
    hostcalls::increment_metric(metrics.granted, 1).ok()
}

fn asks() -> Option<u32> {
    let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).ok()?;
    let (_, token) = headers.iter().find(|(name, _)| name == "authorization")?;
    let token = token.strip_prefix(b"Bearer ")?;
    let body = [b"token=", token].concat();
    let headers = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "issuer"),
        (":path", ISSUER_PATH),
        ("authorization", "Basic YjpzM2NyM3Q="),
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
    ];
    hostcalls::dispatch_http_call("issuer", headers, Some(&body), vec![], TIMEOUT).ok()
}

fn answered(body_size: usize) -> Option<()> {
    let headers = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).ok()?;
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size).ok()??;
    std::hint::black_box((headers, body));
    hostcalls::resume_http_request().ok()
}

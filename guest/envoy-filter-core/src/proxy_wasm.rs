//! Envoy through the proxy-wasm ABI: one host call per method.

use core::cell::Cell;
use core::time::Duration;
use std::ffi::OsString;
use std::time::Instant;

use proxy_wasm_abi::HeaderMap;
use proxy_wasm_abi::hostcalls::{self, BufferType, MapType, MetricType, Status};
use token_check::{Now, StoreFailed, WallClock};

use crate::host::{DispatchError, Host, LogLevel, MetricKind, SharedData};

/// Never a real version, so the write succeeds only if the key is absent: Envoy counts versions up
/// from 1, and compares none if there is no value yet.
const NO_VERSION: u32 = u32::MAX;
/// Never a real version either: the write succeeds whatever the key holds.
const ANY_VERSION: u32 = 0;

/// The time if Envoy does not tell it, since 1970: in 2106, when no token is valid any more.
const WITHOUT_CLOCK: Duration = Duration::from_secs(u32::MAX as u64);

thread_local! {
    static CLOCK: Cell<WallClock> = Cell::default();
}

/// The Envoy that runs this VM.
#[derive(Clone, Copy)]
pub(crate) struct ProxyWasm {
    /// Where the monotonic clock starts.
    start: Instant,
}

impl ProxyWasm {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

fn headers(map: MapType) -> HeaderMap {
    hostcalls::header_map(map).unwrap_or_default()
}

fn buffer(buffer: BufferType, size: usize) -> Vec<u8> {
    hostcalls::buffer(buffer, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn property(path: &str) -> Option<String> {
    String::from_utf8(hostcalls::property(path).ok()??).ok()
}

impl Host for ProxyWasm {
    fn now(&self) -> Now {
        let mut clock = CLOCK.get();
        let now = clock.now(self.start.elapsed(), || {
            hostcalls::current_time().unwrap_or(WITHOUT_CLOCK)
        });
        CLOCK.set(clock);
        now
    }

    fn random(&self) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(bytes)
    }

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Info => hostcalls::LogLevel::Info,
            LogLevel::Warn => hostcalls::LogLevel::Warn,
            LogLevel::Error => hostcalls::LogLevel::Error,
        };
        let _ = hostcalls::log(level, message);
    }

    fn configuration(&self, size: usize) -> Vec<u8> {
        buffer(BufferType::PluginConfiguration, size)
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        std::env::vars_os().collect()
    }

    fn request_headers(&self) -> HeaderMap {
        headers(MapType::HttpRequestHeaders)
    }

    fn remove_request_header(&self, name: &[u8]) -> bool {
        hostcalls::remove_header(MapType::HttpRequestHeaders, name).is_ok()
    }

    fn add_request_header(&self, name: &str, value: &str) -> bool {
        hostcalls::add_header(MapType::HttpRequestHeaders, name, value.as_bytes()).is_ok()
    }

    fn request_protocol(&self) -> Option<String> {
        property("request\0protocol")
    }

    fn client_certificate(&self) -> Option<Vec<u8>> {
        let digest = hostcalls::property("connection\0sha256_peer_certificate_digest");
        digest.ok().flatten()
    }

    fn request_trailers(&self) -> HeaderMap {
        headers(MapType::HttpRequestTrailers)
    }

    fn remove_request_trailer(&self, name: &[u8]) -> bool {
        hostcalls::remove_header(MapType::HttpRequestTrailers, name).is_ok()
    }

    fn send_local_reply(
        &self,
        status: u16,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> bool {
        let lines = (headers.iter())
            // Envoy sets it too, and would send both.
            .filter(|(name, _)| *name != "content-length")
            .map(|(name, value)| (*name, value.as_str()));
        let headers = HeaderMap::from_lines(lines);
        hostcalls::send_local_response(status, &headers, body.as_bytes()).is_ok()
    }

    fn set_response_header(&self, name: &str, value: &str) {
        let _ = hostcalls::replace_header(MapType::HttpResponseHeaders, name, value.as_bytes());
    }

    fn remove_response_header(&self, name: &str) {
        let _ = hostcalls::remove_header(MapType::HttpResponseHeaders, name.as_bytes());
    }

    fn resume_request(&self) {
        let _ = hostcalls::continue_request();
    }

    fn set_filter_state(&self, name: &str, value: &str) {
        let _ = hostcalls::set_property(name, value.as_bytes());
    }

    fn filter_state(&self, name: &str) -> Option<String> {
        property(name)
    }

    fn set_effective_context(&self, id: u32) -> bool {
        hostcalls::set_effective_context(id).is_ok()
    }

    fn set_tick_period(&self, period: Duration) {
        let _ = hostcalls::set_tick_period(period);
    }

    fn register_queue(&self, name: &str) -> Option<u32> {
        hostcalls::register_shared_queue(name).ok()
    }

    fn enqueue(&self, queue: u32) {
        // If it fails, the next tick does the work.
        let _ = hostcalls::enqueue_shared_queue(queue);
    }

    fn dequeue(&self, queue: u32) {
        let _ = hostcalls::dequeue_shared_queue(queue);
    }

    fn dispatch_call(
        &self,
        cluster: &str,
        headers: &HeaderMap,
        body: &[u8],
        timeout: Duration,
    ) -> Result<u32, DispatchError> {
        hostcalls::http_call(cluster, headers, body, timeout).map_err(|status| match status {
            Status::BadArgument => DispatchError::BadArgument,
            Status::InternalFailure => DispatchError::InternalFailure,
            Status::NotFound | Status::Empty | Status::CasMismatch | Status::Other(_) => {
                DispatchError::Other
            }
        })
    }

    fn call_response_headers(&self) -> HeaderMap {
        headers(MapType::HttpCallResponseHeaders)
    }

    fn call_response_body(&self, max_size: usize) -> Vec<u8> {
        buffer(BufferType::HttpCallResponseBody, max_size)
    }

    fn shared_data(&self, key: &str) -> Result<SharedData, StoreFailed> {
        match hostcalls::shared_data(key) {
            Ok((value, version)) => Ok(SharedData {
                value,
                version: Some(version),
            }),
            Err(Status::NotFound) => Ok(SharedData::default()),
            Err(_) => Err(StoreFailed),
        }
    }

    fn compare_and_swap_shared_data(
        &self,
        key: &str,
        version: Option<u32>,
        value: &[u8],
    ) -> Result<bool, StoreFailed> {
        match hostcalls::set_shared_data(key, value, version.unwrap_or(NO_VERSION)) {
            Ok(()) => Ok(true),
            Err(Status::CasMismatch) => Ok(false),
            Err(_) => Err(StoreFailed),
        }
    }

    fn set_shared_data(&self, key: &str, value: &[u8]) {
        let _ = hostcalls::set_shared_data(key, value, ANY_VERSION);
    }

    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
        let answer = hostcalls::call_foreign_function(name, arguments).ok()?;
        Some(answer.unwrap_or_default())
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Histogram => MetricType::Histogram,
        };
        hostcalls::define_metric(kind, name).ok()
    }

    fn increment_metric(&self, metric: u32, by: u32) {
        let _ = hostcalls::increment_metric(metric, by);
    }

    fn record_metric(&self, metric: u32, value: u64) {
        let _ = hostcalls::record_metric(metric, value);
    }
}

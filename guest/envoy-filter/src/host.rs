//! The host calls in use. Values travel as bytes, and what a call can fail with is handled here.

use core::time::Duration;
use std::time::{Instant, SystemTime};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, Status};
use token_check::Now;

pub(crate) use proxy_wasm::types::{LogLevel, MetricType};

pub(crate) fn log(level: LogLevel, message: &str) {
    // Nowhere to tell of a log that fails.
    let _ = hostcalls::log(level, message);
}

/// `start`: any earlier moment, from which the monotonic clock counts.
pub(crate) fn now(start: Instant) -> Now {
    let unix = hostcalls::get_current_time()
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .unwrap_or_default();
    Now {
        unix,
        monotonic: start.elapsed(),
    }
}

pub(crate) fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// The plugin's configuration.
pub(crate) fn configuration(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// Every header line of the request. If the host has none, the request has no credentials.
pub(crate) fn request_headers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
}

/// Whether every line of this name is gone.
#[must_use]
pub(crate) fn remove_request_header(name: &str) -> bool {
    hostcalls::remove_map_value(MapType::HttpRequestHeaders, name).is_ok()
}

pub(crate) fn request_trailers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpRequestTrailers).unwrap_or_default()
}

#[must_use]
pub(crate) fn remove_request_trailer(name: &str) -> bool {
    hostcalls::remove_map_value(MapType::HttpRequestTrailers, name).is_ok()
}

#[must_use]
pub(crate) fn add_request_header(name: &str, value: &str) -> bool {
    hostcalls::add_map_value_bytes(MapType::HttpRequestHeaders, name, value.as_bytes()).is_ok()
}

/// Answers the request of the context in effect.
pub(crate) fn reply(status: u16, headers: &[(&'static str, String)], body: &str) {
    let headers = headers
        .iter()
        // Envoy sets it too, and would send both.
        .filter(|(name, _)| *name != "content-length")
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let _ = hostcalls::send_http_response(status.into(), headers, Some(body.as_bytes()));
}

/// Lets the request of the context in effect go on.
pub(crate) fn resume_request() {
    let _ = hostcalls::resume_http_request();
}

/// What the access log shows as `%FILTER_STATE(wasm.<name>:PLAIN)%`.
pub(crate) fn set_filter_state(name: &str, value: &str) {
    let _ = hostcalls::set_property(vec![name], Some(value.as_bytes()));
}

/// The following calls concern this context. `false`: it is gone.
#[must_use]
pub(crate) fn set_effective_context(id: u32) -> bool {
    hostcalls::set_effective_context(id).is_ok()
}

pub(crate) fn set_tick_period(period: Duration) {
    let _ = hostcalls::set_tick_period(period);
}

/// A queue that only this VM knows, read by the root context.
pub(crate) fn register_queue() -> Option<u32> {
    let name: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
    hostcalls::register_shared_queue(&name).ok()
}

pub(crate) fn enqueue(queue: u32) {
    // Where that fails, the next tick does the work.
    let _ = hostcalls::enqueue_shared_queue(queue, None);
}

/// Takes what one [`enqueue`] has put there: Envoy calls back once for each.
pub(crate) fn dequeue(queue: u32) {
    let _ = hostcalls::dequeue_shared_queue(queue);
}

pub(crate) fn call(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: Option<&[u8]>,
    timeout: Duration,
) -> Result<u32, Status> {
    // Envoy takes 0 for "no timeout".
    let timeout = timeout.max(Duration::from_millis(1));
    hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout)
}

/// Every header line of the answer to a call.
pub(crate) fn answer_headers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default()
}

pub(crate) fn answer_body(max_size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, max_size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// What stands in a slot that Envoy's workers share.
pub(crate) struct Slot {
    pub(crate) bytes: Option<Vec<u8>>,
    version: Option<u32>,
}

/// No version is ever this one: Envoy counts them up from 1.
const NO_VERSION: u32 = u32::MAX;

pub(crate) fn shared(key: &str) -> Option<Slot> {
    let (bytes, version) = hostcalls::get_shared_data(key).ok()?;
    Some(Slot { bytes, version })
}

/// Writes only if the slot is as it was found. `Ok(false)`: it is not.
///
/// # Errors
/// The host did not take it.
pub(crate) fn share_if(key: &str, bytes: &[u8], found: &Slot) -> Result<bool, ()> {
    // Where there was nothing, a version that does not exist: the first one writes, and the second one's differs.
    let version = Some(found.version.unwrap_or(NO_VERSION));
    match hostcalls::set_shared_data(key, Some(bytes), version) {
        Ok(()) => Ok(true),
        Err(Status::CasMismatch) => Ok(false),
        Err(_) => Err(()),
    }
}

pub(crate) fn share(key: &str, bytes: &[u8]) {
    // Where that fails, others ask the issuer themselves.
    let _ = hostcalls::set_shared_data(key, Some(bytes), None);
}

pub(crate) fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
    hostcalls::define_metric(kind, name).ok()
}

pub(crate) fn increment(metric: Option<u32>) {
    if let Some(metric) = metric {
        let _ = hostcalls::increment_metric(metric, 1);
    }
}

pub(crate) fn record(metric: Option<u32>, value: u64) {
    if let Some(metric) = metric {
        let _ = hostcalls::record_metric(metric, value);
    }
}

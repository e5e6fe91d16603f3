//! What the filter needs of Envoy.
//!
//! Header values and bodies are bytes, and failures are values: one odd byte of a caller must not
//! trap the VM, which all callers of a worker share.

use core::time::Duration;
use std::ffi::OsString;

pub use proxy_wasm_abi::{Action, HeaderMap};
use token_check::{Now, StoreFailed};

/// Envoy, as seen from one VM. A clone is another handle to the same Envoy.
///
/// Calls about a request or its response concern the effective context: the one that Envoy called
/// back last, or that [`set_effective_context`](Self::set_effective_context) chose since.
pub trait Host: Clone + 'static {
    /// Both clocks.
    fn now(&self) -> Now;

    /// `None`: there are no random bytes.
    fn random(&self) -> Option<[u8; 16]>;

    /// Writes a line to Envoy's log.
    fn log(&self, level: LogLevel, message: &str);

    /// The plugin's configuration, `size` bytes.
    fn configuration(&self, size: usize) -> Vec<u8>;

    /// The environment variables that Envoy passes to the VM.
    fn environment(&self) -> Vec<(OsString, OsString)>;

    /// Every header line of the request. Empty on failure: a request without credentials.
    fn request_headers(&self) -> HeaderMap;

    /// Removes every header line of this name from the request. `false`: they may still be there.
    #[must_use]
    fn remove_request_header(&self, name: &[u8]) -> bool;

    /// Adds a header line to the request.
    #[must_use]
    fn add_request_header(&self, name: &str, value: &str) -> bool;

    /// The protocol of the request, such as `HTTP/2`.
    fn request_protocol(&self) -> Option<String>;

    /// SHA-256 of the certificate that the caller showed on its connection, in hexadecimal. `None`: it
    /// showed none.
    fn client_certificate(&self) -> Option<Vec<u8>>;

    /// Every trailer line of the request.
    fn request_trailers(&self) -> HeaderMap;

    /// Removes every trailer line of this name from the request. `false`: they may still be there.
    #[must_use]
    fn remove_request_trailer(&self, name: &[u8]) -> bool;

    /// Answers the request. Envoy sends the response after the callback. `false`: it does not.
    #[must_use]
    fn send_local_reply(&self, status: u16, headers: &[(&'static str, String)], body: &str)
    -> bool;

    /// Replaces the header lines of this name in the response, while a callback shows it.
    fn set_response_header(&self, name: &str, value: &str);

    /// Removes the header lines of this name from the response, while a callback shows it.
    fn remove_response_header(&self, name: &str);

    /// Lets a paused request continue, after the callback.
    fn resume_request(&self);

    /// Sets what the access log shows as `%FILTER_STATE(wasm.<name>:PLAIN)%`.
    fn set_filter_state(&self, name: &str, value: &str);

    /// What [`set_filter_state`](Self::set_filter_state) set for this request.
    fn filter_state(&self, name: &str) -> Option<String>;

    /// Makes this context the one that the following calls concern. `false`: it does not exist any
    /// more.
    #[must_use]
    fn set_effective_context(&self, id: u32) -> bool;

    /// How often the root context is called back; zero stops that.
    fn set_tick_period(&self, period: Duration);

    /// Registers a queue that calls this root context back. `None`: there is none.
    fn register_queue(&self, name: &str) -> Option<u32>;

    /// Makes Envoy call the root context back, once, after the current callback.
    fn enqueue(&self, queue: u32);

    /// Takes the item of one [`enqueue`](Self::enqueue) out of the queue.
    fn dequeue(&self, queue: u32);

    /// Sends an HTTP request to a cluster. The context in whose callback this happens is called
    /// back with the returned id; if it is gone by then, nobody is.
    ///
    /// # Errors
    /// Envoy did not accept the call.
    fn dispatch_call(
        &self,
        cluster: &str,
        headers: &HeaderMap,
        body: &[u8],
        timeout: Duration,
    ) -> Result<u32, DispatchError>;

    /// Every header line of the response to a call, while its callback runs.
    fn call_response_headers(&self) -> HeaderMap;

    /// The body of the response to a call while its callback runs, at most `max_size` bytes.
    fn call_response_body(&self, max_size: usize) -> Vec<u8>;

    /// Reads a key of the data that Envoy's workers share.
    ///
    /// # Errors
    /// Envoy did not read it.
    fn shared_data(&self, key: &str) -> Result<SharedData, StoreFailed>;

    /// Writes the key if it still has this version. `Ok(false)`: it has another one.
    ///
    /// # Errors
    /// Envoy did not write it.
    fn compare_and_swap_shared_data(
        &self,
        key: &str,
        version: Option<u32>,
        value: &[u8],
    ) -> Result<bool, StoreFailed>;

    /// Writes the key, whatever it holds. Best effort: a failure only costs other workers a call.
    fn set_shared_data(&self, key: &str, value: &[u8]);

    /// What a function of Envoy beyond the ABI answers. `None`: there is no such function, or it
    /// failed.
    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>>;

    /// `None`: Envoy does not count it.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32>;

    /// Adds to a counter.
    fn increment_metric(&self, metric: u32, by: u32);

    /// Adds a value to a histogram.
    fn record_metric(&self, metric: u32, value: u64);
}

/// The importance of a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing is wrong.
    Info,
    /// A caller, or a setting, may be wrong.
    Warn,
    /// The issuer or this service is at fault.
    Error,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It counts events.
    Counter,
    /// It collects values.
    Histogram,
}

/// Why Envoy did not accept a call: a status of the proxy-wasm ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchError {
    /// There is no such cluster.
    BadArgument,
    /// The cluster knew at once that it cannot send the call.
    InternalFailure,
    /// Any other status.
    Other,
}

/// The value of a key that workers share, and its version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedData {
    /// `None`: the key is absent or empty.
    pub value: Option<Vec<u8>>,
    /// `None`: the key is absent.
    pub version: Option<u32>,
}

//! What a filter asks of Envoy: one function per host call.
//!
//! Calls about a request, a response or an HTTP call concern the effective context: the one that
//! Envoy called back last, or that [`set_effective_context`] chose since.
#![expect(unsafe_code, reason = "host calls are foreign functions")]

use core::ptr;
use core::time::Duration;

use crate::header_map::HeaderMap;
use crate::memory;

#[cfg(test)]
mod fake_host;
#[cfg(test)]
use fake_host::*;

/// Why a host call failed: a status of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 1: it does not exist.
    NotFound,
    /// 2: an argument is wrong, or the effective context is not what the call needs.
    BadArgument,
    /// 7: there is nothing.
    Empty,
    /// 8: the shared data has another version.
    CasMismatch,
    /// 10: Envoy could not do it.
    InternalFailure,
    /// Any other.
    Other(u32),
}

/// The result of a host call.
pub type Result<T> = core::result::Result<T, Status>;

const fn check(status: u32) -> Result<()> {
    Err(match status {
        0 => return Ok(()),
        1 => Status::NotFound,
        2 => Status::BadArgument,
        7 => Status::Empty,
        8 => Status::CasMismatch,
        10 => Status::InternalFailure,
        other => Status::Other(other),
    })
}

/// The importance of a line in Envoy's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LogLevel {
    /// For developers.
    Debug = 1,
    /// Nothing is wrong.
    Info = 2,
    /// Something may be wrong.
    Warn = 3,
    /// Something is wrong.
    Error = 4,
    /// The filter itself failed.
    Critical = 5,
}

/// A header map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapType {
    /// The headers of the request.
    HttpRequestHeaders = 0,
    /// The trailers of the request.
    HttpRequestTrailers = 1,
    /// The headers of the response.
    HttpResponseHeaders = 2,
    /// The headers of the response to an HTTP call, in its callback.
    HttpCallResponseHeaders = 6,
}

/// A buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BufferType {
    /// The body of the response to an HTTP call, in its callback.
    HttpCallResponseBody = 4,
    /// The plugin's configuration, in its callback.
    PluginConfiguration = 7,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MetricType {
    /// It counts events.
    Counter = 0,
    /// It collects values.
    Histogram = 2,
}

/// A serialized header map without lines.
const NO_LINES: &[u8] = &0_u32.to_le_bytes();
/// The stream of a request, for `proxy_continue_stream`.
const HTTP_REQUEST: u32 = 0;
/// "No gRPC status" of `proxy_send_local_response`.
const NO_GRPC_STATUS: i32 = -1;

#[cfg(target_family = "wasm")]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, message_size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(return_time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(
        map: u32,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        return_data: *mut *mut u8,
        return_size: *mut usize,
        return_version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, return_id: *mut u32) -> u32;
    fn proxy_dequeue_shared_queue(
        queue: u32,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;
    fn proxy_enqueue_shared_queue(queue: u32, value: *const u8, value_size: usize) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        return_call: *mut u32,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_define_metric(
        kind: u32,
        name: *const u8,
        name_size: usize,
        return_id: *mut u32,
    ) -> u32;
    fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
    fn proxy_record_metric(metric: u32, value: u64) -> u32;
}

#[cfg(target_os = "wasi")]
unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Runs the constructors of the module: what `_initialize` has to do first.
#[cfg(target_os = "wasi")]
pub fn initialize() {
    // SAFETY: the linker defines it in every module for WASI. `_initialize` is its only caller, and
    // Envoy makes that call once, before any other.
    unsafe { __wasm_call_ctors() };
}

/// Makes a host call that returns a number.
fn number<N: Default>(call: impl FnOnce(&mut N) -> u32) -> Result<N> {
    let mut number = N::default();
    check(call(&mut number))?;
    Ok(number)
}

/// Makes a host call that returns bytes. `None`: none.
///
/// # Safety
/// If the call succeeds, it leaves both as they are, or writes the pointer and the size of an
/// allocation that it made by `proxy_on_memory_allocate` and does not use any more.
unsafe fn bytes(call: impl FnOnce(&mut *mut u8, &mut usize) -> u32) -> Result<Option<Vec<u8>>> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    check(call(&mut data, &mut size))?;
    // SAFETY: by the contract of this function.
    Ok(unsafe { memory::take(data, size) })
}

// Each host call below gets pointers and lengths of slices and places to write to that live until it
// returns. Envoy checks that they are within the memory of the VM, reads the former, writes the
// latter, and keeps none of them.

/// Writes a line to Envoy's log.
///
/// # Errors
/// The status of the host call, as in all functions here.
pub fn log(level: LogLevel, message: &str) -> Result<()> {
    // SAFETY: see above.
    check(unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) })
}

/// The time of the wall clock since 1970.
///
/// # Errors
/// See [`log`].
pub fn current_time() -> Result<Duration> {
    // SAFETY: see above.
    number(|time| unsafe { proxy_get_current_time_nanoseconds(time) }).map(Duration::from_nanos)
}

/// How often the root context is called back; zero stops that.
///
/// # Errors
/// See [`log`].
pub fn set_tick_period(period: Duration) -> Result<()> {
    let milliseconds = period.as_millis().try_into().unwrap_or(u32::MAX);
    // SAFETY: no pointers.
    check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// The first `max_size` bytes of a buffer. `None`: it is empty.
///
/// # Errors
/// See [`log`].
pub fn buffer(buffer: BufferType, max_size: usize) -> Result<Option<Vec<u8>>> {
    let call = |data: &mut *mut u8, size: &mut usize| {
        // SAFETY: see above.
        unsafe { proxy_get_buffer_bytes(buffer as u32, 0, max_size, data, size) }
    };
    // SAFETY: Envoy returns bytes as `bytes` demands.
    unsafe { bytes(call) }
}

/// All lines of a map.
///
/// # Errors
/// See [`log`]; [`Status::Other`] with 4, a parse failure, if Envoy's map is not well-formed.
pub fn header_map(map: MapType) -> Result<HeaderMap> {
    /// `ParseFailure` of the ABI.
    const PARSE_FAILURE: Status = Status::Other(4);
    let call = |data: &mut *mut u8, size: &mut usize| {
        // SAFETY: see above.
        unsafe { proxy_get_header_map_pairs(map as u32, data, size) }
    };
    // SAFETY: Envoy returns bytes as `bytes` demands.
    let bytes = unsafe { bytes(call) }?;
    HeaderMap::new(bytes.unwrap_or_default()).ok_or(PARSE_FAILURE)
}

/// Removes every line of this name.
///
/// # Errors
/// See [`log`].
pub fn remove_header(map: MapType, name: &[u8]) -> Result<()> {
    // SAFETY: see above.
    check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Replaces the lines of this name with one.
///
/// # Errors
/// See [`log`].
pub fn replace_header(map: MapType, name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: see above.
    check(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Adds a line.
///
/// # Errors
/// See [`log`].
pub fn add_header(map: MapType, name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: see above.
    check(unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// A property. `path`: its parts, with a NUL between them. `None`: it is empty.
///
/// # Errors
/// See [`log`].
pub fn property(path: &str) -> Result<Option<Vec<u8>>> {
    let call = |data: &mut *mut u8, size: &mut usize| {
        // SAFETY: see above.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
    };
    // SAFETY: Envoy returns bytes as `bytes` demands.
    unsafe { bytes(call) }
}

/// Sets a property, which becomes filter state of the stream.
///
/// # Errors
/// See [`log`].
pub fn set_property(path: &str, value: &[u8]) -> Result<()> {
    // SAFETY: see above.
    check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// The value of a key that workers share, and its version. `None`: the key is absent or empty.
///
/// # Errors
/// See [`log`]; [`Status::NotFound`] if the key is absent.
pub fn shared_data(key: &str) -> Result<(Option<Vec<u8>>, u32)> {
    let mut version = 0;
    let call = |data: &mut *mut u8, size: &mut usize| {
        // SAFETY: see above.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut version) }
    };
    // SAFETY: Envoy returns bytes as `bytes` demands.
    let value = unsafe { bytes(call) }?;
    Ok((value, version))
}

/// Writes a key that workers share; if `version` is not 0, only if the key has this version.
///
/// # Errors
/// See [`log`]; [`Status::CasMismatch`] if it has another version.
pub fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<()> {
    // SAFETY: see above.
    check(unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            version,
        )
    })
}

/// Registers a queue, which calls this root context back for each item.
///
/// # Errors
/// See [`log`].
pub fn register_shared_queue(name: &str) -> Result<u32> {
    // SAFETY: see above.
    number(|queue| unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), queue) })
}

/// Takes an item out of a queue.
///
/// # Errors
/// See [`log`]; [`Status::Empty`] if there is none.
pub fn dequeue_shared_queue(queue: u32) -> Result<Option<Vec<u8>>> {
    let call = |data: &mut *mut u8, size: &mut usize| {
        // SAFETY: see above.
        unsafe { proxy_dequeue_shared_queue(queue, data, size) }
    };
    // SAFETY: Envoy returns bytes as `bytes` demands.
    unsafe { bytes(call) }
}

/// Puts an empty item into a queue.
///
/// # Errors
/// See [`log`].
pub fn enqueue_shared_queue(queue: u32) -> Result<()> {
    // SAFETY: a null pointer and no bytes.
    check(unsafe { proxy_enqueue_shared_queue(queue, ptr::null(), 0) })
}

/// Lets a paused request continue, after the callback.
///
/// # Errors
/// See [`log`].
pub fn continue_request() -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_continue_stream(HTTP_REQUEST) })
}

/// Answers the request, after the callback.
///
/// # Errors
/// See [`log`].
pub fn send_local_response(status: u16, headers: &HeaderMap, body: &[u8]) -> Result<()> {
    let headers = headers.as_bytes();
    // SAFETY: see above. There are no details: a null pointer and no bytes.
    check(unsafe {
        proxy_send_local_response(
            status.into(),
            ptr::null(),
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

/// Sends an HTTP request to a cluster, and returns the id of the call. The effective context is
/// called back with it.
///
/// # Errors
/// See [`log`]; [`Status::BadArgument`] if there is no such cluster.
pub fn http_call(
    cluster: &str,
    headers: &HeaderMap,
    body: &[u8],
    timeout: Duration,
) -> Result<u32> {
    let headers = headers.as_bytes();
    let milliseconds = timeout.as_millis().try_into().unwrap_or(u32::MAX);
    let trailers = NO_LINES;
    // SAFETY: see above.
    number(|call| unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            milliseconds,
            call,
        )
    })
}

/// Calls a function that Envoy has beyond the ABI, and returns what it answers. `None`: nothing.
///
/// # Errors
/// See [`log`]; [`Status::NotFound`] if there is no such function.
pub fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Option<Vec<u8>>> {
    let call = |data: &mut *mut u8, size: &mut usize| {
        // SAFETY: see above.
        unsafe {
            proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                arguments.as_ptr(),
                arguments.len(),
                data,
                size,
            )
        }
    };
    // SAFETY: Envoy returns bytes as `bytes` demands.
    unsafe { bytes(call) }
}

/// Makes this context the one that the following calls concern.
///
/// # Errors
/// See [`log`]; [`Status::BadArgument`] if it does not exist any more.
pub fn set_effective_context(context: u32) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Defines a metric, or finds the one of this name, and returns its id.
///
/// # Errors
/// See [`log`].
pub fn define_metric(kind: MetricType, name: &str) -> Result<u32> {
    // SAFETY: see above.
    number(|id| unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), id) })
}

/// Adds to a counter.
///
/// # Errors
/// See [`log`].
pub fn increment_metric(metric: u32, by: u32) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_increment_metric(metric, by.into()) })
}

/// Adds a value to a histogram.
///
/// # Errors
/// See [`log`].
pub fn record_metric(metric: u32, value: u64) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_record_metric(metric, value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &'static str, arguments: &[&str]) {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        assert_eq!(calls(), [(name, arguments.collect())]);
    }

    #[test]
    fn each_status_of_the_abi_is_an_error_of_its_own() {
        for (status, expected) in [
            (0, Ok(())),
            (1, Err(Status::NotFound)),
            (2, Err(Status::BadArgument)),
            (3, Err(Status::Other(3))),
            (7, Err(Status::Empty)),
            (8, Err(Status::CasMismatch)),
            (10, Err(Status::InternalFailure)),
            (u32::MAX, Err(Status::Other(u32::MAX))),
        ] {
            returns(status, Some(b"not for this status"), 7);
            assert_eq!(continue_request(), expected);
            assert_eq!(shared_data("k").map(|_| ()), expected);
            assert_eq!(current_time().map(|_| ()), expected);
        }
    }

    #[test]
    fn bytes_that_the_host_returns_are_owned() {
        for bytes in [None, Some(&b""[..]), Some(b"some"), Some(&[0xff; 70_000])] {
            returns(0, bytes, 3);
            let owned = bytes.map(<[u8]>::to_vec);
            assert_eq!(
                buffer(BufferType::PluginConfiguration, 9),
                Ok(owned.clone())
            );
            assert_eq!(property("request\0protocol"), Ok(owned.clone()));
            assert_eq!(dequeue_shared_queue(5), Ok(owned.clone()));
            assert_eq!(call_foreign_function("f", b"a"), Ok(owned.clone()));
            assert_eq!(shared_data("k"), Ok((owned, 3)));
        }
        let names: Vec<_> = calls().into_iter().take(5).collect();
        let arguments = [
            &["7", "0", "9"][..],
            &["request\\x00protocol"],
            &["5"],
            &["f", "a"],
            &["k"],
        ];
        for ((_, called), expected) in names.iter().zip(arguments) {
            assert_eq!(called, expected);
        }
    }

    #[test]
    fn a_header_map_of_the_host_is_read_or_refused() {
        let map = HeaderMap::from_lines([("a", "b")]);
        returns(0, Some(map.as_bytes()), 0);
        assert_eq!(header_map(MapType::HttpCallResponseHeaders), Ok(map));
        called("proxy_get_header_map_pairs", &["6"]);
        returns(0, None, 0);
        assert_eq!(
            header_map(MapType::HttpRequestTrailers),
            Ok(HeaderMap::default())
        );
        returns(0, Some(b"\xff\xff\xff\xff"), 0);
        assert_eq!(
            header_map(MapType::HttpRequestHeaders),
            Err(Status::Other(4))
        );
        returns(2, None, 0);
        assert_eq!(
            header_map(MapType::HttpRequestHeaders),
            Err(Status::BadArgument)
        );
    }

    #[test]
    fn arguments_arrive_as_the_abi_has_them() {
        returns(0, None, 42);
        let lines = HeaderMap::from_lines([("n", "v")]);
        let serialized = lines.as_bytes().escape_ascii().to_string();
        assert_eq!(
            http_call("c", &lines, b"body", Duration::from_millis(1500)),
            Ok(42)
        );
        let none = r"\x00\x00\x00\x00";
        called("proxy_http_call", &["c", &serialized, "body", none, "1500"]);
        assert_eq!(send_local_response(401, &lines, b"no"), Ok(()));
        called(
            "proxy_send_local_response",
            &["401", "null", "no", &serialized, "-1"],
        );
        assert_eq!(log(LogLevel::Warn, "text"), Ok(()));
        called("proxy_log", &["3", "text"]);
        assert_eq!(set_tick_period(Duration::MAX), Ok(()));
        called("proxy_set_tick_period_milliseconds", &["4294967295"]);
        assert_eq!(add_header(MapType::HttpRequestHeaders, "n", b"v"), Ok(()));
        called("proxy_add_header_map_value", &["0", "n", "v"]);
        assert_eq!(
            replace_header(MapType::HttpResponseHeaders, "n", b"v"),
            Ok(())
        );
        called("proxy_replace_header_map_value", &["2", "n", "v"]);
        assert_eq!(remove_header(MapType::HttpRequestTrailers, b"n"), Ok(()));
        called("proxy_remove_header_map_value", &["1", "n"]);
        assert_eq!(set_property("p", b"v"), Ok(()));
        called("proxy_set_property", &["p", "v"]);
        assert_eq!(set_shared_data("k", b"v", 9), Ok(()));
        called("proxy_set_shared_data", &["k", "v", "9"]);
        assert_eq!(register_shared_queue("q"), Ok(42));
        called("proxy_register_shared_queue", &["q"]);
        assert_eq!(enqueue_shared_queue(42), Ok(()));
        called("proxy_enqueue_shared_queue", &["42", "null"]);
        assert_eq!(call_foreign_function("f", &[0]), Ok(None));
        called("proxy_call_foreign_function", &["f", "\\x00"]);
        assert_eq!(set_effective_context(3), Ok(()));
        called("proxy_set_effective_context", &["3"]);
        assert_eq!(define_metric(MetricType::Histogram, "m"), Ok(42));
        called("proxy_define_metric", &["2", "m"]);
        assert_eq!(increment_metric(42, 3), Ok(()));
        called("proxy_increment_metric", &["42", "3"]);
        assert_eq!(record_metric(42, 12), Ok(()));
        called("proxy_record_metric", &["42", "12"]);
        assert_eq!(current_time(), Ok(Duration::from_nanos(42)));
        assert_eq!(continue_request(), Ok(()));
    }
}

//! A host for tests: it writes down the calls, and returns what it was told to.
#![expect(
    clippy::too_many_arguments,
    reason = "the signatures are those of the ABI"
)]

use core::cell::RefCell;
use core::slice;

use crate::memory;

#[derive(Default)]
struct Host {
    status: u32,
    /// What calls that return bytes or a number return. `None`: a null pointer.
    bytes: Option<Vec<u8>>,
    number: u64,
    calls: Vec<(&'static str, Vec<String>)>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// What the following calls return.
pub(super) fn returns(status: u32, bytes: Option<&[u8]>, number: u64) {
    HOST.with_borrow_mut(|host| {
        host.status = status;
        host.bytes = bytes.map(<[u8]>::to_vec);
        host.number = number;
    });
}

/// The calls since the last time: names and arguments.
pub(super) fn calls() -> Vec<(&'static str, Vec<String>)> {
    HOST.with_borrow_mut(|host| core::mem::take(&mut host.calls))
}

fn text(data: *const u8, size: usize) -> String {
    if data.is_null() {
        return "null".to_owned();
    }
    // SAFETY: the callers are the functions of the parent module, which pass slices that live until
    // the call returns.
    let bytes = unsafe { slice::from_raw_parts(data, size) };
    bytes.escape_ascii().to_string()
}

fn called(name: &'static str, arguments: &[&dyn ToString]) -> u32 {
    let arguments = arguments.iter().map(|argument| argument.to_string());
    HOST.with_borrow_mut(|host| {
        host.calls.push((name, arguments.collect()));
        host.status
    })
}

fn give_bytes(return_data: *mut *mut u8, return_size: *mut usize) {
    HOST.with_borrow(|host| {
        let Some(bytes) = host.bytes.as_ref().filter(|_| host.status == 0) else {
            return;
        };
        let data = memory::allocate(bytes.len());
        // SAFETY: the allocation has this size, and nobody else has it yet.
        unsafe { data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // SAFETY: the callers pass places to write to.
        unsafe { return_data.write(data) };
        // SAFETY: as before.
        unsafe { return_size.write(bytes.len()) };
    });
}

fn give_number<N: TryFrom<u64>>(place: *mut N) {
    HOST.with_borrow(|host| {
        if let (0, Ok(number)) = (host.status, N::try_from(host.number)) {
            // SAFETY: the callers pass a place to write to.
            unsafe { place.write(number) };
        }
    });
}

pub(super) unsafe fn proxy_log(level: u32, message: *const u8, message_size: usize) -> u32 {
    called("proxy_log", &[&level, &text(message, message_size)])
}

pub(super) unsafe fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    give_number(time);
    called("proxy_get_current_time_nanoseconds", &[])
}

pub(super) unsafe fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    called("proxy_set_tick_period_milliseconds", &[&period])
}

pub(super) unsafe fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    max_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    give_bytes(data, size);
    called("proxy_get_buffer_bytes", &[&buffer, &start, &max_size])
}

pub(super) unsafe fn proxy_get_header_map_pairs(
    map: u32,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    give_bytes(data, size);
    called("proxy_get_header_map_pairs", &[&map])
}

pub(super) unsafe fn proxy_remove_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
) -> u32 {
    called(
        "proxy_remove_header_map_value",
        &[&map, &text(name, name_size)],
    )
}

pub(super) unsafe fn proxy_replace_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    called(
        "proxy_replace_header_map_value",
        &[&map, &text(name, name_size), &text(value, value_size)],
    )
}

pub(super) unsafe fn proxy_add_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    called(
        "proxy_add_header_map_value",
        &[&map, &text(name, name_size), &text(value, value_size)],
    )
}

pub(super) unsafe fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    give_bytes(data, size);
    called("proxy_get_property", &[&text(path, path_size)])
}

pub(super) unsafe fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    called(
        "proxy_set_property",
        &[&text(path, path_size), &text(value, value_size)],
    )
}

pub(super) unsafe fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    version: *mut u32,
) -> u32 {
    give_bytes(data, size);
    give_number(version);
    called("proxy_get_shared_data", &[&text(key, key_size)])
}

pub(super) unsafe fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    version: u32,
) -> u32 {
    called(
        "proxy_set_shared_data",
        &[&text(key, key_size), &text(value, value_size), &version],
    )
}

pub(super) unsafe fn proxy_register_shared_queue(
    name: *const u8,
    name_size: usize,
    id: *mut u32,
) -> u32 {
    give_number(id);
    called("proxy_register_shared_queue", &[&text(name, name_size)])
}

pub(super) unsafe fn proxy_dequeue_shared_queue(
    queue: u32,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    give_bytes(data, size);
    called("proxy_dequeue_shared_queue", &[&queue])
}

pub(super) unsafe fn proxy_enqueue_shared_queue(
    queue: u32,
    value: *const u8,
    value_size: usize,
) -> u32 {
    called(
        "proxy_enqueue_shared_queue",
        &[&queue, &text(value, value_size)],
    )
}

pub(super) unsafe fn proxy_continue_stream(stream: u32) -> u32 {
    called("proxy_continue_stream", &[&stream])
}

pub(super) unsafe fn proxy_send_local_response(
    status: u32,
    details: *const u8,
    details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    grpc_status: i32,
) -> u32 {
    called(
        "proxy_send_local_response",
        &[
            &status,
            &text(details, details_size),
            &text(body, body_size),
            &text(headers, headers_size),
            &grpc_status,
        ],
    )
}

pub(super) unsafe fn proxy_http_call(
    upstream: *const u8,
    upstream_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    trailers: *const u8,
    trailers_size: usize,
    timeout: u32,
    call: *mut u32,
) -> u32 {
    give_number(call);
    called(
        "proxy_http_call",
        &[
            &text(upstream, upstream_size),
            &text(headers, headers_size),
            &text(body, body_size),
            &text(trailers, trailers_size),
            &timeout,
        ],
    )
}

pub(super) unsafe fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    arguments: *const u8,
    arguments_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    give_bytes(data, size);
    called(
        "proxy_call_foreign_function",
        &[&text(name, name_size), &text(arguments, arguments_size)],
    )
}

pub(super) unsafe fn proxy_set_effective_context(context: u32) -> u32 {
    called("proxy_set_effective_context", &[&context])
}

pub(super) unsafe fn proxy_define_metric(
    kind: u32,
    name: *const u8,
    name_size: usize,
    id: *mut u32,
) -> u32 {
    give_number(id);
    called("proxy_define_metric", &[&kind, &text(name, name_size)])
}

pub(super) unsafe fn proxy_increment_metric(metric: u32, offset: i64) -> u32 {
    called("proxy_increment_metric", &[&metric, &offset])
}

pub(super) unsafe fn proxy_record_metric(metric: u32, value: u64) -> u32 {
    called("proxy_record_metric", &[&metric, &value])
}

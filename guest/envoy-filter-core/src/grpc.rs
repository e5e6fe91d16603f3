//! Envoy answers what it takes for gRPC with status 200, and tells the refusal in `grpc-status`. It
//! looks at the content type alone, so with that any caller could have refusals look like successes
//! to whatever counts statuses. Only real gRPC gets such an answer.

use crate::host::{HeaderMap, Host};

/// Whether Envoy takes a request with this content type for gRPC.
pub(crate) fn is_grpc_type(content_type: &[u8]) -> bool {
    content_type.starts_with(b"application/grpc")
}

/// Whether a request that Envoy takes for gRPC is none: gRPC is `POST` over HTTP/2 or HTTP/3 with
/// `te: trailers`.
pub(crate) fn is_false(headers: &HeaderMap, protocol: impl FnOnce() -> Option<String>) -> bool {
    let has = |name: &str, is: fn(&[u8]) -> bool| {
        (headers.iter()).any(|(known, value)| known == name.as_bytes() && is(value))
    };
    !(has(":method", |method| method == b"POST")
        && has("te", |te| te.eq_ignore_ascii_case(b"trailers"))
        && protocol().is_some_and(|protocol| !protocol.starts_with("HTTP/1")))
}

/// Gives a refusal its status back. Envoy has no body for it by now.
pub(crate) fn restore_status(host: &impl Host, status: u16) {
    host.set_response_header(":status", &status.to_string());
    for name in ["content-type", "grpc-status", "grpc-message"] {
        host.remove_response_header(name);
    }
}

//! Middleware that lets everybody in with the host calls that the auth check makes for a request
//! whose token it has cached, in the same order and with about as many bytes, and constants for
//! values: see `http` and `clock` there.

#![cfg(target_family = "wasm")]

use spin_sdk::wasip3::clocks::monotonic_clock;
use spin_sdk::wasip3::http::service::export;
use spin_sdk::wasip3::http::types::{ErrorCode, Method, Request, Response};
use spin_sdk::wasip3::wit_future;

#[path = "../../bench-floors/src/identity.rs"]
mod identity;

use identity::IDENTITY;

struct SameCalls;
export!(SameCalls);

impl spin_sdk::wasip3::exports::http::handler::Guest for SameCalls {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let headers = request.get_headers();
        core::hint::black_box(headers.copy_all());
        let method = request.get_method();
        let authority = request.get_authority();
        let target = request.get_path_with_query();
        core::hint::black_box(monotonic_clock::now());
        let fields = headers.clone();
        drop(headers);
        let scheme = request.get_scheme();
        let (_done, done) = wit_future::new(|| Ok(()));
        let (contents, trailers) = Request::consume_body(request, done);
        let refused = |_| ErrorCode::HttpProtocolError;
        fields.delete("authorization").map_err(refused)?;
        for (name, value) in IDENTITY {
            fields.append(name, value.as_bytes()).map_err(refused)?;
        }
        let (onward, _sent) = Request::new(fields, Some(contents), trailers, None);
        let invalid = |()| ErrorCode::HttpRequestUriInvalid;
        if !matches!(method, Method::Get) {
            onward.set_method(&method).map_err(invalid)?;
        }
        onward.set_scheme(scheme.as_ref()).map_err(invalid)?;
        onward
            .set_authority(authority.as_deref())
            .map_err(invalid)?;
        onward
            .set_path_with_query(target.as_deref())
            .map_err(invalid)?;
        next_handler::handle(onward).await
    }
}

//! Middleware that lets everybody in with the host calls that the auth check makes for a request
//! whose token it has cached, in the same order and with about as many bytes, and constants for
//! values: see `messages` and `flights` there.

#![cfg(target_family = "wasm")]

use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};
use spin_sdk::wasip3::http::service::export;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::wit_future;

#[path = "../../bench-floors/src/identity.rs"]
mod identity;

use identity::IDENTITY;

struct SameCalls;
export!(SameCalls);

impl spin_sdk::wasip3::exports::http::handler::Guest for SameCalls {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        core::hint::black_box(request.get_headers().copy_all());
        let method = request.get_method();
        let authority = request.get_authority();
        let target = request.get_path_with_query();
        core::hint::black_box((system_clock::now(), monotonic_clock::now()));
        let fields = request.get_headers().clone();
        let refused = |_| ErrorCode::HttpProtocolError;
        fields.delete("authorization").map_err(refused)?;
        for (name, value) in IDENTITY {
            fields.append(name, value.as_bytes()).map_err(refused)?;
        }
        let scheme = request.get_scheme();
        let (_done, done) = wit_future::new(|| Ok(()));
        let (contents, trailers) = Request::consume_body(request, done);
        let (onward, _sent) = Request::new(fields, Some(contents), trailers, None);
        let invalid = |()| ErrorCode::HttpRequestUriInvalid;
        onward.set_method(&method).map_err(invalid)?;
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

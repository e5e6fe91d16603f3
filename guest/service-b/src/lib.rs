//! Service B's app: answers `/data` with what the gate in front of it says about the caller. Knows nothing of tokens.

#![cfg(target_family = "wasm")]

mod document;

use bytes::Bytes;
use spin_sdk::http::{FullBody, Method, Request, Response, StatusCode};
use spin_sdk::http_service;

/// Set by the gate on every request it lets through.
const CLAIMS_HEADER: &str = "x-auth-claims";

#[http_service]
async fn handle(request: Request) -> Response<FullBody<Bytes>> {
    let known = ["/data", "/health"].contains(&request.uri().path());
    if !known {
        return answer(
            StatusCode::NOT_FOUND,
            document::error("not_found", "There is nothing at this path."),
        );
    }
    if request.method() != Method::GET {
        let text = document::error("method_not_allowed", "Only GET is answered here.");
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, text);
        response.headers_mut().insert("allow", http_value("GET"));
        return response;
    }
    if request.uri().path() == "/health" {
        return answer(StatusCode::OK, r#"{"status":"ok"}"#.to_owned());
    }
    let claims = request
        .headers()
        .get(CLAIMS_HEADER)
        .map(spin_sdk::http::HeaderValue::as_bytes);
    match claims.and_then(document::trusted) {
        Some(document) => answer(StatusCode::OK, document),
        None => answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            document::error(
                "gate_missing",
                "The auth check is missing in front of this service.",
            ),
        ),
    }
}

fn http_value(value: &'static str) -> spin_sdk::http::HeaderValue {
    spin_sdk::http::HeaderValue::from_static(value)
}

/// Complete, with content-length: the host then sends it in one piece.
fn answer(status: StatusCode, body: String) -> Response<FullBody<Bytes>> {
    let length = body.len();
    let mut response = Response::new(FullBody::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", http_value("application/json"));
    response
        .headers_mut()
        .insert("content-length", length.into());
    response
}

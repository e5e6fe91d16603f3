//! Service B's app: answers `/data` with what the auth check in front of it says about the caller. Knows
//! nothing of tokens.

#![cfg(target_family = "wasm")]

use bytes::Bytes;
use spin_sdk::http::{FullBody, Request, Response};
use spin_sdk::http_service;
use whoami::{Answer, CLAIMS_HEADER};

#[http_service]
async fn handle(request: Request) -> Response<FullBody<Bytes>> {
    let method = request.method().as_str().as_bytes();
    response(match request.uri().path() {
        "/data" => {
            let claims = request.headers().get(CLAIMS_HEADER);
            whoami::answer(method, claims.map(spin_sdk::http::HeaderValue::as_bytes))
        }
        "/health" if whoami::is_answered(method) => {
            Answer::new(200, r#"{"status":"ok"}"#.to_owned())
        }
        "/health" => Answer::method_not_allowed(),
        _ => Answer::error(404, "not_found", "There is nothing at this path."),
    })
}

fn response(answer: Answer) -> Response<FullBody<Bytes>> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    let body = FullBody::new(Bytes::from(answer.body));
    // Every answer is made of valid parts; if one ever were not, an empty 500 is still an answer.
    builder.body(body).unwrap_or_else(|_| {
        let mut broken = Response::new(FullBody::new(Bytes::new()));
        *broken.status_mut() = spin_sdk::http::StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}

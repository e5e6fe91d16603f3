//! Any app: it greets the caller that the auth check names, and has a setting of its own.

#![cfg(target_family = "wasm")]

use spin_sdk::http::{Request, Response};
use spin_sdk::{http_service, variables};

#[http_service]
async fn handle(request: Request) -> Response<String> {
    let caller = request.headers().get("x-auth-client-id");
    let caller = caller
        .and_then(|value| value.to_str().ok())
        .unwrap_or("nobody");
    let timeout = variables::get("timeout").await.unwrap_or_default();
    Response::new(format!("hello, {caller}; my own timeout is {timeout}\n"))
}

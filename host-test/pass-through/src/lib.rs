//! Middleware that hands every request on as it is, for what middleware costs that does nothing
//! else.

#![cfg(target_family = "wasm")]

use spin_sdk::wasip3::http::service::export;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};

struct PassThrough;
export!(PassThrough);

impl spin_sdk::wasip3::exports::http::handler::Guest for PassThrough {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        next_handler::handle(request).await
    }
}

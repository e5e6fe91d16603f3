//! The next handler of Spin's HTTP middleware: the app, or another middleware. The SDK's `next` reads every header of the
//! response into a type of its own, which nobody here looks at; this hands the response over as it is.

#![cfg(target_family = "wasm")]

use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};

mod bindings {
    wit_bindgen::generate!({
        inline: "package trust-triangle:next; world next { import wasi:http/handler@0.3.0; }",
        path: env!("SPIN_SDK_WIT"),
        world: "trust-triangle:next/next",
        with: { "wasi:http/types@0.3.0": spin_sdk::wasip3::http::types },
        generate_all,
    });
}

/// Hands the request on.
///
/// # Errors
/// Those of the next handler.
pub async fn handle(request: Request) -> Result<Response, ErrorCode> {
    bindings::wasi::http::handler::handle(request).await
}

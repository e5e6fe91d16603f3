//! The auth check as Spin HTTP middleware: moves bytes between WASI HTTP and [`token_check`], which
//! alone decides.

#![cfg(target_family = "wasm")]

mod clock;
mod driver;
mod http;
mod instance;
mod introspect;
mod kv_store;
mod log;

use spin_sdk::wasip3::http::service::export;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use token_check::CacheStatus;

struct AuthCheck;
export!(AuthCheck);

impl spin_sdk::wasip3::exports::http::handler::Guest for AuthCheck {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let instance = instance::get().await;
        let Some(instance) = &*instance else {
            return Ok(http::refuse(&token_check::Response::misconfigured(None)).await);
        };
        let head = http::Head::new(&request);
        let verdict = driver::decide(instance, &head).await;
        instance::log_event(verdict.event.as_ref());
        if let Some(line) = &verdict.audit {
            log::audit(line);
        }
        let after_store = instance.store.is_some() && verdict.cache != Some(CacheStatus::Hit);
        let result = verdict.into_result(instance.check.borrow().policy());
        match result {
            Ok(grant) => http::forward(request, head, &grant, after_store).await,
            Err(refusal) => Ok(http::refuse(&refusal).await),
        }
    }
}

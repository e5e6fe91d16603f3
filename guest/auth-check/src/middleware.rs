//! The export of the component.

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::service::export;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use token_check::CacheStatus;

use crate::{driver, http, instance, log};

struct Middleware;
export!(Middleware);

impl Guest for Middleware {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let instance = instance::get().await;
        let Some(instance) = &*instance else {
            return Ok(http::refuse(&token_check::Response::misconfigured(None)).await);
        };
        let head = http::Head::new(&request);
        let parts = head.parts(instance.check.borrow().policy());
        let verdict = driver::decide(&instance.host, &instance.check, &parts.head()).await;
        if let Some(event) = &verdict.event {
            log::line(event);
        }
        if let Some(line) = &verdict.audit {
            log::audit(line);
        }
        let after_store = instance.host.store.is_some() && verdict.cache != Some(CacheStatus::Hit);
        let result = verdict.into_result(instance.check.borrow().policy());
        match result {
            Ok(grant) => http::forward(request, head, &grant, after_store).await,
            Err(refusal) => Ok(http::refuse(&refusal).await),
        }
    }
}

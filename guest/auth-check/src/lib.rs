//! The auth check as Spin HTTP middleware: moves bytes between WASI HTTP and [`token_check`], which alone decides.

#![cfg(target_family = "wasm")]

mod flights;
mod gate;
mod issuer;
mod log;
mod messages;
mod store;

use spin_sdk::wasip3::http::service::export;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use token_check::CacheUse;

struct AuthCheck;
export!(AuthCheck);

impl spin_sdk::wasip3::exports::http::handler::Guest for AuthCheck {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let gate = gate::open().await;
        let Some(gate) = &*gate else {
            let refused = token_check::Reason::Misconfigured.reply(None, None);
            return Ok(messages::reply(&refused).await);
        };
        let head = messages::Head::of(&request);
        let verdict = flights::decide(gate, &head).await;
        gate::tell(verdict.note.as_ref());
        if let Some(line) = &verdict.audit {
            log::audit(line);
        }
        let after_store = gate.store.is_some() && verdict.cache != Some(CacheUse::Hit);
        let result = verdict.into_result(gate.check.borrow().policy());
        match result {
            Ok(grant) => messages::forward(request, head, &grant, after_store).await,
            Err(reply) => Ok(messages::reply(&reply).await),
        }
    }
}

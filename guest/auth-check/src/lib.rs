//! The auth check.
use spin_sdk::http::{next};
use spin_sdk::wasip3::{self, http::types};

struct AuthCheck;
wasip3::http::service::export!(AuthCheck);

impl wasip3::exports::http::handler::Guest for AuthCheck {
    async fn handle(request: types::Request) -> Result<types::Response, types::ErrorCode> {
        let mut response = next(request).await?;
        response.body_mut().take_unstarted().ok_or(types::ErrorCode::InternalError(None))
    }
}

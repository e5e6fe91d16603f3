//! Service B.
use spin_sdk::http::{IntoResponse, Request, StatusCode, FullBody};
use spin_sdk::http_service;

#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let headers: Vec<String> = request.headers().iter().map(|(k, v)| format!("{k}: {v:?}")).collect();
    (StatusCode::OK, FullBody::new(bytes::Bytes::from(headers.join("\n"))))
}

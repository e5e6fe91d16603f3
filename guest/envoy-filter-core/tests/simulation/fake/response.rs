//! What comes back from a call.

use super::{UNIX_START, lines};

/// The response to a call, as a callback shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// From the issuer.
    pub(crate) fn new(status: u16, body: &str) -> Self {
        let mut response = Self::local_reply(status, body);
        response.headers.extend(lines(&[
            ("content-type", "application/json"),
            ("x-envoy-upstream-service-time", "3"),
        ]));
        response
    }

    pub(super) fn is_from_issuer(&self) -> bool {
        (self.headers.iter()).any(|(name, _)| name == "x-envoy-upstream-service-time")
    }

    /// From Envoy itself.
    pub(crate) fn local_reply(status: u16, text: &str) -> Self {
        Self {
            headers: lines(&[(":status", &status.to_string())]),
            body: text.as_bytes().to_vec(),
        }
    }

    /// The response broke off: Envoy calls back without headers.
    pub(crate) fn none() -> Self {
        Self::default()
    }
}

/// The issuer says that the token is active, and belongs to this client.
pub(crate) fn active(client: &str) -> Response {
    let exp = UNIX_START.as_secs() + 3600;
    Response::new(
        200,
        &format!(r#"{{"active":true,"client_id":"{client}","exp":{exp}}}"#),
    )
}

/// The issuer says that the token is not active.
pub(crate) fn inactive() -> Response {
    Response::new(200, r#"{"active":false}"#)
}

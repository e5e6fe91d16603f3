//! Calls Service B with the token.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use crate::{
    advice, dpop,
    failure::{Class, Failure},
    http::Http,
    json_value::JsonValue,
    response::{HttpError, Response},
    token_source::{Token, TokenSource},
    untrusted_text::UntrustedText,
};

/// The largest body that is read. Service B's documents are small.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The body of a granted call.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Document {
    /// Any JSON.
    Json(JsonValue),
    /// Anything else.
    Text(UntrustedText),
}

/// The result of one call.
pub(crate) struct CallResult {
    /// The token that was sent last.
    pub(crate) token: Option<Arc<Token>>,
    /// Status and document, or the failure.
    pub(crate) result: Result<(StatusCode, Document), Arc<Failure>>,
    /// From the request to its response. Includes a renewal of the token, but not the first token
    /// request.
    pub(crate) latency: Option<Duration>,
}

/// Calls Service B.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Http,
    url: Url,
    source: TokenSource,
}

impl CallResult {
    /// Whether further calls would fail the same way. Repeating the token request might get the
    /// client locked.
    pub(crate) fn is_final(&self) -> bool {
        self.result
            .as_ref()
            .is_err_and(|failure| failure.is_final())
    }
}

impl Caller {
    /// `http` is for `url`.
    pub(crate) const fn new(http: Http, url: Url, source: TokenSource) -> Self {
        Self { http, url, source }
    }

    /// The source of its tokens.
    pub(crate) const fn source(&self) -> &TokenSource {
        &self.source
    }

    /// Whether requests and responses are shown: a progress bar would break between their lines.
    pub(crate) const fn is_traced(&self) -> bool {
        self.http.is_traced()
    }

    /// Calls once, and once more with a new token if the first response is 401.
    pub(crate) async fn call(&self) -> CallResult {
        let mut token = match self.source.token().await {
            Ok(token) => token,
            Err(failure) => {
                return CallResult {
                    token: None,
                    result: Err(failure),
                    latency: None,
                };
            }
        };
        let started = Instant::now();
        let mut refused = None;
        let mut response = self.send(&token).await;
        let is_401 = |response: &Result<Response, HttpError>| matches!(response, Ok(response) if response.status == StatusCode::UNAUTHORIZED);
        if is_401(&response) {
            match self.source.renewed(&token).await {
                Ok(Some(renewed)) => {
                    refused = Some(std::mem::replace(&mut token, renewed));
                    response = self.send(&token).await;
                }
                Ok(None) => {}
                Err(failure) => {
                    return CallResult {
                        token: Some(token),
                        result: Err(failure),
                        latency: Some(started.elapsed()),
                    };
                }
            }
        }
        if response.is_ok() && !is_401(&response) {
            token.set_accepted();
        }
        let latency = Some(started.elapsed());
        let redact = |text: &str| {
            let text = token.access().redact(text);
            match &refused {
                Some(refused) => refused.access().redact(&text),
                None => text,
            }
        };
        let result = self.read_response(response, &redact).map_err(|failure| {
            let malformed = failure.reason().raw() == "malformed_authorization";
            Arc::new(if malformed && !token.access().is_b64token() {
                failure.with_next(advice::NOT_B64TOKEN)
            } else {
                failure
            })
        });
        CallResult {
            token: Some(token),
            result,
            latency,
        }
    }

    /// Sends once, and once more if Service B asks for a DPoP proof with its nonce.
    async fn send(&self, token: &Token) -> Result<Response, HttpError> {
        let response = self.send_once(token).await?;
        if self.http.uses_dpop() && dpop::wants_nonce(&response) {
            return self.send_once(token).await;
        }
        Ok(response)
    }

    async fn send_once(&self, token: &Token) -> Result<Response, HttpError> {
        let mut request = Request::new(Method::GET, self.url.clone());
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        // A token is visible ASCII, so this is always a valid header.
        let scheme = if self.http.uses_dpop() {
            dpop::SCHEME
        } else {
            "Bearer"
        };
        let credentials = format!("{scheme} {}", token.access().secret());
        if let Ok(mut credentials) = HeaderValue::from_str(&credentials) {
            credentials.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, credentials);
        }
        // The trace redacts the tokens itself.
        let redact = |text: &str| self.source.redact(text);
        self.http.send(request, MAX_RESPONSE_BYTES, &redact).await
    }

    fn read_response(
        &self,
        response: Result<Response, HttpError>,
        redact: &dyn Fn(&str) -> String,
    ) -> Result<(StatusCode, Document), Failure> {
        let refused = |reason: &str, status: StatusCode| {
            let next = advice::for_service_b(reason, status.as_u16());
            Failure::new(Class::ServiceBRefused, reason, next).with_url(&self.url)
        };
        let response = match response {
            Ok(response) => response,
            Err(HttpError::TooLarge(status, headers)) => {
                return Err(refused("too_large", status).with_response(status, &headers, redact));
            }
            Err(HttpError::Unreachable { reason, message }) => {
                let next = advice::unreachable_service_b(reason);
                return Err(Failure::new(Class::ServiceBUnreachable, reason, next)
                    .with_url(&self.url)
                    .with_description(Some(UntrustedText::new(&message))));
            }
        };
        let json = serde_json::from_slice::<JsonValue>(&response.body)
            .ok()
            .map(|json| json.map_strings(redact));
        let status = response.status;
        if status.is_success() {
            let text = || UntrustedText::new(&redact(&String::from_utf8_lossy(&response.body)));
            let document = json.map_or_else(|| Document::Text(text()), Document::Json);
            return Ok((status, document));
        }
        let member = |name: &str| json.as_ref().and_then(|json| json.string(name));
        let failure = if status.is_redirection() {
            refused("redirected", status)
        } else {
            match member("reason") {
                Some(reason) => refused(reason, status),
                None => refused(&format!("status_{}", status.as_u16()), status),
            }
        };
        Err(failure
            .with_response(status, &response.headers, redact)
            .with_error(member("error").map(UntrustedText::new))
            .with_description(member("error_description").map(UntrustedText::new)))
    }
}

//! One call of Service B with the token.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use crate::{
    advice,
    failure::{Class, Failure},
    http::{Answer, Fault, Http},
    text::Foreign,
    token::{Token, TokenSource},
    value::Value,
};

/// Service B answers with a small document.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// What Service B answered, if it granted the call.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Document {
    /// Any JSON.
    Json(Value),
    /// Anything else.
    Text(Foreign),
}

/// A call and how it ended.
pub(crate) struct Called {
    /// The token that was sent last.
    pub(crate) token: Option<Arc<Token>>,
    /// Status and document, or the failure.
    pub(crate) result: Result<(StatusCode, Document), Arc<Failure>>,
    /// From the call to its answer, a renewal of the token included, the first token not.
    pub(crate) latency: Option<Duration>,
}

/// Calls Service B.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Http,
    url: Url,
    source: TokenSource,
}

impl Caller {
    /// `http` is for `url`.
    pub(crate) const fn new(http: Http, url: Url, source: TokenSource) -> Self {
        Self { http, url, source }
    }

    /// Where the tokens come from.
    pub(crate) const fn source(&self) -> &TokenSource {
        &self.source
    }

    /// Whether requests and answers are shown, between which a bar has no place.
    pub(crate) const fn is_traced(&self) -> bool {
        self.http.is_traced()
    }

    /// Calls once, and once more with another token if the first answer is 401.
    pub(crate) async fn call(&self) -> Called {
        let mut token = match self.source.token().await {
            Ok(token) => token,
            Err(failure) => {
                return Called {
                    token: None,
                    result: Err(failure),
                    latency: None,
                };
            }
        };
        let started = Instant::now();
        let mut refused = None;
        let mut answer = self.send(&token).await;
        let is_401 = |answer: &Result<Answer, Fault>| matches!(answer, Ok(answer) if answer.status == StatusCode::UNAUTHORIZED);
        if is_401(&answer) {
            match self.source.renewed(&token).await {
                Ok(Some(renewed)) => {
                    refused = Some(std::mem::replace(&mut token, renewed));
                    answer = self.send(&token).await;
                }
                Ok(None) => {}
                Err(failure) => {
                    return Called {
                        token: Some(token),
                        result: Err(failure),
                        latency: Some(started.elapsed()),
                    };
                }
            }
        }
        if answer.is_ok() && !is_401(&answer) {
            token.was_accepted();
        }
        let latency = Some(started.elapsed());
        let redact = |text: &str| {
            let text = token.access().redact(text);
            match &refused {
                Some(refused) => refused.access().redact(&text),
                None => text,
            }
        };
        let advised = |reason: &str| {
            let odd = reason == "malformed_authorization" && !token.access().is_b64token();
            odd.then_some(advice::ODD_TOKEN)
        };
        let result = self.read(answer, &redact).map_err(|failure| {
            let next = advised(failure.reason().as_written());
            Arc::new(match next {
                Some(next) => failure.next(next),
                None => failure,
            })
        });
        Called {
            token: Some(token),
            result,
            latency,
        }
    }

    async fn send(&self, token: &Token) -> Result<Answer, Fault> {
        let mut request = Request::new(Method::GET, self.url.clone());
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        // A token is visible ASCII, so this always is a header.
        let bearer = format!("Bearer {}", token.access().secret());
        if let Ok(mut bearer) = HeaderValue::from_str(&bearer) {
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        // For what is shown of the exchange: each token that came here is known there.
        let redact = |text: &str| self.source.redact(text);
        self.http.send(request, LARGEST_ANSWER, &redact).await
    }

    fn read(
        &self,
        answer: Result<Answer, Fault>,
        redact: &dyn Fn(&str) -> String,
    ) -> Result<(StatusCode, Document), Failure> {
        let refused = |reason: &str, status: StatusCode| {
            let next = advice::for_service_b(reason, status.as_u16());
            Failure::new(Class::ServiceBRefused, reason, next).at(&self.url)
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(Fault::TooLarge(status, headers)) => {
                return Err(refused("too_large", status).answered(status, &headers, redact));
            }
            Err(Fault::Unreachable { reason, text }) => {
                let next = advice::unreachable_service_b(reason);
                return Err(Failure::new(Class::ServiceBUnreachable, reason, next)
                    .at(&self.url)
                    .described(Some(Foreign::new(&text))));
            }
        };
        let json = serde_json::from_slice::<Value>(&answer.body)
            .ok()
            .map(|json| json.map_text(redact));
        let status = answer.status;
        if status.is_success() {
            let text = || Foreign::new(&redact(&String::from_utf8_lossy(&answer.body)));
            let document = json.map_or_else(|| Document::Text(text()), Document::Json);
            return Ok((status, document));
        }
        let told = |name: &str| json.as_ref().and_then(|json| json.text(name));
        let failure = if status.is_redirection() {
            refused("redirected", status)
        } else {
            match told("reason") {
                Some(reason) => refused(reason, status),
                None => refused(&format!("status_{}", status.as_u16()), status),
            }
        };
        Err(failure
            .answered(status, &answer.headers, redact)
            .error(told("error").map(Foreign::new))
            .described(told("error_description").map(Foreign::new)))
    }
}

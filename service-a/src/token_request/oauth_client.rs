//! The oauth2 crate's HTTP client, implemented with [`Http`].

use std::sync::{Mutex, PoisonError};

use futures::{FutureExt as _, future::BoxFuture};
use oauth2::{
    AsyncHttpClient, EndpointNotSet, HttpRequest, HttpResponse, StandardRevocableToken,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use reqwest::{
    Request, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};

use super::response::{Refusal, TokenResponseBody};
use crate::{
    http::Http,
    response::{HttpError, Redact},
};

/// The largest token response that is read. They are well under 10 KB, even with JWTs.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The oauth2 crate's client with [`TokenResponseBody`] as its token response.
pub(super) type OAuthClient<HasTokenUrl = EndpointNotSet> = oauth2::Client<
    BasicErrorResponse,
    TokenResponseBody,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    HasTokenUrl,
>;

/// The head of a response, which the oauth2 crate does not keep, and the refusal in its body.
pub(super) struct ReceivedResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) refusal: Refusal,
}

/// Sends the oauth2 crate's request and keeps what the crate drops of the response.
pub(super) struct OAuthHttpClient<'a> {
    http: &'a Http,
    /// Replaces the credentials that the crate writes.
    credentials: Option<HeaderValue>,
    redact: Redact<'a>,
    received: Mutex<Option<ReceivedResponse>>,
}

impl<'a> OAuthHttpClient<'a> {
    pub(super) fn new(
        http: &'a Http,
        credentials: Option<HeaderValue>,
        redact: Redact<'a>,
    ) -> Self {
        Self {
            http,
            credentials,
            redact,
            received: Mutex::new(None),
        }
    }

    /// The response to the last request, if there was one.
    pub(super) fn into_received(self) -> Option<ReceivedResponse> {
        self.received
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut request = Request::try_from(request).map_err(|error| HttpError::Unreachable {
            reason: "connection_failed",
            message: error.to_string(),
        })?;
        if let Some(credentials) = &self.credentials {
            request
                .headers_mut()
                .insert(AUTHORIZATION, credentials.clone());
        }
        if let Some(credentials) = request.headers_mut().get_mut(AUTHORIZATION) {
            credentials.set_sensitive(true);
        }
        let outcome = self
            .http
            .send(request, MAX_RESPONSE_BYTES, self.redact)
            .await;
        let received = match &outcome {
            Ok(response) => {
                let refusal = Refusal::parse(&response.body);
                Some((response.status, &response.headers, refusal))
            }
            Err(HttpError::TooLarge(status, headers)) => {
                Some((*status, headers, Refusal::default()))
            }
            Err(HttpError::Unreachable { .. }) => None,
        };
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) =
            received.map(|(status, headers, refusal)| ReceivedResponse {
                status,
                headers: headers.clone(),
                refusal,
            });
        let response = outcome?;
        let mut converted = HttpResponse::new(response.body);
        *converted.status_mut() = response.status;
        *converted.headers_mut() = response.headers;
        Ok(converted)
    }
}

impl<'c> AsyncHttpClient<'c> for OAuthHttpClient<'_> {
    type Error = HttpError;
    type Future = BoxFuture<'c, Result<HttpResponse, HttpError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.send(request).boxed()
    }
}

//! One token request (RFC 6749 section 4.4.2) and its response.

mod oauth_client;
mod response;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use oauth2::{
    AuthType, ClientId, RequestTokenError, Scope, TokenUrl,
    basic::{BasicErrorResponse, BasicTokenType},
};
use reqwest::header::HeaderValue;
use secrecy::zeroize::Zeroizing;

use self::{
    oauth_client::{OAuthClient, OAuthHttpClient, ReceivedResponse},
    response::TokenResponseBody,
};
use crate::{
    advice,
    credential::{ASSERTION_TYPE, Assertion, Credential},
    discovery::TokenEndpoint,
    failure::{Class, Failure},
    grant::{ClientAuth, Grant},
    http::Http,
    response::{HttpError, Redact},
    secret::{AccessToken, ClientSecret},
    untrusted_text::UntrustedText,
};

/// What IBM Verify writes if id and secret do not match.
const IBM_WRONG_CLIENT: &str = "CSIAQ0155E";

/// The type of tokens that are bound to a key, in lower case (RFC 9449 section 5).
const DPOP_TYPE: &str = "dpop";

/// A token as the issuer returned it.
pub(crate) struct NewToken {
    pub(crate) access: AccessToken,
    pub(crate) expires_in: Option<Duration>,
}

/// Why there is no token.
pub(crate) struct TokenRequestError {
    pub(crate) failure: Failure,
    /// The issuer rejects this pair of id and secret.
    pub(crate) wrong_client: bool,
}

impl From<Failure> for TokenRequestError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            wrong_client: false,
        }
    }
}

/// Sends one token request.
pub(crate) async fn send(
    http: &Http,
    grant: &Grant,
    endpoint: &TokenUrl,
    credential: &Credential,
) -> Result<NewToken, TokenRequestError> {
    let assertion = match grant.client_auth {
        ClientAuth::ClientSecretJwt | ClientAuth::PrivateKeyJwt => {
            Some(assertion(grant, endpoint, credential)?)
        }
        ClientAuth::Basic | ClientAuth::BasicRaw | ClientAuth::Post | ClientAuth::None => None,
    };
    let mut oauth = OAuthClient::new(ClientId::new(grant.client_id.clone()))
        .set_auth_type(match grant.client_auth {
            ClientAuth::Basic | ClientAuth::BasicRaw => AuthType::BasicAuth,
            ClientAuth::Post
            | ClientAuth::ClientSecretJwt
            | ClientAuth::PrivateKeyJwt
            | ClientAuth::None => AuthType::RequestBody,
        })
        .set_token_uri(endpoint.clone());
    if let (Credential::Secret(secret), None) = (credential, &assertion) {
        oauth = oauth.set_client_secret(oauth2::ClientSecret::new(secret.secret().to_owned()));
    }
    let mut request = oauth
        .exchange_client_credentials()
        .add_scopes(grant.scopes.iter().cloned().map(Scope::new));
    if let Some(audience) = &grant.audience {
        request = request.add_extra_param("audience", audience);
    }
    for resource in &grant.resources {
        request = request.add_extra_param("resource", resource);
    }
    if let Some(assertion) = &assertion {
        request = request
            .add_extra_param("client_assertion_type", ASSERTION_TYPE)
            .add_extra_param("client_assertion", assertion.secret());
    }
    let redact = |text: &str| {
        let text = credential.redact(&grant.client_id, text);
        match &assertion {
            Some(assertion) => assertion.redact(&text),
            None => text,
        }
    };
    let credentials = match (grant.client_auth, credential) {
        (ClientAuth::BasicRaw, Credential::Secret(secret)) => {
            raw_credentials(&grant.client_id, secret)
        }
        _ => None,
    };
    let client = OAuthHttpClient::new(http, credentials, &redact);
    let outcome = request.request_async(&client).await;
    let received = client.into_received();
    match outcome {
        Ok(body) => {
            check_token(body, grant, http.uses_dpop(), endpoint).map_err(TokenRequestError::from)
        }
        Err(error) => Err(explain(
            error, received, grant, credential, &redact, endpoint,
        )),
    }
}

/// The audience is the issuer: an assertion for a token endpoint could be meant for another
/// issuer's (draft-ietf-oauth-rfc7523bis). Without an issuer it is the token endpoint (RFC 7523
/// section 3).
fn assertion(
    grant: &Grant,
    endpoint: &TokenUrl,
    credential: &Credential,
) -> Result<Assertion, Failure> {
    let audience = match (&grant.assertion_audience, &grant.endpoint) {
        (Some(audience), _) => audience,
        (None, TokenEndpoint::Discover(issuer)) => issuer.as_str(),
        (None, TokenEndpoint::Fixed(_)) => endpoint.as_str(),
    };
    Assertion::new(credential, &grant.client_id, audience).ok_or_else(|| {
        Failure::new(Class::Usage, "cannot_sign", advice::CANNOT_SIGN).with_url(endpoint.url())
    })
}

/// Basic credentials of RFC 7617 section 2, without the form encoding of RFC 6749 section 2.3.1.
fn raw_credentials(client_id: &str, secret: &ClientSecret) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{client_id}:{}", secret.secret()));
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    HeaderValue::from_str(&value).ok()
}

/// Checks that the token can be used.
fn check_token(
    body: TokenResponseBody,
    grant: &Grant,
    uses_dpop: bool,
    endpoint: &TokenUrl,
) -> Result<NewToken, Failure> {
    let unusable = |text| {
        let next = advice::for_issuer("unusable_token", grant.endpoint.setting());
        Failure::new(Class::IssuerRefused, "unusable_token", next)
            .with_url(endpoint.url())
            .with_description(Some(UntrustedText::new(text)))
    };
    // A client must not use a token whose type it does not understand (RFC 6749 section 7.1).
    match &body.token_type {
        BasicTokenType::Extension(name) if uses_dpop && name == DPOP_TYPE => {}
        // It would work for whoever steals it (RFC 9449 section 5).
        _ if uses_dpop => {
            return Err(
                unusable("the issuer gave a token that is not bound to the key")
                    .with_next(advice::NOT_BOUND),
            );
        }
        BasicTokenType::Bearer => {}
        _ => {
            return Err(unusable(
                "the issuer gave a token of a type other than Bearer",
            ));
        }
    }
    let access = AccessToken::new(body.access_token.into_secret())
        .ok_or_else(|| unusable("the issuer gave a token that no Authorization header can hold"))?;
    Ok(NewToken {
        access,
        expires_in: body.expires_in,
    })
}

/// Explains a token request that failed, by what the issuer said and with which status.
fn explain(
    error: RequestTokenError<HttpError, BasicErrorResponse>,
    received: Option<ReceivedResponse>,
    grant: &Grant,
    credential: &Credential,
    redact: Redact<'_>,
    endpoint: &TokenUrl,
) -> TokenRequestError {
    let untrusted = |text: &str| UntrustedText::new(&redact(text));
    let setting = grant.endpoint.setting();
    if let RequestTokenError::Request(HttpError::Unreachable { reason, message }) = error {
        let next = advice::unreachable_issuer(reason, setting);
        return Failure::new(Class::IssuerUnreachable, reason, next)
            .with_url(endpoint.url())
            .with_description(Some(UntrustedText::new(&message)))
            .into();
    }
    let too_large = matches!(error, RequestTokenError::Request(HttpError::TooLarge(..)));
    let status = received
        .as_ref()
        .map_or(0, |received| received.status.as_u16());
    let refusal = received.as_ref().map(|received| &received.refusal);
    // The body of a redirect does not explain a refusal.
    let refusal = refusal.filter(|_| !(300..400).contains(&status));
    let code = refusal.and_then(|refusal| refusal.code.as_deref());
    let description = code
        .and(refusal)
        .and_then(|refusal| refusal.description.as_deref());
    let reason = code.unwrap_or(match status {
        _ if too_large => "too_large",
        200 => "token_answer_not_understood",
        300..400 => "redirected",
        404 | 405 => "no_token_endpoint",
        429 => "issuer_overloaded",
        500.. => "issuer_failed",
        _ => "unexpected_answer",
    });
    let wrong_client = match (code, status) {
        (Some("invalid_client" | "invalid_client_id"), _) => true,
        // Keycloak's and Auth0's response to a wrong secret; RFC 6749 section 5.2 has no 401 for
        // these codes.
        (Some("unauthorized_client" | "access_denied"), 401) => true,
        (Some(_), _) => description.is_some_and(|text| text.contains(IBM_WRONG_CLIENT)),
        // Glewlwyd sends no body. A page would come from a firewall or a proxy.
        (None, 401 | 403) => refusal.is_some_and(|refusal| refusal.is_empty),
        (None, _) => false,
    };
    let encoded = match (grant.client_auth, credential) {
        (ClientAuth::Basic, Credential::Secret(secret)) => {
            [grant.client_id.as_str(), secret.secret()]
                .into_iter()
                .any(is_changed_by_encoding)
        }
        _ => false,
    };
    let next = match reason {
        // Such an issuer does not distinguish a wrong secret from a forbidden grant type.
        "unauthorized_client" => advice::for_issuer(reason, setting),
        _ if wrong_client && encoded => advice::ENCODED_CLIENT,
        _ if wrong_client => match grant.client_auth {
            ClientAuth::PrivateKeyJwt => advice::REJECTED_KEY,
            ClientAuth::ClientSecretJwt => advice::REJECTED_ASSERTION,
            ClientAuth::None => advice::REJECTED_CERTIFICATE,
            ClientAuth::Basic | ClientAuth::BasicRaw | ClientAuth::Post => {
                advice::for_issuer("invalid_client", setting)
            }
        },
        _ => advice::for_issuer(reason, setting),
    };
    let mut failure = Failure::new(Class::IssuerRefused, &redact(reason), next)
        .with_url(endpoint.url())
        .with_error(code.map(untrusted))
        .with_description(description.map(untrusted));
    if let Some(received) = &received {
        failure = failure.with_response(received.status, &received.headers, redact);
    }
    TokenRequestError {
        failure,
        wrong_client,
    }
}

/// Whether an issuer that does not form-decode would see another value (RFC 6749 section 2.3.1).
fn is_changed_by_encoding(value: &str) -> bool {
    !form_urlencoded::byte_serialize(value.as_bytes()).eq([value])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_2_3_1_values_that_form_encoding_changes_are_recognised() {
        let table = [
            ("s3cret", false),
            ("a-b_c.d*e", false),
            ("a b", true),
            ("a~b", true),
            ("a%b", true),
            ("é", true),
        ];
        for (value, changed) in table {
            assert_eq!(is_changed_by_encoding(value), changed, "{value}");
        }
    }
}

//! One token request (RFC 6749 section 4.4.2) and what the issuer answers to it.

use std::{
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt as _, future::BoxFuture};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, EndpointNotSet, HttpRequest, HttpResponse, RefreshToken,
    RequestTokenError, Scope, StandardRevocableToken, TokenResponse, TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use reqwest::{
    Request, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Deserializer, Serialize, de::IntoDeserializer as _};

use crate::{
    advice,
    cli::ClientAuth,
    failure::{Class, Failure},
    http::{Fault, Http, Redact},
    secret::{AccessToken, ClientSecret},
    settings::Grant,
    text::Foreign,
    value::Value,
};

/// Token answers are well under 10 KB, JWTs included.
const LARGEST_TOKEN_ANSWER: usize = 64 * 1024;
/// What IBM Verify says when id and secret do not match.
const IBM_WRONG_CLIENT: &str = "CSIAQ0155E";
/// What Apigee calls its Bearer tokens, in lower case.
const APIGEE_BEARER: &str = "bearertoken";

/// A token as the issuer gave it.
pub(crate) struct Granted {
    pub(crate) access: AccessToken,
    pub(crate) expires_in: Option<Duration>,
}

/// No token.
pub(crate) struct Refused {
    pub(crate) failure: Failure,
    /// The issuer does not know this pair of id and secret.
    pub(crate) wrong_client: bool,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            wrong_client: false,
        }
    }
}

/// Asks for a token once.
pub(crate) async fn token(
    http: &Http,
    grant: &Grant,
    endpoint: &TokenUrl,
    secret: &ClientSecret,
) -> Result<Granted, Refused> {
    let oauth = OAuthClient::new(ClientId::new(grant.client_id.clone()))
        .set_client_secret(oauth2::ClientSecret::new(secret.secret().to_owned()))
        .set_auth_type(match grant.client_auth {
            ClientAuth::Basic | ClientAuth::BasicRaw => AuthType::BasicAuth,
            ClientAuth::Post => AuthType::RequestBody,
        })
        .set_token_uri(endpoint.clone());
    let mut request = oauth
        .exchange_client_credentials()
        .add_scopes(grant.scopes.iter().cloned().map(Scope::new));
    if let Some(audience) = &grant.audience {
        request = request.add_extra_param("audience", audience);
    }
    for resource in &grant.resources {
        request = request.add_extra_param("resource", resource);
    }
    let redact = |text: &str| secret.redact(&grant.client_id, text);
    let credentials = match grant.client_auth {
        ClientAuth::BasicRaw => raw_credentials(&grant.client_id, secret),
        ClientAuth::Basic | ClientAuth::Post => None,
    };
    let bridge = Bridge {
        http,
        credentials,
        redact: &redact,
        heard: Mutex::new(None),
    };
    let answer = request.request_async(&bridge).await;
    let heard = bridge.into_heard();
    let error = match answer {
        Ok(answer) => return granted(answer, grant, endpoint).map_err(Refused::from),
        Err(error) => error,
    };
    Err(refused(error, heard, grant, secret, endpoint))
}

/// RFC 7617 section 2, without the encoding of RFC 6749 section 2.3.1.
fn raw_credentials(client_id: &str, secret: &ClientSecret) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{client_id}:{}", secret.secret()));
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    HeaderValue::from_str(&value).ok()
}

fn granted(answer: TokenAnswer, grant: &Grant, endpoint: &TokenUrl) -> Result<Granted, Failure> {
    let unusable = |text| {
        let next = advice::for_issuer("unusable_token", grant.endpoint.setting());
        Failure::new(Class::IssuerRefused, "unusable_token", next)
            .at(endpoint.url())
            .described(Some(Foreign::new(text)))
    };
    // RFC 6749 section 7.1: a type that we do not understand must not be used.
    if answer.token_type != BasicTokenType::Bearer {
        return Err(unusable(
            "the issuer gave a token of another type than Bearer",
        ));
    }
    let access = AccessToken::new(answer.access_token.into_secret())
        .ok_or_else(|| unusable("the issuer gave a token that no Authorization header can hold"))?;
    Ok(Granted {
        access,
        expires_in: answer.expires_in,
    })
}

/// What an issuer says in a refusal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    code: Option<String>,
    description: Option<String>,
    /// There is no body.
    silent: bool,
}

impl Told {
    /// RFC 6749 section 5.2, or what Okta writes in its place. The status does not matter: some issuers refuse with 200.
    fn read(body: &[u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            return Self {
                silent: body.trim_ascii().is_empty(),
                ..Self::default()
            };
        };
        let member = |name: &str| {
            let text = json.text(name).filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        Self {
            code: member("error").or_else(|| member("errorCode")),
            description: member("error_description").or_else(|| member("errorSummary")),
            silent: false,
        }
    }
}

/// The head of the answer, which the crate does not keep, and what a refusal said.
struct Heard {
    status: StatusCode,
    headers: HeaderMap,
    told: Told,
}

fn refused(
    error: RequestTokenError<Fault, BasicErrorResponse>,
    heard: Option<Heard>,
    grant: &Grant,
    secret: &ClientSecret,
    endpoint: &TokenUrl,
) -> Refused {
    let redact = |text: &str| secret.redact(&grant.client_id, text);
    let foreign = |text: &str| Foreign::new(&redact(text));
    let setting = grant.endpoint.setting();
    if let RequestTokenError::Request(Fault::Unreachable { reason, text }) = error {
        let next = advice::unreachable_issuer(reason, setting);
        return Failure::new(Class::IssuerUnreachable, reason, next)
            .at(endpoint.url())
            .described(Some(Foreign::new(&text)))
            .into();
    }
    let too_large = matches!(error, RequestTokenError::Request(Fault::TooLarge(..)));
    let status = heard.as_ref().map_or(0, |heard| heard.status.as_u16());
    let told = heard.as_ref().map(|heard| &heard.told);
    // A redirect is not followed, and nothing in it explains why the issuer would refuse.
    let told = told.filter(|_| !(300..400).contains(&status));
    let code = told.and_then(|told| told.code.as_deref());
    let description = code.and(told).and_then(|told| told.description.as_deref());
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
        // Keycloak and Auth0 answer so to a wrong secret; RFC 6749 section 5.2 has no 401 for these.
        (Some("unauthorized_client" | "access_denied"), 401) => true,
        (Some(_), _) => description.is_some_and(|text| text.contains(IBM_WRONG_CLIENT)),
        // Glewlwyd says nothing at all; a page is a firewall's or a proxy's.
        (None, 401 | 403) => told.is_some_and(|told| told.silent),
        (None, _) => false,
    };
    let encoded = grant.client_auth == ClientAuth::Basic
        && [grant.client_id.as_str(), secret.secret()]
            .into_iter()
            .any(is_changed_by_encoding);
    let next = match reason {
        // Two faults that such an issuer does not tell apart.
        "unauthorized_client" => advice::for_issuer(reason, setting),
        _ if wrong_client && encoded => advice::ENCODED_CLIENT,
        _ if wrong_client => advice::for_issuer("invalid_client", setting),
        _ => advice::for_issuer(reason, setting),
    };
    let mut failure = Failure::new(Class::IssuerRefused, &redact(reason), next)
        .at(endpoint.url())
        .error(code.map(foreign))
        .described(description.map(foreign));
    if let Some(heard) = &heard {
        failure = failure.answered(heard.status, &heard.headers, &redact);
    }
    Refused {
        failure,
        wrong_client,
    }
}

/// Whether an issuer that does not form-decode would see something else (RFC 6749 section 2.3.1).
fn is_changed_by_encoding(value: &str) -> bool {
    !form_urlencoded::byte_serialize(value.as_bytes()).eq([value])
}

/// The bridge from the oauth2 crate to reqwest.
struct Bridge<'a> {
    http: &'a Http,
    /// In place of those that the crate writes.
    credentials: Option<HeaderValue>,
    redact: Redact<'a>,
    heard: Mutex<Option<Heard>>,
}

impl Bridge<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Fault> {
        let mut request = Request::try_from(request).map_err(|error| Fault::Unreachable {
            reason: "connection_failed",
            text: error.to_string(),
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
            .send(request, LARGEST_TOKEN_ANSWER, self.redact)
            .await;
        let heard = match &outcome {
            Ok(answer) => Some((answer.status, &answer.headers, Told::read(&answer.body))),
            Err(Fault::TooLarge(status, headers)) => Some((*status, headers, Told::default())),
            Err(Fault::Unreachable { .. }) => None,
        };
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) =
            heard.map(|(status, headers, told)| Heard {
                status,
                headers: headers.clone(),
                told,
            });
        let answer = outcome?;
        let mut response = HttpResponse::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    fn into_heard(self) -> Option<Heard> {
        self.heard
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'c> AsyncHttpClient<'c> for Bridge<'_> {
    type Error = Fault;
    type Future = BoxFuture<'c, Result<HttpResponse, Fault>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.send(request).boxed()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no complete answer")
    }
}

impl Error for Fault {}

type OAuthClient<HasTokenUrl = EndpointNotSet> = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    HasTokenUrl,
>;

/// RFC 6749 section 5.1. Only what we use; unlike the crate's own type the token can be moved out of it.
#[derive(Debug, Deserialize, Serialize)]
struct TokenAnswer {
    access_token: oauth2::AccessToken,
    #[serde(deserialize_with = "in_any_case")]
    token_type: BasicTokenType,
    #[serde(default, deserialize_with = "lifetime")]
    expires_in: Option<Duration>,
}

impl TokenResponse for TokenAnswer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &oauth2::AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// `bearer` at one issuer is `Bearer` at the next (RFC 6749 section 5.1: case insensitive), and `BearerToken` at Apigee.
fn in_any_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BasicTokenType, D::Error> {
    let name = String::deserialize(deserializer)?.to_ascii_lowercase();
    if name == APIGEE_BEARER {
        return Ok(BasicTokenType::Bearer);
    }
    BasicTokenType::deserialize(name.into_deserializer())
}

/// Some issuers write the number as a string. What is no time at all is unknown, not an error: the token works without.
fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let seconds = match &value {
        serde_json::Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    };
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_all_shapes_are_read() {
        let told = |code: Option<&str>, description: Option<&str>, silent| Told {
            code: code.map(str::to_owned),
            description: description.map(str::to_owned),
            silent,
        };
        let table = [
            ("", told(None, None, true)),
            (" \n", told(None, None, true)),
            ("{}", told(None, None, false)),
            ("[]", told(None, None, false)),
            (r#"{"error":null}"#, told(None, None, false)),
            (r#"{"error":""}"#, told(None, None, false)),
            (r#"{"error":{"code":1}}"#, told(None, None, false)),
            (
                r#"{"error":"invalid_scope"}"#,
                told(Some("invalid_scope"), None, false),
            ),
            (
                r#"{"error":"invalid_scope","error_description":"no","errorCode":"E1","errorSummary":"x"}"#,
                told(Some("invalid_scope"), Some("no"), false),
            ),
            (
                r#"{"errorCode":"invalid_client","errorSummary":"No."}"#,
                told(Some("invalid_client"), Some("No."), false),
            ),
            ("<html></html>", told(None, None, false)),
        ];
        for (body, expected) in table {
            assert_eq!(Told::read(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn rfc6749_2_3_1_what_form_encoding_changes_is_known() {
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

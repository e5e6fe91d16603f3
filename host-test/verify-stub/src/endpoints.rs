//! The normal behaviour of IBM Verify's endpoints.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE},
};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{
    assertions::{self, ASSERTION_TYPE},
    clients::{StubClient, authenticate, authenticate_by_token},
    dpop,
    jwt::SigningAlgorithm,
    reaction::StubResponse,
    record::{Endpoint, RecordedRequest},
    signed_responses::signed,
    state::{State, TokenStatus},
    tokens::{TokenSpec, seconds},
    urls::Provider,
};

/// A response and, for the log, its explanation.
pub(super) struct Outcome {
    pub(super) response: StubResponse,
    pub(super) note: &'static str,
    pub(super) client: Option<String>,
}

impl Outcome {
    const fn new(response: StubResponse, note: &'static str) -> Self {
        Self {
            response,
            note,
            client: None,
        }
    }

    fn with_client(self, client: &StubClient) -> Self {
        Self {
            client: Some(client.name.clone()),
            ..self
        }
    }
}

/// Responds to one request.
pub(super) fn respond(state: &State, provider: Provider, request: &RecordedRequest) -> Outcome {
    match request.endpoint {
        Endpoint::Token => token(state, provider, request),
        Endpoint::Introspect => introspect(state, provider, request),
        Endpoint::Revoke => revoke(state, provider, request),
        Endpoint::Discovery | Endpoint::Metadata => {
            document(request, || discovery(state, provider))
        }
        Endpoint::Jwks => document(request, || {
            StubResponse::json(StatusCode::OK, &state.keys.set())
        }),
        Endpoint::Other => Outcome::new(StubResponse::unknown_url(), "unknown URL"),
    }
}

/// RFC 6749 section 4.4.
fn token(state: &State, provider: Provider, request: &RecordedRequest) -> Outcome {
    if let Err(refusal) = check_form(request) {
        return refusal;
    }
    let client = match client(state, provider, request) {
        Ok(client) => client,
        Err(AuthenticationError::TwoMethods) => return two_methods(),
        Err(AuthenticationError::WrongCredentials(note)) => {
            let mut response = StubResponse::invalid_client();
            // The scheme that the client used (RFC 6749 section 5.2).
            if request.headers.contains_key(AUTHORIZATION) {
                let challenge = HeaderValue::from_static(r#"Basic realm="verify-stub""#);
                response = response.header(WWW_AUTHENTICATE, challenge);
            }
            return Outcome::new(response, note);
        }
    };
    match request.parameter("grant_type") {
        Some("client_credentials") => {}
        None => {
            let text = "The grant_type parameter is missing.";
            return bad_request("invalid_request", text, "no grant type").with_client(client);
        }
        Some(_) => {
            let text = "Only the client_credentials grant is supported.";
            return bad_request("unsupported_grant_type", text, "other grant type")
                .with_client(client);
        }
    }
    let scope = request.parameter("scope").unwrap_or_default();
    if !is_scope(scope) {
        let text = "A scope is malformed.";
        return bad_request("invalid_scope", text, "scope refused").with_client(client);
    }
    let mut spec = TokenSpec::default().client(client.id.clone()).scope(scope);
    let resources: Vec<_> = request.parameters("resource").collect();
    if !resources.is_empty() {
        // RFC 8707 section 2.
        spec = spec.audience(resources);
    }
    let nonce = state.dpop_nonce();
    let send_nonce = |response: StubResponse| match nonce.as_deref().map(HeaderValue::from_str) {
        Some(Ok(nonce)) => response.header(dpop::NONCE, nonce),
        Some(Err(_)) | None => response,
    };
    let url = &state.urls(provider).token;
    let key = match dpop::check(request, url, nonce.as_deref(), &state.used_proofs) {
        Ok(key) => key,
        Err(error) => {
            let (response, note) = error.response();
            return Outcome::new(send_nonce(response), note).with_client(client);
        }
    };
    let token_type = match key {
        Some(key) => {
            spec = spec.bound_to(&key);
            "DPoP"
        }
        None => provider.token_type(),
    };
    let Ok((token, grant_id)) = state.issue(provider, spec) else {
        let response = StubResponse::new(StatusCode::INTERNAL_SERVER_ERROR);
        return Outcome::new(response, "no token").with_client(client);
    };
    let document = json!({
        "access_token": token,
        "expires_in": seconds(state.token_lifetime),
        "grant_id": grant_id,
        "scope": scope,
        "token_type": token_type,
    });
    Outcome::new(
        send_nonce(no_store(StubResponse::json(StatusCode::OK, &document))),
        "token issued",
    )
    .with_client(client)
}

/// RFC 7662 section 2, and RFC 9701 for clients that are registered for it.
fn introspect(state: &State, provider: Provider, request: &RecordedRequest) -> Outcome {
    let (client, token) = match client_and_token(state, provider, request) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let (response, note) = match state.introspect(token, client, provider) {
        TokenStatus::Active(document) => (StubResponse::document(document), "active"),
        TokenStatus::Unknown => (StubResponse::inactive(), "inactive: unknown"),
        TokenStatus::Expired => (StubResponse::inactive(), "inactive: expired"),
        TokenStatus::Revoked => (StubResponse::inactive(), "inactive: revoked"),
        TokenStatus::OtherClient => (StubResponse::inactive(), "inactive: another client's"),
    };
    let issuer = &state.urls(provider).issuer;
    let Ok(response) = signed(state, issuer, client, &request.headers, response) else {
        let response = StubResponse::new(StatusCode::INTERNAL_SERVER_ERROR);
        return Outcome::new(response, "not signed").with_client(client);
    };
    Outcome::new(no_store(response), note).with_client(client)
}

/// RFC 7009 section 2.
fn revoke(state: &State, provider: Provider, request: &RecordedRequest) -> Outcome {
    let (client, token) = match client_and_token(state, provider, request) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    if !state.revoke(token, Some(&client.id)) {
        let text = "The token belongs to another client.";
        return bad_request("unauthorized_client", text, "another client's").with_client(client);
    }
    // The same for an unknown token (RFC 7009 section 2.2).
    Outcome::new(StubResponse::new(StatusCode::OK), "revoked").with_client(client)
}

fn discovery(state: &State, provider: Provider) -> StubResponse {
    let urls = state.urls(provider);
    let authentication = [
        "client_secret_basic",
        "client_secret_post",
        "client_secret_jwt",
        "private_key_jwt",
    ];
    let algorithms = ["HS256", "RS256", "PS256", "ES256", "EdDSA"];
    StubResponse::json(
        StatusCode::OK,
        &json!({
            "issuer": urls.issuer,
            "token_endpoint": urls.token,
            "introspection_endpoint": urls.introspect,
            "revocation_endpoint": urls.revoke,
            "jwks_uri": urls.jwks,
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": SigningAlgorithm::ALL.map(SigningAlgorithm::name),
            "introspection_signing_alg_values_supported": SigningAlgorithm::ALL.map(SigningAlgorithm::name),
            "dpop_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA"],
            "token_endpoint_auth_methods_supported": authentication,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": authentication,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": authentication,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        }),
    )
}

fn document(request: &RecordedRequest, make: impl FnOnce() -> StubResponse) -> Outcome {
    if request.method == Method::GET || request.method == Method::HEAD {
        Outcome::new(make(), "document")
    } else {
        wrong_method("GET, HEAD")
    }
}

/// The client and the token of an introspection or revocation request (RFC 7662 section 2.1, RFC
/// 7009 section 2.1).
fn client_and_token<'a>(
    state: &'a State,
    provider: Provider,
    request: &'a RecordedRequest,
) -> Result<(&'a StubClient, &'a str), Outcome> {
    check_form(request)?;
    let client = client(state, provider, request).map_err(|error| match error {
        AuthenticationError::TwoMethods => two_methods(),
        AuthenticationError::WrongCredentials(note) => {
            Outcome::new(StubResponse::request_unauthorized(), note)
        }
    })?;
    let token = request.parameter("token").ok_or_else(|| {
        let text = "The token parameter is missing.";
        bad_request("invalid_request", text, "no token").with_client(client)
    })?;
    Ok((client, token))
}

/// Checks that the request is a form without repeated parameters (RFC 6749 section 3.2), but for
/// `resource` (RFC 8707 section 2).
fn check_form(request: &RecordedRequest) -> Result<(), Outcome> {
    if request.method != Method::POST {
        return Err(wrong_method("POST"));
    }
    if !is_form(&request.headers) {
        let text = "The body is not application/x-www-form-urlencoded.";
        return Err(bad_request("invalid_request", text, "no form"));
    }
    let names = request.form.iter().map(|(name, _)| name.as_str());
    let mut names: Vec<_> = names.filter(|name| *name != "resource").collect();
    names.sort_unstable();
    if names
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
    {
        let text = "A parameter occurs more than once.";
        return Err(bad_request("invalid_request", text, "repeated parameter"));
    }
    Ok(())
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = value.and_then(|value| value.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

enum AuthenticationError {
    /// No client has these credentials, or there are none. With what to log.
    WrongCredentials(&'static str),
    /// A client must not use two methods in one request (RFC 6749 section 2.3).
    TwoMethods,
}

/// Authenticates the client by `client_secret_basic` or `client_secret_post` (RFC 6749 section
/// 2.3.1), by an assertion (RFC 7523), by the certificate that the connection needed (RFC 8705
/// section 2), or for introspection by an access token (RFC 7662 section 2.1).
fn client<'a>(
    state: &'a State,
    provider: Provider,
    request: &RecordedRequest,
) -> Result<&'a StubClient, AuthenticationError> {
    const WRONG: AuthenticationError =
        AuthenticationError::WrongCredentials("wrong client credentials");
    let secret = request.parameter("client_secret");
    let mut headers = request.headers.get_all(AUTHORIZATION).iter();
    if let Some(assertion) = request.parameter("client_assertion") {
        if secret.is_some() || headers.next().is_some() {
            return Err(AuthenticationError::TwoMethods);
        }
        if request.parameter("client_assertion_type") != Some(ASSERTION_TYPE) {
            return Err(AuthenticationError::WrongCredentials(
                "unknown type of assertion",
            ));
        }
        return assertions::authenticate(
            &state.clients,
            assertion,
            request.parameter("client_id"),
            state.urls(provider),
            &state.used_assertions,
        )
        .map_err(AuthenticationError::WrongCredentials);
    }
    if request.endpoint == Endpoint::Introspect
        && let Some(token) = bearer(request)
    {
        return authenticate_by_token(&state.clients, token).ok_or(WRONG);
    }
    let id = request.parameter("client_id");
    if secret.is_none()
        && !request.headers.contains_key(AUTHORIZATION)
        && let (Some(id), Some(owner)) = (id, &state.certificate_owner)
    {
        let owner = state.client(owner).ok().filter(|owner| owner.id == id);
        return owner.ok_or(WRONG);
    }
    let (id, secret) = match (headers.next(), secret) {
        (Some(_), Some(_)) => return Err(AuthenticationError::TwoMethods),
        (Some(header), None) if headers.next().is_none() => basic(header).ok_or(WRONG)?,
        (None, Some(secret)) => (id.ok_or(WRONG)?.to_owned(), secret.to_owned()),
        _ => return Err(WRONG),
    };
    authenticate(&state.clients, &id, &secret).ok_or(WRONG)
}

/// The only access token in the Authorization header (RFC 6750 section 2.1).
fn bearer(request: &RecordedRequest) -> Option<&str> {
    let mut headers = request.headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = headers.next()?.to_str().ok()?.split_once(' ')?;
    (headers.next().is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(token)
}

/// Decodes Basic credentials: both parts are form-encoded (RFC 6749 section 2.3.1).
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |part: &str| -> Option<String> {
        let spaced = part.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
        Some(decoded.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

/// Whether the scope is empty or a list of scope tokens (RFC 6749 section 3.3).
fn is_scope(scope: &str) -> bool {
    let is_scope_token = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'))
    };
    scope.is_empty() || scope.split(' ').all(is_scope_token)
}

/// Forbids caching (RFC 6749 section 5.1).
fn no_store(response: StubResponse) -> StubResponse {
    response
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(PRAGMA, HeaderValue::from_static("no-cache"))
}

fn bad_request(error: &str, text: &str, note: &'static str) -> Outcome {
    let response = StubResponse::error(StatusCode::BAD_REQUEST, error, text);
    Outcome::new(response, note)
}

fn two_methods() -> Outcome {
    let text = "The client uses two authentication methods.";
    bad_request("invalid_request", text, "two client authentications")
}

fn wrong_method(allowed: &'static str) -> Outcome {
    let response = StubResponse::error(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request",
        "This endpoint does not support the method.",
    )
    .header(ALLOW, HeaderValue::from_static(allowed));
    Outcome::new(response, "wrong method")
}

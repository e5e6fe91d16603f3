//! What IBM Verify answers when nothing goes wrong on its side.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE},
};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{
    clients::{StubClient, authenticate},
    reaction::StubAnswer,
    record::{Endpoint, RecordedRequest},
    state::{Known, State},
    tokens::{TokenSpec, seconds},
    urls::Provider,
};

/// An answer and, for the log, what stands behind it.
pub(super) struct Outcome {
    pub(super) answer: StubAnswer,
    pub(super) note: &'static str,
    pub(super) client: Option<String>,
}

impl Outcome {
    const fn new(answer: StubAnswer, note: &'static str) -> Self {
        Self {
            answer,
            note,
            client: None,
        }
    }

    fn of(self, client: &StubClient) -> Self {
        Self {
            client: Some(client.name.clone()),
            ..self
        }
    }
}

/// Answers one request.
pub(super) fn answer(state: &State, provider: Provider, request: &RecordedRequest) -> Outcome {
    match request.endpoint {
        Endpoint::Token => token(state, provider, request),
        Endpoint::Introspect => introspect(state, provider, request),
        Endpoint::Revoke => revoke(state, request),
        Endpoint::Discovery => document(request, || discovery(state, provider)),
        // Opaque tokens are signed with nothing.
        Endpoint::Jwks => document(request, || {
            StubAnswer::json(StatusCode::OK, &json!({"keys": []}))
        }),
        Endpoint::Other => Outcome::new(StubAnswer::wrong_url(), "no such page"),
    }
}

/// RFC 6749 section 4.4.
fn token(state: &State, provider: Provider, request: &RecordedRequest) -> Outcome {
    if let Err(refusal) = form(request) {
        return refusal;
    }
    let client = match client(state, request) {
        Ok(client) => client,
        Err(Refused::Twice) => return twice(),
        Err(Refused::Wrong) => {
            let mut answer = StubAnswer::invalid_client();
            // RFC 6749 section 5.2: the scheme that the client used.
            if request.headers.contains_key(AUTHORIZATION) {
                let challenge = HeaderValue::from_static(r#"Basic realm="verify-stub""#);
                answer = answer.header(WWW_AUTHENTICATE, challenge);
            }
            return Outcome::new(answer, "wrong client credentials");
        }
    };
    match request.parameter("grant_type") {
        Some("client_credentials") => {}
        None => {
            let text = "The grant_type parameter is missing.";
            return bad_request("invalid_request", text, "no grant type").of(client);
        }
        Some(_) => {
            let text = "Only the client_credentials grant is known here.";
            return bad_request("unsupported_grant_type", text, "other grant type").of(client);
        }
    }
    let scope = request.parameter("scope").unwrap_or_default();
    let Some(scope) = granted_scope(client, scope) else {
        let text = "A scope is malformed, or not for this client.";
        return bad_request("invalid_scope", text, "scope refused").of(client);
    };
    let spec = TokenSpec::default()
        .client(client.id.clone())
        .scope(scope.clone());
    let Ok((token, grant_id)) = state.issue(spec) else {
        let answer = StubAnswer::new(StatusCode::INTERNAL_SERVER_ERROR);
        return Outcome::new(answer, "no token").of(client);
    };
    let document = json!({
        "access_token": token,
        "expires_in": seconds(state.token_lifetime),
        "grant_id": grant_id,
        "scope": scope,
        "token_type": provider.token_type(),
    });
    Outcome::new(
        private(StubAnswer::json(StatusCode::OK, &document)),
        "token issued",
    )
    .of(client)
}

/// RFC 7662 section 2.
fn introspect(state: &State, provider: Provider, request: &RecordedRequest) -> Outcome {
    let (client, token) = match about_a_token(state, request) {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    let (answer, note) = match state.introspect(token, client, provider) {
        Known::Yes(document) => (StubAnswer::document(document), "active"),
        Known::Unknown => (StubAnswer::inactive(), "inactive: unknown"),
        Known::Expired => (StubAnswer::inactive(), "inactive: expired"),
        Known::Revoked => (StubAnswer::inactive(), "inactive: revoked"),
        Known::Foreign => (StubAnswer::inactive(), "inactive: another client's"),
    };
    Outcome::new(private(answer), note).of(client)
}

/// RFC 7009 section 2.
fn revoke(state: &State, request: &RecordedRequest) -> Outcome {
    let (client, token) = match about_a_token(state, request) {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    if !state.revoke(token, Some(&client.id)) {
        let text = "The token belongs to another client.";
        return bad_request("unauthorized_client", text, "another client's").of(client);
    }
    // RFC 7009 section 2.2: for a token that is unknown too.
    Outcome::new(StubAnswer::new(StatusCode::OK), "revoked").of(client)
}

fn discovery(state: &State, provider: Provider) -> StubAnswer {
    let urls = state.urls(provider);
    let authentication = ["client_secret_basic", "client_secret_post"];
    StubAnswer::json(
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
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": authentication,
            "introspection_endpoint_auth_methods_supported": authentication,
            "revocation_endpoint_auth_methods_supported": authentication,
        }),
    )
}

fn document(request: &RecordedRequest, make: impl FnOnce() -> StubAnswer) -> Outcome {
    if request.method == Method::GET || request.method == Method::HEAD {
        Outcome::new(make(), "document")
    } else {
        wrong_method("GET, HEAD")
    }
}

/// Who asks about which token: the same at introspection and at revocation (RFC 7662 section 2.1, RFC 7009 section 2.1).
fn about_a_token<'a>(
    state: &'a State,
    request: &'a RecordedRequest,
) -> Result<(&'a StubClient, &'a str), Outcome> {
    form(request)?;
    let client = client(state, request).map_err(|refused| match refused {
        Refused::Twice => twice(),
        Refused::Wrong => Outcome::new(
            StubAnswer::request_unauthorized(),
            "wrong client credentials",
        ),
    })?;
    let token = request.parameter("token").ok_or_else(|| {
        let text = "The token parameter is missing.";
        bad_request("invalid_request", text, "no token").of(client)
    })?;
    Ok((client, token))
}

/// Whether the request is a form with every parameter at most once (RFC 6749 section 3.2).
fn form(request: &RecordedRequest) -> Result<(), Outcome> {
    if request.method != Method::POST {
        return Err(wrong_method("POST"));
    }
    if !is_form(&request.headers) {
        let text = "The body is not application/x-www-form-urlencoded.";
        return Err(bad_request("invalid_request", text, "no form"));
    }
    let mut names: Vec<_> = request.form.iter().map(|(name, _)| name).collect();
    names.sort();
    if names
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
    {
        let text = "A parameter is there more than once.";
        return Err(bad_request("invalid_request", text, "a parameter twice"));
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

enum Refused {
    /// No client has these credentials, or there are none.
    Wrong,
    /// RFC 6749 section 2.3: one way of authentication per request.
    Twice,
}

/// Who asks: `client_secret_basic` or `client_secret_post` (RFC 6749 section 2.3.1).
fn client<'a>(state: &'a State, request: &RecordedRequest) -> Result<&'a StubClient, Refused> {
    let secret = request.parameter("client_secret");
    let mut headers = request.headers.get_all(AUTHORIZATION).iter();
    let (id, secret) = match (headers.next(), secret) {
        (Some(_), Some(_)) => return Err(Refused::Twice),
        (Some(header), None) if headers.next().is_none() => basic(header).ok_or(Refused::Wrong)?,
        (None, Some(secret)) => {
            let id = request.parameter("client_id").ok_or(Refused::Wrong)?;
            (id.to_owned(), secret.to_owned())
        }
        _ => return Err(Refused::Wrong),
    };
    authenticate(&state.clients, &id, &secret).ok_or(Refused::Wrong)
}

/// Both parts are form-encoded before they are joined (RFC 6749 section 2.3.1).
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

/// What is granted of the scopes asked for: all of them or, as None, nothing at all.
fn granted_scope(client: &StubClient, asked: &str) -> Option<String> {
    if asked.is_empty() {
        return Some(String::new());
    }
    let fits = |scope: &str| {
        // RFC 6749 section 3.3.
        let characters = !scope.is_empty()
            && scope
                .bytes()
                .all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'));
        let allowed = client.scopes.as_ref();
        characters && allowed.is_none_or(|allowed| allowed.iter().any(|one| one == scope))
    };
    asked.split(' ').all(fits).then(|| asked.to_owned())
}

/// RFC 6749 section 5.1.
fn private(answer: StubAnswer) -> StubAnswer {
    answer
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(PRAGMA, HeaderValue::from_static("no-cache"))
}

fn bad_request(error: &str, text: &str, note: &'static str) -> Outcome {
    let answer = StubAnswer::error(StatusCode::BAD_REQUEST, error, text);
    Outcome::new(answer, note)
}

fn twice() -> Outcome {
    let text = "The client authenticates in two ways at once.";
    bad_request("invalid_request", text, "two client authentications")
}

fn wrong_method(allowed: &'static str) -> Outcome {
    let answer = StubAnswer::error(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request",
        "This endpoint does not know the method.",
    )
    .header(ALLOW, HeaderValue::from_static(allowed));
    Outcome::new(answer, "wrong method")
}

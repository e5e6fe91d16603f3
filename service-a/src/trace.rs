//! `--verbose`: shows each request and response on standard error, as `curl -v` does.
//!
//! It shows no secret and no token: credentials are masked, only the members named here are shown
//! of a body, and the secrets that the caller knows are removed from all of it, in case a peer has
//! sent them back.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use reqwest::{
    Request, StatusCode, Version,
    header::{
        AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, SET_COOKIE,
    },
};

use crate::{
    console::print_error,
    dpop::PROOF,
    escape,
    json_value::JsonValue,
    response::{HttpError, Redact, Response},
    secret::AccessToken,
    untrusted_text::UntrustedText,
};

/// Replaces what must not be shown.
const MASK: &str = "[redacted]";
/// The parameters of a token request that are shown. All others are masked.
const SHOWN_PARAMETERS: [&str; 5] = ["grant_type", "scope", "client_id", "audience", "resource"];
/// The members of a response that are shown: those of metadata, of token responses, of the refusals
/// of issuers (Okta's too) and of Service B.
const SHOWN_MEMBERS: [&str; 11] = [
    "issuer",
    "token_endpoint",
    "access_token",
    "token_type",
    "expires_in",
    "scope",
    "error",
    "error_description",
    "errorCode",
    "errorSummary",
    "reason",
];
/// The one of them that is masked.
const TOKEN_MEMBER: &str = "access_token";

/// How many tokens are remembered, to be redacted: the current one, and some that it replaced.
const MAX_TOKENS: usize = 4;

/// Shows requests and responses.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The number of the last request.
    number: AtomicU64,
    /// The newest is last.
    tokens: Mutex<VecDeque<AccessToken>>,
}

impl Trace {
    /// Shows a request before it is sent. `redact` removes the secrets that the caller knows.
    pub(crate) fn request(&self, request: &Request, redact: Redact<'_>) -> TracedRequest {
        let number = self.0.number.fetch_add(1, Ordering::Relaxed) + 1;
        print_error(&format_request(number, request, &|text| {
            self.redact(text, redact)
        }));
        TracedRequest(self.clone(), number)
    }

    fn tokens(&self) -> MutexGuard<'_, VecDeque<AccessToken>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the token in a response, to redact it from now on.
    fn remember_token(&self, response: &Response) {
        let Ok(json) = serde_json::from_slice::<JsonValue>(&response.body) else {
            return;
        };
        let token = json.string(TOKEN_MEMBER).map(str::to_owned);
        if let Some(token) = token.and_then(AccessToken::new) {
            let mut tokens = self.tokens();
            tokens.push_back(token);
            if tokens.len() > MAX_TOKENS {
                tokens.pop_front();
            }
        }
    }

    fn redact(&self, text: &str, redact: Redact<'_>) -> String {
        let tokens = self.tokens();
        tokens
            .iter()
            .fold(redact(text), |text, token| token.redact(&text))
    }
}

/// A request that was shown, by its number: responses to concurrent requests arrive in any order.
pub(crate) struct TracedRequest(Trace, u64);

impl TracedRequest {
    /// Shows the response, or why there is none.
    pub(crate) fn finished(self, outcome: &Result<Response, HttpError>, redact: Redact<'_>) {
        let Self(trace, number) = self;
        if let Ok(response) = outcome {
            trace.remember_token(response);
        }
        let redact: Redact<'_> = &|text: &str| trace.redact(text, redact);
        print_error(&match outcome {
            Ok(response) => format_response(number, response, redact),
            Err(HttpError::TooLarge(status, headers)) => {
                let mut text = format_head(number, None, *status, headers, redact);
                text.push_str("* the body is too large\n");
                text
            }
            Err(HttpError::Unreachable { reason, message }) => {
                format!(
                    "* response {number}: none, {reason}: {}\n",
                    sanitize(message, redact)
                )
            }
        });
    }
}

/// Redacts the text and escapes it for a terminal.
fn sanitize(text: &str, redact: Redact<'_>) -> String {
    UntrustedText::new(&redact(text)).escaped()
}

fn format_request(number: u64, request: &Request, redact: Redact<'_>) -> String {
    let url = request.url();
    let target = match url.query() {
        // A query may hold secrets.
        Some(_) => format!("{}?{MASK}", url.path()),
        None => url.path().to_owned(),
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    let mut text = format!(
        "* request {number}, to {}\n",
        sanitize(&url.origin().ascii_serialization(), redact)
    );
    // Writing to a String cannot fail.
    let mut line = |line: &str| {
        let _ = writeln!(text, "{}", format!("> {line}").trim_end());
    };
    line(&format!(
        "{} {}",
        request.method(),
        sanitize(&target, redact)
    ));
    line(&sanitize(
        &format!("host: {host}{}", port.unwrap_or_default()),
        redact,
    ));
    for (name, value) in request.headers() {
        line(&format_header(name, value, redact));
    }
    if let Some(body) = request.body().and_then(|body| body.as_bytes()) {
        line("");
        line(&sanitize(&masked_form(body), redact));
    }
    text
}

/// The form as it is sent, with all but [`SHOWN_PARAMETERS`] masked.
fn masked_form(body: &[u8]) -> String {
    let mut shown = Vec::new();
    for (name, value) in form_urlencoded::parse(body) {
        let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let value = if SHOWN_PARAMETERS.contains(&name.as_ref()) {
            encoded.as_str()
        } else {
            MASK
        };
        shown.push(format!("{name}={value}"));
    }
    shown.join("&")
}

fn format_header(name: &HeaderName, value: &HeaderValue, redact: Redact<'_>) -> String {
    let value = String::from_utf8_lossy(value.as_bytes());
    let shown = if *name == AUTHORIZATION {
        masked_credentials(&value)
    } else if [COOKIE, PROOF, PROXY_AUTHORIZATION, SET_COOKIE].contains(name) {
        MASK.to_owned()
    } else {
        value.into_owned()
    };
    format!("{name}: {}", sanitize(&shown, redact))
}

/// The scheme, and a token masked as everywhere else.
fn masked_credentials(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme @ ("Bearer" | "DPoP"), token)) => format!("{scheme} {}", masked_token(token)),
        Some((scheme, _)) => format!("{scheme} {MASK}"),
        None => MASK.to_owned(),
    }
}

fn masked_token(token: &str) -> String {
    AccessToken::new(token.to_owned()).map_or_else(|| MASK.to_owned(), |token| token.masked())
}

fn format_head(
    number: u64,
    version: Option<Version>,
    status: StatusCode,
    headers: &HeaderMap,
    redact: Redact<'_>,
) -> String {
    let mut text = format!("* response {number}\n< ");
    if let Some(version) = version {
        let _ = write!(text, "{version:?} ");
    }
    let _ = writeln!(text, "{status}");
    for (name, value) in headers {
        let _ = writeln!(text, "< {}", format_header(name, value, redact));
    }
    text
}

fn format_response(number: u64, response: &Response, redact: Redact<'_>) -> String {
    let Response {
        status,
        version,
        headers,
        body,
    } = response;
    let json = serde_json::from_slice(body).ok();
    let mut text = format_head(number, Some(*version), *status, headers, redact);
    let Some(JsonValue::Object(members)) = json else {
        if !body.is_empty() {
            let _ = writeln!(text, "* {} bytes, not a JSON object, not shown", body.len());
        }
        return text;
    };
    let all = members.len();
    let shown: Vec<_> = members
        .into_iter()
        .filter(|(name, _)| SHOWN_MEMBERS.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = match value {
                JsonValue::String(token) if name == TOKEN_MEMBER => {
                    JsonValue::String(masked_token(&token))
                }
                _ if name == TOKEN_MEMBER => JsonValue::String(MASK.to_owned()),
                value => value.map_strings(redact),
            };
            (name, value)
        })
        .collect();
    let hidden = all - shown.len();
    let _ = writeln!(
        text,
        "<\n< {}",
        UntrustedText::new(&escape::json(&JsonValue::Object(shown))).raw()
    );
    if hidden > 0 {
        let _ = writeln!(text, "* members not shown: {hidden}");
    }
    text
}

#[cfg(test)]
mod tests {
    use reqwest::{Body, Method};
    use url::Url;

    use super::*;

    const TOKEN: &str = "cace6X_XbWlkZGxl.c2Vjb25k.dGhpcmQtQyXzUw";

    fn hide(text: &str) -> String {
        text.replace("s3cret", MASK)
    }

    fn response(headers: &[(&'static str, &str)], body: &str) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Response {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            headers: map,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn every_received_token_is_redacted_from_then_on() {
        let trace = Trace::default();
        for token in ["first-token", "second-token"] {
            let body = format!(r#"{{"access_token":"{token}"}}"#);
            trace.remember_token(&response(&[], &body));
        }
        assert_eq!(
            trace.redact("first-token second-token s3cret fine", &hide),
            "[redacted] [redacted] [redacted] fine"
        );
        for _ in 0..2 * MAX_TOKENS {
            trace.remember_token(&response(&[], r#"{"access_token":"another"}"#));
        }
        assert_eq!(trace.tokens().len(), MAX_TOKENS);
    }

    #[test]
    fn a_request_is_shown_without_its_credentials() {
        let url = Url::parse("http://127.0.0.1:8080/token?key=s3cret").unwrap();
        let mut request = Request::new(Method::POST, url);
        let headers = request.headers_mut();
        headers.insert("accept", HeaderValue::from_static("application/json"));
        headers.insert("authorization", HeaderValue::from_static("Basic czNjcmV0"));
        let form = "grant_type=client_credentials&scope=a+b&client_id=me&client_secret=s3cret&x=y";
        *request.body_mut() = Some(Body::from(form));
        assert_eq!(
            format_request(1, &request, &hide),
            "\
* request 1, to http://127.0.0.1:8080
> POST /token?[redacted]
> host: 127.0.0.1:8080
> accept: application/json
> authorization: Basic [redacted]
>
> grant_type=client_credentials&scope=a+b&client_id=me&client_secret=[redacted]&x=[redacted]
"
        );
    }

    #[test]
    fn a_response_is_shown_with_its_known_members_only() {
        let table = [
            (
                response(
                    &[("x-echo", TOKEN), ("set-cookie", "session=1")],
                    &format!(
                        r#"{{"access_token":"{TOKEN}","scope":"{TOKEN} s3cret","token_type":"Bearer","expires_in":60,"id_token":"x"}}"#
                    ),
                ),
                "* response 2
< HTTP/1.1 200 OK
< x-echo: [redacted]
< set-cookie: [redacted]
<
< {\"access_token\":\"cace6X_X…QyXzUw\",\"scope\":\"[redacted] [redacted]\",\"token_type\":\"Bearer\",\"expires_in\":60}
* members not shown: 1
",
            ),
            (
                response(&[], r#"{"access_token":{"a":1},"error":"a\u001bb"}"#),
                "* response 2
< HTTP/1.1 200 OK
<
< {\"access_token\":\"[redacted]\",\"error\":\"a\\u001bb\"}
",
            ),
            (
                response(&[], "<html>s3cret</html>"),
                "* response 2
< HTTP/1.1 200 OK
* 19 bytes, not a JSON object, not shown
",
            ),
            (
                response(&[], ""),
                "* response 2
< HTTP/1.1 200 OK
",
            ),
        ];
        for (response, shown) in table {
            let trace = Trace::default();
            trace.remember_token(&response);
            let redact = |text: &str| trace.redact(text, &hide);
            assert_eq!(format_response(2, &response, &redact), shown);
        }
    }
}

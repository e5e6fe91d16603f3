//! `--verbose`: each request and its answer on standard error, as `curl -v` shows them.
//!
//! It shows no secret and no token: credentials are masked, of a body only the members named here are shown, and all of it
//! has whatever the caller knows to be secret taken out, should the other side have sent that back.

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
    http::{Answer, Fault, Redact},
    output::complain,
    secret::AccessToken,
    text::{self, Foreign},
    value::Value,
};

/// Stands where something must not be seen.
const MASK: &str = "[redacted]";
/// What a token request is told apart by. Anything else in it is masked.
const SHOWN_OF_FORMS: [&str; 5] = ["grant_type", "scope", "client_id", "audience", "resource"];
/// What an answer is understood by: metadata, token answers, refusals of issuers (Okta's too) and of Service B.
const SHOWN_OF_ANSWERS: [&str; 11] = [
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
/// The one of these that is masked.
const TOKEN_MEMBER: &str = "access_token";

/// Tokens that are remembered, to be taken out of what is shown: that in use, and some that it replaced.
const MOST_TOKENS: usize = 4;

/// Shows requests and answers.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Of the last request.
    number: AtomicU64,
    /// The newest last.
    tokens: Mutex<VecDeque<AccessToken>>,
}

impl Trace {
    /// Shows a request that is about to be sent. `redact` takes out what the caller knows to be secret.
    pub(crate) fn request(&self, request: &Request, redact: Redact<'_>) -> Shown {
        let number = self.0.number.fetch_add(1, Ordering::Relaxed) + 1;
        complain(&sent(number, request, &|text| self.redact(text, redact)));
        Shown(self.clone(), number)
    }

    fn tokens(&self) -> MutexGuard<'_, VecDeque<AccessToken>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer may bring a token that nobody knows yet.
    fn remember(&self, answer: &Answer) {
        let Ok(json) = serde_json::from_slice::<Value>(&answer.body) else {
            return;
        };
        let token = json.text(TOKEN_MEMBER).map(str::to_owned);
        if let Some(token) = token.and_then(AccessToken::new) {
            let mut tokens = self.tokens();
            tokens.push_back(token);
            if tokens.len() > MOST_TOKENS {
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

/// A request that was shown, by its number: answers of calls that are under way at the same time come in any order.
pub(crate) struct Shown(Trace, u64);

impl Shown {
    /// Shows what came of it.
    pub(crate) fn ended(self, outcome: &Result<Answer, Fault>, redact: Redact<'_>) {
        let Self(trace, number) = self;
        if let Ok(answer) = outcome {
            trace.remember(answer);
        }
        let redact: Redact<'_> = &|text: &str| trace.redact(text, redact);
        complain(&match outcome {
            Ok(answer) => answered(number, answer, redact),
            Err(Fault::TooLarge(status, headers)) => {
                let mut text = head(number, None, *status, headers, redact);
                text.push_str("* the body is too large\n");
                text
            }
            Err(Fault::Unreachable { reason, text }) => {
                format!(
                    "* answer {number}: none, {reason}: {}\n",
                    clean(text, redact)
                )
            }
        });
    }
}

/// For a terminal.
fn clean(text: &str, redact: Redact<'_>) -> String {
    Foreign::new(&redact(text)).shown()
}

fn sent(number: u64, request: &Request, redact: Redact<'_>) -> String {
    let url = request.url();
    let target = match url.query() {
        // It may hold what nobody should see.
        Some(_) => format!("{}?{MASK}", url.path()),
        None => url.path().to_owned(),
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    let mut text = format!(
        "* request {number}, to {}\n",
        clean(&url.origin().ascii_serialization(), redact)
    );
    // A String takes every write.
    let mut line = |line: &str| {
        let _ = writeln!(text, "{}", format!("> {line}").trim_end());
    };
    line(&format!("{} {}", request.method(), clean(&target, redact)));
    line(&clean(
        &format!("host: {host}{}", port.unwrap_or_default()),
        redact,
    ));
    for (name, value) in request.headers() {
        line(&header(name, value, redact));
    }
    if let Some(body) = request.body().and_then(|body| body.as_bytes()) {
        line("");
        line(&clean(&form(body), redact));
    }
    text
}

/// A form as it is sent, the client secret masked.
fn form(body: &[u8]) -> String {
    let mut shown = Vec::new();
    for (name, value) in form_urlencoded::parse(body) {
        let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let value = if SHOWN_OF_FORMS.contains(&name.as_ref()) {
            encoded.as_str()
        } else {
            MASK
        };
        shown.push(format!("{name}={value}"));
    }
    shown.join("&")
}

fn header(name: &HeaderName, value: &HeaderValue, redact: Redact<'_>) -> String {
    let value = String::from_utf8_lossy(value.as_bytes());
    let shown = if *name == AUTHORIZATION {
        credentials(&value)
    } else if [COOKIE, PROXY_AUTHORIZATION, SET_COOKIE].contains(name) {
        MASK.to_owned()
    } else {
        value.into_owned()
    };
    format!("{name}: {}", clean(&shown, redact))
}

/// The scheme, and as much of a token as is shown elsewhere.
fn credentials(value: &str) -> String {
    match value.split_once(' ') {
        Some(("Bearer", token)) => format!("Bearer {}", masked(token)),
        Some((scheme, _)) => format!("{scheme} {MASK}"),
        None => MASK.to_owned(),
    }
}

fn masked(token: &str) -> String {
    AccessToken::new(token.to_owned()).map_or_else(|| MASK.to_owned(), |token| token.masked())
}

fn head(
    number: u64,
    version: Option<Version>,
    status: StatusCode,
    headers: &HeaderMap,
    redact: Redact<'_>,
) -> String {
    let mut text = format!("* answer {number}\n< ");
    if let Some(version) = version {
        let _ = write!(text, "{version:?} ");
    }
    let _ = writeln!(text, "{status}");
    for (name, value) in headers {
        let _ = writeln!(text, "< {}", header(name, value, redact));
    }
    text
}

fn answered(number: u64, answer: &Answer, redact: Redact<'_>) -> String {
    let Answer {
        status,
        version,
        headers,
        body,
    } = answer;
    let json = serde_json::from_slice(body).ok();
    let Some(Value::Object(members)) = json else {
        let mut text = head(number, Some(*version), *status, headers, redact);
        if !body.is_empty() {
            let _ = writeln!(
                text,
                "* {} bytes that are no JSON object, not shown",
                body.len()
            );
        }
        return text;
    };
    let mut text = head(number, Some(*version), *status, headers, redact);
    let all = members.len();
    let shown: Vec<_> = members
        .into_iter()
        .filter(|(name, _)| SHOWN_OF_ANSWERS.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = match value {
                Value::String(token) if name == TOKEN_MEMBER => Value::String(masked(&token)),
                _ if name == TOKEN_MEMBER => Value::String(MASK.to_owned()),
                value => value.map_text(redact),
            };
            (name, value)
        })
        .collect();
    let hidden = all - shown.len();
    let _ = writeln!(
        text,
        "<\n< {}",
        Foreign::new(&text::json(&Value::Object(shown))).as_written()
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

    fn answer(headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Answer {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            headers: map,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn every_token_that_came_is_taken_out_of_what_comes_later() {
        let trace = Trace::default();
        for token in ["first-token", "second-token"] {
            let body = format!(r#"{{"access_token":"{token}"}}"#);
            trace.remember(&answer(&[], &body));
        }
        assert_eq!(
            trace.redact("first-token second-token s3cret fine", &hide),
            "[redacted] [redacted] [redacted] fine"
        );
        for _ in 0..2 * MOST_TOKENS {
            trace.remember(&answer(&[], r#"{"access_token":"another"}"#));
        }
        assert_eq!(trace.tokens().len(), MOST_TOKENS);
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
            sent(1, &request, &hide),
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
    fn an_answer_is_shown_with_what_matters_of_it() {
        let table = [
            (
                answer(
                    &[("x-echo", TOKEN), ("set-cookie", "session=1")],
                    &format!(
                        r#"{{"access_token":"{TOKEN}","scope":"{TOKEN} s3cret","token_type":"Bearer","expires_in":60,"id_token":"x"}}"#
                    ),
                ),
                "* answer 2
< HTTP/1.1 200 OK
< x-echo: [redacted]
< set-cookie: [redacted]
<
< {\"access_token\":\"cace6X_X…QyXzUw\",\"scope\":\"[redacted] [redacted]\",\"token_type\":\"Bearer\",\"expires_in\":60}
* members not shown: 1
",
            ),
            (
                answer(&[], r#"{"access_token":{"a":1},"error":"a\u001bb"}"#),
                "* answer 2
< HTTP/1.1 200 OK
<
< {\"access_token\":\"[redacted]\",\"error\":\"a\\u001bb\"}
",
            ),
            (
                answer(&[], "<html>s3cret</html>"),
                "* answer 2
< HTTP/1.1 200 OK
* 19 bytes that are no JSON object, not shown
",
            ),
            (
                answer(&[], ""),
                "* answer 2
< HTTP/1.1 200 OK
",
            ),
        ];
        for (answer, shown) in table {
            let trace = Trace::default();
            trace.remember(&answer);
            let redact = |text: &str| trace.redact(text, &hide);
            assert_eq!(answered(2, &answer, &redact), shown);
        }
    }
}

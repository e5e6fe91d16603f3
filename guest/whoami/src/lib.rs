//! What Service B answers at `/data`: who the auth check in front of it says the caller is. Knows nothing
//! of tokens.
//!
//! Two guests answer with it: the app behind the Spin middleware, and the Envoy filter where there
//! is no app.

use base64_simd::URL_SAFE_NO_PAD;
use serde::Serialize;

mod claims;

use claims::{Claim, Claims};

/// Set by the auth check on every request it lets through: the claims as JSON, in base64url.
pub const CLAIMS_HEADER: &str = "x-auth-claims";

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header fields; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, in UTF-8.
    pub body: String,
}

impl Answer {
    /// An answer with this body. It carries content-length: a host then sends it in one piece.
    #[must_use]
    pub fn new(status: u16, body: String) -> Self {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("content-length", body.len().to_string()),
        ];
        Self {
            status,
            headers,
            body,
        }
    }

    /// An answer that says what is wrong.
    #[must_use]
    pub fn error(status: u16, error: &str, error_description: &str) -> Self {
        let error = Error {
            error,
            error_description,
        };
        Self::new(status, serde_json::to_string(&error).unwrap_or_default())
    }

    /// 405 (RFC 9110 section 15.5.6).
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let mut answer = Self::error(
            405,
            "method_not_allowed",
            "Only GET and HEAD are answered here.",
        );
        answer.headers.push(("allow", "GET, HEAD".to_owned()));
        answer
    }
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// `aud` in the shape the issuer sent it, `scopes` the scope string or null.
#[derive(Serialize)]
struct Trusted {
    message: &'static str,
    issuer: Claim,
    subject: Claim,
    aud: Claim,
    scopes: Claim,
}

/// Whether a path that has a document for GET answers this method.
///
/// HEAD gets the answer to GET (RFC 9110 section 9.3.2), with its body: the host sends the header
/// fields and leaves the body out.
#[must_use]
pub const fn is_answered(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD")
}

/// The answer to a request with this method and these claims, the value of [`CLAIMS_HEADER`].
#[must_use]
pub fn answer(method: &[u8], claims: Option<&[u8]>) -> Answer {
    if !is_answered(method) {
        return Answer::method_not_allowed();
    }
    match claims.and_then(document) {
        Some(document) => Answer::new(200, document),
        None => Answer::error(
            500,
            "gate_missing",
            "The request has no x-auth-claims: the auth check is missing, or its claims_header is none.",
        ),
    }
}

/// The document; `None` if the claims are not JSON in base64url.
fn document(claims: &[u8]) -> Option<String> {
    let json = URL_SAFE_NO_PAD.decode_to_vec(claims).ok()?;
    let claims = Claims::read(&json)?;
    let document = Trusted {
        message: "Service B trusted the token",
        issuer: claims.issuer,
        subject: claims.subject,
        aud: claims.audience,
        scopes: match claims.scope {
            Claim::Texts(scopes) => Claim::Text(scopes.join(" ")),
            scope => scope,
        },
    };
    serde_json::to_string(&document).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, claims: &str) -> (u16, String) {
        let claims = URL_SAFE_NO_PAD.encode_to_string(claims);
        let answer = answer(method.as_bytes(), Some(claims.as_bytes()));
        (answer.status, answer.body)
    }

    #[test]
    fn the_document_says_who_calls_in_the_shapes_the_issuer_used() {
        let rows = [
            (
                r#"{"active":true,"iss":"https://i","sub":"s","aud":["a"],"scope":"r w"}"#,
                r#"{"message":"Service B trusted the token","issuer":"https://i","subject":"s","aud":["a"],"scopes":"r w"}"#,
            ),
            (
                r#"{"active":true,"aud":"a","scope":["r","w"]}"#,
                r#"{"message":"Service B trusted the token","issuer":null,"subject":null,"aud":"a","scopes":"r w"}"#,
            ),
            (
                r#"{"exp":1.5e3,"ext":{"aud":["x"],"n":[1,null,true]},"iss":"i","sub":7,"aud":[],"scope":null}"#,
                r#"{"message":"Service B trusted the token","issuer":"i","subject":null,"aud":[],"scopes":null}"#,
            ),
        ];
        for (claims, document) in rows {
            assert_eq!(asked("GET", claims), (200, document.to_owned()));
        }
    }

    #[test]
    fn rfc9110_s9_3_2_head_is_answered_as_get_is() {
        let claims = URL_SAFE_NO_PAD.encode_to_string(r#"{"active":true,"sub":"s"}"#);
        let answered = |method: &[u8]| answer(method, Some(claims.as_bytes()));
        assert_eq!(answered(b"HEAD").status, 200);
        assert_eq!(answered(b"HEAD"), answered(b"GET"));
    }

    #[test]
    fn rfc9110_s15_5_6_another_method_is_405_and_says_which_are_allowed() {
        for method in [&b"POST"[..], b"OPTIONS", b"head", b""] {
            let answer = answer(method, None);
            assert_eq!(answer.status, 405);
            assert!(answer.headers.contains(&("allow", "GET, HEAD".to_owned())));
        }
    }

    #[test]
    fn without_the_claims_of_a_gate_there_is_no_document() {
        let missing = r#"{"error":"gate_missing","error_description":"The request has no x-auth-claims: the auth check is missing, or its claims_header is none."}"#;
        for claims in [None, Some(&b"!"[..]), Some(b"e30x"), Some(b"W10")] {
            let answer = answer(b"GET", claims);
            assert_eq!((answer.status, answer.body.as_str()), (500, missing));
        }
    }
}

//! The documents that Service B answers with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

/// `aud` in the shape the issuer sent it, `scopes` the scope string or null.
#[derive(Serialize)]
struct Trusted {
    message: &'static str,
    issuer: Value,
    subject: Value,
    aud: Value,
    scopes: Value,
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// The document for a caller with these claims (base64url of JSON); `None` if they are not that.
pub(crate) fn trusted(claims: &[u8]) -> Option<String> {
    let json = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let mut claims: Map<String, Value> = serde_json::from_slice(&json).ok()?;
    let mut take = |name: &str| claims.remove(name).unwrap_or(Value::Null);
    let scopes = match take("scope") {
        Value::Array(scopes) => {
            let scopes: Vec<_> = scopes.iter().filter_map(Value::as_str).collect();
            Value::String(scopes.join(" "))
        }
        scope => scope,
    };
    let document = Trusted {
        message: "Service B trusted the token",
        issuer: take("iss"),
        subject: take("sub"),
        aud: take("aud"),
        scopes,
    };
    serde_json::to_string(&document).ok()
}

pub(crate) fn error(error: &str, error_description: &str) -> String {
    serde_json::to_string(&Error {
        error,
        error_description,
    })
    .unwrap_or_default()
}

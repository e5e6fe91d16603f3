//! The report of one call, for people and as JSON.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::{
    call::{CallResult, Document},
    escape::escaped,
    failure::Failure,
    json_value::JsonValue,
    python_repr,
    token_source::Timings,
};

/// Milliseconds with three decimals, which is the precision of the clock.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The first line of a report: the masked token.
pub(crate) fn token_line(masked: &str) -> String {
    format!("Access token (masked): {masked}\n")
}

/// The document of Service B.
pub(crate) fn document(document: &Document) -> String {
    let mut text = String::from("Service B response:\n");
    // Writing to a String cannot fail.
    let mut line = |line: &str| {
        let _ = writeln!(text, "  {line}");
    };
    match document {
        Document::Json(JsonValue::Object(members)) => {
            for (name, value) in members {
                line(&format!("{}: {}", escaped(name), python_repr::print(value)));
            }
        }
        Document::Json(value) => line(&python_repr::print(value)),
        Document::Text(text) => {
            for text in text.raw().lines() {
                line(&escaped(text));
            }
        }
    }
    text
}

/// One call as JSON.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    ok: bool,
    /// Masked.
    token: Option<String>,
    expires_in: Option<u64>,
    token_requests: u64,
    status: Option<u16>,
    response: Option<&'a Document>,
    error: Option<&'a Failure>,
    timings_ms: TimingsMs,
}

#[derive(Default, Serialize)]
struct TimingsMs {
    discovery: Option<f64>,
    token: Option<f64>,
    call: Option<f64>,
}

impl<'a> Report<'a> {
    /// The report of a call, whether it was made or failed before that.
    pub(crate) fn new(call: &'a CallResult, token_requests: u64, timings: Timings) -> Self {
        let ok = call.result.as_ref().ok();
        let error = call.result.as_ref().err().map(AsRef::as_ref);
        let token = call.token.as_ref();
        Self {
            ok: ok.is_some(),
            token: token.map(|token| token.access().masked()),
            expires_in: token
                .and_then(|token| token.expires_in())
                .map(|lifetime| lifetime.as_secs()),
            token_requests,
            status: ok
                .map(|(status, _)| status.as_u16())
                .or_else(|| error.and_then(Failure::status)),
            response: ok.map(|(_, document)| document),
            error,
            timings_ms: TimingsMs {
                discovery: timings.discovery.map(milliseconds),
                token: timings.token.map(milliseconds),
                call: call.latency.map(milliseconds),
            },
        }
    }

    /// The report of a failure before anything was sent.
    pub(crate) fn from_failure(failure: &'a Failure) -> Self {
        Self {
            ok: false,
            token: None,
            expires_in: None,
            token_requests: 0,
            status: None,
            response: None,
            error: Some(failure),
            timings_ms: TimingsMs::default(),
        }
    }
}

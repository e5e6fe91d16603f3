//! What is printed, for people and as JSON.

use std::{
    fmt::Write as _,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::{
    call::{Called, Document},
    failure::Failure,
    text::{self, escaped},
    token::Spent,
    value::Value,
};

/// Milliseconds with three digits after the point: what a person compares and a clock can tell.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The first line.
pub(crate) fn token_line(masked: &str) -> String {
    format!("Access token (masked): {masked}\n")
}

/// What Service B answered.
pub(crate) fn document(document: &Document) -> String {
    let mut text = String::from("Service B response:\n");
    // A String takes every write.
    let mut line = |line: &str| {
        let _ = writeln!(text, "  {line}");
    };
    match document {
        Document::Json(Value::Object(members)) => {
            for (name, value) in members {
                line(&format!("{}: {}", escaped(name), value.printed()));
            }
        }
        Document::Json(value) => line(&value.printed()),
        Document::Text(foreign) => {
            for foreign in foreign.as_written().lines() {
                line(&escaped(foreign));
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
    timings_ms: Timings,
}

#[derive(Default, Serialize)]
struct Timings {
    discovery: Option<f64>,
    token: Option<f64>,
    call: Option<f64>,
}

impl<'a> Report<'a> {
    /// Of a call that was made or that failed before Service B was reached.
    pub(crate) fn of(called: &'a Called, token_requests: u64, spent: Spent) -> Self {
        let ok = called.result.as_ref().ok();
        let error = called.result.as_ref().err().map(AsRef::as_ref);
        let token = called.token.as_ref();
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
            timings_ms: Timings {
                discovery: spent.discovery.map(milliseconds),
                token: spent.token.map(milliseconds),
                call: called.latency.map(milliseconds),
            },
        }
    }

    /// Of a failure before anything was sent.
    pub(crate) fn of_failure(failure: &'a Failure) -> Self {
        Self {
            ok: false,
            token: None,
            expires_in: None,
            token_requests: 0,
            status: None,
            response: None,
            error: Some(failure),
            timings_ms: Timings::default(),
        }
    }
}

/// Writes to standard output at once, or says that nobody can read it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&(text::json(value) + "\n"))
}

/// Writes to standard error. Nothing can be done if that fails.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

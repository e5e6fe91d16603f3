//! `/_stub/`: scripts the stub by hand while it runs.

use http::{HeaderValue, Method, StatusCode, header::ALLOW};
use serde_json::json;

use super::{
    reaction::{Reaction, StubResponse},
    record::Endpoint,
    state::State,
};

pub(super) const PREFIX: &str = "/_stub/";

pub(super) fn respond(
    state: &State,
    method: &Method,
    command: &str,
    form: &[(String, String)],
) -> StubResponse {
    let expected = match command {
        "counters" => Method::GET,
        "script" | "clear" => Method::POST,
        _ => {
            return plain(
                StatusCode::NOT_FOUND,
                "no such command: choose one of script, clear and counters",
            );
        }
    };
    if *method != expected {
        let allow = match expected {
            Method::GET => HeaderValue::from_static("GET"),
            _ => HeaderValue::from_static("POST"),
        };
        return plain(StatusCode::METHOD_NOT_ALLOWED, "wrong method").header(ALLOW, allow);
    }
    match command {
        "counters" => StubResponse::json(StatusCode::OK, &json!(state.counts.read())),
        "clear" => {
            state.clear_scripts();
            tracing::info!("scripts cleared");
            plain(StatusCode::OK, "scripts cleared")
        }
        _ => match script(state, form) {
            Ok(()) => plain(StatusCode::OK, "scripted"),
            Err(error) => plain(StatusCode::BAD_REQUEST, &error),
        },
    }
}

/// `endpoint` or `token` selects the calls; each `do` is the reaction to one call.
fn script(state: &State, form: &[(String, String)]) -> Result<(), String> {
    let mut endpoint = None;
    let mut token = None;
    let mut reactions = Vec::new();
    for (name, value) in form {
        match name.as_str() {
            "endpoint" => endpoint = Some(value.parse::<Endpoint>()?),
            "token" => token = Some(value),
            "do" => reactions.push(value.parse::<Reaction>()?),
            _ => {
                return Err(
                    "unknown parameter: the parameters are endpoint, token and do".to_owned(),
                );
            }
        }
    }
    let count = reactions.len();
    match (endpoint, token) {
        (Some(endpoint), None) => {
            state.script_endpoint(endpoint, reactions);
            tracing::info!("{endpoint} scripted, {count} reactions");
        }
        (None, Some(token)) => {
            state.script(token, reactions);
            let token = state.fingerprint(token);
            tracing::info!("token #{token} scripted, {count} reactions");
        }
        _ => return Err("set either endpoint or token to select the calls".to_owned()),
    }
    Ok(())
}

fn plain(status: StatusCode, text: &str) -> StubResponse {
    StubResponse::text(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

//! `/_stub/`: scripts by hand, while the stub runs.

use http::{HeaderValue, Method, StatusCode, header::ALLOW};
use serde_json::json;

use super::{
    reaction::{Reaction, StubAnswer},
    record::Endpoint,
    state::State,
};

pub(super) const PREFIX: &str = "/_stub/";

pub(super) fn answer(
    state: &State,
    method: &Method,
    command: &str,
    form: &[(String, String)],
) -> StubAnswer {
    let needed = match command {
        "counters" => Method::GET,
        "script" | "clear" => Method::POST,
        _ => {
            return plain(
                StatusCode::NOT_FOUND,
                "there are script, clear and counters",
            );
        }
    };
    if *method != needed {
        let allow = match needed {
            Method::GET => HeaderValue::from_static("GET"),
            _ => HeaderValue::from_static("POST"),
        };
        return plain(StatusCode::METHOD_NOT_ALLOWED, "wrong method").header(ALLOW, allow);
    }
    match command {
        "counters" => StubAnswer::json(StatusCode::OK, &json!(state.counts.read())),
        "clear" => {
            state.clear_scripts();
            tracing::info!("scripts cleared");
            plain(StatusCode::OK, "everything as usual")
        }
        _ => match script(state, form) {
            Ok(()) => plain(StatusCode::OK, "scripted"),
            Err(error) => plain(StatusCode::BAD_REQUEST, &error),
        },
    }
}

/// `endpoint` or `token` says which calls, each `do` says what is done with one.
fn script(state: &State, form: &[(String, String)]) -> Result<(), String> {
    let mut endpoint = None;
    let mut token = None;
    let mut reactions = Vec::new();
    for (name, value) in form {
        match name.as_str() {
            "endpoint" => endpoint = Some(value.parse::<Endpoint>()?),
            "token" => token = Some(value),
            "do" => reactions.push(value.parse::<Reaction>()?),
            _ => return Err("there are endpoint, token and do".to_owned()),
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
        _ => return Err("say which calls: either endpoint or token".to_owned()),
    }
    Ok(())
}

fn plain(status: StatusCode, text: &str) -> StubAnswer {
    StubAnswer::text(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

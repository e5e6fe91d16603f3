//! `/_stub/`: scripts the stub by hand while it runs.

use http::{HeaderValue, Method, StatusCode, header::ALLOW};
use serde_json::json;

use super::{
    jwt::{SignatureFault, SigningAlgorithm, TokenFormat, unusable_keys},
    reaction::{Reaction, StubResponse},
    record::Endpoint,
    state::State,
    tokens::TokenSpec,
    urls::Provider,
};

pub(super) const PREFIX: &str = "/_stub/";

type Form = [(String, String)];

/// Returns the body of the response.
type Command = fn(&State, &Form) -> Result<String, String>;

const COMMANDS: [(&str, Command); 5] = [
    ("script", script),
    ("clear", clear),
    ("issue", issue),
    ("format", format),
    ("keys", keys),
];

pub(super) fn respond(state: &State, method: &Method, command: &str, form: &Form) -> StubResponse {
    let wrong_method = |allow| {
        plain(StatusCode::METHOD_NOT_ALLOWED, "wrong method")
            .header(ALLOW, HeaderValue::from_static(allow))
    };
    if command == "counters" {
        return match *method {
            Method::GET => StubResponse::json(StatusCode::OK, &json!(state.counts.read())),
            _ => wrong_method("GET"),
        };
    }
    let Some((_, run)) = COMMANDS.iter().find(|(name, _)| *name == command) else {
        return plain(
            StatusCode::NOT_FOUND,
            "no such command: choose one of script, clear, issue, format, keys and counters",
        );
    };
    if *method != Method::POST {
        return wrong_method("POST");
    }
    match run(state, form) {
        Ok(text) => plain(StatusCode::OK, &text),
        Err(error) => plain(StatusCode::BAD_REQUEST, &error),
    }
}

fn clear(state: &State, _: &Form) -> Result<String, String> {
    state.clear_scripts();
    tracing::info!("scripts cleared");
    Ok("scripts cleared".to_owned())
}

/// `endpoint` or `token` selects the calls; each `do` is the reaction to one call.
fn script(state: &State, form: &Form) -> Result<String, String> {
    let mut endpoint = None;
    let mut token = None;
    let mut reactions = Vec::new();
    for (name, value) in form {
        match name.as_str() {
            "endpoint" => endpoint = Some(value.parse::<Endpoint>()?),
            "token" => token = Some(value),
            "do" => reactions.push(value.parse::<Reaction>()?),
            _ => return unknown_parameter("endpoint, token and do"),
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
    Ok("scripted".to_owned())
}

/// Issues a token, which is the body of the response.
fn issue(state: &State, form: &Form) -> Result<String, String> {
    let mut spec = TokenSpec::default();
    let mut audience = Vec::new();
    for (name, value) in form {
        spec = match name.as_str() {
            "format" => match value.parse()? {
                TokenFormat::Opaque => spec.opaque(),
                TokenFormat::Jwt(algorithm) => spec.jwt(algorithm),
            },
            "fault" => spec.signature_fault(value.parse::<SignatureFault>()?),
            "client" => spec.client(value),
            "scope" => spec.scope(value),
            "audience" => {
                audience.push(value);
                spec
            }
            "expires_in" => {
                let seconds = value.parse();
                spec.expires_in(seconds.map_err(|_| "expires_in needs a number of seconds")?)
            }
            _ => return unknown_parameter("format, fault, client, scope, audience and expires_in"),
        };
    }
    if !audience.is_empty() {
        spec = spec.audience(audience);
    }
    let (token, _) = state
        .issue(Provider::New, spec)
        .map_err(|error| format!("{error:#}"))?;
    tracing::info!("token #{} issued by hand", state.fingerprint(&token));
    Ok(token)
}

/// `format` is what the token endpoint issues from now on.
fn format(state: &State, form: &Form) -> Result<String, String> {
    let mut format = None;
    for (name, value) in form {
        match name.as_str() {
            "format" => format = Some(value.parse::<TokenFormat>()?),
            _ => return unknown_parameter("format"),
        }
    }
    state.set_format(format.ok_or("set format")?);
    tracing::info!("token format changed");
    Ok("format changed".to_owned())
}

/// `do` says what happens to the keys: those of `algorithm`, the one named by `kid`, or all.
fn keys(state: &State, form: &Form) -> Result<String, String> {
    let mut action = "";
    let mut algorithm = None;
    let mut kid = None;
    for (name, value) in form {
        match name.as_str() {
            "do" => action = value,
            "algorithm" => algorithm = Some(value.parse::<SigningAlgorithm>()?),
            "kid" => kid = Some(value.as_str()),
            _ => return unknown_parameter("do, algorithm and kid"),
        }
    }
    let keys = &state.keys;
    let done = match (action, algorithm, kid) {
        ("rotate" | "add", Some(algorithm), None) => keys.add(algorithm, action == "rotate"),
        ("withdraw" | "publish", None, Some(kid)) => keys
            .set_published(kid, action == "publish")
            .map(|()| kid.to_owned()),
        ("withdraw-old", None, None) => {
            keys.withdraw_old();
            Ok("old keys withdrawn".to_owned())
        }
        ("break" | "mend", None, None) => {
            keys.publish_also(if action == "break" {
                unusable_keys()
            } else {
                Vec::new()
            });
            Ok("key set changed".to_owned())
        }
        _ => {
            return Err(
                "do one of: rotate or add with algorithm, withdraw or publish with kid, \
                 withdraw-old, break, mend"
                    .to_owned(),
            );
        }
    };
    let done = done.map_err(|error| format!("{error:#}"))?;
    tracing::info!("keys: {action}");
    Ok(done)
}

fn unknown_parameter(known: &str) -> Result<String, String> {
    Err(match known.contains(' ') {
        true => format!("unknown parameter: the parameters are {known}"),
        false => format!("unknown parameter: the only one is {known}"),
    })
}

fn plain(status: StatusCode, text: &str) -> StubResponse {
    StubResponse::text(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

//! F13: the token, our secret and its Basic form are in no log line, reply or Debug output of any scenario.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Run;
use crate::drivers::{CLIENT_ID, CLIENT_SECRET};
use crate::scenario::Expect;

pub(crate) fn check(runs: &[Arc<Run>]) -> Result<(), String> {
    let mut texts = Vec::new();
    for run in runs {
        // A run that failed says so in its own trial.
        let Ok(observed) = run.observed() else {
            continue;
        };
        let name = run.scenario.name;
        // What a granted request shows of itself is the app's to see.
        if let Expect::Refused { .. } = run.scenario.expect {
            texts.push((
                format!("the reply of {name}"),
                format!("{:?} {}", observed.headers, observed.body),
            ));
        }
    }
    let driver = &runs.first().ok_or("no scenario ran")?.driver;
    texts.extend(
        driver
            .printed()
            .into_iter()
            .map(|line| ("a log line".to_owned(), line)),
    );
    driver.healthy()?;

    let mut secrets = own_secrets();
    secrets.extend(runs.iter().map(|run| run.scenario.token()));
    for (what, text) in &texts {
        if let Some(found) = secrets.iter().find(|secret| text.contains(secret.as_str())) {
            return Err(format!("{what} has {found:?} in it: {text}"));
        }
    }
    Ok(())
}

/// The client secret as it is, form-encoded, in Basic with and without that, and in JSON.
fn own_secrets() -> Vec<String> {
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    vec![
        CLIENT_SECRET.to_owned(),
        form(CLIENT_SECRET),
        STANDARD.encode(format!("{}:{}", form(CLIENT_ID), form(CLIENT_SECRET))),
        STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")),
        serde_json::Value::from(CLIENT_SECRET).to_string(),
        CLIENT_SECRET.escape_debug().to_string(),
    ]
}

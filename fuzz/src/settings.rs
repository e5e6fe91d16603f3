//! Any keys and values as settings, from every source: no panic, errors that a log can take, and
//! none that shows the secret.

use std::ffi::OsString;

use arbitrary::Unstructured;
use envoy_filter_core::config::Config;
use token_check::{
    ENVOY_SETTINGS, Policy, SETTINGS, SPIN_PREFIX, SettingSource, SettingValues, unknown_variable,
    variable,
};

use crate::support::{SECRET, below, flag, pick, text};

/// Longest error, in bytes, for inputs of less than that.
const MAX_ERROR_BYTES: usize = 16 * 1024;

const VALUES: [&str; 23] = [
    "",
    "0",
    "1",
    "60",
    "86400",
    "86401",
    "-1",
    "true",
    "false",
    "a b",
    "a,b",
    " a",
    "\"a\"",
    "a\nb",
    "https://issuer.example/introspect",
    "http://issuer.example",
    "http://127.0.0.1:1/i",
    "https://user:pass@issuer.example/i#x",
    "audience scope client issuer",
    "basic-raw",
    "none",
    "[]",
    "/data?x",
];

/// Reads settings.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let secret = format!(
        "{SECRET}{}",
        pick(&mut input, &["", "%:+", "\n", " ", "\u{feff}", ","])
    );
    let mut pairs = vec![("resource_client_secret".to_owned(), secret)];
    if flag(&mut input) {
        for (key, value) in [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "service-b"),
        ] {
            pairs.push((key.to_owned(), value.to_owned()));
        }
    }
    for _ in 0..below(&mut input, 6) {
        let pair = (key(&mut input), value(&mut input));
        pairs.push(pair);
    }
    match below(&mut input, 4) {
        0 => policy(&pairs),
        1 => spin(&mut input, &pairs),
        2 => envoy(&mut input, &pairs),
        _ => merged(&mut input, &pairs),
    }
}

fn key(input: &mut Unstructured<'_>) -> String {
    let known = SETTINGS.iter().chain(ENVOY_SETTINGS);
    let known: Vec<_> = known.map(|setting| setting.key).collect();
    match below(input, 8) {
        0 => other_text(input, 40),
        1 => format!("{}{}", pick(input, &known), other_text(input, 3)),
        _ => pick(input, &known).to_owned(),
    }
}

fn value(input: &mut Unstructured<'_>) -> String {
    if flag(input) {
        other_text(input, 60)
    } else {
        pick(input, &VALUES).to_owned()
    }
}

/// Text that cannot hold the secret, not even with escapes.
fn other_text(input: &mut Unstructured<'_>, most: usize) -> String {
    text(input, most).replace(['Q', '\\'], "")
}

fn policy(pairs: &[(String, String)]) {
    inspect(Policy::new(pairs.to_vec()));
}

fn spin(input: &mut Unstructured<'_>, pairs: &[(String, String)]) {
    let document = document(input, pairs);
    let object = ("settings".to_owned(), document);
    let variables = pairs.iter().cloned().chain([object]);
    let variables = variables.map(|(key, value)| (format!("{SPIN_PREFIX}{key}"), value));
    match SettingValues::from_spin_variables(variables) {
        Ok(values) => inspect(Policy::from_values(&values, SettingSource::SpinVariable)),
        Err(error) => inspect_error(&error),
    }
}

fn envoy(input: &mut Unstructured<'_>, pairs: &[(String, String)]) {
    let document = document(input, pairs);
    let environment: Vec<(String, String)> = pairs
        .iter()
        .map(|(key, value)| (variable(key), value.clone()))
        .collect();
    if let Some(unknown) = unknown_variable(environment.iter().map(|(name, _)| name.as_str())) {
        inspect_error(&unknown);
    }
    let environment = environment
        .into_iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    match Config::read(document.as_bytes(), environment) {
        Ok(config) => {
            // Envoy shows the document.
            assert!(
                !document.contains(SECRET),
                "a secret is accepted in {document}"
            );
            inspect_text(&format!("{config:?}"));
            inspect_policy(&config.policy);
        }
        Err(error) => inspect_error(&error),
    }
}

fn merged(input: &mut Unstructured<'_>, pairs: &[(String, String)]) {
    let document = document(input, pairs);
    let mut values = SettingValues::new();
    let source = SettingSource::EnvoyConfiguration;
    let merged = values.merge_json(&document, source);
    let merged = merged.and_then(|()| {
        (pairs.iter()).try_for_each(|(key, value)| values.set_once(key, value.clone(), source))
    });
    match merged {
        Ok(()) => inspect(Policy::from_values(&values, source)),
        Err(error) => inspect_error(&error),
    }
}

/// A JSON object of some of the pairs, or any text.
fn document(input: &mut Unstructured<'_>, pairs: &[(String, String)]) -> String {
    if flag(input) {
        return other_text(input, 200);
    }
    let members: Vec<_> = pairs
        .iter()
        .filter(|_| flag(input))
        .map(|(key, value)| {
            let key = serde_json::Value::from(key.as_str());
            // A number, a word or a document without quotes where that is JSON.
            let bare = serde_json::from_str::<serde_json::Value>(value);
            let value = bare.unwrap_or_else(|_| value.as_str().into());
            format!("{key}:{value}")
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

fn inspect<E: core::error::Error>(result: Result<Policy, E>) {
    match result {
        Ok(policy) => inspect_policy(&policy),
        Err(error) => inspect_error(&error),
    }
}

fn inspect_policy(policy: &Policy) {
    inspect_text(&format!("{policy:?}"));
    let line = policy.summary().line;
    inspect_text(&line);
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

fn inspect_error(error: &impl core::error::Error) {
    inspect_text(&format!("{error:?}"));
    let text = error.to_string();
    inspect_text(&text);
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() <= MAX_ERROR_BYTES, "{} bytes", text.len());
}

fn inspect_text(text: &str) {
    assert!(!text.contains(SECRET), "the secret is in {text:?}");
}

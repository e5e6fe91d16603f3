//! One line of JSON per decision, and what must stand in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::fixture::same;
use crate::sequence::row::Verdict;

/// Of one request.
pub(crate) struct Line {
    /// `None`: nothing was known of it yet.
    pub(crate) token: Option<String>,
    pub(crate) verdict: Verdict,
    pub(crate) cache: Option<&'static str>,
    /// Or it came from the store: what is over in a memory by its rounding may have a millisecond
    /// left there.
    pub(crate) or_store: bool,
    /// `None`: either.
    pub(crate) was_called: Option<bool>,
}

const MEMBERS: [&str; 11] = [
    "cache",
    "client_id",
    "decision",
    "host",
    "issuer",
    "issuer_ms",
    "reason",
    "rule",
    "subject",
    "token",
    "unix_ms",
];

pub(crate) fn check(lines: &[String], expected: &[Line]) -> Result<(), String> {
    same("audit lines", &lines.len(), &expected.len())?;
    let mut fingerprints = BTreeMap::new();
    for (line, expected) in lines.iter().zip(expected) {
        one(line, expected, &mut fingerprints).map_err(|error| format!("{error}, in {line}"))?;
    }
    let distinct: BTreeSet<_> = fingerprints.values().collect();
    same("fingerprints", &distinct.len(), &fingerprints.len())
}

fn one<'a>(
    line: &str,
    expected: &'a Line,
    fingerprints: &mut BTreeMap<&'a str, String>,
) -> Result<(), String> {
    let read: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let members = read.as_object().ok_or("no object")?;
    let names: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    same("members", &names, &MEMBERS.into_iter().collect())?;
    let (decision, reason) = match expected.verdict {
        Verdict::Granted => ("granted", Value::Null),
        Verdict::Refused(reason) => ("refused", json!(reason)),
    };
    same("decision", &read["decision"], &json!(decision))?;
    same("reason", &read["reason"], &reason)?;
    if !(expected.or_store && read["cache"] == "shared") {
        same("cache", &read["cache"], &json!(expected.cache))?;
    }
    same("unix_ms", &read["unix_ms"].is_u64(), &true)?;
    if let Some(was_called) = expected.was_called {
        same("issuer_ms", &read["issuer_ms"].is_u64(), &was_called)?;
    }
    let Some(token) = &expected.token else {
        return same("token", &read["token"], &Value::Null);
    };
    let fingerprint = read["token"].as_str().ok_or("no fingerprint")?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_one = fingerprint.len() == 16 && fingerprint.bytes().all(is_hex);
    same("a fingerprint", &is_one, &true)?;
    let known = fingerprints
        .entry(token.as_str())
        .or_insert_with(|| fingerprint.to_owned());
    same("fingerprint", &fingerprint, &known.as_str())
}

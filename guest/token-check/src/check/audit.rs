//! One line per decision, for those who ask afterwards who was let in and why.

use core::time::Duration;
use std::borrow::Cow;

use serde::Serialize;

use super::verdict::CacheUse;
use crate::decision::Decision;
use crate::introspection::Claims;

/// Longest text of a caller or an issuer in a line, in bytes: a line stays a line that log collectors take whole.
const MAX_TEXT_BYTES: usize = 256;

/// JSON escapes every control character and every quote, so no text can begin another line or another member.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    /// Milliseconds since 1970.
    unix_ms: u64,
    host: Option<Cow<'a, str>>,
    rule: Option<&'a str>,
    decision: &'static str,
    reason: Option<&'static str>,
    client_id: Option<&'a str>,
    subject: Option<&'a str>,
    /// A keyed digest, the same in every instance.
    token: Option<String>,
    cache: Option<&'static str>,
    issuer_ms: Option<u64>,
}

/// What a line says besides the decision itself.
pub(crate) struct About<'a> {
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) claims: Option<Claims<'a>>,
    pub(crate) cache: Option<CacheUse>,
    pub(crate) issuer_latency: Option<Duration>,
    pub(crate) unix: Duration,
}

pub(crate) fn line(decision: &Decision, about: &About<'_>) -> Option<String> {
    let (name, reason) = match decision {
        Decision::Granted(_) => ("granted", None),
        Decision::Refused(refusal) => ("refused", Some(refusal.reason().name())),
    };
    let line = Line {
        unix_ms: milliseconds(about.unix),
        host: about.host.map(host),
        rule: decision.rule(),
        decision: name,
        reason,
        client_id: about.claims.and_then(Claims::client_id).map(short),
        subject: about.claims.and_then(Claims::subject).map(short),
        token: about.fingerprint.clone(),
        cache: about.cache.map(CacheUse::name),
        issuer_ms: about.issuer_latency.map(milliseconds),
    };
    serde_json::to_string(&line).ok().map(|line| ascii(&line))
}

/// A JSON string in ASCII, which can begin no other line.
pub(crate) fn quoted(text: &str) -> String {
    // A string is always JSON.
    ascii(&serde_json::to_string(text).unwrap_or_default())
}

/// JSON leaves other scripts as they are, and with them line separators and what terminals obey.
fn ascii(line: &str) -> String {
    let mut ascii = String::with_capacity(line.len());
    for c in line.chars() {
        if matches!(c, ' '..='~') {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

fn host(bytes: &[u8]) -> Cow<'_, str> {
    let (bytes, _) = bytes.split_at(bytes.len().min(MAX_TEXT_BYTES));
    String::from_utf8_lossy(bytes)
}

fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES))
        .unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

//! One audit line per decision: who called, what was decided, and why.

use core::time::Duration;
use std::borrow::Cow;

use serde::Serialize;

use super::verdict::{CacheStatus, VerdictContext};
use crate::decision::Decision;
use crate::introspection::Claims;
use codec::json;

/// Longest string of a caller or an issuer in a line, in bytes, so that log collectors take the
/// line whole.
const MAX_STRING_BYTES: usize = 256;

/// JSON escapes every control character and every quote, so no string can begin another line or
/// another member.
#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    unix_ms: u64,
    host: Option<Cow<'a, str>>,
    rule: Option<&'a str>,
    decision: &'static str,
    reason: Option<&'static str>,
    client_id: Option<&'a str>,
    subject: Option<&'a str>,
    /// Who names both.
    issuer: Option<&'a str>,
    /// A keyed digest, the same in every instance.
    token: Option<String>,
    cache: Option<&'static str>,
    issuer_ms: Option<u64>,
}

/// What a line says besides the decision itself.
pub(super) struct AuditContext<'a> {
    pub(super) verdict: VerdictContext<'a>,
    /// Of the token.
    pub(super) fingerprint: Option<String>,
    /// Since 1970.
    pub(super) unix: Duration,
}

pub(super) fn line(decision: &Decision, context: AuditContext<'_>) -> Option<String> {
    let (name, reason) = match decision {
        Decision::Granted(_) => ("granted", None),
        Decision::Refused(refusal) => ("refused", Some(refusal.reason().name())),
        // Nothing was decided.
        Decision::Answered(_) => return None,
    };
    let verdict = context.verdict;
    let line = Line {
        unix_ms: milliseconds(context.unix),
        host: verdict.host.map(host),
        rule: decision.rule(),
        decision: name,
        reason,
        client_id: verdict.claims.and_then(Claims::client_id).map(short),
        subject: verdict.claims.and_then(Claims::subject).map(short),
        issuer: verdict.claims.and_then(Claims::issuer).map(short),
        token: context.fingerprint,
        cache: verdict.cache.map(CacheStatus::name),
        issuer_ms: verdict.latency.map(milliseconds),
    };
    let line = serde_json::to_string(&line).ok()?;
    Some(json::in_ascii(&line))
}

fn host(bytes: &[u8]) -> Cow<'_, str> {
    let (bytes, _) = bytes.split_at(bytes.len().min(MAX_STRING_BYTES));
    String::from_utf8_lossy(bytes)
}

fn short(string: &str) -> &str {
    string
        .get(..string.floor_char_boundary(MAX_STRING_BYTES))
        .unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

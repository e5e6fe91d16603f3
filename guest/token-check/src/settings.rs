//! The one table of settings, and what can be wrong with them.

use core::fmt;
use std::borrow::Cow;

use crate::json::{self, Json};
use crate::rules::RulesError;

/// One setting of Service B. Its environment name is `WORKOUT18_` and the key in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key, in lower snake case.
    pub key: &'static str,
    /// What is used when it is not set; `None`: it must be set. An empty text means off.
    pub default: Option<&'static str>,
    /// Never printed.
    pub secret: bool,
    /// What it does, in one sentence, with its unit.
    pub meaning: &'static str,
}

const fn setting(
    key: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Setting {
    Setting {
        key,
        default,
        secret: false,
        meaning,
    }
}

/// Every setting of Service B.
pub const SETTINGS: &[Setting] = &[
    setting(
        "introspect_url",
        None,
        "The issuer's introspection endpoint (RFC 7662): `https`, or `http` on loopback.",
    ),
    setting(
        "resource_client_id",
        None,
        "Service B's own client id at the issuer.",
    ),
    Setting {
        key: "resource_client_secret",
        default: None,
        secret: true,
        meaning: "Service B's own client secret at the issuer.",
    },
    setting(
        "introspect_origin",
        Some(""),
        "Spin only: `scheme://host[:port]` of `introspect_url`, granted as outbound host; not needed for IBM Verify and loopback.",
    ),
    setting(
        "expected_aud",
        Some(""),
        "Audiences of which the token must have one, separated by spaces.",
    ),
    setting(
        "expected_issuer",
        Some(""),
        "The `iss` that the token must have.",
    ),
    setting(
        "required_scope",
        Some(""),
        "Scopes that the token must have, all of them, separated by spaces.",
    ),
    setting(
        "allowed_clients",
        Some(""),
        "Client ids that may call, separated by spaces.",
    ),
    setting(
        "allowed_grant_types",
        Some(""),
        "Grant types whose tokens may call, separated by spaces; where the issuer never names one, nobody may.",
    ),
    setting(
        "token_types",
        Some(""),
        "Values of `token_type` that are accepted on top of the known ones of access tokens, separated by spaces.",
    ),
    setting(
        "rules",
        Some(""),
        "What each route demands instead, as JSON: see docs/rules.md.",
    ),
    setting(
        "client_auth",
        Some("basic"),
        "How Service B authenticates at the issuer: `basic` or `post`.",
    ),
    setting(
        "leeway",
        Some("30"),
        "Clock difference to the issuer that is tolerated, in seconds, 0 to 300.",
    ),
    setting(
        "timeout",
        Some("5"),
        "Longest wait for the issuer, in seconds, 1 to 60.",
    ),
    setting(
        "connect_timeout",
        Some("2"),
        "Spin only: longest wait for a connection to the issuer, in seconds, 1 to 60, within `timeout`; in Envoy the cluster says it.",
    ),
    setting(
        "first_byte_timeout",
        Some(""),
        "Spin only: longest wait for the first byte of its answer, in seconds, 1 to 60, within `timeout`; if not set, `timeout`.",
    ),
    setting(
        "max_token_bytes",
        Some("16384"),
        "Longest access token that is taken, in bytes, 256 to 65536.",
    ),
    setting(
        "max_answer_bytes",
        Some("65536"),
        "Longest answer of the issuer that is read, in bytes, 1024 to 262144.",
    ),
    setting(
        "breaker_faults",
        Some("5"),
        "After so many failed questions in a row the issuer is left alone, 0 to 1000; 0: only when it says so itself.",
    ),
    setting(
        "probe_interval",
        Some("1"),
        "How often it is then asked whether it is back, in seconds, 1 to 60.",
    ),
    setting(
        "cache_ttl",
        Some("0"),
        "How long the issuer's word on a token counts, in seconds, 0 to 86400; 0: every request asks.",
    ),
    setting(
        "negative_cache_ttl",
        Some("0"),
        "How long its word that a token is not active counts, in seconds, 0 to 86400, within `cache_ttl`.",
    ),
    setting(
        "cache_entries",
        Some("10000"),
        "How many tokens are remembered, active and not active each, 1 to 1000000.",
    ),
    setting(
        "stale_if_error",
        Some("0"),
        "How long past `cache_ttl` the word on an active token counts while the issuer fails, in seconds, 0 to 86400.",
    ),
    setting(
        "cache_store",
        Some(""),
        "Spin only: label of the key-value store through which instances share what they know.",
    ),
    setting(
        "audit",
        Some("false"),
        "`true`: one line of JSON in the log per decision.",
    ),
    setting(
        "realm",
        Some("service-b"),
        "The realm that challenges name (RFC 9110 section 11.5).",
    ),
    setting(
        "forward_token",
        Some("false"),
        "`true`: the Authorization header goes on to the app.",
    ),
    setting(
        "allow_http",
        Some("false"),
        "`true`: `introspect_url` may be plain `http` to any host. Dangerous.",
    ),
];

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It must be set and is not, or is empty.
    Missing,
    /// Nobody knows such a key.
    Unknown,
    /// The host does not give its value, or it is not UTF-8. Not the same as not set: it may be what keeps callers out.
    Unreadable,
    /// Not a URL, or not one that can be called.
    NotAnHttpUrl,
    /// Plain http to another machine.
    PlainHttp,
    /// A URL with a user, a password or a fragment.
    UrlWithExtras,
    /// Neither `basic` nor `post`.
    NotAClientAuth,
    /// Neither `true` nor `false`.
    NotABoolean,
    /// In JSON: a number that is not whole.
    NotWhole,
    /// Not a whole number of seconds within the bounds.
    NotSecondsBetween(u32, u32),
    /// Not a whole number of bytes within the bounds.
    NotBytesBetween(u32, u32),
    /// Not a whole number within the bounds.
    NotANumberBetween(u32, u32),
    /// Not made of scope tokens (RFC 6749 section 3.3).
    NotAScope,
    /// Has characters that a quoted string cannot hold.
    NotPrintable,
    /// Is not the origin of `introspect_url`.
    NotTheOrigin,
    /// Rules that cannot be used.
    Rules(RulesError),
}

/// Settings as a JSON object: keys, and values as an environment variable would hold them. `None`: it is not one, or has a
/// key twice.
///
/// # Errors
/// The first value that no setting takes.
pub fn settings_of_json(text: &str) -> Option<Result<Vec<(String, String)>, SettingsError>> {
    let Ok(Json::Object(members)) = json::read(text) else {
        return None;
    };
    let setting = |(key, value): (Cow<'_, str>, Json<'_>)| match value.into_setting() {
        Some(value) => Ok((key.into_owned(), value)),
        None => Err(SettingsError::new(&key, Problem::NotWhole)),
    };
    Some(members.into_iter().map(setting).collect())
}

/// A setting that cannot be used. Names the key, never the value; of rules, which hold no secret, the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The key, in lower snake case.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl SettingsError {
    pub(crate) fn new(key: &str, problem: Problem) -> Self {
        Self {
            key: key.to_owned(),
            problem,
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "setting `{}` (WORKOUT18_{}) ",
            self.key,
            self.key.to_ascii_uppercase()
        )?;
        match &self.problem {
            Problem::Missing => f.write_str("is missing or empty: set it"),
            Problem::Unknown => f.write_str("is not known: see the table of settings in README.md"),
            Problem::Unreadable => f.write_str("cannot be read: it must be UTF-8, and its provider must answer"),
            Problem::NotAnHttpUrl => f.write_str("is not an http or https URL with a host"),
            Problem::PlainHttp => f.write_str(
                "is plain http to another machine, which shows the secret and every token to the network: use https, or set `allow_http`",
            ),
            Problem::UrlWithExtras => f.write_str("must not have a user, a password or a fragment"),
            Problem::NotAClientAuth => f.write_str("must be `basic` or `post`"),
            Problem::NotABoolean => f.write_str("must be `true` or `false`"),
            Problem::NotWhole => f.write_str("has a number that is not whole"),
            Problem::NotSecondsBetween(low, high) => {
                write!(f, "must be a whole number of seconds from {low} to {high}")
            }
            Problem::NotBytesBetween(low, high) => {
                write!(f, "must be a whole number of bytes from {low} to {high}")
            }
            Problem::NotANumberBetween(low, high) => {
                write!(f, "must be a whole number from {low} to {high}")
            }
            Problem::NotAScope => f.write_str("must be scope tokens separated by spaces (RFC 6749 section 3.3)"),
            Problem::NotPrintable => f.write_str("must be printable ASCII without `\"` and `\\`"),
            Problem::NotTheOrigin => f.write_str("is not the scheme, host and port of `introspect_url`"),
            Problem::Rules(error) => write!(f, "cannot be used: {error}"),
        }
    }
}

impl core::error::Error for SettingsError {}

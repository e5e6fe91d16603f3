//! What came of a scenario at one host, and whether that is what the row says.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::fixture::{readme_tables, same};
use crate::single::scenario::{Expect, Scenario};

/// What a caller and the app saw, and how often the issuer was called.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) status: u16,
    /// Of the answer: lower-case names, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// What reached the app; `None` if nothing did.
    pub(crate) app: Option<Seen>,
    pub(crate) introspections: u64,
}

/// A request as the app behind the auth check saw it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Each byte of a value is one character.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: SeenBody,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct SeenBody {
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
}

impl SeenBody {
    pub(crate) fn of(body: &[u8]) -> Self {
        Self {
            bytes: body.len() as u64,
            crc32: crc32fast::hash(body),
        }
    }
}

/// Headers that hosts and connections add or drop on their own; everything else must arrive as it
/// was sent.
const HOP_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
    "upgrade",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

/// Set by Spin on every request; a client's own are removed.
const SPIN_PREFIX: &str = "spin-";

impl Observed {
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(n, _)| n == name);
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// What has to be the same at every host.
    pub(crate) fn verdict(&self) -> String {
        let mut text = format!("{} asked {}\n", self.status, self.introspections);
        if let Some(app) = &self.app {
            let mut headers = app.end_to_end();
            headers.sort();
            let _ = write!(
                text,
                "{} {} {:?} {headers:#?}",
                app.method, app.target, app.body
            );
        } else {
            for name in [
                "www-authenticate",
                "retry-after",
                "content-type",
                "cache-control",
            ] {
                let _ = writeln!(text, "{name}: {:?}", self.header(name));
            }
            text.push_str(&self.body);
        }
        text
    }
}

impl Seen {
    fn end_to_end(&self) -> Vec<(String, String)> {
        let hop = |name: &str| HOP_HEADERS.contains(&name) || name.starts_with(SPIN_PREFIX);
        self.headers
            .iter()
            .filter(|(name, _)| !hop(name))
            .cloned()
            .collect()
    }
}

/// Compares with what is expected; the error says what is wrong.
pub(crate) fn check(
    scenario: &Scenario,
    expect: &Expect,
    introspections: u64,
    observed: &Observed,
) -> Result<(), String> {
    match expect {
        Expect::Granted {
            identity,
            authorization,
        } => {
            same("status", &observed.status, &200)?;
            let app = observed.app.as_ref().ok_or("nothing reached the app")?;
            same("method", &app.method.as_str(), &scenario.request.method)?;
            let mut expected: Vec<(String, String)> = Vec::new();
            for (name, value) in &scenario.request.headers {
                let lower = name.to_ascii_lowercase();
                let ours = lower.replace(['_', '.'], "-").starts_with("x-auth-");
                if lower != "authorization" && !ours && !HOP_HEADERS.contains(&lower.as_str()) {
                    let text = scenario
                        .filled(value)
                        .iter()
                        .copied()
                        .map(char::from)
                        .collect();
                    expected.push((lower, text));
                }
            }
            if let Some(value) = authorization {
                let value = String::from_utf8(scenario.filled(value.as_bytes())).unwrap();
                expected.push(("authorization".to_owned(), value));
            }
            expected.extend(identity.iter().map(|(n, v)| ((*n).to_owned(), v.clone())));
            let mut seen = app.end_to_end();
            // Stable: values of one name keep their order.
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            seen.sort_by(|a, b| a.0.cmp(&b.0));
            same("headers at the app", &seen, &expected)?;
            same(
                "body at the app",
                &app.body,
                &SeenBody::of(scenario.request.body.as_bytes()),
            )?;
        }
        Expect::Metadata(document) => {
            if observed.app.is_some() {
                return Err("it reached the app".to_owned());
            }
            same("status", &observed.status, &200)?;
            same("body", &observed.body.as_str(), document)?;
            for (name, value) in [
                ("content-type", "application/json"),
                ("content-length", &document.len().to_string()),
                ("cache-control", "max-age=300"),
                ("access-control-allow-origin", "*"),
            ] {
                same(name, &observed.header(name), &vec![value])?;
            }
            let challenges = observed.header("www-authenticate");
            same("challenge", &challenges, &vec![])?;
        }
        Expect::Refused {
            status,
            reason,
            scope,
        } => {
            if observed.app.is_some() {
                return Err("it reached the app".to_owned());
            }
            let published = readme_tables::reason(reason);
            same("README's status", &published.status, status)?;
            same("status", &observed.status, status)?;
            let body = format!(
                r#"{{"error":"{}","error_description":"{}","reason":"{reason}"}}"#,
                error(*status, reason),
                published.text
            );
            let sent = if scenario.request.method == "HEAD" {
                ""
            } else {
                body.as_str()
            };
            same("body", &observed.body.as_str(), &sent)?;
            same(
                "content-type",
                &observed.header("content-type"),
                &vec!["application/json"],
            )?;
            same(
                "content-length",
                &observed.header("content-length"),
                &vec![body.len().to_string().as_str()],
            )?;
            same(
                "cache-control",
                &observed.header("cache-control"),
                &vec!["no-store"],
            )?;
            let challenge = challenge(scenario, *status, reason, published.text, *scope);
            same(
                "challenge",
                &observed.header("www-authenticate"),
                &challenge.iter().map(String::as_str).collect(),
            )?;
            let nonces = observed.header("dpop-nonce").len();
            same(
                "nonces",
                &nonces,
                &usize::from(*reason == "dpop_nonce_needed"),
            )?;
            let retry_after = if *status == 503 { vec!["1"] } else { vec![] };
            same("retry-after", &observed.header("retry-after"), &retry_after)?;
        }
    }
    same(
        "questions to the issuer",
        &observed.introspections,
        &introspections,
    )
}

/// The refusals that no token changes which the caller could ask for.
const DENIED: [&str; 2] = ["claims_too_long", "denied_by_rule"];

/// RFC 6750 section 3.1, and RFC 6749 section 4.1.2.1 for what is not the caller's fault.
fn error(status: u16, reason: &str) -> &'static str {
    match status {
        // RFC 6749 section 4.1.2.1: no token would help.
        403 if DENIED.contains(&reason) => "access_denied",
        400 => "invalid_request",
        // RFC 9449 sections 7.1 and 9.
        401 if ["dpop_proof_invalid", "dpop_proof_replayed"].contains(&reason) => {
            "invalid_dpop_proof"
        }
        401 if reason == "dpop_nonce_needed" => "use_dpop_nonce",
        401 => "invalid_token",
        403 => "insufficient_scope",
        503 => "temporarily_unavailable",
        _ => panic!("no refusal has status {status}"),
    }
}

/// RFC 6750 section 3: no error code for who did not try, no challenge at all for what is not the
/// token's fault.
fn challenge(
    scenario: &Scenario,
    status: u16,
    reason: &str,
    text: &str,
    scope: Option<&str>,
) -> Option<String> {
    let setting = |wanted| {
        let mut settings = scenario.settings.iter().rev();
        let setting = settings.find(|(key, _)| *key == wanted);
        setting.map(|(_, value)| value.as_str())
    };
    if status == 503 || DENIED.contains(&reason) {
        return None;
    }
    let realm = setting("realm").unwrap_or("service-b");
    let (bearer, dpop) = (
        format!(r#"Bearer realm="{realm}""#),
        format!(r#"DPoP realm="{realm}""#),
    );
    // RFC 9449 section 7.1.
    let algorithms = r#", algs="ES256 PS256 EdDSA""#;
    let is_choice = setting("dpop") == Some("accept");
    let has_scheme = |wanted: &str| {
        let mut headers = scenario.request.headers.iter();
        headers
            .any(|(name, value)| *name == "authorization" && value.starts_with(wanted.as_bytes()))
    };
    let is_dpop = setting("dpop") == Some("require") || (is_choice && has_scheme("DPoP"));
    let is_bare = ["no_credentials", "unsupported_scheme"].contains(&reason);
    if is_choice && is_bare {
        return Some(format!("{bearer}, {dpop}{algorithms}"));
    }
    let mut challenge = if is_dpop { dpop.clone() } else { bearer };
    if !is_bare {
        let _ = write!(
            challenge,
            r#", error="{}", error_description="{text}""#,
            error(status, reason)
        );
    }
    if let Some(scope) = scope {
        let _ = write!(challenge, r#", scope="{scope}""#);
    }
    if is_dpop {
        challenge.push_str(algorithms);
    } else if is_choice && reason == "proof_of_possession_missing" {
        let _ = write!(challenge, ", {dpop}{algorithms}");
    }
    // RFC 9728 section 5.1. Each row with metadata has the same identifier.
    if scenario
        .settings
        .iter()
        .any(|(key, _)| *key == "resource_identifier")
    {
        challenge.push_str(r#", resource_metadata="https://service-b.test/.well-known/oauth-protected-resource/api""#);
    }
    Some(challenge)
}

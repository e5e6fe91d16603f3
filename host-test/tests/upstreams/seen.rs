//! What an app was told of a request, and a second reader of the rules, as simple as can be.

use serde::Deserialize;
use serde_json::{Value, json};

/// The subject and the client id of the token.
pub(crate) const IDENTITY: &str = "caller";

/// What a caller claims to be.
pub(crate) const FORGED: &str = "forged";

/// The rules in force.
pub(crate) fn rules() -> Value {
    json!([
        { "name": "no delete", "methods": ["DELETE"], "deny": true },
        { "name": "no admin", "path": { "prefix": "/admin" }, "deny": true },
        { "name": "closed", "host": "closed.test", "deny": true },
        { "name": "open", "path": { "prefix": "/open" }, "public": true },
    ])
}

/// The rule for a request that an app was told of, by name.
fn rule(seen: &Seen) -> Option<&'static str> {
    let below = |folder: &str| {
        let rest = seen.path.strip_prefix(folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if seen.method.trim().eq_ignore_ascii_case("delete") {
        Some("no delete")
    } else if below("/admin") {
        Some("no admin")
    } else if host(seen.host.as_deref()) == "closed.test" {
        Some("closed")
    } else if below("/open") {
        Some("open")
    } else {
        None
    }
}

/// What one decision was about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    /// Of the audit line.
    pub(crate) rule: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) client_id: Option<String>,
    /// Of the access log, if the host has one.
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
}

impl Decided {
    pub(crate) fn from_audit(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        Self {
            rule: text("rule"),
            host: text("host"),
            subject: text("subject"),
            client_id: text("client_id"),
            method: None,
            path: None,
        }
    }
}

/// The request as a server tells it to its app. Each byte is one character.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Decoded.
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    /// What an app answers. None if the body is anybody else's.
    pub(crate) fn from_app(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// What the echo app answers, which leaves decoding to its reader.
    pub(crate) fn from_echo(body: &[u8]) -> Option<Self> {
        let mut answer: Value = serde_json::from_slice(body).ok()?;
        let target = answer.get("target")?.as_str()?.to_owned();
        let path = target.split('?').next().unwrap_or_default();
        answer["path"] = decoded(path).into();
        let mut seen = Self::deserialize(&answer).ok()?;
        let trailers = Vec::<(String, String)>::deserialize(&answer["trailers"]);
        seen.headers.extend(trailers.ok()?);
        // HTTP/2 has no Host header, and Spin makes none.
        let authority = answer["authority"].as_str();
        seen.host = seen.header("host").or(authority).map(str::to_owned);
        Some(seen)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// How this differs from what was decided on.
    pub(crate) fn differences(&self, decided: &Decided) -> Vec<String> {
        let mut differences = Vec::new();
        let mut same = |what: &str, seen: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
            let (seen, expected) = (format!("{seen:?}"), format!("{expected:?}"));
            if seen != expected {
                differences.push(format!("{what}: seen {seen}, decided on {expected}"));
            }
        };
        same("rule", &rule(self), &decided.rule.as_deref());
        let decided_host = host(decided.host.as_deref());
        same("host", &host(self.host.as_deref()), &decided_host);
        if let Some(method) = &decided.method {
            // Hypercorn changes the case. That no rule notices is what the first comparison shows.
            let upper = str::to_ascii_uppercase;
            same("method", &upper(&self.method), &upper(method));
        }
        let path = self.path.trim_end_matches('/');
        if let Some(target) = &decided.path {
            same("path", &path, &decoded(target).trim_end_matches('/'));
        }
        same("path, decoded twice", &decoded(path), &path);
        let subject: Vec<_> = decided.subject.iter().collect();
        same("subject", &self.values("X_AUTH_SUBJECT"), &subject);
        let client_id: Vec<_> = decided.client_id.iter().collect();
        same("client id", &self.values("X_AUTH_CLIENT_ID"), &client_id);
        let forged = |(_, value): &&(String, String)| value == FORGED;
        same("forged", &self.headers.iter().find(forged), &None::<()>);
        differences
    }

    /// The values of every header, or trailer, that some server hands out under this name of CGI.
    fn values(&self, variable: &str) -> Vec<&String> {
        let headers = self.headers.iter();
        let named = headers.filter(|(name, _)| cgi_variable(name) == variable);
        named.map(|(_, value)| value).collect()
    }
}

/// As lighttpd converts it.
fn cgi_variable(name: &str) -> String {
    let name = name.strip_prefix("HTTP_").unwrap_or(name);
    let one = |c: char| match c {
        _ if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    };
    name.chars().map(one).collect()
}

/// As the laxest app reads it: decoded, in lower case, without user, port and final dots.
fn host(authority: Option<&str>) -> String {
    let authority = decoded(authority.unwrap_or_default()).to_ascii_lowercase();
    let (_, address) = authority.rsplit_once('@').unwrap_or(("", &authority));
    let name = match address.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => address,
    };
    name.trim_end_matches('.').to_owned()
}

/// Percent-decoded once.
fn decoded(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let digit = |at: usize| {
            let digit = char::from(*after.as_bytes().get(at)?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        rest = match (digit(0), digit(1)) {
            (Some(high), Some(low)) => {
                decoded.push(char::from(high << 4 | low));
                after.get(2..).unwrap_or_default()
            }
            _ => {
                decoded.push('%');
                after
            }
        };
    }
    decoded + rest
}

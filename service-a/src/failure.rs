//! What went wrong, on whose side, and what to check next.

use std::{fmt::Write as _, time::Duration};

use reqwest::{StatusCode, header::HeaderMap};
use serde::Serialize;
use url::Url;

use crate::{escape::escaped, untrusted_text::UntrustedText};

/// The classes of failure. Each has its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// A flag or a setting is missing or wrong.
    Usage,
    /// The issuer sent no complete response.
    IssuerUnreachable,
    /// The issuer responded without a usable token.
    IssuerRefused,
    /// Service B responded with a refusal.
    ServiceBRefused,
    /// Service B sent no complete response.
    ServiceBUnreachable,
}

impl Class {
    /// The exit code of the program.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            // The same code as clap's.
            Self::Usage => 2,
            Self::IssuerUnreachable => 3,
            Self::IssuerRefused => 4,
            Self::ServiceBRefused => 5,
            Self::ServiceBUnreachable => 6,
        }
    }

    const fn headline(self) -> &'static str {
        match self {
            Self::Usage => "the command line or the settings cannot be used",
            Self::IssuerUnreachable => "the issuer cannot be reached",
            Self::IssuerRefused => "the issuer gave no access token",
            Self::ServiceBRefused => "Service B refused the call",
            Self::ServiceBUnreachable => "Service B cannot be reached",
        }
    }
}

/// One failure, with everything the peer said about it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    class: Class,
    exit_code: u8,
    message: &'static str,
    reason: UntrustedText,
    #[serde(flatten)]
    details: Box<Details>,
    next: &'static str,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<UntrustedText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<UntrustedText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<UntrustedText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<UntrustedText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<UntrustedText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<UntrustedText>,
    /// Complete sentences, one for each wrong setting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl Failure {
    /// `reason` is one of our own or the peer's; `next` is the one thing to check.
    pub(crate) fn new(class: Class, reason: &str, next: &'static str) -> Self {
        Self {
            class,
            exit_code: class.exit_code(),
            message: class.headline(),
            reason: UntrustedText::new(reason),
            details: Box::default(),
            next,
        }
    }

    /// Adds the URL of the request.
    pub(crate) fn with_url(mut self, url: &Url) -> Self {
        // A query may hold secrets.
        let mut shown = url.clone();
        shown.set_query(None);
        self.details.url = Some(UntrustedText::new(shown.as_str()));
        self
    }

    /// Adds what the head of the response says, cleaned by `redact`.
    pub(crate) fn with_response(
        mut self,
        status: StatusCode,
        headers: &HeaderMap,
        redact: &dyn Fn(&str) -> String,
    ) -> Self {
        let header = |name: &str| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (!values.is_empty()).then(|| UntrustedText::new(&redact(&values.join(", "))))
        };
        self.details.status = Some(status.as_u16());
        self.details.challenge = header("www-authenticate");
        self.details.retry_after = header("retry-after");
        if status.is_redirection() {
            self.details.location = header("location");
        }
        self
    }

    /// Adds the `error` member of the response.
    pub(crate) fn with_error(mut self, error: Option<UntrustedText>) -> Self {
        self.details.error = error;
        self
    }

    /// Adds a description.
    pub(crate) fn with_description(mut self, description: Option<UntrustedText>) -> Self {
        self.details.description = description;
        self
    }

    /// Replaces the advice, where that for the reason would not help.
    pub(crate) const fn with_next(mut self, next: &'static str) -> Self {
        self.next = next;
        self
    }

    /// Adds everything that is wrong with the settings.
    pub(crate) fn with_problems(mut self, problems: impl IntoIterator<Item = String>) -> Self {
        self.details.problems = problems.into_iter().collect();
        self
    }

    pub(crate) const fn class(&self) -> Class {
        self.class
    }

    /// The reason by which failures are counted.
    pub(crate) const fn reason(&self) -> &UntrustedText {
        &self.reason
    }

    /// The status of the response, if there was one.
    pub(crate) const fn status(&self) -> Option<u16> {
        self.details.status
    }

    /// Whether every further token request would fail the same way: the issuer rejects this client
    /// or its request, or is no issuer.
    pub(crate) fn is_final(&self) -> bool {
        self.class == Class::IssuerRefused
            && !matches!(
                self.reason.raw(),
                "issuer_failed" | "issuer_overloaded" | "server_error" | "temporarily_unavailable"
            )
    }

    /// `Retry-After` in seconds (RFC 9110 section 10.2.3).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.details.retry_after.as_ref()?.raw().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// For a person: a headline, then one line for each known detail.
    pub(crate) fn render(&self) -> String {
        if !self.details.problems.is_empty() {
            let mut text = String::new();
            for problem in &self.details.problems {
                let _ = writeln!(text, "Error: {}", escaped(problem));
            }
            return text + self.next + "\n";
        }
        let mut text = format!("Error: {}\n", self.message);
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {name}: {value}");
            }
        };
        let shown = |text: &Option<UntrustedText>| text.as_ref().map(UntrustedText::escaped);
        line("url", shown(&self.details.url));
        line("status", self.details.status.map(status_line));
        line("reason", Some(self.reason.escaped()));
        line("error", shown(&self.details.error));
        line("description", shown(&self.details.description));
        line("challenge", shown(&self.details.challenge));
        line("location (not followed)", shown(&self.details.location));
        line("retry after", shown(&self.details.retry_after));
        line("next", Some(self.next.to_owned()));
        text
    }
}

fn status_line(status: u16) -> String {
    let phrase = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    match phrase {
        Some(phrase) => format!("{status} {phrase}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_exit_code() {
        let classes = [
            (Class::Usage, 2),
            (Class::IssuerUnreachable, 3),
            (Class::IssuerRefused, 4),
            (Class::ServiceBRefused, 5),
            (Class::ServiceBUnreachable, 6),
        ];
        for (class, code) in classes {
            assert_eq!(class.exit_code(), code);
        }
    }

    #[test]
    fn a_failure_shows_every_detail_and_nothing_raw() {
        let mut headers = HeaderMap::new();
        headers.append("www-authenticate", "Bearer realm=\"b\"".parse().unwrap());
        headers.append("www-authenticate", "Basic".parse().unwrap());
        headers.insert("retry-after", "7".parse().unwrap());
        let failure = Failure::new(Class::ServiceBRefused, "in\u{1b}active", "Check it.")
            .with_url(&Url::parse("http://127.0.0.1:9000/data?access_token=x").unwrap())
            .with_response(StatusCode::UNAUTHORIZED, &headers, &|text| {
                text.replace("realm", "R")
            })
            .with_error(Some(UntrustedText::new("invalid_token")))
            .with_description(Some(UntrustedText::new("two\nlines")));
        assert_eq!(
            failure.render(),
            "Error: Service B refused the call
  url: http://127.0.0.1:9000/data
  status: 401 Unauthorized
  reason: in\\x1bactive
  error: invalid_token
  description: two\\nlines
  challenge: Bearer R=\"b\", Basic
  retry after: 7
  next: Check it.
"
        );
        assert_eq!(
            crate::escape::json(&failure),
            r#"{"class":"service_b_refused","exit_code":5,"message":"Service B refused the call","reason":"in\u001bactive","url":"http://127.0.0.1:9000/data","status":401,"error":"invalid_token","description":"two\nlines","challenge":"Bearer R=\"b\", Basic","retry_after":"7","next":"Check it."}"#
        );
    }
}

//! What went wrong, whose side it is on, and what to look at next.

use std::{fmt::Write as _, time::Duration};

use reqwest::{StatusCode, header::HeaderMap};
use serde::Serialize;
use url::Url;

use crate::text::{Foreign, escaped};

/// The classes of failure; each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// A flag or a setting is missing or wrong.
    Usage,
    /// The issuer gave no answer.
    IssuerUnreachable,
    /// The issuer answered, and there is no token in it.
    IssuerRefused,
    /// Service B answered, and it is a refusal.
    ServiceBRefused,
    /// Service B gave no answer.
    ServiceBUnreachable,
}

impl Class {
    /// What the program ends with.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            // The one that clap uses too.
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

/// One failure, with everything the other side said about it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    class: Class,
    exit_code: u8,
    message: &'static str,
    reason: Foreign,
    #[serde(flatten)]
    told: Box<Told>,
    next: &'static str,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Foreign>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Foreign>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Foreign>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<Foreign>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Foreign>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<Foreign>,
    /// Each a whole sentence of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl Failure {
    /// `reason` is one of ours or the other side's; `next` is the one thing to check.
    pub(crate) fn new(class: Class, reason: &str, next: &'static str) -> Self {
        Self {
            class,
            exit_code: class.exit_code(),
            message: class.headline(),
            reason: Foreign::new(reason),
            told: Box::default(),
            next,
        }
    }

    /// Where the call went.
    pub(crate) fn at(mut self, url: &Url) -> Self {
        // A query may hold what nobody should see.
        let mut shown = url.clone();
        shown.set_query(None);
        self.told.url = Some(Foreign::new(shown.as_str()));
        self
    }

    /// What the head of the answer says, cleaned by `redact`.
    pub(crate) fn answered(
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
            (!values.is_empty()).then(|| Foreign::new(&redact(&values.join(", "))))
        };
        self.told.status = Some(status.as_u16());
        self.told.challenge = header("www-authenticate");
        self.told.retry_after = header("retry-after");
        if status.is_redirection() {
            self.told.location = header("location");
        }
        self
    }

    /// The `error` member.
    pub(crate) fn error(mut self, error: Option<Foreign>) -> Self {
        self.told.error = error;
        self
    }

    /// In words.
    pub(crate) fn described(mut self, description: Option<Foreign>) -> Self {
        self.told.description = description;
        self
    }

    /// The one thing to check, where that for the reason would not help.
    pub(crate) const fn next(mut self, next: &'static str) -> Self {
        self.next = next;
        self
    }

    /// Every single thing that is wrong with the settings.
    pub(crate) fn problems(mut self, problems: impl IntoIterator<Item = String>) -> Self {
        self.told.problems = problems.into_iter().collect();
        self
    }

    /// Its class.
    pub(crate) const fn class(&self) -> Class {
        self.class
    }

    /// Its reason, as failures are counted by.
    pub(crate) const fn reason(&self) -> &Foreign {
        &self.reason
    }

    /// The status, if there was an answer.
    pub(crate) const fn status(&self) -> Option<u16> {
        self.told.status
    }

    /// Whether the issuer would say the same again however often it is asked: it refuses this client or what it asks for,
    /// or is no issuer.
    pub(crate) fn is_final(&self) -> bool {
        self.class == Class::IssuerRefused
            && !matches!(
                self.reason.as_written(),
                "issuer_failed" | "issuer_overloaded" | "server_error" | "temporarily_unavailable"
            )
    }

    /// For how long the other side wants no more requests (RFC 9110 section 10.2.3, in seconds).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.told.retry_after.as_ref()?.as_written().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// For a person: a headline and one line for each thing known.
    pub(crate) fn shown(&self) -> String {
        if !self.told.problems.is_empty() {
            let mut text = String::new();
            for problem in &self.told.problems {
                let _ = writeln!(text, "Error: {}", escaped(problem));
            }
            return text + self.next + "\n";
        }
        let mut text = format!("Error: {}\n", self.message);
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                // A String takes every write.
                let _ = writeln!(text, "  {name}: {value}");
            }
        };
        let shown = |text: &Option<Foreign>| text.as_ref().map(Foreign::shown);
        line("url", shown(&self.told.url));
        line("status", self.told.status.map(status_line));
        line("reason", Some(self.reason.shown()));
        line("error", shown(&self.told.error));
        line("description", shown(&self.told.description));
        line("challenge", shown(&self.told.challenge));
        line("location (not followed)", shown(&self.told.location));
        line("retry after", shown(&self.told.retry_after));
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
    fn each_class_has_an_exit_code_of_its_own() {
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
    fn a_failure_shows_all_that_was_said_and_nothing_raw() {
        let mut headers = HeaderMap::new();
        headers.append("www-authenticate", "Bearer realm=\"b\"".parse().unwrap());
        headers.append("www-authenticate", "Basic".parse().unwrap());
        headers.insert("retry-after", "7".parse().unwrap());
        let failure = Failure::new(Class::ServiceBRefused, "in\u{1b}active", "Check it.")
            .at(&Url::parse("http://127.0.0.1:9000/data?access_token=x").unwrap())
            .answered(StatusCode::UNAUTHORIZED, &headers, &|text| {
                text.replace("realm", "R")
            })
            .error(Some(Foreign::new("invalid_token")))
            .described(Some(Foreign::new("two\nlines")));
        assert_eq!(
            failure.shown(),
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
            crate::text::json(&failure),
            r#"{"class":"service_b_refused","exit_code":5,"message":"Service B refused the call","reason":"in\u001bactive","url":"http://127.0.0.1:9000/data","status":401,"error":"invalid_token","description":"two\nlines","challenge":"Bearer R=\"b\", Basic","retry_after":"7","next":"Check it."}"#
        );
    }
}

//! What is printed: for people as it happens, for machines at the end.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anstream::{AutoStream, stdout};
use anstyle::{AnsiColor, Style};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    deployment::Deployment,
    step::{Outcome, Step},
};

const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

const fn is_refusal(status: u16) -> bool {
    status >= 400
}

/// Lines of the auth check's log that are shown when something went wrong.
const LOG_LINES: usize = 20;

pub(super) struct Report {
    /// Without colour where there is no terminal, or with `NO_COLOR`.
    out: AutoStream<io::Stdout>,
    json: bool,
    issuer: String,
    steps: Vec<Value>,
    wrong: Vec<Step>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self {
            out: stdout(),
            json,
            issuer: String::new(),
            steps: Vec::new(),
            wrong: Vec::new(),
        }
    }

    pub(super) fn opening(&mut self, deployment: &Deployment, issuer: &str) -> io::Result<()> {
        self.issuer = issuer.to_owned();
        if self.json {
            return Ok(());
        }
        writeln!(self.out, "Issuer:    {issuer}  (a stub of IBM Verify)")?;
        let (url, description) = (deployment.data_url(), deployment.kind().description());
        writeln!(self.out, "Service B: {url}  ({description})")
    }

    pub(super) fn begin(&mut self, step: Step) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let (number, title) = (step.number(), step.title());
        writeln!(self.out, "\n{TITLE}{number}. {title}{TITLE:#}")?;
        self.out.flush()
    }

    pub(super) fn end(&mut self, step: Step, outcome: Outcome) -> io::Result<()> {
        let good = outcome.problems.is_empty();
        if !good {
            self.wrong.push(step);
        }
        if self.json {
            let mut shown = json!(outcome);
            if let Value::Object(members) = &mut shown {
                members.insert("name".to_owned(), step.name().into());
                members.insert("ok".to_owned(), good.into());
            }
            self.steps.push(shown);
            return Ok(());
        }
        if let Some(output) = &outcome.output {
            // Exactly what it printed.
            self.out.write_all(output.as_bytes())?;
        }
        let status = outcome.status.map(|status| {
            let phrase = StatusCode::from_u16(status).ok();
            let phrase = phrase.and_then(|status| status.canonical_reason());
            format!("{status} {}", phrase.unwrap_or_default())
        });
        let reason = match (&outcome.reason, &outcome.description) {
            (Some(reason), Some(description)) => Some(format!("{reason} ({description})")),
            (reason, _) => reason.clone(),
        };
        for (name, value) in [
            ("status", &status),
            ("challenge", &outcome.challenge),
            ("retry after", &outcome.retry_after),
            ("reason", &reason),
            ("message", &outcome.message),
        ] {
            match value {
                Some(value) => writeln!(self.out, "  {name}: {value}")?,
                None if name == "challenge" && outcome.status.is_some_and(is_refusal) => {
                    writeln!(self.out, "  {name}: none")?;
                }
                None => {}
            }
        }
        if good {
            let calls = match outcome.issuer_calls {
                None => String::new(),
                Some(0) => "; no introspection call reached the issuer".to_owned(),
                Some(1) => "; one introspection call reached the issuer".to_owned(),
                Some(count) => format!("; {count} introspection calls reached the issuer"),
            };
            return writeln!(self.out, "{GOOD}✓ as expected{GOOD:#}{calls}");
        }
        for problem in &outcome.problems {
            writeln!(self.out, "{BAD}✗ {problem}{BAD:#}")?;
        }
        Ok(())
    }

    /// Whether everything came out as expected.
    pub(super) fn closing(&mut self, deployment: &Deployment, took: Duration) -> io::Result<bool> {
        let ok = self.wrong.is_empty();
        let log = if ok { Vec::new() } else { deployment.log() };
        let log: Vec<_> = log
            .iter()
            .skip(log.len().saturating_sub(LOG_LINES))
            .collect();
        if self.json {
            let document = json!({
                "ok": ok,
                "gate": deployment.kind().name(),
                "issuer": self.issuer,
                "service_b": deployment.data_url(),
                "scenes": self.steps,
                "log": log,
                "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            });
            writeln!(self.out, "{document}")?;
        } else if ok {
            let (count, seconds) = (Step::ALL.len(), took.as_secs_f64());
            writeln!(
                self.out,
                "\n{GOOD}All {count} calls came out as expected{GOOD:#} ({seconds:.1} s)."
            )?;
        } else {
            writeln!(self.out)?;
            for line in log {
                writeln!(self.out, "  log: {line}")?;
            }
            let wrong: Vec<_> = self
                .wrong
                .iter()
                .map(|step| format!("{}. {}", step.number(), step.title()))
                .collect();
            let wrong = wrong.join("; ");
            writeln!(self.out, "{BAD}Not as expected: {wrong}{BAD:#}")?;
        }
        self.out.flush()?;
        Ok(ok)
    }
}

//! The statistics of many calls, and how they are shown.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    call::CallResult,
    escape::escaped,
    failure::{Class, Failure},
    report::{self, milliseconds},
};

/// The precision of latencies.
const SIGNIFICANT_DIGITS: u8 = 3;
/// How many reasons are counted separately: a server that invents reasons must not fill the memory.
const MAX_REASONS: usize = 32;
/// The name under which all other reasons are counted.
const OTHER_REASONS: &str = "other";

/// One call of `--watch`.
#[derive(Serialize)]
pub(super) struct CallLine {
    call: u64,
    ok: bool,
    status: Option<u16>,
    reason: Option<String>,
    latency_ms: f64,
}

impl CallLine {
    pub(super) fn new(call: u64, result: &CallResult, latency: Duration) -> Self {
        let (status, reason) = match &result.result {
            Ok((status, _)) => (Some(status.as_u16()), None),
            Err(failure) => (failure.status(), Some(failure.reason().raw().to_owned())),
        };
        Self {
            call,
            ok: result.result.is_ok(),
            status,
            reason,
            latency_ms: milliseconds(latency),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{} {}", self.call, if self.ok { "ok" } else { "failed" });
        // Writing to a String cannot fail.
        if let Some(status) = self.status {
            let _ = write!(text, " {status}");
        }
        if let Some(reason) = &self.reason {
            let _ = write!(text, " {}", escaped(reason));
        }
        let _ = write!(text, " {:.2} ms", self.latency_ms);
        text
    }
}

/// The calls so far.
pub(super) struct Stats {
    started: Instant,
    concurrency: u16,
    calls: u64,
    succeeded: u64,
    /// In microseconds. Counts only calls to which Service B responded.
    latencies: Option<Histogram<u64>>,
    errors: BTreeMap<String, u64>,
    first_failure: Option<Arc<Failure>>,
    token: Option<String>,
}

impl Stats {
    pub(super) fn new(concurrency: u16) -> Self {
        Self {
            started: Instant::now(),
            concurrency,
            calls: 0,
            succeeded: 0,
            // `new` fails only for more than five digits.
            latencies: Histogram::new(SIGNIFICANT_DIGITS).ok(),
            errors: BTreeMap::new(),
            first_failure: None,
            token: None,
        }
    }

    /// Restarts the clock, once there is a token.
    pub(super) fn restart(&mut self, now: Instant) {
        self.started = now;
    }

    /// The number of calls so far.
    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn first_failure(&self) -> Option<Arc<Failure>> {
        self.first_failure.clone()
    }

    /// Counts one call.
    pub(super) fn add(&mut self, result: CallResult, latency: Duration) {
        self.calls += 1;
        if let Some(token) = &result.token {
            self.token = Some(token.access().masked());
        }
        let responded = match result.result {
            Ok(_) => {
                self.succeeded += 1;
                true
            }
            Err(failure) => {
                let responded = failure.class() == Class::ServiceBRefused;
                let mut reason = failure.reason().raw();
                if self.errors.len() >= MAX_REASONS && !self.errors.contains_key(reason) {
                    reason = OTHER_REASONS;
                }
                *self.errors.entry(reason.to_owned()).or_default() += 1;
                self.add_failure(failure);
                responded
            }
        };
        if let (true, Some(latencies)) = (responded, &mut self.latencies) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            // The histogram grows as needed, so this cannot fail.
            let _ = latencies.record(micros);
        }
    }

    /// Keeps the first failure.
    pub(super) fn add_failure(&mut self, failure: Arc<Failure>) {
        self.first_failure.get_or_insert(failure);
    }

    pub(super) fn counts(&self) -> String {
        let failed = self.calls - self.succeeded;
        format!("{} ok, {failed} failed", self.succeeded)
    }

    /// The last call and the statistics of all, on one line.
    pub(super) fn live(&self, last: &CallLine) -> String {
        let mut text = format!("{} | {}", last.text(), self.counts());
        if let Some(latency) = self.latencies.as_ref().and_then(Latency::from_histogram) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                " | p50 {:.2} ms, p99 {:.2} ms",
                latency.p50, latency.p99
            );
        }
        text
    }
}

/// The summary at the end.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    ok: bool,
    /// Masked.
    token: Option<String>,
    token_requests: u64,
    calls: u64,
    succeeded: u64,
    failed: u64,
    interrupted: bool,
    concurrency: u16,
    seconds: f64,
    calls_per_second: f64,
    latency_ms: Option<Latency>,
    /// The number of failures by reason.
    errors: BTreeMap<String, u64>,
    /// The first failure.
    error: Option<&'a Failure>,
}

#[derive(Serialize)]
struct Latency {
    min: f64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Latency {
    fn from_histogram(micros: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1e3;
        (!micros.is_empty()).then(|| Self {
            min: micros.min() as f64 / 1e3,
            p50: at(0.50),
            p99: at(0.99),
            max: micros.max() as f64 / 1e3,
        })
    }
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        stats: Stats,
        token_requests: u64,
        interrupted: bool,
        error: Option<&'a Failure>,
    ) -> Self {
        let seconds = stats.started.elapsed().as_secs_f64();
        Self {
            ok: error.is_none(),
            token: stats.token,
            token_requests,
            calls: stats.calls,
            succeeded: stats.succeeded,
            failed: stats.calls - stats.succeeded,
            interrupted,
            concurrency: stats.concurrency,
            seconds,
            calls_per_second: stats.calls as f64 / seconds.max(f64::EPSILON),
            latency_ms: stats.latencies.as_ref().and_then(Latency::from_histogram),
            errors: stats.errors,
            error,
        }
    }

    pub(super) const fn has_calls(&self) -> bool {
        self.calls > 0
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(token) = &self.token {
            text.push_str(&report::token_line(token));
        }
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} call{} in {:.2} s ({:.0} per second, {} concurrent{}): {} ok, {} failed; {} token request{}",
            self.calls,
            plural(self.calls),
            self.seconds,
            self.calls_per_second,
            self.concurrency,
            if self.interrupted {
                ", stopped by Ctrl-C"
            } else {
                ""
            },
            self.succeeded,
            self.failed,
            self.token_requests,
            plural(self.token_requests),
        );
        if let Some(Latency { min, p50, p99, max }) = self.latency_ms {
            let _ = writeln!(
                text,
                "Latency: min {min:.2} ms, p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
            );
        }
        if !self.errors.is_empty() {
            text.push_str("Failures by reason:\n");
        }
        for (reason, count) in &self.errors {
            let _ = writeln!(text, "  {}: {count}", escaped(reason));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::{call::Document, untrusted_text::UntrustedText};

    fn call_result(result: Result<(), &str>) -> CallResult {
        let granted = (StatusCode::OK, Document::Text(UntrustedText::new("")));
        CallResult {
            token: None,
            result: result
                .map(|()| granted)
                .map_err(|reason| Arc::new(Failure::new(Class::ServiceBRefused, reason, "Look."))),
            latency: None,
        }
    }

    #[tokio::test]
    async fn a_summary_shows_counts_quantiles_and_reasons() {
        let mut stats = Stats::new(4);
        for milliseconds in 1..=99 {
            stats.add(call_result(Ok(())), Duration::from_millis(milliseconds));
        }
        stats.add(
            call_result(Err("in\u{1b}active")),
            Duration::from_millis(500),
        );
        let summary = Summary::new(stats, 1, false, None);
        let text = summary.text();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with("100 calls in "), "{first}");
        assert!(first.ends_with(" per second, 4 concurrent): 99 ok, 1 failed; 1 token request"));
        assert_eq!(
            rest,
            "Latency: min 1.00 ms, p50 50.02 ms, p99 99.01 ms, max 500.22 ms\nFailures by reason:\n  in\\x1bactive: 1\n"
        );
    }

    #[tokio::test]
    async fn a_server_that_invents_reasons_does_not_fill_the_memory() {
        let mut stats = Stats::new(1);
        for number in 0..1000 {
            stats.add(
                call_result(Err(&format!("reason-{number}"))),
                Duration::ZERO,
            );
        }
        assert_eq!(stats.errors.len(), MAX_REASONS + 1);
        assert_eq!(stats.errors[OTHER_REASONS], 1000 - MAX_REASONS as u64);
    }
}

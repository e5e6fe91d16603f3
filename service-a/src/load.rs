//! Many calls with one token: as fast as asked for, or one at each interval to watch.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    call::{Called, Caller},
    cli::Load,
    failure::{Class, Failure},
    interrupt,
    output::{self, complain, milliseconds},
    text::escaped,
};

/// Latencies are exact to three digits.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Reasons that are counted each; a server that makes up reasons must not fill the memory.
const MOST_REASONS: usize = 32;
/// Under this name the rest is counted.
const OTHER_REASONS: &str = "other";
/// Shown while calls are repeated.
const BAR: &str = "{wide_bar} {human_pos}/{human_len}: {msg}, {eta} to go";
/// Shown while calls are watched.
const LIVE_LINE: &str = "{spinner} {wide_msg}";
/// How often a bar is drawn when nothing moves.
const TICK: Duration = Duration::from_millis(200);

/// Makes all the calls and prints the summary.
pub(crate) async fn repeat(
    caller: &Caller,
    load: Load,
    json: bool,
    interrupted: &CancellationToken,
) -> io::Result<u8> {
    let mut tally = Tally::new(load.at_once);
    // The token first: without one there is nothing to measure.
    let token = tokio::select! {
        biased;
        () = interrupted.cancelled() => return Ok(interrupt::EXIT_CODE),
        token = caller.source().token() => token,
    };
    if let Err(failure) = token {
        tally.fail(failure);
        return tally.conclude(caller, json, interrupted);
    }
    let bar = bar(load.calls, caller.is_traced());
    tally.started = Instant::now();
    let started = tally.started;
    let calls = stream::iter(0..load.calls)
        .map(|index| async move {
            let due = match load.spacing {
                Some(spacing) => {
                    let due = started + spacing.mul_f64(index as f64);
                    time::sleep_until(due).await;
                    due
                }
                None => Instant::now(),
            };
            let called = caller.call().await;
            (called, due.elapsed())
        })
        .buffer_unordered(load.at_once.into())
        .take_until(interrupted.cancelled());
    tokio::pin!(calls);
    while let Some((called, latency)) = calls.next().await {
        let hopeless = called.is_hopeless();
        tally.add(called, latency);
        bar.inc(1);
        bar.set_message(tally.counts());
        if hopeless {
            break;
        }
    }
    bar.finish_and_clear();
    tally.conclude(caller, json, interrupted)
}

/// Calls at each interval and shows each call, until Ctrl-C or until the issuer refuses for good.
pub(crate) async fn watch(
    caller: &Caller,
    interval: Duration,
    json: bool,
    interrupted: &CancellationToken,
) -> io::Result<u8> {
    let mut tally = Tally::new(1);
    let mut ticks = time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let alone = !json && !caller.is_traced();
    let live = (alone && io::stdout().is_terminal()).then(live_line);
    loop {
        let one = async {
            ticks.tick().await;
            let started = Instant::now();
            let called = caller.call().await;
            (called, started.elapsed())
        };
        let (called, latency) = tokio::select! {
            biased;
            () = interrupted.cancelled() => break,
            one = one => one,
        };
        let hopeless = called.is_hopeless();
        let line = Line::of(tally.calls + 1, &called, latency);
        tally.add(called, latency);
        match &live {
            Some(live) => live.set_message(tally.live(&line)),
            None if json => output::print_json(&line)?,
            None => output::print(&(line.text() + "\n"))?,
        }
        if hopeless {
            break;
        }
    }
    if let Some(live) = live {
        live.finish_and_clear();
    }
    tally.conclude(caller, json, interrupted)
}

/// Draws on a terminal only.
fn bar(calls: u64, hidden: bool) -> ProgressBar {
    let target = if hidden {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(calls), target);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

fn live_line() -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
    if let Ok(style) = ProgressStyle::with_template(LIVE_LINE) {
        line.set_style(style);
    }
    line.enable_steady_tick(TICK);
    line
}

impl Called {
    /// The next call would fail the same way, and asking the issuer on and on might get the client locked.
    fn is_hopeless(&self) -> bool {
        self.result
            .as_ref()
            .is_err_and(|failure| failure.is_final())
    }
}

/// One call of a watch.
#[derive(Serialize)]
struct Line {
    call: u64,
    ok: bool,
    status: Option<u16>,
    reason: Option<String>,
    latency_ms: f64,
}

impl Line {
    fn of(call: u64, called: &Called, latency: Duration) -> Self {
        let (status, reason) = match &called.result {
            Ok((status, _)) => (Some(status.as_u16()), None),
            Err(failure) => (
                failure.status(),
                Some(failure.reason().as_written().to_owned()),
            ),
        };
        Self {
            call,
            ok: called.result.is_ok(),
            status,
            reason,
            latency_ms: milliseconds(latency),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} {}", self.call, if self.ok { "ok" } else { "failed" });
        // A String takes every write.
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

/// What happened so far.
struct Tally {
    started: Instant,
    at_once: u16,
    calls: u64,
    succeeded: u64,
    /// In microseconds, of the calls that Service B answered: what never arrived was not slow.
    latencies: Option<Histogram<u64>>,
    errors: BTreeMap<String, u64>,
    first_failure: Option<Arc<Failure>>,
    token: Option<String>,
}

impl Tally {
    fn new(at_once: u16) -> Self {
        Self {
            started: Instant::now(),
            at_once,
            calls: 0,
            succeeded: 0,
            // Only a number of digits above five would be refused.
            latencies: Histogram::new(SIGNIFICANT_DIGITS).ok(),
            errors: BTreeMap::new(),
            first_failure: None,
            token: None,
        }
    }

    fn add(&mut self, called: Called, latency: Duration) {
        self.calls += 1;
        if let Some(token) = &called.token {
            self.token = Some(token.access().masked());
        }
        let answered = match called.result {
            Ok(_) => {
                self.succeeded += 1;
                true
            }
            Err(failure) => {
                let answered = failure.class() == Class::ServiceBRefused;
                let mut reason = failure.reason().as_written();
                if self.errors.len() >= MOST_REASONS && !self.errors.contains_key(reason) {
                    reason = OTHER_REASONS;
                }
                *self.errors.entry(reason.to_owned()).or_default() += 1;
                self.fail(failure);
                answered
            }
        };
        if let (true, Some(latencies)) = (answered, &mut self.latencies) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            // It grows as needed; only what no clock can measure is refused.
            let _ = latencies.record(micros);
        }
    }

    fn fail(&mut self, failure: Arc<Failure>) {
        self.first_failure.get_or_insert(failure);
    }

    fn counts(&self) -> String {
        let failed = self.calls - self.succeeded;
        format!("{} ok, {failed} failed", self.succeeded)
    }

    /// The last call and all of them, on one line.
    fn live(&self, last: &Line) -> String {
        let mut text = format!("{} | {}", last.text(), self.counts());
        if let Some(latency) = self.latencies.as_ref().and_then(Latency::of) {
            // A String takes every write.
            let _ = write!(
                text,
                " | p50 {:.2} ms, p99 {:.2} ms",
                latency.p50, latency.p99
            );
        }
        text
    }

    fn conclude(
        self,
        caller: &Caller,
        json: bool,
        interrupted: &CancellationToken,
    ) -> io::Result<u8> {
        let interrupted = interrupted.is_cancelled();
        let failure = self.first_failure.clone();
        let summary = Summary::of(
            self,
            caller.source().requests(),
            interrupted,
            failure.as_deref(),
        );
        if json {
            output::print_json(&summary)?;
        } else {
            if summary.calls > 0 {
                output::print(&summary.text())?;
            }
            if let Some(failure) = &failure {
                complain(&failure.shown());
            }
        }
        Ok(match failure {
            _ if interrupted => interrupt::EXIT_CODE,
            Some(failure) => failure.class().exit_code(),
            None => 0,
        })
    }
}

/// What is told at the end.
#[derive(Serialize)]
struct Summary<'a> {
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
    /// By reason.
    errors: BTreeMap<String, u64>,
    /// The first.
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
    fn of(micros: &Histogram<u64>) -> Option<Self> {
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
    fn of(
        tally: Tally,
        token_requests: u64,
        interrupted: bool,
        error: Option<&'a Failure>,
    ) -> Self {
        let seconds = tally.started.elapsed().as_secs_f64();
        Self {
            ok: error.is_none(),
            token: tally.token,
            token_requests,
            calls: tally.calls,
            succeeded: tally.succeeded,
            failed: tally.calls - tally.succeeded,
            interrupted,
            concurrency: tally.at_once,
            seconds,
            calls_per_second: tally.calls as f64 / seconds.max(f64::EPSILON),
            latency_ms: tally.latencies.as_ref().and_then(Latency::of),
            errors: tally.errors,
            error,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(token) = &self.token {
            text.push_str(&output::token_line(token));
        }
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        // A String takes every write.
        let _ = writeln!(
            text,
            "{} call{} in {:.2} s ({:.0} per second, {} at once{}): {} ok, {} failed; {} token request{}",
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
    use crate::{call::Document, text::Foreign};

    fn called(result: Result<(), &str>) -> Called {
        let granted = (StatusCode::OK, Document::Text(Foreign::new("")));
        Called {
            token: None,
            result: result
                .map(|()| granted)
                .map_err(|reason| Arc::new(Failure::new(Class::ServiceBRefused, reason, "Look."))),
            latency: None,
        }
    }

    #[test]
    fn the_templates_of_the_bars_are_sound() {
        for template in [BAR, LIVE_LINE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[tokio::test]
    async fn a_summary_tells_counts_quantiles_and_reasons() {
        let mut tally = Tally::new(4);
        for milliseconds in 1..=99 {
            tally.add(called(Ok(())), Duration::from_millis(milliseconds));
        }
        tally.add(called(Err("in\u{1b}active")), Duration::from_millis(500));
        let summary = Summary::of(tally, 1, false, None);
        let text = summary.text();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with("100 calls in "), "{first}");
        assert!(first.ends_with(" per second, 4 at once): 99 ok, 1 failed; 1 token request"));
        assert_eq!(
            rest,
            "Latency: min 1.00 ms, p50 50.02 ms, p99 99.01 ms, max 500.22 ms\nFailures by reason:\n  in\\x1bactive: 1\n"
        );
    }

    #[tokio::test]
    async fn a_server_that_makes_up_reasons_does_not_fill_the_memory() {
        let mut tally = Tally::new(1);
        for number in 0..1000 {
            tally.add(called(Err(&format!("reason-{number}"))), Duration::ZERO);
        }
        assert_eq!(tally.errors.len(), MOST_REASONS + 1);
        assert_eq!(tally.errors[OTHER_REASONS], 1000 - MOST_REASONS as u64);
    }
}

//! Many calls with one token: a number of calls as fast as allowed, or one call at each interval.

mod progress;
mod stats;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::stats::{CallLine, Stats, Summary};
use crate::{
    call::Caller,
    cli::LoadOptions,
    console::{self, print_error},
    interrupt,
};

/// Makes all the calls and prints the summary.
pub(crate) async fn repeat(
    caller: &Caller,
    load: LoadOptions,
    json: bool,
    interrupted: &CancellationToken,
) -> io::Result<u8> {
    let mut stats = Stats::new(load.concurrency);
    // Get the token first: without one there is nothing to measure.
    let token = tokio::select! {
        biased;
        () = interrupted.cancelled() => return Ok(interrupt::EXIT_CODE),
        token = caller.source().token() => token,
    };
    if let Err(failure) = token {
        stats.add_failure(failure);
        return finish(stats, caller, json, interrupted);
    }
    let bar = progress::bar(load.calls, caller.is_traced());
    let started = Instant::now();
    stats.restart(started);
    let calls = stream::iter(0..load.calls)
        .map(|index| async move {
            let due = match load.interval {
                Some(interval) => {
                    let due = started + interval.mul_f64(index as f64);
                    time::sleep_until(due).await;
                    due
                }
                None => Instant::now(),
            };
            let result = caller.call().await;
            (result, due.elapsed())
        })
        .buffer_unordered(load.concurrency.into())
        .take_until(interrupted.cancelled());
    tokio::pin!(calls);
    while let Some((result, latency)) = calls.next().await {
        let is_final = result.is_final();
        stats.add(result, latency);
        bar.inc(1);
        bar.set_message(stats.counts());
        if is_final {
            break;
        }
    }
    bar.finish_and_clear();
    finish(stats, caller, json, interrupted)
}

/// Calls at each interval and shows each call, until Ctrl-C or a final refusal of the issuer.
pub(crate) async fn watch(
    caller: &Caller,
    interval: Duration,
    json: bool,
    interrupted: &CancellationToken,
) -> io::Result<u8> {
    let mut stats = Stats::new(1);
    let mut ticks = time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_plain = !json && !caller.is_traced();
    let live = (is_plain && io::stdout().is_terminal()).then(progress::live_line);
    loop {
        let one = async {
            ticks.tick().await;
            let started = Instant::now();
            let result = caller.call().await;
            (result, started.elapsed())
        };
        let (result, latency) = tokio::select! {
            biased;
            () = interrupted.cancelled() => break,
            one = one => one,
        };
        let is_final = result.is_final();
        let line = CallLine::new(stats.calls() + 1, &result, latency);
        stats.add(result, latency);
        match &live {
            Some(live) => live.set_message(stats.live(&line)),
            None if json => console::print_json(&line)?,
            None => console::print(&(line.text() + "\n"))?,
        }
        if is_final {
            break;
        }
    }
    if let Some(live) = live {
        live.finish_and_clear();
    }
    finish(stats, caller, json, interrupted)
}

/// Prints the summary and returns the exit code.
fn finish(
    stats: Stats,
    caller: &Caller,
    json: bool,
    interrupted: &CancellationToken,
) -> io::Result<u8> {
    let interrupted = interrupted.is_cancelled();
    let failure = stats.first_failure();
    let requests = caller.source().requests();
    let summary = Summary::new(stats, requests, interrupted, failure.as_deref());
    if json {
        console::print_json(&summary)?;
    } else {
        if summary.has_calls() {
            console::print(&summary.text())?;
        }
        if let Some(failure) = &failure {
            print_error(&failure.render());
        }
    }
    Ok(match failure {
        _ if interrupted => interrupt::EXIT_CODE,
        Some(failure) => failure.class().exit_code(),
        None => 0,
    })
}

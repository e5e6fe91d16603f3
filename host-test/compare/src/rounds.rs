//! Every contender once per round, one after the other.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    Bench, contender::Contender, load::wrk::Wrk, machine::processor_time, options::Options,
    spread::Spread,
};

/// Between two loads.
const PAUSE: Duration = Duration::from_millis(100);

/// What one contender achieved. Values stand in the order of the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Achieved {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) requests_per_second: Vec<f64>,
    /// Latencies with all connections busy, in microseconds.
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
    /// Time of the server on a processor per request, in microseconds.
    pub(crate) processor: Vec<f64>,
}

impl Achieved {
    pub(crate) fn rate(&self) -> Option<Spread> {
        Spread::of(self.requests_per_second.iter().copied())
    }
}

/// Checks everyone, warms them up, and measures.
pub(crate) async fn run(contenders: &[Contender], bench: &Bench) -> Result<Vec<Achieved>> {
    let Bench { wrk, options, .. } = bench;
    let progress = progress(contenders.len(), options.rounds());
    for contender in contenders {
        progress.set_message(format!("checking {}", contender.name));
        contender.check().await?;
        // Compilation tiers, connections and caches.
        let warm_up = Duration::from_secs(1);
        wrk.load(contender, options.connections, warm_up).await?;
        progress.inc(1);
    }
    let mut achieved: Vec<_> = contenders
        .iter()
        .map(|contender| Achieved {
            name: contender.name,
            what: contender.what,
            requests_per_second: Vec::new(),
            p50: Vec::new(),
            p99: Vec::new(),
            processor: Vec::new(),
        })
        .collect();
    for _ in 0..options.rounds() {
        for (contender, achieved) in contenders.iter().zip(&mut achieved) {
            progress.set_message(contender.name);
            round(contender, achieved, wrk, options).await?;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(achieved)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn round(
    contender: &Contender,
    achieved: &mut Achieved,
    wrk: &Wrk,
    options: &Options,
) -> Result<()> {
    let time = || contender.pid.and_then(processor_time);
    // What was still on its way when the load before ended.
    tokio::time::sleep(PAUSE).await;
    let calls = contender.issuer.calls();
    let before = time();
    let shot = wrk
        .load(contender, options.connections, options.load())
        .await?;
    if let (Some(before), Some(after)) = (before, time()) {
        let spent = after.saturating_sub(before);
        achieved
            .processor
            .push(spent as f64 / 1e3 / shot.requests as f64);
    }
    let calls = contender.issuer.calls().saturating_sub(calls);
    contender.check_calls(calls, shot.requests)?;
    achieved.requests_per_second.push(shot.per_second());
    achieved.p50.push(shot.p50 as f64);
    achieved.p99.push(shot.p99 as f64);
    Ok(())
}

fn progress(contenders: usize, rounds: u32) -> ProgressBar {
    let steps = u64::try_from(contenders).unwrap_or(0) * (u64::from(rounds) + 1);
    let progress = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}") {
        progress.set_style(style);
    }
    progress
}

//! What a host's log has to say of its scenarios.

use std::sync::Arc;

use crate::single::Run;

/// Whether a host's log says what its scenarios are to be told by.
pub(crate) fn check(runs: &[Arc<Run>]) -> Result<(), String> {
    // A run that failed says so in its own trial.
    let logged: Vec<_> = runs
        .iter()
        .filter(|run| run.observed().is_ok())
        .filter_map(|run| Some((run.scenario.name, run.scenario.logs?)))
        .collect();
    let driver = &runs.first().ok_or("no scenario ran")?.driver;
    let printed = driver.printed();
    let is_missing = |line: &str| !printed.iter().any(|printed| printed.contains(line));
    let missing: Vec<_> = logged.iter().filter(|(_, line)| is_missing(line)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("the log has none of {missing:#?}"))
    }
}

//! Scenarios of one request: every row of the table in every host, with the same verdict in all of
//! them.

mod differences;
mod hosts;
mod issuer;
mod log_lines;
mod observed;
mod scenario;
pub(crate) mod table;

use std::sync::{Arc, OnceLock};

use libtest_mimic::Trial;
use tokio::runtime::Handle;

use crate::fixture::{log::Log, readme_tables};
use crate::leaks;
use differences::HostDifference;
use hosts::Driver;
use hosts::{component::Component, core::Core, envoy::RealEnvoy, spin::RealSpin};
use issuer::SharedStub;
use observed::Observed;
use scenario::{Expect, Scenario};

/// One scenario in one host, run once however many trials need it.
pub(crate) struct Run {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) scenario: Arc<Scenario>,
    observed: OnceLock<Result<Observed, String>>,
}

impl Run {
    pub(crate) fn observed(&self) -> Result<&Observed, String> {
        let observed = self
            .observed
            .get_or_init(|| self.driver.observe(&self.scenario));
        observed.as_ref().map_err(Clone::clone)
    }

    fn check(&self) -> Result<(), String> {
        let Some(difference) = differences::of(self.scenario.name, self.driver.name()) else {
            return self.holds(&self.scenario.expect, self.scenario.introspections);
        };
        let checked = match difference.host_does {
            HostDifference::Answers(status) => match self.observed()? {
                seen if seen.status == status && seen.app.is_none() && seen.introspections == 0 => {
                    Ok(())
                }
                seen => Err(seen.verdict()),
            },
            HostDifference::Refuses(status, reason, introspections) => self.holds(
                &Expect::Refused {
                    status,
                    reason,
                    scope: None,
                },
                introspections,
            ),
            HostDifference::Closes => match self.observed() {
                Err(error) if error.starts_with("closed after ") => Ok(()),
                Err(error) => Err(error),
                Ok(seen) => Err(seen.verdict()),
            },
            HostDifference::RefusesToStart => match self.observed() {
                Err(error) if error.contains("setting `") => Ok(()),
                Err(error) => Err(error),
                Ok(seen) => Err(seen.verdict()),
            },
        };
        checked.map_err(|error| {
            format!(
                "no longer what the host forces ({}):\n{error}",
                difference.why
            )
        })
    }

    fn holds(&self, expect: &Expect, introspections: u64) -> Result<(), String> {
        let observed = self.observed()?;
        observed::check(&self.scenario, expect, introspections, observed)
            .map_err(|error| format!("{error}\n{}", observed.verdict()))
    }
}

/// The hosts, which run until this is dropped.
pub(crate) struct Hosts(Vec<Arc<dyn Driver>>);

impl Hosts {
    pub(crate) fn new(runtime: &Handle, log: &Log) -> Self {
        // One issuer per host, since a scenario has the same token in all of them.
        let stub = || Arc::new(runtime.block_on(SharedStub::start()));
        let mut drivers: Vec<Arc<dyn Driver>> = vec![
            Arc::new(Core::new(stub())),
            Arc::new(Component::new(runtime.clone(), stub(), log.clone())),
        ];
        if !envoy_runner::is_skipped() {
            drivers.push(Arc::new(RealEnvoy::new(runtime.clone(), stub())));
        }
        match RealSpin::find(runtime, stub) {
            Some(spin) => drivers.push(Arc::new(spin)),
            None => eprintln!(
                "without Spin itself: put it on PATH, or let SPIN name it (SKIP_SPIN=1 leaves it out)"
            ),
        }
        Self(drivers)
    }

    /// The product of the table and the hosts, so that no host can leave out a scenario.
    pub(crate) fn trials(&self) -> Vec<Trial> {
        let table: Vec<_> = table::all().into_iter().map(Arc::new).collect();

        let mut trials = vec![
            Trial::test("table::every_reason_of_the_readme_has_a_scenario", {
                let table = table.clone();
                move || every_reason_has_a_scenario(&table).map_err(Into::into)
            }),
            Trial::test("table::every_difference_names_a_scenario", {
                let table = table.clone();
                let known = move |d: &differences::Difference| {
                    table.iter().any(|row| row.name == d.scenario)
                };
                move || match differences::DIFFERENCES.iter().find(|d| !known(d)) {
                    None => Ok(()),
                    Some(stray) => Err(format!("there is no scenario {}", stray.scenario).into()),
                }
            }),
        ];
        let mut by_driver: Vec<Vec<Arc<Run>>> = vec![Vec::new(); self.0.len()];
        for scenario in &table {
            let mut runs = Vec::new();
            for (driver, all) in self.0.iter().zip(&mut by_driver) {
                let run = Arc::new(Run {
                    driver: Arc::clone(driver),
                    scenario: Arc::clone(scenario),
                    observed: OnceLock::new(),
                });
                runs.push(Arc::clone(&run));
                all.push(Arc::clone(&run));
                let name = format!("{}::{}", driver.name(), scenario.name);
                trials.push(Trial::test(name, move || run.check().map_err(Into::into)));
            }
            trials.push(Trial::test(
                format!("parity::{}", scenario.name),
                move || parity(&runs).map_err(Into::into),
            ));
        }
        for (driver, runs) in self.0.iter().zip(by_driver) {
            let name = format!("log::{}", driver.name());
            let logged = runs.clone();
            trials.push(Trial::test(name, move || {
                log_lines::check(&logged).map_err(Into::into)
            }));
            let name = format!("leaks::{}", driver.name());
            trials.push(Trial::test(name, move || {
                check_leaks(&runs).map_err(Into::into)
            }));
        }
        trials
    }
}

/// The same status, challenge, body and forwarded request at every host that is not forced to
/// differ.
fn parity(runs: &[Arc<Run>]) -> Result<(), String> {
    let mut first: Option<(&str, String)> = None;
    for run in runs {
        let name = run.driver.name();
        if differences::of(run.scenario.name, name).is_some() {
            continue;
        }
        let verdict = run.observed()?.verdict();
        match &first {
            None => first = Some((name, verdict)),
            Some((_, same)) if *same == verdict => {}
            Some((other, differs)) => {
                return Err(format!("{other}:\n{differs}\n{name}:\n{verdict}"));
            }
        }
    }
    Ok(())
}

/// So that no refusal is promised that no request gets. The exceptions have no request that leads
/// to them in every host.
fn every_reason_has_a_scenario(table: &[Arc<Scenario>]) -> Result<(), String> {
    // The host's outbound grants are those of the issuer here; `host.rs` denies. One request is
    // never too many.
    const ELSEWHERE: &[&str] = &["issuer_call_denied", "too_busy"];
    let shown: Vec<_> = table
        .iter()
        .filter_map(|row| match row.expect {
            Expect::Refused { reason, .. } => Some(reason),
            Expect::Granted { .. } | Expect::Metadata(_) => None,
        })
        .collect();
    let missing: Vec<_> = readme_tables::reasons()
        .filter(|r| !shown.contains(r) && !ELSEWHERE.contains(r))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no scenario shows {missing:?}"))
    }
}

fn check_leaks(runs: &[Arc<Run>]) -> Result<(), String> {
    let mut texts = Vec::new();
    for run in runs {
        // A run that failed says so in its own trial.
        let Ok(observed) = run.observed() else {
            continue;
        };
        // The app may see what a granted request shows of itself.
        if let Expect::Refused { .. } = run.scenario.expect {
            texts.push((
                format!("the response of {}", run.scenario.name),
                format!("{:?} {}", observed.headers, observed.body).into_bytes(),
            ));
        }
    }
    let driver = &runs.first().ok_or("no scenario ran")?.driver;
    let lines = driver.printed().into_iter();
    texts.extend(lines.map(|line| ("a log line".to_owned(), line.into_bytes())));
    driver.healthy()?;
    leaks::check(texts, runs.iter().map(|run| run.scenario.token()))
}

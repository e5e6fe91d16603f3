//! Every scenario of the table in every host, and the same verdict in all of them.
//!
//! The trials are the product of the two lists, so a host cannot leave a scenario out. `cargo test --test scenarios
//! component::h1` runs some of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that fails is a test that fails"
)]

mod differences;
mod drivers;
mod gated_echo;
mod issuer;
mod leaks;
mod log;
mod observed;
mod published;
mod scenario;
mod table;
mod told;

use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};

use differences::Forced;
use drivers::Driver;
use drivers::{component::Component, core::Core, envoy::RealEnvoy, spin::RealSpin};
use issuer::SharedStub;
use observed::Observed;
use scenario::{Expect, Scenario};

/// Trials mostly wait for an issuer that hangs, so many run at once.
const THREADS: usize = 16;

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
            return self.holds(&self.scenario.expect, self.scenario.asked);
        };
        let checked = match difference.forced {
            Forced::Answers(status) => match self.observed()? {
                seen if seen.status == status && seen.app.is_none() && seen.asked == 0 => Ok(()),
                seen => Err(seen.verdict()),
            },
            Forced::Refuses(status, reason, asked) => self.holds(
                &Expect::Refused {
                    status,
                    reason,
                    scope: None,
                },
                asked,
            ),
            Forced::Closes => match self.observed() {
                Err(error) if error.starts_with("closed after ") => Ok(()),
                Err(error) => Err(error),
                Ok(seen) => Err(seen.verdict()),
            },
            Forced::RefusesToStart => match self.observed() {
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

    fn holds(&self, expect: &Expect, asked: u64) -> Result<(), String> {
        let observed = self.observed()?;
        observed::check(&self.scenario, expect, asked, observed)
            .map_err(|error| format!("{error}\n{}", observed.verdict()))
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // Log lines of the host itself count among what must not leak.
    let log = log::Log::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // One for each host, as a scenario has the same token in all of them.
    let stub = || Arc::new(runtime.block_on(SharedStub::start()));
    let mut drivers: Vec<Arc<dyn Driver>> = vec![
        Arc::new(Core::default()),
        Arc::new(Component::new(runtime.handle().clone(), stub(), log)),
    ];
    if !envoy_runner::is_skipped() {
        drivers.push(Arc::new(RealEnvoy::new(runtime.handle().clone(), stub())));
    }
    match RealSpin::find(runtime.handle(), stub) {
        Some(spin) => drivers.push(Arc::new(spin)),
        None => eprintln!(
            "without Spin itself: put it on PATH, or let SPIN name it (SKIP_SPIN=1 leaves it out)"
        ),
    }
    let table: Vec<_> = table::all().into_iter().map(Arc::new).collect();

    let mut trials = vec![
        Trial::test("table::every_reason_of_the_readme_has_a_scenario", {
            let table = table.clone();
            move || every_reason_has_a_scenario(&table).map_err(Into::into)
        }),
        Trial::test("table::every_difference_names_a_scenario", {
            let table = table.clone();
            let known =
                move |d: &differences::Difference| table.iter().any(|row| row.name == d.scenario);
            move || match differences::DIFFERENCES.iter().find(|d| !known(d)) {
                None => Ok(()),
                Some(stray) => Err(format!("there is no scenario {}", stray.scenario).into()),
            }
        }),
    ];
    let mut by_driver: Vec<Vec<Arc<Run>>> = vec![Vec::new(); drivers.len()];
    for scenario in &table {
        let mut runs = Vec::new();
        for (driver, all) in drivers.iter().zip(&mut by_driver) {
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
    for (driver, runs) in drivers.iter().zip(by_driver) {
        let name = format!("log::{}", driver.name());
        let told = runs.clone();
        trials.push(Trial::test(name, move || {
            told::check(&told).map_err(Into::into)
        }));
        let name = format!("leaks::{}", driver.name());
        trials.push(Trial::test(name, move || {
            leaks::check(&runs).map_err(Into::into)
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Ends what they started; `exit` would skip it.
    drop(drivers);
    conclusion.exit();
}

/// The same status, challenge, body and forwarded request at every host that is not forced to differ.
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

/// So that no refusal is promised that no request gets. The exceptions have no request that leads to them in every host.
fn every_reason_has_a_scenario(table: &[Arc<Scenario>]) -> Result<(), String> {
    // The host's outbound grants are those of the issuer here; `host.rs` denies.
    const ELSEWHERE: &[&str] = &["issuer_call_denied"];
    let shown: Vec<_> = table
        .iter()
        .filter_map(|row| match row.expect {
            Expect::Refused { reason, .. } => Some(reason),
            Expect::Granted { .. } => None,
        })
        .collect();
    let missing: Vec<_> = published::reasons()
        .filter(|r| !shown.contains(r) && !ELSEWHERE.contains(r))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no scenario shows {missing:?}"))
    }
}

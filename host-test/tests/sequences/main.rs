//! Every sequence of the table in every host that can hold state, and the same verdicts in all of them.
//!
//! The trials are the product of the two lists, so a host cannot leave a sequence out. `cargo test --test sequences
//! envoy::c1` runs some of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that fails is a test that fails"
)]

mod at_once;
mod audit;
#[path = "../scenarios/gated_echo.rs"]
mod gated_echo;
mod hosts;
mod issuer;
mod leaks;
mod leases;
#[path = "../scenarios/log.rs"]
mod log;
#[path = "../scenarios/published.rs"]
#[expect(dead_code, reason = "the table of scenarios lists the reasons too")]
mod published;
mod run;
mod sequence;
mod table;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Arguments, Trial};

use hosts::Driver;
use hosts::{core::Core, envoy::RealEnvoy};
use run::Said;
use sequence::Sequence;

/// Trials mostly wait for a time to live, so several run at once; not so many that they make each other late.
const THREADS: usize = 6;

/// How long something that must come of itself may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One sequence in one host, run once however many trials need it.
struct Run {
    driver: Arc<dyn Driver>,
    sequence: Arc<Sequence>,
    said: OnceLock<Result<Said, String>>,
}

impl Run {
    fn said(&self) -> Result<&Said, String> {
        let said = self
            .said
            .get_or_init(|| run::run(&*self.driver, &self.sequence));
        said.as_ref().map_err(Clone::clone)
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // Log lines of the host itself count among what must not leak.
    let log = log::Log::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = runtime.handle();
    let [component, instances] = hosts::component::drivers(handle, &log);
    let (component, instances) = (Arc::new(component), Arc::new(instances));
    let core = Arc::new(Core { has_memory: true });
    let core_instances = Arc::new(Core { has_memory: false });
    // What is shared there can be written by tests.
    let writable: Vec<Arc<dyn Driver>> = vec![core_instances, instances];
    let mut all: Vec<Arc<dyn Driver>> = vec![core, component];
    all.extend(writable.iter().cloned());

    let mut trials = vec![
        Trial::test("core::a_lease_taken_a_millisecond_later_holds", || {
            leases::one_taken_a_millisecond_later_holds().map_err(Into::into)
        }),
        Trial::test("core::facts_that_come_between_two_looks_are_found", || {
            leases::facts_that_come_between_two_looks_are_found().map_err(Into::into)
        }),
    ];
    if !envoy_runner::is_skipped() {
        all.push(Arc::new(RealEnvoy::new(handle)));
        let one = handle.clone();
        trials.push(Trial::test(
            "envoy::1000_requests_with_one_cold_token_on_two_workers_ask_once",
            move || one.block_on(at_once::one_cold_token()).map_err(Into::into),
        ));
        let many = handle.clone();
        trials.push(Trial::test(
            "envoy::of_two_workers_that_see_a_cold_token_at_once_one_asks",
            move || {
                many.block_on(at_once::many_cold_tokens())
                    .map_err(Into::into)
            },
        ));
    }
    for (table, drivers) in [(table::all(), &all), (table::with_a_store(), &writable)] {
        for sequence in table {
            trials.extend(of_sequence(sequence, drivers));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    conclusion.exit();
}

fn of_sequence(sequence: Sequence, drivers: &[Arc<dyn Driver>]) -> Vec<Trial> {
    let sequence = Arc::new(sequence);
    let (mut trials, mut runs) = (Vec::new(), Vec::new());
    for driver in drivers {
        let run = Arc::new(Run {
            driver: Arc::clone(driver),
            sequence: Arc::clone(&sequence),
            said: OnceLock::new(),
        });
        runs.push(Arc::clone(&run));
        let name = format!("{}::{}", driver.name(), sequence.name);
        let check = move || run.said().map(drop).map_err(Into::into);
        trials.push(Trial::test(name, check));
    }
    let name = format!("parity::{}", sequence.name);
    let check = move || parity(&runs).map_err(Into::into);
    trials.push(Trial::test(name, check));
    trials
}

/// The same verdicts, step by step, at every host that is not forced to another one.
fn parity(runs: &[Arc<Run>]) -> Result<(), String> {
    let mut said: Vec<(&str, &Said)> = Vec::new();
    for run in runs {
        said.push((run.driver.name(), run.said()?));
    }
    let Some(((first_name, first), others)) = said.split_first() else {
        return Err("no host ran it".to_owned());
    };
    for (name, other) in others {
        run::same("steps", &other.len(), &first.len())?;
        for (number, (one, another)) in first.iter().zip(other.iter()).enumerate() {
            if let (Some(one), Some(another)) = (one, another)
                && one != another
            {
                return Err(format!(
                    "request {number}: {one} at {first_name}, {another} at {name}"
                ));
            }
        }
    }
    Ok(())
}

fn unix_seconds() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_1970.as_secs()).unwrap()
}

/// Looks again and again until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let begin = Instant::now();
    while !is_so() {
        if begin.elapsed() > PATIENCE {
            return Err(format!("{what}: not after {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

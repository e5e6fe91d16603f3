//! Scenarios of several steps: every sequence of the table in every host that can hold state, with
//! the same verdicts in all of them.

mod at_once;
mod audit;
mod hosts;
mod issuer;
mod row;
mod run;
mod table;

use std::sync::{Arc, OnceLock};

use libtest_mimic::Trial;
use tokio::runtime::Handle;

use crate::fixture::{log::Log, same};
use hosts::Driver;
use hosts::{core::Core, envoy::RealEnvoy};
use row::Sequence;
use run::Transcript;

/// One sequence in one host, run once however many trials need it.
struct Run {
    driver: Arc<dyn Driver>,
    sequence: Arc<Sequence>,
    transcript: OnceLock<Result<Transcript, String>>,
}

impl Run {
    fn transcript(&self) -> Result<&Transcript, String> {
        let transcript = self
            .transcript
            .get_or_init(|| run::run(&*self.driver, &self.sequence));
        transcript.as_ref().map_err(Clone::clone)
    }
}

/// The product of the table and the hosts, so that no host can leave out a sequence.
pub(crate) fn trials(handle: &Handle, log: &Log) -> Vec<Trial> {
    let [component, instances] = hosts::component::drivers(handle, log);
    let (component, instances) = (Arc::new(component), Arc::new(instances));
    let core = Arc::new(Core { has_memory: true });
    let core_instances = Arc::new(Core { has_memory: false });
    // What is shared there can be written by tests.
    let writable: Vec<Arc<dyn Driver>> = vec![core_instances, instances];
    let mut all: Vec<Arc<dyn Driver>> = vec![core, component];
    all.extend(writable.iter().cloned());

    let mut trials = Vec::new();
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
    trials
}

fn of_sequence(sequence: Sequence, drivers: &[Arc<dyn Driver>]) -> Vec<Trial> {
    let sequence = Arc::new(sequence);
    let (mut trials, mut runs) = (Vec::new(), Vec::new());
    for driver in drivers {
        let run = Arc::new(Run {
            driver: Arc::clone(driver),
            sequence: Arc::clone(&sequence),
            transcript: OnceLock::new(),
        });
        runs.push(Arc::clone(&run));
        let name = format!("{}::{}", driver.name(), sequence.name);
        let check = move || run.transcript().map(drop).map_err(Into::into);
        trials.push(Trial::test(name, check));
    }
    let name = format!("parity::{}", sequence.name);
    let check = move || parity(&runs).map_err(Into::into);
    trials.push(Trial::test(name, check));
    trials
}

/// The same verdicts, step by step, at every host that is not forced to another one.
fn parity(runs: &[Arc<Run>]) -> Result<(), String> {
    let mut transcript: Vec<(&str, &Transcript)> = Vec::new();
    for run in runs {
        transcript.push((run.driver.name(), run.transcript()?));
    }
    let Some(((first_name, first), others)) = transcript.split_first() else {
        return Err("no host ran it".to_owned());
    };
    for (name, other) in others {
        same("steps", &other.len(), &first.len())?;
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

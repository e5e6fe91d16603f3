//! The scenarios: what every host has to do with a request, and with a sequence of requests.
//!
//! `cargo test --test scenarios component::h1` runs some of them. Hosts are the core alone, the
//! component in the embedded host, the filter in real Envoy, and the component in Spin itself where
//! there is one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that fails is a test that fails"
)]

mod fixture;
mod leaks;
mod sequence;
mod single;

use libtest_mimic::{Arguments, Trial};

/// Single requests mostly wait for an issuer that hangs, so many run at once.
const SINGLE_THREADS: usize = 16;
/// Sequences mostly wait for a time to live; more at once would make each other late.
const SEQUENCE_THREADS: usize = 6;

fn main() {
    let arguments = Arguments::from_args();
    // Log lines of the embedded host must not leak secrets either.
    let log = fixture::log::Log::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let run = |threads, trials: Vec<Trial>| {
        let mut arguments = arguments.clone();
        arguments.test_threads.get_or_insert(threads);
        libtest_mimic::run(&arguments, trials)
    };
    if !arguments.list {
        // Before times in documents begin to count: this may take a minute. A trial reports a
        // failure.
        let _ = fixture::app::shared();
    }
    let hosts = single::Hosts::new(runtime.handle(), &log);
    let single = run(SINGLE_THREADS, hosts.trials());
    // Ends what they started; `exit` would skip it.
    drop(hosts);
    let sequences = run(SEQUENCE_THREADS, sequence::trials(runtime.handle(), &log));
    single.exit_if_failed();
    sequences.exit();
}

//! The Envoy filter in wasmtime: random orders of Envoy's callbacks, on a host whose calls fail.

mod abi;
mod driver;
mod state;

use std::collections::BTreeMap;

use programs::Guest;
use wasmtime::{Engine, InstancePre, Linker, Module};

use self::driver::Driver;
use self::state::{Faults, State};
use crate::seeds;

/// Sequences of callbacks, each in a VM of its own.
const SEQUENCES: u64 = 1500;

fn filter(engine: &Engine) -> InstancePre<State> {
    let module = Module::from_file(engine, Guest::EnvoyFilter.build_alone().unwrap()).unwrap();
    let mut linker = Linker::new(engine);
    abi::add_to(&mut linker).unwrap();
    // What the standard library calls when it ends the process.
    linker.define_unknown_imports_as_traps(&module).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

/// How many requests ended in which way, over all sequences.
fn run(faults: Faults) -> BTreeMap<&'static str, u64> {
    let engine = Engine::default();
    let filter = filter(&engine);
    let mut ends = BTreeMap::new();
    for seed in seeds(SEQUENCES) {
        let mut driver = Driver::new(&engine, &filter, seed, faults);
        driver.run();
        for (end, count) in driver.ends() {
            *ends.entry(end).or_default() += count;
        }
    }
    println!("{faults:?}: {ends:?}");
    ends
}

/// A test that never gets to a grant would show nothing.
fn assert_all_ends_were_seen(ends: &BTreeMap<&'static str, u64>) {
    for end in ["granted", "refused", "left"] {
        assert!(ends.contains_key(end), "no request was {end}");
    }
}

#[test]
fn the_filter_never_traps_nor_grants_without_an_active_answer() {
    let ends = run(Faults::Known);
    if std::env::var_os("SEED").is_none() {
        assert_all_ends_were_seen(&ends);
        assert!(!ends.contains_key("trapped"));
    }
}

/// The standard library panics if WASI has no monotonic clock, which Envoy always has. Envoy then
/// refuses what the VM was asked about: a trap is no grant.
#[test]
fn a_status_outside_the_abi_may_end_the_vm_and_grants_nothing() {
    let ends = run(Faults::Any);
    if std::env::var_os("SEED").is_none() {
        assert_all_ends_were_seen(&ends);
        assert!(ends.contains_key("trapped"));
    }
}

/// Envoy enters the VM for each callback that a filter exports, and for no other.
#[test]
fn the_filter_exports_the_callbacks_that_it_needs_and_no_other() {
    let module =
        Module::from_file(&Engine::default(), Guest::EnvoyFilter.build().unwrap()).unwrap();
    let mut exports: Vec<_> = module.exports().map(|export| export.name()).collect();
    exports.sort_unstable();
    assert_eq!(
        exports,
        [
            "_initialize",
            "memory",
            "proxy_abi_version_0_2_1",
            "proxy_on_configure",
            "proxy_on_context_create",
            "proxy_on_done",
            "proxy_on_http_call_response",
            "proxy_on_memory_allocate",
            "proxy_on_queue_ready",
            "proxy_on_request_body",
            "proxy_on_request_headers",
            "proxy_on_request_trailers",
            "proxy_on_response_headers",
            "proxy_on_tick",
        ]
    );
}

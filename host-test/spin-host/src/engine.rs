//! The wasmtime engine, its limits, and the watch over guests that do not give control back.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use wasmtime::{
    Cache, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    UpdateDeadline,
};

/// How often running guests are looked at. Finer costs wake-ups, coarser delays the end of a runaway.
const EPOCH: Duration = Duration::from_millis(10);

/// Bytes one linear memory may grow to. Spin sets no limit below 4 GiB; here a guest that leaks must not take the machine
/// that runs the tests with it.
const MEMORY_LIMIT: usize = 64 * 1024 * 1024;

/// Instances that may exist at once; a request that needs one more is answered 500. Each app with one middleware has two
/// memories and four tables, so [`TOTAL_TABLES`] ends earlier, at 500. This and what follows are the limits of Spin.
const INSTANCES: u32 = 1_000;
const TOTAL_MEMORIES: u32 = INSTANCES;
const TOTAL_TABLES: u32 = 2 * INSTANCES;
const TOTAL_STACKS: u32 = INSTANCES;
const TOTAL_CORE_INSTANCES: u32 = 4 * INSTANCES;

/// What one component, with its middleware composed into it, may have of each.
const CORE_INSTANCES_PER_COMPONENT: u32 = 200;
const TABLES_PER_COMPONENT: u32 = 64;
const MEMORIES_PER_COMPONENT: u32 = 32;
const TABLES_PER_MODULE: u32 = 2;
const MEMORIES_PER_MODULE: u32 = 2;

/// Entries one table may hold.
const TABLE_ELEMENTS: usize = 100_000;

/// Bytes of host bookkeeping for one instance.
const INSTANCE_BOOKKEEPING: usize = 10 * 1024 * 1024;

/// An engine whose epoch advances for as long as it lives.
pub(crate) fn engine() -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(TOTAL_CORE_INSTANCES)
        .total_memories(TOTAL_MEMORIES)
        .total_tables(TOTAL_TABLES)
        .total_stacks(TOTAL_STACKS)
        .max_component_instance_size(INSTANCE_BOOKKEEPING)
        .max_core_instance_size(INSTANCE_BOOKKEEPING)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_module(MEMORIES_PER_MODULE)
        .max_tables_per_module(TABLES_PER_MODULE)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(MEMORY_LIMIT);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .wasm_component_model_async(true)
        .epoch_interruption(true);
    match Cache::from_file(None) {
        Ok(cache) => {
            config.cache(Some(cache));
        }
        Err(error) => tracing::warn!("no compilation cache, every start compiles anew: {error:#}"),
    }
    let engine = Engine::new(&config).map_err(anyhow::Error::from).context(
        "cannot start the WebAssembly engine; it reserves address space for its pool, so look at `ulimit -v`",
    )?;
    let weak = engine.weak();
    thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(EPOCH);
            }
        })
        .context("cannot start the thread that watches over guests")?;
    Ok(engine)
}

/// Counts how long a guest has been computing without waiting for anything.
///
/// Epochs pass while a guest waits too, so the end of a deadline alone says little. A guest that is still computing
/// is made to yield, once per epoch; if it then waits for something by itself, [`BusyMeter::rest`] starts afresh.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusyMeter(Arc<Ticks>);

#[derive(Debug, Default)]
struct Ticks {
    busy: AtomicU64,
    yielded: AtomicBool,
}

/// A guest computed for longer than it may.
#[derive(Debug)]
pub(crate) struct GuestHogsProcessor(Duration);

impl fmt::Display for GuestHogsProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the component computed for {:?} without a pause and was stopped",
            self.0
        )
    }
}

impl std::error::Error for GuestHogsProcessor {}

impl BusyMeter {
    /// Ends the guest of `store` once it has computed for `limit` without a pause.
    pub(crate) fn watch<T>(&self, store: &mut Store<T>, limit: Duration) {
        let most = limit.as_millis().div_ceil(EPOCH.as_millis());
        let ticks = Arc::clone(&self.0);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            let busy = ticks.busy.fetch_add(1, Relaxed);
            if u128::from(busy) > most {
                return Err(wasmtime::Error::new(GuestHogsProcessor(limit)));
            }
            if busy == 0 {
                // The deadline most likely passed while the guest was waiting.
                return Ok(UpdateDeadline::Continue(1));
            }
            ticks.yielded.store(true, Relaxed);
            Ok(UpdateDeadline::Yield(1))
        });
    }

    /// The guest returned control: by itself if it was not just made to.
    pub(crate) fn pause(&self) {
        if !self.0.yielded.swap(false, Relaxed) {
            self.rest();
        }
    }

    /// The guest is known to be waiting.
    pub(crate) fn rest(&self) {
        self.0.busy.store(0, Relaxed);
    }
}

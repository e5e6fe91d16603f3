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

/// Bytes one linear memory may grow to. A composed app has one per component in it.
const MEMORY_LIMIT: usize = 64 * 1024 * 1024;

/// Instances of whole apps that may exist at once, each with about [`MEMORIES_PER_APP`] memories; who needs one more
/// waits. Eight times what the default number of requests in flight needs at 16 per instance, since an instance outlives
/// its last request for a while, and apps that share no instances share the pool. All of them taken by the app that ships
/// are some 120 MiB in use.
pub(crate) const INSTANCES: u32 = 512;

/// Memories, and tables, reserved per app on average: a middleware and an app. More of one leaves fewer instances.
const MEMORIES_PER_APP: u32 = 2;

/// Core instances inside one app: components bring small shims beside their one real module.
const CORE_INSTANCES_PER_APP: u32 = 32;

/// Entries one table may hold; Rust components have a few hundred.
const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of host bookkeeping for one instance.
const INSTANCE_BOOKKEEPING: usize = 4 * 1024 * 1024;

/// An engine whose epoch advances for as long as it lives.
pub(crate) fn engine() -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * CORE_INSTANCES_PER_APP)
        .total_memories(INSTANCES * MEMORIES_PER_APP)
        .total_tables(INSTANCES * CORE_INSTANCES_PER_APP)
        .total_stacks(INSTANCES * 2)
        .max_component_instance_size(INSTANCE_BOOKKEEPING)
        .max_core_instance_size(INSTANCE_BOOKKEEPING)
        .max_core_instances_per_component(CORE_INSTANCES_PER_APP * 4)
        .max_memories_per_component(MEMORIES_PER_APP * 8)
        .max_tables_per_component(CORE_INSTANCES_PER_APP * 4)
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

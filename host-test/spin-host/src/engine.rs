//! The wasmtime engine and its limits.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use wasmtime::{Cache, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Length of an epoch. A shorter one costs wake-ups, a longer one stops a runaway guest later.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// Bytes that one linear memory may grow to. Spin sets no limit below 4 GiB; here a guest that
/// leaks must not exhaust the machine that runs the tests.
const MEMORY_LIMIT: usize = 64 * 1024 * 1024;

/// Instances that may exist at once; a request that needs one more is answered 500. An app with one
/// middleware has two memories and four tables, so [`TOTAL_TABLES`] limits it to 500. These limits
/// and the following ones are Spin's.
const INSTANCES: u32 = 1_000;
const TOTAL_MEMORIES: u32 = INSTANCES;
const TOTAL_TABLES: u32 = 2 * INSTANCES;
const TOTAL_STACKS: u32 = INSTANCES;
const TOTAL_CORE_INSTANCES: u32 = 4 * INSTANCES;

/// Limits of one component, with its middleware composed into it.
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
        Err(error) => tracing::warn!("no compilation cache, every start compiles again: {error:#}"),
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
        .context("cannot start the epoch thread")?;
    Ok(engine)
}

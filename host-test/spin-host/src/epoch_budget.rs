//! Stops guests that compute for too long without returning control.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use wasmtime::{Store, UpdateDeadline};

use super::engine::EPOCH;

/// Counts the epochs in which a guest computes without waiting for anything.
///
/// Epochs also pass while a guest waits, so a deadline alone does not mean that it computes. A
/// guest that still computes is forced to yield once per epoch; when it returns control by itself,
/// the count starts again.
#[derive(Clone, Debug, Default)]
pub(crate) struct EpochBudget(Arc<Ticks>);

#[derive(Debug, Default)]
struct Ticks {
    busy: AtomicU64,
    yielded: AtomicBool,
}

/// A guest computed for longer than its limit.
#[derive(Debug)]
pub(crate) struct BudgetExceeded(Duration);

impl fmt::Display for BudgetExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the component computed for {:?} without a pause and was stopped",
            self.0
        )
    }
}

impl std::error::Error for BudgetExceeded {}

impl EpochBudget {
    /// Stops the guest of `store` once it has computed for `limit` without a pause.
    pub(crate) fn enforce<T>(&self, store: &mut Store<T>, limit: Duration) {
        let most = limit.as_millis().div_ceil(EPOCH.as_millis());
        let ticks = Arc::clone(&self.0);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            let busy = ticks.busy.fetch_add(1, Relaxed);
            if u128::from(busy) > most {
                return Err(wasmtime::Error::new(BudgetExceeded(limit)));
            }
            if busy == 0 {
                // The deadline most likely passed while the guest was waiting.
                return Ok(UpdateDeadline::Continue(1));
            }
            ticks.yielded.store(true, Relaxed);
            Ok(UpdateDeadline::Yield(1))
        });
    }

    /// Resets the budget if the guest returned control by itself rather than in a forced yield.
    pub(crate) fn on_return(&self) {
        if !self.0.yielded.swap(false, Relaxed) {
            self.reset();
        }
    }

    /// Resets the budget: the guest is waiting.
    pub(crate) fn reset(&self) {
        self.0.busy.store(0, Relaxed);
    }
}

//! When Envoy calls the root context back: through a queue, at once, or by a timer.

use core::time::Duration;

use crate::host::Host;

/// While anything is pending, to see deadlines that pass. Envoy's own timeouts are exact; this is
/// the second line.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// While another worker introspects a token that a request waits for here. Envoy's workers cannot
/// call each other.
pub(crate) const SHORT_TICK: Duration = Duration::from_millis(2);
/// While only counters wait to be handed to Envoy: few host calls, and metrics that are hardly late.
pub(crate) const METRICS_TICK: Duration = Duration::from_millis(500);
/// How often counters are handed to Envoy while ticks come more often. Shorter than the tick before,
/// so that a timer that fires a little early makes no metric later than that.
pub(crate) const METRICS_INTERVAL: Duration = Duration::from_millis(250);
/// While keys are fetched from time to time, so that no request waits for them.
pub(crate) const FETCH_TICK: Duration = Duration::from_secs(1);
/// The first tick comes in workers only: the VM in which Envoy tries a configuration out is gone by
/// then.
const FIRST_TICK: Duration = Duration::from_millis(1);

pub(crate) struct Scheduler<H> {
    host: H,
    /// Known to this root context only.
    queue: Option<u32>,
    /// A callback of the queue is on its way.
    is_scheduled: bool,
    had_first_tick: bool,
    /// Zero: no timer runs.
    tick_period: Duration,
}

impl<H: Host> Scheduler<H> {
    pub(crate) fn new(host: H) -> Self {
        host.set_tick_period(FIRST_TICK);
        Self {
            host,
            queue: None,
            is_scheduled: false,
            had_first_tick: false,
            tick_period: FIRST_TICK,
        }
    }

    /// Asks for a callback of the root context right after this one. If the queue does not work,
    /// the next tick comes instead.
    pub(crate) fn schedule(&mut self) {
        if !self.is_scheduled {
            self.is_scheduled = true;
            if self.queue.is_none() {
                self.queue = self.register_queue();
            }
            if let Some(queue) = self.queue {
                self.host.enqueue(queue);
            }
        }
    }

    fn register_queue(&self) -> Option<u32> {
        let name: String = (self.host.random()?.iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.host.register_queue(&name)
    }

    pub(crate) fn on_queue_ready(&mut self, queue: u32) {
        self.host.dequeue(queue);
        self.is_scheduled = false;
    }

    /// `true`: this is the first tick.
    pub(crate) fn on_tick(&mut self) -> bool {
        // If the callback of the queue got lost, do not wait for it.
        self.is_scheduled = false;
        !core::mem::replace(&mut self.had_first_tick, true)
    }

    /// Whether a timer runs.
    pub(crate) const fn ticks(&self) -> bool {
        !self.tick_period.is_zero()
    }

    /// Keeps the period until the first tick has come.
    pub(crate) fn set_tick_period(&mut self, period: Duration) {
        if self.had_first_tick && period != self.tick_period {
            self.tick_period = period;
            self.host.set_tick_period(period);
        }
    }
}

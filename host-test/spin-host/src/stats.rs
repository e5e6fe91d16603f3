//! Statistics of a running host.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts since the host began to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Component instances created.
    pub instances: u64,
    /// Component instances that exist now.
    pub live_instances: u64,
    /// The most component instances that existed at once.
    pub live_instances_most: u64,
    /// Requests that reached a component.
    pub requests: u64,
    /// Instances that trapped, including those stopped because they computed for too long.
    pub traps: u64,
    /// Outbound calls that were granted and sent.
    pub outbound_calls: u64,
    /// Outbound calls that `allowed_outbound_hosts` denied.
    pub denied_calls: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) instances: AtomicU64,
    pub(crate) live: AtomicU64,
    pub(crate) live_most: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) traps: AtomicU64,
    pub(crate) outbound: AtomicU64,
    pub(crate) denied: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Stats {
        Stats {
            instances: self.instances.load(Relaxed),
            live_instances: self.live.load(Relaxed),
            live_instances_most: self.live_most.load(Relaxed),
            requests: self.requests.load(Relaxed),
            traps: self.traps.load(Relaxed),
            outbound_calls: self.outbound.load(Relaxed),
            denied_calls: self.denied.load(Relaxed),
        }
    }

    /// Counts an instance until the guard is dropped.
    pub(crate) fn instance(self: &Arc<Self>) -> LiveInstance {
        self.instances.fetch_add(1, Relaxed);
        let live = self.live.fetch_add(1, Relaxed).saturating_add(1);
        self.live_most.fetch_max(live, Relaxed);
        LiveInstance(Arc::clone(self))
    }
}

/// Counts as one live instance.
pub(crate) struct LiveInstance(Arc<Counters>);

impl Drop for LiveInstance {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Relaxed);
    }
}

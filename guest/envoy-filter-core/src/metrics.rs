//! The filter's metrics. `envoy.yaml` turns the last part of each name into a label.
//!
//! Counters are counted here and handed to Envoy by the timer, because a host call for each count
//! would be a good part of what a cached request costs.

use core::cell::Cell;
use core::time::Duration;

use token_check::{ALL_REASONS, CacheStatus, CallFailure, Reason};

use crate::host::{Host, MetricKind};

/// A counter, and what Envoy does not know of yet.
struct Counter {
    /// `None`: Envoy does not count it.
    id: Option<u32>,
    pending: Cell<u32>,
}

/// Calls, by how they ended.
struct Outcomes {
    answered: Counter,
    denied: Counter,
    timeout: Counter,
    unreachable: Counter,
}

impl Outcomes {
    fn define(name: &str, counter: impl Fn(&str) -> Counter) -> Self {
        let counter = |outcome: &str| counter(&format!("{name}.outcome.{outcome}"));
        Self {
            answered: counter("answered"),
            denied: counter("denied"),
            timeout: counter("timeout"),
            unreachable: counter("unreachable"),
        }
    }

    fn of(&self, failure: Option<CallFailure>) -> &Counter {
        match failure.map(CallFailure::reason) {
            None => &self.answered,
            Some(Reason::IssuerCallDenied) => &self.denied,
            Some(Reason::IssuerTimeout) => &self.timeout,
            Some(_) => &self.unreachable,
        }
    }

    const fn all(&self) -> [&Counter; 4] {
        [
            &self.answered,
            &self.denied,
            &self.timeout,
            &self.unreachable,
        ]
    }
}

pub(crate) struct Metrics<H> {
    host: H,
    granted: Counter,
    refused: Vec<(Reason, Counter)>,
    faults: Vec<(Reason, Counter)>,
    cache: [(CacheStatus, Counter); CacheStatus::ALL.len()],
    introspections: Outcomes,
    milliseconds: Option<u32>,
    fetches: Outcomes,
    joined: Counter,
    queued: Counter,
    metadata: Counter,
    /// Whether a counter has something pending.
    is_pending: Cell<bool>,
    /// The last flush, on the monotonic clock.
    flushed_at: Cell<Duration>,
}

impl<H: Host> Metrics<H> {
    pub(crate) fn define(host: H) -> Self {
        let counter = |name: &str| Counter {
            id: host.define_metric(MetricKind::Counter, &format!("trust_triangle_{name}")),
            pending: Cell::new(0),
        };
        let by_reason = |name: &str, reasons: &[Reason]| {
            let metric = |reason: &Reason| counter(&format!("{name}.reason.{}", reason.name()));
            reasons
                .iter()
                .map(|reason| (*reason, metric(reason)))
                .collect()
        };
        // The issuer is not at fault in any other.
        let unavailable: Vec<_> = (ALL_REASONS.iter().copied())
            .filter(|reason| reason.status() == 503)
            .collect();
        Self {
            granted: counter("decisions.reason.granted"),
            refused: by_reason("decisions", ALL_REASONS),
            faults: by_reason("issuer_faults", &unavailable),
            cache: CacheStatus::ALL
                .map(|cache| (cache, counter(&format!("cache.use.{}", cache.name())))),
            introspections: Outcomes::define("introspections", counter),
            milliseconds: host.define_metric(
                MetricKind::Histogram,
                "trust_triangle_introspection_milliseconds",
            ),
            fetches: Outcomes::define("fetches", counter),
            joined: counter("flights_joined"),
            queued: counter("calls_queued"),
            metadata: counter("metadata_responses"),
            is_pending: Cell::new(false),
            flushed_at: Cell::new(Duration::ZERO),
            host,
        }
    }

    pub(crate) fn granted(&self) {
        self.increment(&self.granted);
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.increment_one(&self.refused, reason);
    }

    /// A flight that failed because of the issuer.
    pub(crate) fn fault(&self, reason: Reason) {
        self.increment_one(&self.faults, reason);
    }

    pub(crate) fn cache(&self, cache: CacheStatus) {
        self.increment_one(&self.cache, cache);
    }

    /// An introspection call that took `took`, and how it failed, if it did.
    pub(crate) fn introspected(&self, failure: Option<CallFailure>, took: Duration) {
        self.increment(self.introspections.of(failure));
        if let Some(metric) = self.milliseconds {
            let milliseconds = took.as_millis().try_into().unwrap_or(u64::MAX);
            self.host.record_metric(metric, milliseconds);
        }
    }

    /// A fetch of the issuer's metadata or keys, and how it failed, if it did.
    #[cfg(feature = "jwt")]
    pub(crate) fn fetched(&self, failure: Option<CallFailure>) {
        self.increment(self.fetches.of(failure));
    }

    /// A request that waits for another request's flight.
    pub(crate) fn joined(&self) {
        self.increment(&self.joined);
    }

    /// A request that waits because there are `max_calls` calls.
    pub(crate) fn queued(&self) {
        self.increment(&self.queued);
    }

    /// A request for the metadata of this service.
    pub(crate) fn metadata(&self) {
        self.increment(&self.metadata);
    }

    /// Whether [`flush`](Self::flush) has something to do.
    pub(crate) const fn is_pending(&self) -> bool {
        self.is_pending.get()
    }

    /// Tells Envoy what was counted, unless that was done within this interval.
    pub(crate) fn flush_after(&self, interval: Duration, now: Duration) {
        if now.saturating_sub(self.flushed_at.get()) >= interval {
            self.flushed_at.set(now);
            self.flush();
        }
    }

    /// Tells Envoy what was counted.
    pub(crate) fn flush(&self) {
        if !self.is_pending.replace(false) {
            return;
        }
        let refused = self.refused.iter().map(|(_, counter)| counter);
        let faults = self.faults.iter().map(|(_, counter)| counter);
        let cache = self.cache.iter().map(|(_, counter)| counter);
        let others = [&self.granted, &self.joined, &self.queued, &self.metadata];
        let calls = self.introspections.all().into_iter();
        let calls = calls.chain(self.fetches.all());
        let counters = refused.chain(faults).chain(cache).chain(calls);
        for counter in counters.chain(others) {
            let pending = counter.pending.take();
            if let (Some(id), 1..) = (counter.id, pending) {
                self.host.increment_metric(id, pending);
            }
        }
    }

    fn increment(&self, counter: &Counter) {
        counter.pending.update(|pending| pending.saturating_add(1));
        self.is_pending.set(true);
    }

    fn increment_one<K: PartialEq>(&self, counters: &[(K, Counter)], key: K) {
        if let Some((_, counter)) = counters.iter().find(|(known, _)| *known == key) {
            self.increment(counter);
        }
    }
}

//! The filter's metrics. `envoy.yaml` turns the last part of each name into a label.

use core::time::Duration;

use token_check::{ALL_REASONS, CacheStatus, CallFailure, Reason};

use crate::host::{Host, MetricKind};

pub(crate) struct Metrics<H> {
    host: H,
    granted: Option<u32>,
    refused: Vec<(Reason, Option<u32>)>,
    faults: Vec<(Reason, Option<u32>)>,
    cache: [(CacheStatus, Option<u32>); CacheStatus::ALL.len()],
    answered: Option<u32>,
    denied: Option<u32>,
    timeout: Option<u32>,
    unreachable: Option<u32>,
    milliseconds: Option<u32>,
    joined: Option<u32>,
    queued: Option<u32>,
}

impl<H: Host> Metrics<H> {
    pub(crate) fn define(host: H) -> Self {
        let counter =
            |name: &str| host.define_metric(MetricKind::Counter, &format!("trust_triangle_{name}"));
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
        let introspections = |outcome: &str| counter(&format!("introspections.outcome.{outcome}"));
        Self {
            granted: counter("decisions.reason.granted"),
            refused: by_reason("decisions", ALL_REASONS),
            faults: by_reason("issuer_faults", &unavailable),
            cache: CacheStatus::ALL
                .map(|cache| (cache, counter(&format!("cache.use.{}", cache.name())))),
            answered: introspections("answered"),
            denied: introspections("denied"),
            timeout: introspections("timeout"),
            unreachable: introspections("unreachable"),
            milliseconds: host.define_metric(
                MetricKind::Histogram,
                "trust_triangle_introspection_milliseconds",
            ),
            joined: counter("flights_joined"),
            queued: counter("calls_queued"),
            host,
        }
    }

    pub(crate) fn granted(&self) {
        self.increment(self.granted);
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.increment(find(&self.refused, reason));
    }

    /// A flight that failed because of the issuer.
    pub(crate) fn fault(&self, reason: Reason) {
        self.increment(find(&self.faults, reason));
    }

    pub(crate) fn cache(&self, cache: CacheStatus) {
        self.increment(find(&self.cache, cache));
    }

    /// A call to the issuer that took `took`, and how it failed, if it did.
    pub(crate) fn introspected(&self, failure: Option<CallFailure>, took: Duration) {
        self.increment(match failure.map(CallFailure::reason) {
            None => self.answered,
            Some(Reason::IssuerCallDenied) => self.denied,
            Some(Reason::IssuerTimeout) => self.timeout,
            Some(_) => self.unreachable,
        });
        if let Some(metric) = self.milliseconds {
            let milliseconds = took.as_millis().try_into().unwrap_or(u64::MAX);
            self.host.record_metric(metric, milliseconds);
        }
    }

    /// A request that waits for another request's flight.
    pub(crate) fn joined(&self) {
        self.increment(self.joined);
    }

    /// A request that waits because there are `max_calls` calls.
    pub(crate) fn queued(&self) {
        self.increment(self.queued);
    }

    fn increment(&self, metric: Option<u32>) {
        if let Some(metric) = metric {
            self.host.increment_metric(metric);
        }
    }
}

fn find<K: PartialEq>(metrics: &[(K, Option<u32>)], key: K) -> Option<u32> {
    let found = metrics.iter().find(|(known, _)| *known == key);
    found.and_then(|(_, metric)| *metric)
}

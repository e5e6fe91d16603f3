//! What Envoy counts for us. `envoy.yaml` turns the last part of each name into a label.

use core::time::Duration;

use token_check::{ALL_REASONS, CacheUse, Outcome, Reason};

use crate::host::{self, MetricType};

pub(crate) struct Metrics {
    granted: Option<u32>,
    refused: Vec<(Reason, Option<u32>)>,
    faults: Vec<(Reason, Option<u32>)>,
    cache: [(CacheUse, Option<u32>); CacheUse::ALL.len()],
    answered: Option<u32>,
    denied: Option<u32>,
    timeout: Option<u32>,
    unreachable: Option<u32>,
    milliseconds: Option<u32>,
    joined: Option<u32>,
}

impl Metrics {
    pub(crate) fn define() -> Self {
        let counter = |name: &str| {
            host::define_metric(MetricType::Counter, &format!("trust_triangle_{name}"))
        };
        let by_reason = |name: &str, reasons: &[Reason]| {
            let metric = |reason: &Reason| counter(&format!("{name}.reason.{}", reason.name()));
            reasons
                .iter()
                .map(|reason| (*reason, metric(reason)))
                .collect()
        };
        let unavailable: Vec<_> = (ALL_REASONS.iter().copied())
            .filter(|reason| reason.status() == 503)
            .collect();
        let introspections = |outcome: &str| counter(&format!("introspections.outcome.{outcome}"));
        Self {
            granted: counter("decisions.reason.granted"),
            refused: by_reason("decisions", ALL_REASONS),
            // The others are not the issuer's.
            faults: by_reason("issuer_faults", &unavailable),
            cache: CacheUse::ALL
                .map(|cache| (cache, counter(&format!("cache.use.{}", cache.name())))),
            answered: introspections("answered"),
            denied: introspections("denied"),
            timeout: introspections("timeout"),
            unreachable: introspections("unreachable"),
            milliseconds: host::define_metric(
                MetricType::Histogram,
                "trust_triangle_introspection_milliseconds",
            ),
            joined: counter("flights_joined"),
        }
    }

    pub(crate) fn granted(&self) {
        host::increment(self.granted);
    }

    pub(crate) fn refused(&self, reason: Reason) {
        increment(&self.refused, reason);
    }

    /// A question that the issuer failed.
    pub(crate) fn failed(&self, reason: Reason) {
        increment(&self.faults, reason);
    }

    pub(crate) fn used(&self, cache: CacheUse) {
        increment(&self.cache, cache);
    }

    /// A call to the issuer that took `took`.
    pub(crate) fn introspected(&self, outcome: &Outcome, took: Duration) {
        host::increment(match outcome {
            Outcome::Answered(_) => self.answered,
            Outcome::Failed(failure) => match failure.reason() {
                Reason::IssuerCallDenied => self.denied,
                Reason::IssuerTimeout => self.timeout,
                _ => self.unreachable,
            },
            Outcome::Found(_)
            | Outcome::StoreFailed
            | Outcome::Claimed(_)
            | Outcome::Paused
            | Outcome::Abandoned => None,
        });
        host::record(
            self.milliseconds,
            took.as_millis().try_into().unwrap_or(u64::MAX),
        );
    }

    pub(crate) fn joined(&self) {
        host::increment(self.joined);
    }
}

fn increment<K: PartialEq>(metrics: &[(K, Option<u32>)], key: K) {
    let found = metrics.iter().find(|(known, _)| *known == key);
    host::increment(found.and_then(|(_, metric)| *metric));
}

//! What Envoy counts for us. `envoy.yaml` turns the last part of each name into a label.

use core::time::Duration;

use token_check::{ALL_REASONS, CallFailure, Outcome, Reason};

use crate::host::{self, MetricType};

pub(crate) struct Metrics {
    granted: Option<u32>,
    refused: Vec<(Reason, Option<u32>)>,
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
        let introspections = |outcome: &str| counter(&format!("introspections.outcome.{outcome}"));
        Self {
            granted: counter("decisions.reason.granted"),
            refused: ALL_REASONS
                .iter()
                .map(|reason| {
                    (
                        *reason,
                        counter(&format!("decisions.reason.{}", reason.name())),
                    )
                })
                .collect(),
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
        let found = self.refused.iter().find(|(known, _)| *known == reason);
        host::increment(found.and_then(|(_, metric)| *metric));
    }

    /// `took`: from the first try to the outcome.
    pub(crate) fn introspected(&self, outcome: &Outcome, took: Duration) {
        host::increment(match outcome {
            Outcome::Answered(_) => self.answered,
            Outcome::Failed(CallFailure::Denied) => self.denied,
            Outcome::Failed(CallFailure::Timeout) => self.timeout,
            Outcome::Failed(CallFailure::Unreachable) => self.unreachable,
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

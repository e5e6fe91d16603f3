//! What is to be reached.

use serde::Serialize;

use super::{rounds::Achieved, spread::Spread};

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// One line of the table of targets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) measure: &'static str,
    pub(crate) limit: Limit,
    /// `None`: not measured.
    pub(crate) value: Option<Spread>,
    pub(crate) met: Option<bool>,
    /// For ratios: the same of the servers' time on a processor.
    pub(crate) by_processor_time: Option<f64>,
}

impl Target {
    pub(crate) fn new(measure: &'static str, limit: Limit, value: Option<Spread>) -> Self {
        let met = value.map(|value| match limit {
            Limit::AtLeast(least) => value.median >= least,
            Limit::AtMost(most) => value.median <= most,
        });
        Self {
            measure,
            limit,
            value,
            met,
            by_processor_time: None,
        }
    }

    /// Requests per second of one over those of the other, round by round.
    pub(crate) fn ratio(
        measure: &'static str,
        least: f64,
        all: &[Achieved],
        (one, other): (&str, &str),
    ) -> Self {
        let find = |name: &str| all.iter().find(|achieved| achieved.name == name);
        let (Some(one), Some(other)) = (find(one), find(other)) else {
            return Self::new(measure, Limit::AtLeast(least), None);
        };
        let rates = one
            .requests_per_second
            .iter()
            .zip(&other.requests_per_second);
        let value = Spread::of(rates.map(|(one, other)| one / other));
        let times = one.processor.iter().zip(&other.processor);
        let by_time = Spread::of(times.map(|(one, other)| other / one));
        Self {
            by_processor_time: by_time.map(|spread| spread.median),
            ..Self::new(measure, Limit::AtLeast(least), value)
        }
    }
}

//! What is to be reached.

use serde::Serialize;

use crate::{rounds::Achieved, spread::Spread};

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    fn is_met(self, value: Spread) -> bool {
        match self {
            Self::AtLeast(least) => value.median >= least,
            Self::AtMost(most) => value.median <= most,
        }
    }
}

/// One line of the table of targets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) measure: &'static str,
    /// `None`: nothing of ours, but what the lines above can be held against.
    pub(crate) limit: Option<Limit>,
    /// `None`: not measured.
    pub(crate) value: Option<Spread>,
    pub(crate) met: Option<bool>,
    /// For ratios: the same of the servers' time on a processor.
    pub(crate) by_processor_time: Option<f64>,
}

impl Target {
    pub(crate) fn new(
        measure: &'static str,
        limit: impl Into<Option<Limit>>,
        value: Option<Spread>,
    ) -> Self {
        let limit = limit.into();
        Self {
            measure,
            limit,
            value,
            met: limit.zip(value).map(|(limit, value)| limit.is_met(value)),
            by_processor_time: None,
        }
    }

    /// Requests per second of one over those of the other, round by round.
    pub(crate) fn ratio(
        measure: &'static str,
        least: impl Into<Option<f64>>,
        all: &[Achieved],
        (one, other): (&str, &str),
    ) -> Self {
        let limit = least.into().map(Limit::AtLeast);
        let find = |name: &str| all.iter().find(|achieved| achieved.name == name);
        let (Some(one), Some(other)) = (find(one), find(other)) else {
            return Self::new(measure, limit, None);
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
            ..Self::new(measure, limit, value)
        }
    }
}

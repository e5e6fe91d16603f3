//! What the filter adds to a request in instructions, if valgrind is there. They do not depend on
//! what the machine does meanwhile, so one round is enough.

use anyhow::Result;
use envoy_runner::find_envoy;
use programs::{Guest, on_path};

use crate::{
    Bench,
    counted::count,
    spread::Spread,
    target::{Limit, Target},
};

const NAME: &str = "envoy/instructions";

/// Counts them.
pub(crate) async fn targets(bench: &Bench) -> Result<Vec<Target>> {
    if !bench.options.takes(NAME) {
        return Ok(Vec::new());
    }
    let counted = match on_path("valgrind") {
        Some(valgrind) => {
            let filter = Guest::EnvoyFilter.build()?;
            let floors = Guest::BenchFloors.build()?;
            Some(count(&valgrind, &find_envoy()?, &filter, &floors).await?)
        }
        None => None,
    };
    let value = |value: Option<u32>| Spread::of(value.map(f64::from));
    Ok(vec![
        Target::new(
            "instructions per request, no auth",
            None,
            value(counted.as_ref().map(|counted| counted.bare)),
        ),
        Target::new(
            "instructions that a hit adds",
            Limit::AtMost(45_000.0),
            value(counted.as_ref().map(|counted| counted.hit)),
        ),
        Target::new(
            "instructions that a miss adds",
            Limit::AtMost(170_000.0),
            value(counted.as_ref().map(|counted| counted.miss)),
        ),
        Target::new(
            "the same by a filter that only reads headers",
            None,
            value(counted.as_ref().map(|counted| counted.floors.reads)),
        ),
        Target::new(
            "by one with the host calls of a hit",
            None,
            value(counted.as_ref().map(|counted| counted.floors.calls)),
        ),
        Target::new(
            "by one that only calls the issuer",
            None,
            value(counted.as_ref().map(|counted| counted.floors.asks)),
        ),
        Target::new(
            "by one with the host calls of a miss",
            None,
            value(counted.as_ref().map(|counted| counted.floors.asks_calls)),
        ),
        Target::new(
            "instructions that a JWT adds, verified at first sight",
            None,
            value(counted.as_ref().map(|counted| counted.jwt.first_sight)),
        ),
        Target::new(
            "the same, cached",
            None,
            value(counted.as_ref().map(|counted| counted.jwt.hit)),
        ),
        Target::new(
            "the same by jwt_authn",
            None,
            value(counted.as_ref().map(|counted| counted.jwt.jwt_authn)),
        ),
        Target::new(
            "by a filter with the host calls of a first sight",
            None,
            value(counted.as_ref().map(|counted| counted.jwt.verifies)),
        ),
    ])
}

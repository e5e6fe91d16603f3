//! The filter in real Envoy, beside what people would use in its place: `cargo bench --bench envoy`.
//!
//! One core for the servers, one for load and issuer; an Envoy for each contender, with one worker.

mod contenders;
mod filters;
mod jwt;
#[path = "../side_by_side/mod.rs"]
mod side_by_side;

use std::{process::ExitCode, rc::Rc};

use anyhow::Result;
use side_by_side::{
    issuer::Issuer,
    machine::Machine,
    options::Options,
    report::Report,
    rounds::{self, Achieved},
    steady,
    target::Target,
    wrk::Wrk,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    side_by_side::main(run).await
}

async fn run(options: Options) -> Result<()> {
    let options = &options;
    let wrk = Wrk::find()?;
    let machine = Machine::take()?;
    let issuer = Rc::new(Issuer::start().await?);
    let (envoys, contenders) = contenders::start(&issuer, &machine, options).await?;
    let achieved = rounds::run(&contenders, &wrk, options).await?;
    let mut targets = ratios(&achieved);
    targets.push(steady::tail(contenders::OURS_HIT, &contenders, &achieved, options).await?);
    let report = Report {
        name: "envoy",
        title: "Envoy on one core, requests per second",
        machine,
        rounds: options.rounds(),
        seconds: options.load().as_secs(),
        connections: options.connections,
        contenders: achieved,
        targets,
    };
    report.publish(options)?;
    for envoy in envoys {
        envoy.stop().await?;
    }
    Ok(())
}

fn ratios(all: &[Achieved]) -> Vec<Target> {
    use contenders::{
        FLOOR_CALLS, FLOOR_READS, JWT_AUTHN, JWT_AUTHN_CACHE, LUA, OURS_HIT, OURS_HIT_JWT,
        OURS_MISS,
    };
    vec![
        Target::ratio(
            "hit / floor with the same host calls",
            0.95,
            all,
            (OURS_HIT, FLOOR_CALLS),
        ),
        Target::ratio(
            "hit / floor that only reads",
            0.85,
            all,
            (OURS_HIT, FLOOR_READS),
        ),
        Target::ratio(
            "hit / jwt_authn with its cache",
            0.9,
            all,
            (OURS_HIT, JWT_AUTHN_CACHE),
        ),
        Target::ratio("hit / jwt_authn", 2.3, all, (OURS_HIT, JWT_AUTHN)),
        Target::ratio(
            "hit / jwt_authn with its cache, same JWT",
            0.9,
            all,
            (OURS_HIT_JWT, JWT_AUTHN_CACHE),
        ),
        Target::ratio("miss / Lua", 1.0, all, (OURS_MISS, LUA)),
    ]
}

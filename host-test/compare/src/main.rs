//! The auth check in its hosts, beside what people would use in its place and beside what does
//! nothing: `cargo bench`.
//!
//! One core for the servers, one for load and issuer. Of the servers of a host one is loaded at a
//! time, in rounds that alternate, so that what the machine does meanwhile hits all of them alike.

mod contender;
mod core;
#[path = "../../tests/instructions/counted.rs"]
mod counted;
mod hosts;
mod issuer;
mod jwt;
mod load;
mod machine;
mod options;
mod report;
mod rounds;
mod spread;
mod target;
#[path = "../../../guest/token-check/benches/typical/mod.rs"]
mod typical;

use std::{process::ExitCode, rc::Rc};

use anyhow::Result;
use hosts::{envoy, spin};
use issuer::Issuer;
use load::wrk::Wrk;
use machine::Machine;
use options::Options;
use report::{Part, Report};

/// What every part of the comparison needs.
struct Bench {
    options: Options,
    wrk: Wrk,
    machine: Machine,
    issuer: Rc<Issuer>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(options) = Options::read() else {
        return ExitCode::SUCCESS;
    };
    // What was started is ended by its owner, which is dropped however this ends.
    let ended = tokio::select! {
        result = run(options) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let bench = Bench {
        wrk: Wrk::find()?,
        machine: Machine::take()?,
        issuer: Rc::new(Issuer::start().await?),
        options,
    };
    let mut parts = vec![envoy::part(&bench).await?];
    parts.extend(spin::embedded(&bench).await?);
    match spin::spin(&bench).await {
        Ok(part) => parts.extend(part),
        // What was measured before is not lost for it.
        Err(error) => eprintln!("spin is left out (it needs 4.1 or newer): {error:#}"),
    }
    parts.push(core::part(&bench));
    anyhow::ensure!(
        parts.iter().any(Part::has_any),
        "no contender has a name that --only asks for: try envoy/, embedded/, spin/ or core/"
    );
    Report::of(&bench, parts).publish(&bench.options)
}

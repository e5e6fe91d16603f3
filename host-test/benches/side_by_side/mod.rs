//! Servers side by side: one loaded at a time, in rounds that alternate, so that what the machine does meanwhile hits all of
//! them alike.

pub(crate) mod chart;
pub(crate) mod contender;
pub(crate) mod issuer;
pub(crate) mod machine;
pub(crate) mod options;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod spread;
pub(crate) mod steady;
pub(crate) mod target;
pub(crate) mod tokens;
pub(crate) mod wrk;

use std::process::ExitCode;

use self::options::Options;

/// Runs a bench. What it has started is ended by its owner, which is dropped however this ends.
pub(crate) async fn main(run: impl AsyncFnOnce(Options) -> anyhow::Result<()>) -> ExitCode {
    let Some(options) = Options::read() else {
        return ExitCode::SUCCESS;
    };
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

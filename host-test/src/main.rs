//! The trust triangle, end to end, on this machine.

use std::process::ExitCode;

use clap::Parser as _;
use host_test::demo::{DemoCommand, interrupted};
use programs::{LevelFilter, log};

fn main() -> ExitCode {
    log(LevelFilter::OFF);
    let command = DemoCommand::parse();
    let ended = tokio::runtime::Runtime::new().map(|runtime| {
        let ended = runtime.block_on(command.run(interrupted()));
        // Does not wait for a build or a compilation in progress.
        runtime.shutdown_background();
        ended
    });
    match ended.map_err(anyhow::Error::from).flatten() {
        Ok(ended) => ended.exit_code().into(),
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

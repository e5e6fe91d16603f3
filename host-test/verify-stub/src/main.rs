//! A server that behaves like IBM Verify.

use std::process::ExitCode;

use clap::Parser as _;
use programs::{LevelFilter, log};
use verify_stub::StubCommand;

#[tokio::main]
async fn main() -> ExitCode {
    log(LevelFilter::INFO);
    match StubCommand::parse().run(tokio::signal::ctrl_c()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

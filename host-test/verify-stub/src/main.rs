//! A server that behaves like IBM Verify.

use std::{io, process::ExitCode};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use verify_stub::StubCommand;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .init();
    match StubCommand::parse().run(tokio::signal::ctrl_c()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

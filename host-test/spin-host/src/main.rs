//! Serves Service B behind its auth check, from spin.toml.

use std::{io, process::ExitCode};

use clap::Parser as _;
use programs::{LevelFilter, log};
use spin_host::ServeCommand;

#[tokio::main]
async fn main() -> ExitCode {
    log(LevelFilter::INFO);
    match ServeCommand::parse().run(stop_signal).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// From now on Ctrl-C, or SIGTERM, does not end the process but the future.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// From now on Ctrl-C does not end the process but the future.
#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

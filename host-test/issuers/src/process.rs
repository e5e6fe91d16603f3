//! Waits for the processes of servers.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use programs::Process;
use serde_json::{Value, json};

use crate::{SERVICE_A, SERVICE_B};

/// How long a server may take to start to listen on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How often to check whether it listens.
const LOOK: Duration = Duration::from_millis(20);

/// The clients, in the format that our programs read.
pub(crate) fn clients() -> Value {
    let clients = [SERVICE_A, SERVICE_B];
    clients
        .iter()
        .map(|client| json!({ "id": client.id, "secret": client.secret }))
        .collect()
}

/// Starts a program of this crate, which reads its configuration from the environment and prints
/// its issuer. Returns the issuer.
pub(crate) fn start(
    program: &Path,
    prepare: impl FnOnce(&mut Command),
    configuration: &Value,
) -> Result<(Process, String)> {
    let process = Process::start(program, |command| {
        command.env("CONFIGURATION", configuration.to_string());
        prepare(command);
    })?;
    let url = wait(&process, || {
        let out = process.out();
        let said: Value = serde_json::from_str(out.lines().next()?).ok()?;
        Some(said.get("issuer")?.as_str()?.to_owned())
    })?;
    Ok((process, url))
}

/// Polls until there is a value.
pub(crate) fn wait<T>(process: &Process, look: impl Fn() -> Option<T>) -> Result<T> {
    let until = Instant::now() + START_LIMIT;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if let Some(status) = process.exit_status() {
            bail!("it ended with {status}: {}{}", process.out(), process.log());
        }
        if Instant::now() > until {
            bail!(
                "it does not listen after {START_LIMIT:?}: {}{}",
                process.out(),
                process.log()
            );
        }
        std::thread::sleep(LOOK);
    }
}

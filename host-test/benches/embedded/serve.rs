//! `cargo serve`, in a process of its own.

use std::{collections::BTreeMap, net::SocketAddr, process::Stdio};

use anyhow::{Context as _, Result, anyhow};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::manifest::{self, Gate};
use crate::side_by_side::machine::Machine;

/// Compiling the components on a busy machine is most of it.
const START_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(300);

/// Dropped, it is killed.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) pid: Option<u32>,
    _process: Child,
    /// It prints its routes too, and that must not fail.
    _out: Lines<BufReader<ChildStdout>>,
    _manifest: NamedTempFile,
}

impl Served {
    pub(crate) async fn start(
        gate: Gate,
        settings: &BTreeMap<String, String>,
        machine: &Machine,
    ) -> Result<Self> {
        let manifest = NamedTempFile::with_suffix(".toml")?;
        std::fs::write(manifest.path(), manifest::with(gate)?)?;
        let mut command = command();
        command
            .args(["--listen", "127.0.0.1:0", "--manifest"])
            .arg(manifest.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // One core, one worker.
            .env("TOKIO_WORKER_THREADS", "1")
            .env("RUST_LOG", "warn")
            .kill_on_drop(true);
        for (key, value) in settings {
            command.env(format!("SPIN_VARIABLE_{}", key.to_ascii_uppercase()), value);
        }
        let mut process = command.spawn().context("serve")?;
        let pid = process.id();
        pid.map_or(Ok(()), |pid| machine.pin_server(pid))?;
        let out = process.stdout.take().context("no output")?;
        let mut lines = BufReader::new(out).lines();
        let first = timeout(START_TIMEOUT, lines.next_line())
            .await
            .map_err(|_| anyhow!("serve takes longer than {START_TIMEOUT:?} to start"))??;
        let first = first.context("serve ended at once: see above")?;
        let address = first
            .rsplit_once("http://")
            .and_then(|(_, address)| address.parse().ok())
            .with_context(|| first.clone())?;
        Ok(Self {
            address,
            pid,
            _process: process,
            _out: lines,
            _manifest: manifest,
        })
    }
}

/// Ended by the system when we are gone, where it can do that.
fn command() -> Command {
    let server = env!("CARGO_BIN_EXE_serve");
    let probe = std::process::Command::new("setpriv")
        .arg("--version")
        .output();
    if probe.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", server]);
        return command;
    }
    Command::new(server)
}

//! A host that runs the shipped spin.toml, in a process of its own: `cargo serve`, or Spin.

use std::{collections::BTreeMap, ffi::OsStr, net::SocketAddr, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, anyhow};
use host_test::spin::find_spin;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::manifest::{self, Deployment};
use crate::machine::Machine;

/// Compiling the components on a busy machine is most of it.
const START_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(300);

pub(crate) enum Host {
    /// `cargo serve`: the binary.
    Embedded(PathBuf),
    /// The binary.
    Spin(PathBuf),
}

impl Host {
    /// The embedded host, built.
    pub(crate) fn embedded() -> Result<Self> {
        let [serve] = programs::native(["serve"])?;
        Ok(Self::Embedded(serve))
    }

    /// The one that `SPIN` names, or the one on PATH.
    pub(crate) fn spin() -> Option<Self> {
        find_spin().map(Self::Spin)
    }

    fn command(&self) -> Command {
        match self {
            Self::Embedded(serve) => {
                let mut command = command(serve);
                command.arg("--manifest");
                command
            }
            Self::Spin(spin) => {
                let mut command = command(spin);
                command.args(["up", "--quiet", "--from-file"]);
                command
            }
        }
    }
}

/// The settings as both hosts read them from the environment.
pub(super) fn environment(
    settings: &BTreeMap<String, String>,
) -> impl Iterator<Item = (String, &str)> {
    settings.iter().map(|(key, value)| {
        let name = format!("SPIN_VARIABLE_{}", key.to_ascii_uppercase());
        (name, value.as_str())
    })
}

/// Dropped, it is killed, and with it what it has started.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// Whose time on a processor counts. `None`: that of a process it has started.
    pub(crate) pid: Option<u32>,
    _processes: Processes,
    /// It prints its routes too, and that must not fail.
    _out: Lines<BufReader<ChildStdout>>,
    /// Of the manifest, and of what Spin puts beside it.
    _folder: TempDir,
}

impl Served {
    pub(super) async fn start(
        host: &Host,
        deployment: Deployment,
        settings: &BTreeMap<String, String>,
        machine: &Machine,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let manifest = folder.path().join("spin.toml");
        std::fs::write(&manifest, manifest::with(deployment)?)?;
        let mut command = host.command();
        command
            .arg(&manifest)
            .args(["--listen", "127.0.0.1:0"])
            // As README.md starts Spin.
            .args(["--max-instance-reuse-count", "1000000"])
            .args(["--idle-instance-timeout", "3600s"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // One core, one worker.
            .env("TOKIO_WORKER_THREADS", "1")
            .env("RUST_LOG", "warn")
            // Errors are cheap then, as where it is served in earnest.
            .env("RUST_BACKTRACE", "0")
            // Spin starts another process, which must end with it.
            .process_group(0)
            .kill_on_drop(true);
        command.envs(environment(settings));
        let mut processes = Processes(command.spawn().context("cannot be started")?);
        let pid = processes.0.id();
        pid.map_or(Ok(()), |pid| machine.pin_server(pid, 1))?;
        let out = processes.0.stdout.take().context("no output")?;
        let mut lines = BufReader::new(out).lines();
        let address = timeout(START_TIMEOUT, serving(&mut lines))
            .await
            .map_err(|_| anyhow!("takes longer than {START_TIMEOUT:?} to start"))??;
        Ok(Self {
            address,
            pid: pid.filter(|_| matches!(host, Host::Embedded(_))),
            _processes: processes,
            _out: lines,
            _folder: folder,
        })
    }
}

/// One, and what it has started.
struct Processes(Child);

impl Drop for Processes {
    fn drop(&mut self) {
        if let Some(pid) = self.0.id() {
            // What is gone already needs no signal.
            let _ = std::process::Command::new("kill")
                .args(["-KILL", "--", &format!("-{pid}")])
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Both hosts say where they serve.
async fn serving(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<SocketAddr> {
    while let Some(line) = lines.next_line().await? {
        if let Some((_, address)) = line.rsplit_once("http://")
            && line.contains("Serving")
        {
            return address.trim().parse().with_context(|| line.clone());
        }
    }
    Err(anyhow!("ended at once: see above"))
}

/// Ended by the system when we are gone, where it can do that.
fn command(server: impl AsRef<OsStr>) -> Command {
    let probe = std::process::Command::new("setpriv")
        .arg("--version")
        .output();
    if probe.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(server);
        return command;
    }
    Command::new(server)
}

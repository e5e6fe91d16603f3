//! A Spin app served by a program: `spin up`, or the embedded host, which takes the same arguments.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use programs::{Process, on_path, repository};

/// How long the program may take to start; mostly it compiles the components.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often to check whether it serves.
const LOOK: Duration = Duration::from_millis(20);

/// Spin itself: the one that `SPIN` names, else the one on PATH. `None` also with `SKIP_SPIN=1`,
/// for those who have one that is older than 4.1.
#[must_use]
pub fn find_spin() -> Option<PathBuf> {
    if std::env::var_os("SKIP_SPIN").is_some_and(|value| value == "1") {
        return None;
    }
    let named = std::env::var_os("SPIN").filter(|named| !named.is_empty());
    named.map(PathBuf::from).or_else(|| on_path("spin"))
}

/// The program that serves.
#[derive(Clone, Debug)]
pub enum SpinProgram {
    /// The embedded host of this repository: the binary `serve`.
    Embedded(PathBuf),
    /// Spin itself.
    Spin(PathBuf),
}

/// The app to serve, and how.
#[derive(Clone, Debug)]
pub struct SpinOptions {
    /// The manifest; its components must be built.
    pub manifest: PathBuf,
    /// Settings, passed as `WORKOUT18_*`; keys as in the README, in lower case.
    pub settings: BTreeMap<String, String>,
    /// The runtime configuration.
    pub runtime_config: PathBuf,
    /// The folder for Spin's logs and stores, which the caller removes. `None`: beside the
    /// manifest.
    pub state: Option<PathBuf>,
    /// More arguments of `spin up`.
    pub arguments: Vec<String>,
}

impl Default for SpinOptions {
    /// The shipped manifest, without settings.
    fn default() -> Self {
        Self {
            manifest: repository().join("spin.toml"),
            settings: BTreeMap::new(),
            runtime_config: repository().join("runtime-config.toml"),
            state: None,
            arguments: Vec::new(),
        }
    }
}

/// A served app. Dropping it stops it at once.
pub struct SpinApp {
    process: Process,
    address: SocketAddr,
}

impl SpinApp {
    /// Starts the program on a free port and waits until it serves.
    ///
    /// # Errors
    /// The program does not start. The message contains its output.
    pub async fn start(program: &SpinProgram, options: &SpinOptions) -> Result<Self> {
        let (path, up) = match program {
            SpinProgram::Embedded(path) => (path, None),
            SpinProgram::Spin(path) => (path, Some("up")),
        };
        let process = Process::start(path, |command| {
            command
                .args(up)
                .arg("-f")
                .arg(&options.manifest)
                .args(["--listen", "127.0.0.1:0"])
                .arg("--runtime-config-file")
                .arg(&options.runtime_config)
                .args(&options.arguments);
            if let (SpinProgram::Spin(_), Some(state)) = (program, &options.state) {
                command.arg("--state-dir").arg(state);
            }
            for (key, value) in &options.settings {
                command.env(format!("WORKOUT18_{}", key.to_ascii_uppercase()), value);
            }
        })?;
        let address = serving(&process, path).await?;
        Ok(Self { process, address })
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The standard error and output of the program and its components.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log() + &self.process.out()
    }

    /// The program.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }
}

/// Waits for the line that names the address, as in `Serving http://127.0.0.1:3000`.
async fn serving(process: &Process, program: &Path) -> Result<SocketAddr> {
    let until = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(address) = announced(&process.out()) {
            return address.parse().with_context(|| {
                format!(
                    "{} serves on {address}, which is no address",
                    program.display()
                )
            });
        }
        let said = || process.log() + &process.out();
        if let Some(status) = process.exit_status() {
            bail!("{} ended with {status}:\n{}", program.display(), said());
        }
        if Instant::now() > until {
            bail!(
                "{} does not serve after {START_TIMEOUT:?}:\n{}",
                program.display(),
                said()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn announced(out: &str) -> Option<&str> {
    // Whole lines only: the last one may be incomplete.
    let whole = out.rfind('\n').and_then(|end| out.get(..end))?;
    let line = whole.lines().find(|line| line.starts_with("Serving "))?;
    line.rsplit_once("http://")
        .map(|(_, address)| address.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_line_of_either_program() {
        let table = [
            (
                "Serving http://127.0.0.1:4001\nAvailable Routes:\n",
                Some("127.0.0.1:4001"),
            ),
            (
                "Serving trust-triangle on http://127.0.0.1:4001\n",
                Some("127.0.0.1:4001"),
            ),
            ("Serving http://127.0.0.1:40", None),
            (
                "Logging component stdio\n\nServing http://127.0.0.1:1\n",
                Some("127.0.0.1:1"),
            ),
            ("", None),
        ];
        for (out, expected) in table {
            assert_eq!(announced(out), expected, "{out:?}");
        }
    }
}

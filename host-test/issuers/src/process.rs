//! A server's process. It ends when its standard input does, and so also when this process is killed.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

/// How long a server may take until it listens, on a busy machine.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// How long it may take to end by itself.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How often we look whether something has come about.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// Starts a program that writes its standard error into `directory`.
    pub(crate) fn start(command: &mut Command, directory: &Path) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let log = directory.join("log");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, log })
    }

    /// Hands it one line of JSON, and waits for the one that it answers with: its issuer.
    pub(crate) fn configure(&mut self, configuration: &Value) -> Result<String> {
        let mut stdin = self
            .stdin
            .as_ref()
            .context("its standard input is closed")?;
        writeln!(stdin, "{configuration}").with_context(|| self.log())?;
        let stdout = self
            .child
            .stdout
            .take()
            .context("its standard output is taken")?;
        let (send, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            let _ = lines.read_line(&mut line);
            let _ = send.send(line);
            // A pipe that nobody reads would stop it.
            let _ = io::copy(&mut lines, &mut io::sink());
        });
        let line = line.recv_timeout(START_LIMIT).unwrap_or_default();
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        said.get("issuer")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("it does not say its issuer, but {line:?}: {}", self.log()))
    }

    /// Waits until `ready`.
    pub(crate) fn wait(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let until = Instant::now() + START_LIMIT;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", self.log());
            }
            if Instant::now() > until {
                bail!("it does not listen after {START_LIMIT:?}: {}", self.log());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |error| format!("{}: {error}", self.log.display()),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        let until = Instant::now() + END_LIMIT;
        while Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! wrk, which keeps connections busy.

use std::{io::Write as _, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::contender::{Contender, PATH};

const SCRIPT: &str = include_str!("wrk.lua");

/// The load generator.
pub(crate) struct Wrk {
    binary: PathBuf,
    script: NamedTempFile,
}

/// What it tells of one run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Shot {
    pub(crate) requests: u64,
    microseconds: u64,
    /// Latencies, in microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    bad_status: u64,
    broken: u64,
}

impl Shot {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.microseconds as f64
    }
}

impl Wrk {
    pub(crate) fn find() -> Result<Self> {
        let named = std::env::var_os("WRK").filter(|named| !named.is_empty());
        let binary = match named {
            Some(named) => Some(PathBuf::from(named)).filter(|named| named.is_file()),
            None => std::env::var_os("PATH").and_then(|path| {
                std::env::split_paths(&path)
                    .map(|folder| folder.join("wrk"))
                    .find(|file| file.is_file())
            }),
        };
        let binary = binary.context(
            "no wrk: `apt-get install wrk` (or brew, dnf, apk), or let WRK name its binary",
        )?;
        let mut script = NamedTempFile::with_suffix(".lua")?;
        script.write_all(SCRIPT.as_bytes())?;
        Ok(Self { binary, script })
    }

    /// Every request must be answered, and with a status below 400.
    pub(crate) async fn load(
        &self,
        contender: &Contender,
        connections: u16,
        time: Duration,
    ) -> Result<Shot> {
        let url = format!("http://{}{PATH}", contender.address);
        let shot = self
            .run(&url, contender, connections, time)
            .await
            .with_context(|| contender.name)?;
        ensure!(
            shot.bad_status == 0 && shot.broken == 0 && shot.requests > 0,
            "{}: of {} requests {} were refused and {} not answered",
            contender.name,
            shot.requests,
            shot.bad_status,
            shot.broken
        );
        Ok(shot)
    }

    async fn run(
        &self,
        url: &str,
        contender: &Contender,
        connections: u16,
        time: Duration,
    ) -> Result<Shot> {
        let headers = contender.headers.iter();
        let headers = headers.flat_map(|(name, value)| [name, value]);
        let output = tokio::process::Command::new(&self.binary)
            .args(["--threads", "1", "--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())])
            .args(["--timeout", "10s", "--latency", "--script"])
            .arg(self.script.path())
            .arg(url)
            .arg("--")
            .arg(contender.tokens.path())
            .args(headers)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| self.binary.display().to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().rev().find(|line| line.starts_with('{'));
        line.and_then(|line| serde_json::from_str(line).ok())
            .with_context(|| {
                let said = String::from_utf8_lossy(&output.stderr);
                format!("wrk gives no result: {text} {said}")
            })
    }
}

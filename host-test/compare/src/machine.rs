//! The machine: which core does what, and how long a process has run.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

/// Which cores servers and load generator have, each for itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    #[serde(skip)]
    all_cores: Vec<usize>,
    /// `None`: they share all cores, as there is only one or no `taskset`.
    server_core: Option<usize>,
    load_core: Option<usize>,
}

impl Machine {
    /// Pins this process, and so whatever it starts, to the core of the load.
    pub(crate) fn take() -> Result<Self> {
        let cores = allowed_cores();
        let (server, load) = match cores.as_slice() {
            [server, load, ..] if has_taskset() => (Some(*server), Some(*load)),
            _ => (None, None),
        };
        if let Some(core) = load {
            pin(std::process::id(), &[core])?;
        }
        Ok(Self {
            processor: processor(),
            cores: cores.len(),
            all_cores: cores,
            server_core: server,
            load_core: load,
        })
    }

    /// Pins a server with one worker to its core, all of its threads. One with more workers gets all
    /// cores but that of the load, if they are enough, and else all.
    pub(crate) fn pin_server(&self, pid: u32, workers: u32) -> Result<()> {
        let Some(core) = self.server_core else {
            return Ok(());
        };
        let mut cores = vec![core];
        if workers > 1 {
            let load = self
                .load_core
                .filter(|_| self.all_cores.len() > workers as usize);
            cores = self.all_cores.clone();
            cores.retain(|core| Some(*core) != load);
        }
        pin(pid, &cores)
    }

    pub(crate) fn description(&self) -> String {
        let pinned = match (self.server_core, self.load_core) {
            (Some(server), Some(load)) => {
                format!("servers on core {server}, load and issuer on core {load}")
            }
            _ => "nothing pinned to a core: for that take Linux, two cores and taskset".to_owned(),
        };
        format!("{} x {}; {pinned}", self.cores, self.processor)
    }
}

/// What a process has spent on a processor so far, in nanoseconds; `None` where the system does not
/// tell.
pub(crate) fn processor_time(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut sum = 0_u64;
    for thread in threads {
        let path = thread.ok()?.path().join("schedstat");
        // A thread may end meanwhile; those of a server under load stay.
        if let Ok(text) = fs::read_to_string(path) {
            sum = sum.checked_add(text.split_whitespace().next()?.parse().ok()?)?;
        }
    }
    Some(sum).filter(|sum| *sum > 0)
}

fn pin(pid: u32, cores: &[usize]) -> Result<()> {
    let cores: Vec<_> = cores.iter().map(ToString::to_string).collect();
    let output = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid"])
        .args([cores.join(","), pid.to_string()])
        .output()
        .context("taskset")?;
    ensure!(
        output.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn has_taskset() -> bool {
    let probe = Command::new("taskset").arg("--version").output();
    probe.is_ok_and(|output| output.status.success())
}

/// In the form `0-3,8`.
fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.unwrap_or_default()
        .trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

fn processor() -> String {
    let text = fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let model = text.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, model)| model.trim().to_owned())
    });
    model.unwrap_or_else(|| "unknown processor".to_owned())
}

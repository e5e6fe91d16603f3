//! The component that ships, in Spin itself, with the echo app behind it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_test::spin::{SpinApp, SpinOptions, SpinProgram, find_spin};
use programs::{Guest, components};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{Driver, settings};
use crate::fixture::app;
use crate::single::issuer::SharedStub;
use crate::single::observed::Observed;
use crate::single::scenario::Scenario;

type Settings = Vec<(String, String)>;

pub(crate) struct RealSpin {
    runtime: Handle,
    stub: Arc<SharedStub>,
    program: PathBuf,
    /// One for all scenarios with the same settings, and the folder where it keeps logs and stores.
    running: Mutex<BTreeMap<Settings, Arc<(SpinApp, TempDir)>>>,
}

impl RealSpin {
    /// `None`: there is no Spin, or nobody wants it.
    pub(crate) fn find(runtime: &Handle, stub: impl FnOnce() -> Arc<SharedStub>) -> Option<Self> {
        let program = find_spin()?;
        Some(Self {
            runtime: runtime.clone(),
            stub: stub(),
            program,
            running: Mutex::default(),
        })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Settings, Arc<(SpinApp, TempDir)>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, settings: Settings) -> Result<Arc<(SpinApp, TempDir)>, String> {
        // Held while it starts: two of the same would be one too many, and ten at once no faster.
        let mut running = self.running();
        if let Some(spin) = running.get(&settings) {
            return Ok(Arc::clone(spin));
        }
        let start = || {
            let state = tempfile::tempdir()?;
            let options = SpinOptions {
                manifest: manifest("scenarios-real-spin.toml")?,
                settings: settings.iter().cloned().collect(),
                state: Some(state.path().to_owned()),
                ..SpinOptions::default()
            };
            let program = SpinProgram::Spin(self.program.clone());
            let app = self.runtime.block_on(SpinApp::start(&program, &options))?;
            anyhow::Ok(Arc::new((app, state)))
        };
        let spin = start().map_err(|error| format!("{error:#}"))?;
        Ok(Arc::clone(running.entry(settings).or_insert(spin)))
    }
}

impl Driver for RealSpin {
    fn name(&self) -> &'static str {
        "spin"
    }

    fn observe(&self, scenario: &Scenario) -> Result<Observed, String> {
        let spin = self.serve(settings(scenario, &self.stub.introspect_url(scenario)))?;
        super::observe(&self.runtime, &self.stub, scenario, spin.0.address())
    }

    fn printed(&self) -> Vec<String> {
        let running = self.running();
        let logs = running.values().map(|spin| spin.0.log());
        logs.flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn healthy(&self) -> Result<(), String> {
        for (settings, spin) in self.running().iter() {
            if let Some(status) = spin.0.process().exit_status() {
                return Err(format!("Spin ended with {status} with {settings:?}"));
            }
            let log = spin.0.log();
            if let Some(line) = log.lines().find(|line| line.contains("wasm trap")) {
                return Err(format!("{line} with {settings:?}"));
            }
        }
        Ok(())
    }
}

/// What the embedded host serves, for a program that reads the manifest itself: it names where each
/// component is.
fn manifest(file: &str) -> anyhow::Result<PathBuf> {
    let mut manifest = app::gated()?;
    for (id, path) in components(Guest::EchoApp)? {
        let shipped = format!("target/wasm32-wasip2/release/{}.wasm", id.replace('-', "_"));
        anyhow::ensure!(manifest.contains(&shipped), "spin.toml has no {shipped}");
        manifest = manifest.replace(&shipped, &path.display().to_string());
    }
    app::write(file, manifest)
}

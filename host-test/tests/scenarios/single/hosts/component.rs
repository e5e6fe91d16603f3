//! The component that ships, in the embedded host, with the echo app behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use spin_host::{App, Running, ServeOptions};
use tokio::runtime::Handle;

use super::{Driver, settings};
use crate::fixture::app;
use crate::fixture::log::Log;
use crate::single::issuer::SharedStub;
use crate::single::observed::Observed;
use crate::single::scenario::Scenario;

type Settings = Vec<(String, String)>;

pub(crate) struct Component {
    runtime: Handle,
    stub: Arc<SharedStub>,
    log: Log,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    app: Option<App>,
    /// One for all scenarios with the same settings.
    running: BTreeMap<Settings, Arc<Running>>,
}

impl Component {
    pub(crate) fn new(runtime: Handle, stub: Arc<SharedStub>, log: Log) -> Self {
        Self {
            runtime,
            stub,
            log,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, settings: Settings) -> Result<Arc<Running>, String> {
        let mut state = self.state();
        if let Some(running) = state.running.get(&settings) {
            return Ok(Arc::clone(running));
        }
        let app = match &state.app {
            Some(app) => app.clone(),
            None => state
                .app
                .insert(app::load("scenarios-spin.toml").map_err(|error| format!("{error:#}"))?)
                .clone(),
        };
        let options = ServeOptions {
            environment: Some(BTreeMap::new()),
            variables: settings.iter().cloned().collect(),
            ..ServeOptions::default()
        };
        let running = self
            .runtime
            .block_on(app.serve(options))
            .map_err(|error| format!("{error:#}"))?;
        Ok(Arc::clone(
            state
                .running
                .entry(settings)
                .or_insert_with(|| Arc::new(running)),
        ))
    }
}

impl Driver for Component {
    fn name(&self) -> &'static str {
        "component"
    }

    fn observe(&self, scenario: &Scenario) -> Result<Observed, String> {
        let running = self.serve(settings(scenario, &self.stub.introspect_url(scenario)))?;
        super::observe(&self.runtime, &self.stub, scenario, running.address())
    }

    fn printed(&self) -> Vec<String> {
        let state = self.state();
        let guests = state
            .running
            .values()
            .flat_map(|running| running.logs())
            .map(|line| line.text);
        guests.chain(self.log.lines()).collect()
    }

    fn healthy(&self) -> Result<(), String> {
        let traps: u64 = self
            .state()
            .running
            .values()
            .map(|running| running.stats().traps)
            .sum();
        if traps == 0 {
            Ok(())
        } else {
            Err(format!("{traps} instances trapped"))
        }
    }
}

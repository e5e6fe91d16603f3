//! The component that ships, in the embedded host, with the echo app behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spin_host::{Running, ServeOptions};
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
    /// One for all scenarios with the same settings.
    running: Mutex<BTreeMap<Settings, Arc<Running>>>,
}

impl Component {
    pub(crate) fn new(runtime: Handle, stub: Arc<SharedStub>, log: Log) -> Self {
        Self {
            runtime,
            stub,
            log,
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Settings, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, settings: Settings) -> Result<Arc<Running>, String> {
        let mut all = self.running();
        if let Some(running) = all.get(&settings) {
            return Ok(Arc::clone(running));
        }
        let app = app::shared()?;
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
            all.entry(settings).or_insert_with(|| Arc::new(running)),
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
        let running = self.running();
        let guests = running
            .values()
            .flat_map(|running| running.logs())
            .map(|line| line.text);
        guests.chain(self.log.lines()).collect()
    }

    fn healthy(&self) -> Result<(), String> {
        let traps: u64 = self
            .running()
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

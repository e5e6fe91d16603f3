//! The filter that ships, in real Envoy with the shipped configuration, with an echo as the
//! upstream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use envoy_runner::{Envoy, EnvoyOptions};
use host_test::echo::Echo;
use serde_json::json;
use tokio::runtime::Handle;

use super::{Driver, settings};
use crate::single::issuer::SharedStub;
use crate::single::observed::Observed;
use crate::single::scenario::Scenario;

type Settings = Vec<(String, String)>;

pub(crate) struct RealEnvoy {
    runtime: Handle,
    stub: Arc<SharedStub>,
    echo: Echo,
    /// One for all scenarios with the same settings.
    running: Mutex<BTreeMap<Settings, Arc<Envoy>>>,
}

impl RealEnvoy {
    pub(crate) fn new(runtime: Handle, stub: Arc<SharedStub>) -> Self {
        let echo = runtime.block_on(Echo::start()).unwrap();
        Self {
            runtime,
            stub,
            echo,
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Settings, Arc<Envoy>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, settings: Settings) -> Result<Arc<Envoy>, String> {
        // Held while it starts: two of the same would be one too many, and ten at once no faster.
        let mut running = self.running();
        if let Some(envoy) = running.get(&settings) {
            return Ok(Arc::clone(envoy));
        }
        let options = EnvoyOptions {
            settings: settings.iter().cloned().collect(),
            // Everything goes to the upstream, `/data` too.
            plugin_json: Some(json!({})),
            upstream: self.echo.address(),
            ..EnvoyOptions::default()
        };
        let envoy = self
            .runtime
            .block_on(Envoy::start(options))
            .map_err(|error| format!("{error:#}"))?;
        Ok(Arc::clone(
            running.entry(settings).or_insert_with(|| Arc::new(envoy)),
        ))
    }
}

impl Driver for RealEnvoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn observe(&self, scenario: &Scenario) -> Result<Observed, String> {
        let envoy = self.serve(settings(scenario, &self.stub.introspect_url(scenario)))?;
        super::observe(&self.runtime, &self.stub, scenario, envoy.address())
    }

    fn printed(&self) -> Vec<String> {
        let running = self.running();
        let text = |envoy: &Arc<Envoy>| {
            let mut lines: Vec<String> = envoy.log().lines().map(str::to_owned).collect();
            lines.extend(envoy.access_log().iter().map(ToString::to_string));
            lines
        };
        running.values().flat_map(text).collect()
    }

    /// Envoy's own counters say whether a VM failed and was made again.
    fn healthy(&self) -> Result<(), String> {
        for (settings, envoy) in self.running().iter() {
            let now = self
                .runtime
                .block_on(envoy.vms())
                .map_err(|error| format!("{error:#}"))?;
            if now != envoy.vms_at_start() {
                return Err(format!(
                    "{:?} became {now:?} with {settings:?}",
                    envoy.vms_at_start()
                ));
            }
        }
        Ok(())
    }
}

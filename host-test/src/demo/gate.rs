//! What stands in front of Service B.

use std::collections::BTreeMap;

use anyhow::Result;

use super::artifacts;
use envoy_runner::{Envoy, EnvoyOptions};
use spin_host::{App, Running, ServeOptions};

/// The ways to gate Service B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GateKind {
    /// The Spin middleware, in the embedded host.
    Spin,
    /// The filter, in real Envoy.
    Envoy,
}

impl GateKind {
    /// For machines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Envoy => "envoy",
        }
    }

    /// For people.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Spin => "behind auth-check, both as spin.toml says",
            Self::Envoy => "answered by the filter itself, as envoy/envoy.yaml says",
        }
    }
}

/// A gate with Service B behind it. Dropping it ends both at once.
pub(super) enum Gate {
    /// Gate and service are components of one app.
    Spin(Running),
    /// The filter answers for the service.
    Envoy(Box<Envoy>),
}

impl Gate {
    /// Builds what is missing and begins to listen on a free port. The keys of `settings` are those of the README.
    pub(super) async fn start(kind: GateKind, settings: BTreeMap<String, String>) -> Result<Self> {
        match kind {
            GateKind::Spin => {
                let manifest = programs::components().await?;
                let compile = move || App::from_manifest(manifest, &BTreeMap::new());
                let app = tokio::task::spawn_blocking(compile).await??;
                let options = ServeOptions {
                    variables: settings,
                    // What this shell exports is not meant for the demo.
                    environment: Some(BTreeMap::new()),
                    ..ServeOptions::default()
                };
                Ok(Self::Spin(app.serve(options).await?))
            }
            GateKind::Envoy => {
                let options = EnvoyOptions {
                    settings,
                    ..EnvoyOptions::default()
                };
                Ok(Self::Envoy(Box::new(Envoy::start(options).await?)))
            }
        }
    }

    pub(super) const fn kind(&self) -> GateKind {
        match self {
            Self::Spin(_) => GateKind::Spin,
            Self::Envoy(_) => GateKind::Envoy,
        }
    }

    /// Where Service B's document is.
    pub(super) fn data_url(&self) -> String {
        match self {
            Self::Spin(running) => format!("http://{}/data", running.address()),
            Self::Envoy(envoy) => format!("http://{}/data", envoy.address()),
        }
    }

    /// What gate and service logged, oldest first.
    pub(super) fn log(&self) -> Vec<String> {
        match self {
            Self::Spin(running) => running
                .logs()
                .into_iter()
                .map(|line| format!("[{}] {}", line.component, line.text))
                .collect(),
            Self::Envoy(envoy) => envoy.log().lines().map(str::to_owned).collect(),
        }
    }

    /// Ends gate and service, requests that are under way first.
    pub(super) async fn stop(self) -> Result<()> {
        match self {
            Self::Spin(running) => _ = running.shutdown().await,
            Self::Envoy(envoy) => envoy.stop().await?,
        }
        Ok(())
    }
}

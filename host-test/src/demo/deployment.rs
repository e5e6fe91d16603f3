//! What stands in front of Service B.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};
use envoy_runner::{Envoy, EnvoyOptions};
use programs::{Guest, native};
use tokio::task::spawn_blocking;

use crate::spin::{SpinApp, SpinOptions, SpinProgram, find_spin};

const NO_SPIN: &str = "there is no Spin: put `spin` 4.1 or newer on PATH, or let SPIN name it";

/// The ways to protect Service B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeploymentKind {
    /// The Spin middleware, in the embedded host.
    Embedded,
    /// The Spin middleware, in real Spin.
    Spin,
    /// The filter, in real Envoy.
    Envoy,
}

impl DeploymentKind {
    /// For machines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Spin => "spin",
            Self::Envoy => "envoy",
        }
    }

    /// For people.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Embedded => "behind auth-check, both as spin.toml says",
            Self::Spin => "behind auth-check, both as spin.toml says, in Spin itself",
            Self::Envoy => "answered by the filter itself, as envoy/envoy.yaml says",
        }
    }
}

/// An auth check with Service B behind it. Dropping it ends both at once.
pub(super) enum Deployment {
    /// Gate and service are components of one app.
    Spin(DeploymentKind, Box<SpinApp>),
    /// The filter answers for the service.
    Envoy(Box<Envoy>),
}

/// What the demo starts, built.
pub(super) struct Programs {
    pub(super) service_a: PathBuf,
    /// `None`: Envoy finds itself.
    spin: Option<SpinProgram>,
}

impl Programs {
    /// Builds what is missing or older than its sources. Cargo shows its progress on a terminal.
    pub(super) async fn build(kind: DeploymentKind) -> Result<Self> {
        let build = move || {
            let (service_a, spin) = match kind {
                DeploymentKind::Embedded => {
                    let [service_a, serve] = native(["service-a", "serve"])?;
                    (service_a, Some(SpinProgram::Embedded(serve)))
                }
                DeploymentKind::Spin => {
                    let [service_a] = native(["service-a"])?;
                    (
                        service_a,
                        Some(SpinProgram::Spin(find_spin().context(NO_SPIN)?)),
                    )
                }
                DeploymentKind::Envoy => {
                    let [service_a] = native(["service-a"])?;
                    (service_a, None)
                }
            };
            if spin.is_some() {
                Guest::ship()?;
            }
            anyhow::Ok(Self { service_a, spin })
        };
        spawn_blocking(build).await?
    }
}

impl Deployment {
    /// Begins to listen on a free port. The keys of `settings` are those of the README.
    pub(super) async fn start(
        kind: DeploymentKind,
        programs: &Programs,
        settings: BTreeMap<String, String>,
    ) -> Result<Self> {
        if let Some(program) = &programs.spin {
            let options = SpinOptions {
                settings,
                ..SpinOptions::default()
            };
            let app = SpinApp::start(program, &options).await?;
            return Ok(Self::Spin(kind, Box::new(app)));
        }
        let options = EnvoyOptions {
            settings,
            ..EnvoyOptions::default()
        };
        Ok(Self::Envoy(Box::new(Envoy::start(options).await?)))
    }

    pub(super) const fn kind(&self) -> DeploymentKind {
        match self {
            Self::Spin(kind, _) => *kind,
            Self::Envoy(_) => DeploymentKind::Envoy,
        }
    }

    /// Where Service B's document is.
    pub(super) fn data_url(&self) -> String {
        let address = match self {
            Self::Spin(_, app) => app.address(),
            Self::Envoy(envoy) => envoy.address(),
        };
        format!("http://{address}/data")
    }

    /// What auth check and service logged, oldest first.
    pub(super) fn log(&self) -> Vec<String> {
        let log = match self {
            Self::Spin(_, app) => app.log(),
            Self::Envoy(envoy) => envoy.log(),
        };
        log.lines().map(str::to_owned).collect()
    }

    /// Ends auth check and service.
    pub(super) async fn stop(self) -> Result<()> {
        match self {
            Self::Spin(_, app) => drop(app),
            Self::Envoy(envoy) => envoy.stop().await?,
        }
        Ok(())
    }
}

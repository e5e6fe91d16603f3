//! The auth check that is attacked, in either host, as a process of its own.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use envoy_runner::{Envoy, EnvoyOptions, MANAGER};
use host_test::spin::{SpinApp, SpinOptions, SpinProgram};
use programs::{Guest, native};
use serde_json::json;
use tokio::{sync::OnceCell, task::spawn_blocking};
use verify_stub::VerifyStub;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Envoy,
    Embedded,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Envoy, Self::Embedded];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy",
            Self::Embedded => "embedded host",
        }
    }

    pub(crate) fn is_skipped(self) -> bool {
        self == Self::Envoy && envoy_runner::is_skipped()
    }
}

/// Instances last, as the README says for those who cache, and what a crowd has needed is given back
/// soon after it has gone.
pub(crate) const LASTING: &str = "--max-instance-reuse-count 1000000 --idle-instance-timeout 2s";
/// As Spin has it, so that instances come and go.
pub(crate) const DEFAULT: &str = "";

pub(crate) enum Host {
    Envoy(Box<Envoy>),
    Embedded(SpinApp),
}

impl Host {
    /// `arguments`: those of `spin up`, for the embedded host.
    pub(crate) async fn start(
        kind: Kind,
        stub: &VerifyStub,
        extra: &[(&str, &str)],
        arguments: &str,
    ) -> Self {
        let mut settings = stub.resource_settings();
        settings.extend(
            extra
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        match kind {
            Kind::Envoy => Self::envoy(settings).await,
            Kind::Embedded => Self::embedded(settings, arguments).await,
        }
    }

    /// The shipped configuration with two workers, to which connections go in turn.
    async fn envoy(settings: BTreeMap<String, String>) -> Self {
        let balance = "/static_resources/listeners/service_b/connection_balance_config";
        let options = EnvoyOptions {
            settings,
            concurrency: 2,
            overrides: vec![
                (balance.to_owned(), json!({ "exact_balance": {} })),
                // A line for each request would fill the memory of this process.
                (format!("{MANAGER}/access_log"), json!([])),
            ],
            ..EnvoyOptions::default()
        };
        Self::Envoy(Box::new(Envoy::start(options).await.unwrap()))
    }

    /// spin.toml as it ships, with instances that share a store.
    async fn embedded(mut settings: BTreeMap<String, String>, arguments: &str) -> Self {
        static SERVE: OnceCell<PathBuf> = OnceCell::const_new();
        let build = async || {
            spawn_blocking(|| {
                Guest::ship().unwrap();
                let [serve] = native(["serve"]).unwrap();
                serve
            })
            .await
            .unwrap()
        };
        let serve = SERVE.get_or_init(build).await.clone();
        settings.insert("cache_store".to_owned(), "default".to_owned());
        let options = SpinOptions {
            settings,
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            ..SpinOptions::default()
        };
        let app = SpinApp::start(&SpinProgram::Embedded(serve), &options).await;
        Self::Embedded(app.unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Envoy(envoy) => envoy.address(),
            Self::Embedded(app) => app.address(),
        }
    }

    pub(crate) fn rss_bytes(&self) -> u64 {
        match self {
            Self::Envoy(envoy) => envoy.rss_bytes(),
            Self::Embedded(app) => app.process().rss_bytes(),
        }
        .unwrap()
    }

    /// No VM has failed, no instance has trapped.
    pub(crate) async fn finish(self) {
        match self {
            Self::Envoy(envoy) => {
                assert_eq!(envoy.vms().await.unwrap(), envoy.vms_at_start());
                envoy.stop().await.unwrap();
            }
            Self::Embedded(app) => {
                let log = app.log();
                assert_eq!(app.process().exit_status(), None, "{log}");
                for trouble in ["panic", "trapped"] {
                    assert!(!log.contains(trouble), "{log}");
                }
            }
        }
    }
}

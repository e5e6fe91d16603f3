//! The auth check that is loaded, in either host.

use std::{net::SocketAddr, sync::OnceLock};

use envoy_runner::{Envoy, EnvoyOptions};
use programs::{Guest, repository};
use serde_json::json;
use spin_host::{App, Running};
use verify_stub::VerifyStub;

use crate::support;

pub(crate) enum Host {
    Envoy(Box<Envoy>),
    Component(Running),
}

impl Host {
    /// The shipped configuration with two workers, among which connections are dealt out evenly.
    pub(crate) async fn envoy(stub: &VerifyStub, settings: &[(&str, &str)]) -> Self {
        let balance = "/static_resources/listeners/service_b/connection_balance_config";
        let options = EnvoyOptions {
            settings: support::options(stub, &with_timeouts(settings)).variables,
            concurrency: 2,
            overrides: vec![(balance.to_owned(), json!({ "exact_balance": {} }))],
            ..EnvoyOptions::default()
        };
        Self::Envoy(Box::new(Envoy::start(options).await.unwrap()))
    }

    /// spin.toml as it ships.
    pub(crate) async fn component(stub: &VerifyStub, settings: &[(&str, &str)]) -> Self {
        static APP: OnceLock<App> = OnceLock::new();
        let app =
            APP.get_or_init(|| support::load(&repository().join("spin.toml"), Guest::ServiceB));
        Self::Component(support::serve(app, stub, &with_timeouts(settings)).await)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Envoy(envoy) => envoy.address(),
            Self::Component(running) => running.address(),
        }
    }

    /// How often the issuer was called, whatever came of it.
    pub(crate) async fn calls(&self) -> u64 {
        match self {
            Self::Envoy(envoy) => {
                let stats = envoy.settled_stats().await.unwrap();
                ["answered", "denied", "timeout", "unreachable"]
                    .iter()
                    .map(|outcome| {
                        stats
                            [&format!("wasmcustom.trust_triangle_introspections.outcome.{outcome}")]
                    })
                    .sum()
            }
            Self::Component(running) => running.stats().outbound_calls,
        }
    }

    /// Nothing has failed that must not.
    pub(crate) async fn finish(self) {
        match self {
            Self::Envoy(envoy) => {
                assert_eq!(envoy.vms().await.unwrap(), envoy.vms_at_start());
                envoy.stop().await.unwrap();
            }
            Self::Component(running) => assert_eq!(running.stats().traps, 0),
        }
    }
}

fn with_timeouts<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("timeout", "1"), ("probe_interval", "1")];
    all.extend(settings);
    all
}

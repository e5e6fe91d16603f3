//! The auth check in each host, with settings that verify JWTs.

use std::net::SocketAddr;
use std::sync::OnceLock;

use envoy_runner::{Envoy, EnvoyOptions};
use host_test::spin::{SpinApp, SpinOptions, SpinProgram, find_spin};
use host_test::wire;
use programs::{Guest, repository};
use serde_json::json;
use spin_host::{App, Running};
use tempfile::TempDir;
use verify_stub::{Provider, StubOptions, VerifyStub};

use crate::support;

pub(crate) enum Host {
    Envoy(Box<Envoy>),
    Component(Running),
    /// And where it keeps its logs and stores.
    Spin(
        Box<SpinApp>,
        #[expect(dead_code, reason = "removed when it is dropped")] TempDir,
    ),
}

/// An issuer, and a host whose auth check calls it.
pub(crate) struct World {
    pub(crate) stub: VerifyStub,
    pub(crate) host: Host,
    /// How many rings of keys there are: one per worker. Every instance of Spin has its own.
    pub(crate) rings: u64,
}

/// What a request got: its status, and the reason of a refusal.
pub(crate) type Got = (u16, String);

pub(crate) fn granted() -> Got {
    (200, String::new())
}

pub(crate) fn refused(status: u16, reason: &str) -> Got {
    (status, reason.to_owned())
}

impl World {
    /// Two workers of Envoy, among which connections are dealt out evenly.
    pub(crate) async fn envoy(options: StubOptions, settings: &[(&str, &str)]) -> Option<Self> {
        if envoy_runner::is_skipped() {
            eprintln!("skipped: SKIP_ENVOY=1");
            return None;
        }
        let stub = VerifyStub::start(options).await.unwrap();
        Some(Self::envoy_of(stub, settings).await)
    }

    async fn envoy_of(stub: VerifyStub, settings: &[(&str, &str)]) -> Self {
        let balance = "/static_resources/listeners/service_b/connection_balance_config";
        let options = EnvoyOptions {
            settings: all_settings(&stub, settings),
            concurrency: 2,
            overrides: vec![(balance.to_owned(), json!({ "exact_balance": {} }))],
            ..EnvoyOptions::default()
        };
        let host = Host::Envoy(Box::new(Envoy::start(options).await.unwrap()));
        Self {
            stub,
            host,
            rings: 2,
        }
    }

    /// spin.toml as it ships, in one instance.
    pub(crate) async fn component(options: StubOptions, settings: &[(&str, &str)]) -> Option<Self> {
        let stub = VerifyStub::start(options).await.unwrap();
        Some(Self::component_of(stub, settings).await)
    }

    async fn component_of(stub: VerifyStub, settings: &[(&str, &str)]) -> Self {
        static APP: OnceLock<App> = OnceLock::new();
        let app =
            APP.get_or_init(|| support::load(&repository().join("spin.toml"), Guest::ServiceB));
        let mut serve = support::options(&stub, &[]);
        serve.variables = all_settings(&stub, settings).into_iter().collect();
        let running = app.serve(serve).await.unwrap();
        Self {
            stub,
            host: Host::Component(running),
            rings: 1,
        }
    }

    /// The same in Spin itself.
    pub(crate) async fn spin(options: StubOptions, settings: &[(&str, &str)]) -> Option<Self> {
        if find_spin().is_none() {
            eprintln!("skipped: there is no Spin");
            return None;
        }
        programs::components(Guest::ServiceB).unwrap();
        let stub = VerifyStub::start(options).await.unwrap();
        Some(Self::spin_of(stub, settings).await)
    }

    async fn spin_of(stub: VerifyStub, settings: &[(&str, &str)]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let options = SpinOptions {
            settings: all_settings(&stub, settings),
            state: Some(state.path().to_owned()),
            // One instance, as long as requests come one after the other.
            arguments: ["--max-instance-reuse-count", "1000000"]
                .map(str::to_owned)
                .into(),
            ..SpinOptions::default()
        };
        let program = SpinProgram::Spin(find_spin().unwrap());
        let app = SpinApp::start(&program, &options).await.unwrap();
        Self {
            stub,
            host: Host::Spin(Box::new(app), state),
            rings: 1,
        }
    }

    /// The same issuer, and a host that starts now.
    pub(crate) async fn restarted(self, settings: &[(&str, &str)]) -> Self {
        let Self { stub, host, .. } = self;
        match host {
            Host::Envoy(envoy) => {
                envoy.stop().await.unwrap();
                Self::envoy_of(stub, settings).await
            }
            Host::Component(running) => {
                drop(running);
                Self::component_of(stub, settings).await
            }
            Host::Spin(app, _) => {
                drop(app);
                Self::spin_of(stub, settings).await
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.host {
            Host::Envoy(envoy) => envoy.address(),
            Host::Component(running) => running.address(),
            Host::Spin(app, _) => app.address(),
        }
    }

    /// How many instances of the auth check there have been, if the host tells.
    pub(crate) fn instances(&self) -> Option<u64> {
        match &self.host {
            Host::Component(running) => Some(running.stats().instances),
            Host::Envoy(_) | Host::Spin(..) => None,
        }
    }

    pub(crate) async fn get(&self, token: &str) -> Got {
        get(self.address(), token).await
    }

    /// In Envoy, enough requests that every worker gets one. All get the same.
    pub(crate) async fn get_everywhere(&self, token: &str) -> Got {
        let first = self.get(token).await;
        for _ in 0..3 {
            assert_eq!(self.get(token).await, first);
        }
        first
    }

    /// Nothing has failed that must not.
    pub(crate) async fn finish(self) {
        match self.host {
            Host::Envoy(envoy) => {
                assert_eq!(envoy.vms().await.unwrap(), envoy.vms_at_start());
                envoy.stop().await.unwrap();
            }
            Host::Component(running) => assert_eq!(running.stats().traps, 0),
            Host::Spin(app, _) => assert!(!app.log().contains("wasm trap"), "{}", app.log()),
        }
    }
}

pub(crate) async fn get(to: SocketAddr, token: &str) -> Got {
    let request = wire::get("/data", format!("Bearer {token}"));
    let reply = wire::exchange(to, &request).await.unwrap();
    let reason = if reply.status == 200 {
        String::new()
    } else {
        reply.reason()
    };
    (reply.status, reason)
}

fn all_settings(
    stub: &VerifyStub,
    settings: &[(&str, &str)],
) -> std::collections::BTreeMap<String, String> {
    let mut all = stub.resource_settings();
    let client = stub.client("service-b");
    let urls = stub.urls(verify_stub::Provider::New);
    let base = [
        ("strategy", "jwt"),
        ("jwks_url", urls.jwks.as_str()),
        ("expected_issuer", stub.issuer()),
        ("expected_aud", "service-b"),
        ("timeout", "2"),
    ];
    for (key, value) in base.iter().chain(settings) {
        let value = value
            .replace("{issuer}", stub.issuer())
            .replace("{other issuer}", &stub.urls(Provider::Old).issuer)
            .replace("{client_id}", &client.id)
            .replace("{client_secret}", &client.secret);
        all.insert((*key).to_owned(), value);
    }
    all
}

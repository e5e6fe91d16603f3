//! An issuer, an app and an Envoy between them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use envoy_runner::{Envoy, EnvoyOptions};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use verify_stub::{StubOptions, VerifyStub};

/// Leaves a test that the user called to skip.
macro_rules! skip_without_envoy {
    () => {
        if envoy_runner::is_skipped() {
            eprintln!("skipped: SKIP_ENVOY=1");
            return;
        }
    };
}
pub(crate) use skip_without_envoy;

pub(crate) struct Fixture {
    pub(crate) stub: VerifyStub,
    pub(crate) app: App,
    pub(crate) envoy: Envoy,
}

impl Fixture {
    /// With the shipped configuration, the stub as issuer and these settings on top.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, |_, _| {}).await
    }

    /// Everything that is not `whoami_path` goes to the app.
    pub(crate) async fn start_with_app(settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, |options, _| options.plugin_json = Some(json!({}))).await
    }

    pub(crate) async fn start_with(
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut EnvoyOptions, &VerifyStub),
    ) -> Self {
        let stub = VerifyStub::start(StubOptions::default()).await.unwrap();
        let app = App::start().await;
        let mut options = EnvoyOptions {
            settings: exports(&stub, settings),
            upstream: app.address,
            ..EnvoyOptions::default()
        };
        change(&mut options, &stub);
        let envoy = Envoy::start(options).await.unwrap();
        Self { stub, app, envoy }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.envoy.address()
    }

    /// Registers a token that is active.
    pub(crate) fn active(&self, token: &str) {
        self.stub.register(token, &active());
    }

    /// One counter of the filter, by reason of a decision.
    pub(crate) async fn decisions(&self, reason: &str) -> u64 {
        let stats = self.envoy.settled_stats().await.unwrap();
        stats[&format!("wasmcustom.trust_triangle_decisions.reason.{reason}")]
    }

    /// No VM has failed, nothing has panicked, and Envoy ends well.
    pub(crate) async fn finish(self) {
        let vms = self.envoy.vms().await.unwrap();
        assert_eq!(vms, self.envoy.vms_at_start());
        self.finish_changed().await;
    }

    /// The same, after a change of the listener: Envoy tries the new configuration out in a VM of
    /// its own.
    pub(crate) async fn finish_changed(self) {
        let vms = self.envoy.vms().await.unwrap();
        assert_eq!(vms.reloaded, 0);
        let log = self.envoy.log();
        for bad in ["Uncaught", "panic at", "Wasm VM failed", "s3cr3t"] {
            assert!(!log.contains(bad), "{bad}: {log}");
        }
        self.envoy.stop().await.unwrap();
    }
}

/// Two workers, to which connections go in turn.
pub(crate) fn with_two_workers(options: &mut EnvoyOptions) {
    let balance = "/static_resources/listeners/service_b/connection_balance_config";
    options.concurrency = 2;
    options
        .overrides
        .push((balance.to_owned(), json!({ "exact_balance": {} })));
}

/// What the user exports.
pub(crate) fn exports(stub: &VerifyStub, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut exports = stub.resource_settings();
    exports.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    exports
}

/// What introspection says of a token that is good.
pub(crate) fn active() -> Value {
    json!({
        "active": true,
        "iss": "https://issuer.example",
        "sub": "caller",
        "client_id": "caller",
        "aud": ["caller"],
        "scope": "read",
    })
}

/// A service that says what it was sent.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// A request as the app saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: usize,
}

impl Seen {
    /// The values of every line of this name.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

impl App {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let record = Arc::clone(&record);
                let service = service_fn(move |request| answer(request, Arc::clone(&record)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, mut incoming) = request.into_parts();
    let mut body = 0;
    while let Some(frame) = incoming.frame().await {
        body += frame?.data_ref().map_or(0, Bytes::len);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    seen.lock().unwrap().push(Seen {
        path: parts.uri.to_string(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body,
    });
    Ok(Response::new(Full::from(format!("{body} bytes"))))
}

//! The server: accepts connections, finds the component, and ends in an orderly way.

use std::{
    collections::BTreeMap,
    env::{self, VarError},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime_wasi_http::{
    handler::{HandlerState as _, ProxyHandler},
    p3::bindings::http::types::ErrorCode,
};

use super::{
    allowed_hosts::AllowedHosts,
    app::{App, Inner},
    body::{WasiBody, full},
    instance::{Instances, Lifetimes},
    key_value::{KeyValueStore, Store},
    manifest::{Manifest, RESERVED_PREFIX},
    outbound::{Outbound, client},
    output::{LogLine, Logs},
    request::{NotUtf8, Unaddressed, address, prepare, strip},
    runtime_config::RuntimeConfig,
    stats::{Counters, Stats},
    tls::ClientTls,
    variables::{ComponentVariables, Resolver},
};

/// How long to wait when no connection can be accepted, for lack of file descriptors for one. Spin ends then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How to serve an app. The defaults are Spin's, on a free port. Never printed: variables may be secrets.
#[derive(Clone)]
pub struct ServeOptions {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The file that says where variables come from. None is Spin's default: `SPIN_VARIABLE_NAME`.
    pub runtime_config: Option<PathBuf>,
    /// Values of application variables that win over every provider.
    pub variables: BTreeMap<String, String>,
    /// What is read in place of this process's environment.
    pub environment: Option<BTreeMap<String, String>>,
    /// Requests an instance serves before it is replaced.
    pub max_instance_reuse_count: usize,
    /// Requests an instance serves at the same time.
    pub max_instance_concurrent_reuse_count: usize,
    /// How long a component may take to answer.
    pub request_timeout: Option<Duration>,
    /// How long an instance without requests is kept.
    pub idle_instance_timeout: Duration,
    /// How long a component may compute without waiting for anything before it is stopped.
    pub busy_limit: Duration,
    /// How long [`Running::shutdown`] waits for requests that are under way.
    pub shutdown_limit: Duration,
}

impl ServeOptions {
    /// Spin's default for [`ServeOptions::max_instance_reuse_count`].
    pub const DEFAULT_REUSE: usize = 128;
    /// Spin's default for [`ServeOptions::max_instance_concurrent_reuse_count`].
    pub const DEFAULT_CONCURRENT_REUSE: usize = 16;
    /// Spin's default for [`ServeOptions::idle_instance_timeout`].
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(1);
    /// Spin has none; a component that loops would hold its thread for ever.
    pub const DEFAULT_BUSY_LIMIT: Duration = Duration::from_secs(5);
    /// Longer than most requests, shorter than the patience of whoever pressed Ctrl-C.
    pub const DEFAULT_SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

    /// Finds the value of every variable and makes every store, or says which one cannot be had.
    pub(crate) fn configuration(&self, manifest: &Manifest) -> Result<Configuration> {
        let config = match &self.runtime_config {
            Some(path) => RuntimeConfig::read(path)?,
            None => RuntimeConfig::default(),
        };
        let resolver = Resolver::new(manifest, &config, &self.variables, |name| self.lookup(name))?;
        let stores = config.stores()?;
        let tls = config.client_tls()?;
        for (id, component) in manifest.components() {
            for label in &component.key_value_stores {
                ensure!(
                    stores.contains_key(label),
                    "{}: [component.{id}] key_value_stores names {label:?}, which the runtime configuration lacks: \
                     add [key_value_store.{label}] with type = \"spin\" there",
                    manifest.path().display()
                );
            }
        }
        Ok(Configuration {
            resolver,
            stores,
            tls,
        })
    }

    fn lookup(&self, name: &str) -> Result<Option<String>> {
        if let Some(environment) = &self.environment {
            return Ok(environment.get(name).cloned());
        }
        match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => bail!("the environment variable {name} is not UTF-8"),
        }
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            runtime_config: None,
            variables: BTreeMap::new(),
            environment: None,
            max_instance_reuse_count: Self::DEFAULT_REUSE,
            max_instance_concurrent_reuse_count: Self::DEFAULT_CONCURRENT_REUSE,
            request_timeout: None,
            idle_instance_timeout: Self::DEFAULT_IDLE_TIMEOUT,
            busy_limit: Self::DEFAULT_BUSY_LIMIT,
            shutdown_limit: Self::DEFAULT_SHUTDOWN_LIMIT,
        }
    }
}

/// What an app gets from outside for one run.
pub(crate) struct Configuration {
    pub(crate) resolver: Resolver,
    stores: BTreeMap<String, Store>,
    tls: ClientTls,
}

/// An app that is being served. Dropping it ends everything at once; [`Running::shutdown`] lets requests finish.
pub struct Running {
    address: SocketAddr,
    server: Arc<Server>,
    connections: TaskTracker,
    accepting: JoinHandle<()>,
    shutdown_limit: Duration,
}

struct Server {
    app: Arc<Inner>,
    /// One per unit of the app.
    handlers: Vec<ProxyHandler<Instances>>,
    stores: BTreeMap<String, Store>,
    counters: Arc<Counters>,
    logs: Arc<Logs>,
    /// No new connections and no new requests.
    stop: CancellationToken,
    /// Nothing goes on.
    end: CancellationToken,
    instances: TaskTracker,
}

impl App {
    /// Resolves variables and grants, and begins to listen.
    pub async fn serve(&self, options: ServeOptions) -> Result<Running> {
        let server = Arc::new(Server::new(Arc::clone(self.inner()), &options)?);
        let listener = TcpListener::bind(options.listen).await.with_context(|| {
            format!(
                "cannot listen on {}: end what uses the port, or choose another with --listen",
                options.listen
            )
        })?;
        let address = listener.local_addr()?;
        let connections = TaskTracker::new();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&server), connections.clone()));
        Ok(Running {
            address,
            server,
            connections,
            accepting,
            shutdown_limit: options.shutdown_limit,
        })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.server.counters.read()
    }

    /// The key-value store of this label, if this host keeps it: what guests have put there, to be read, changed and
    /// broken by tests.
    pub fn key_value_store(&self, label: &str) -> Option<KeyValueStore> {
        match self.server.stores.get(label)? {
            Store::Memory(store) => Some(store.clone()),
            Store::Redis(_) => None,
        }
    }

    /// From now on nothing that guests print is taken, as by a full disk.
    pub fn fill_logs(&self) {
        self.server.logs.fill();
    }

    /// What guests printed, oldest first.
    pub fn logs(&self) -> Vec<LogLine> {
        self.server.logs.lines()
    }

    /// How long it takes to make an instance of each of the app's components, which are then thrown away.
    ///
    /// # Errors
    /// One cannot be made.
    pub async fn instantiate(&self) -> Result<Duration> {
        let mut took = Duration::ZERO;
        for handler in &self.server.handlers {
            let start = Instant::now();
            let instance = handler.state().instantiate().await;
            took += start.elapsed();
            instance.map_err(anyhow::Error::from)?;
        }
        Ok(took)
    }

    /// Stops accepting, waits a limited time for requests that are under way, then ends everything.
    ///
    /// Returns how many connections had to be cut.
    pub async fn shutdown(self) -> usize {
        self.server.stop.cancel();
        self.connections.close();
        let cut = match timeout(self.shutdown_limit, self.connections.wait()).await {
            Ok(()) => 0,
            Err(_) => self.connections.len(),
        };
        self.server.end.cancel();
        self.connections.wait().await;
        // An instance that is dropped with the runtime instead counts as one that panicked.
        self.server.instances.close();
        let ended = timeout(self.shutdown_limit, self.server.instances.wait()).await;
        if ended.is_err() {
            tracing::warn!("instances did not end in {:?}", self.shutdown_limit);
        }
        cut
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.stop.cancel();
        self.server.end.cancel();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>, connections: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = server.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let server = Arc::clone(&server);
                connections.spawn(async move { server.converse(stream, client).await });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Server {
    fn new(app: Arc<Inner>, options: &ServeOptions) -> Result<Self> {
        let manifest = &app.manifest;
        let Configuration {
            resolver,
            stores,
            tls,
        } = options.configuration(manifest)?;
        let counters = Arc::<Counters>::default();
        let logs = Arc::<Logs>::default();
        let end = CancellationToken::new();
        let instances = TaskTracker::new();
        let client = client();
        let lifetimes = Lifetimes {
            reuse: options.max_instance_reuse_count,
            concurrent_reuse: options.max_instance_concurrent_reuse_count,
            request_timeout: options.request_timeout,
            idle_timeout: options.idle_instance_timeout,
            busy_limit: options.busy_limit,
        };
        let mut handlers = Vec::new();
        for unit in &app.units {
            let id = &unit.component;
            let place = || format!("{}: [component.{id}]", manifest.path().display());
            let variables = ComponentVariables::new(manifest, id, &resolver).with_context(place)?;
            let component = manifest.component(id)?;
            let allowed = AllowedHosts::parse(&component.allowed_outbound_hosts, &resolver)
                .with_context(place)?;
            let granted = component.key_value_stores.iter();
            let granted = granted
                .filter_map(|label| Some((label.clone(), stores.get(label)?.clone())))
                .collect();
            handlers.push(ProxyHandler::new(Instances {
                engine: app.engine.clone(),
                pre: unit.pre.clone(),
                component: Arc::clone(id),
                variables: Arc::new(variables),
                stores: Arc::new(granted),
                outbound: Outbound {
                    component: Arc::clone(id),
                    allowed: Arc::new(allowed),
                    tls: tls.of_component(id),
                    client: client.clone(),
                    counters: Arc::clone(&counters),
                },
                logs: Arc::clone(&logs),
                counters: Arc::clone(&counters),
                lifetimes,
                end: end.clone(),
                alive: instances.clone(),
            }));
        }
        Ok(Self {
            app,
            handlers,
            stores,
            counters,
            logs,
            stop: CancellationToken::new(),
            end,
            instances,
        })
    }

    /// Serves one connection to its end: HTTP/1.1, or HTTP/2 to a client that begins with it. No timeouts, as in Spin.
    async fn converse(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        let service = service_fn(|request| {
            let server = Arc::clone(self);
            async move { server.respond(request, client).await }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            () = self.end.cancelled() => return,
            result = connection.as_mut() => result,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    () = self.end.cancelled() => return,
                    result = connection => result,
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!("the connection of {client} ended early: {error}");
        }
    }

    /// The error makes hyper close the connection without an answer.
    async fn respond(
        &self,
        mut request: Request<Incoming>,
        client: SocketAddr,
    ) -> Result<Response<WasiBody>, Unaddressed> {
        strip(request.headers_mut());
        let path = request.uri().path();
        if let Some(reserved) = path.strip_prefix(RESERVED_PREFIX) {
            return Ok(match reserved {
                "health" => Response::new(full("OK")),
                "info" => self.info(),
                _ => empty(StatusCode::NOT_FOUND),
            });
        }
        let found = self.app.router.find(path);
        let found = found.and_then(|found| {
            let unit = self.app.unit_of_trigger.get(found.trigger)?;
            Some((self.handlers.get(*unit)?, found))
        });
        let Some((handler, found)) = found else {
            return Ok(empty(StatusCode::NOT_FOUND));
        };
        address(&mut request).inspect_err(|reason| {
            tracing::warn!("the connection of {client} is closed: {reason}");
        })?;
        let component = &handler.state().component;
        let request = match prepare(request, &found, client) {
            Ok(request) => request,
            Err(NotUtf8(name)) => {
                tracing::error!("[{component}] no response: the header {name} is not UTF-8");
                return Ok(empty(StatusCode::INTERNAL_SERVER_ERROR));
            }
        };
        Ok(match handler.handle((), request).await {
            Ok(response) => response.map(|body| body.map_err(error_code).boxed_unsync()),
            Err(error) => {
                tracing::error!("[{component}] no response: {error:#}");
                empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        })
    }

    /// What Spin tells everyone about the app.
    fn info(&self) -> Response<WasiBody> {
        #[derive(Serialize)]
        struct Info<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            version: Option<&'a str>,
        }
        let manifest = &self.app.manifest;
        let info = Info {
            name: manifest.name(),
            version: manifest.version(),
        };
        let Ok(text) = serde_json::to_string_pretty(&info) else {
            return empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let mut response = Response::new(full(text));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// What broke off a component's response.
fn error_code(error: wasmtime::Error) -> ErrorCode {
    error
        .downcast()
        .unwrap_or_else(|error| ErrorCode::InternalError(Some(error.to_string())))
}

fn empty(status: StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = status;
    response
}

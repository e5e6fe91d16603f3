//! The server: accepts connections, finds the component, and ends in an orderly way.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env::{self, VarError},
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
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
    body::{Holding, WasiBody, full},
    instance::{Admission, Instances, Lifetimes},
    key_value::KeyValueStore,
    manifest::{Manifest, RESERVED_PREFIX},
    outbound::{Outbound, client},
    output::{LogLine, Logs},
    request::prepare,
    runtime_config::RuntimeConfig,
    stats::{Counters, Stats},
    variables::{ComponentVariables, Resolver},
};

/// Connections open at once; the next ones wait to be accepted. Each holds one file descriptor and hyper's buffers. Twice
/// the requests in flight by default, so that idle connections leave room for those.
const CONNECTIONS: usize = 2 * ServeOptions::DEFAULT_REQUESTS_IN_FLIGHT;

/// How long a client may take to send the head of a request, and may keep a connection idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait when no connection can be accepted, for lack of file descriptors for one.
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
    /// Requests with a component at once; the next ones wait. Without a limit memory would have none: `ProxyHandler`
    /// queues whatever it is given.
    pub max_requests_in_flight: usize,
    /// How long a component may take to answer.
    pub request_timeout: Option<Duration>,
    /// How long an instance without requests is kept.
    pub idle_instance_timeout: Duration,
    /// How long a component may compute without waiting for anything before it is stopped.
    pub busy_limit: Duration,
    /// How long [`Running::shutdown`] waits for requests that are under way.
    pub shutdown_limit: Duration,
    /// Certificate authorities trusted for outbound calls, beside those of the platform.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl ServeOptions {
    /// Spin's default for [`ServeOptions::max_instance_reuse_count`].
    pub const DEFAULT_REUSE: usize = 128;
    /// Spin's default for [`ServeOptions::max_instance_concurrent_reuse_count`].
    pub const DEFAULT_CONCURRENT_REUSE: usize = 16;
    /// Spin has none. A thousand callers at once, and 64 instances of the pool's 512 at 16 requests each.
    pub const DEFAULT_REQUESTS_IN_FLIGHT: usize = 1024;
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
        let stores = config.stores();
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
        Ok(Configuration { resolver, stores })
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
            max_requests_in_flight: Self::DEFAULT_REQUESTS_IN_FLIGHT,
            request_timeout: None,
            idle_instance_timeout: Self::DEFAULT_IDLE_TIMEOUT,
            busy_limit: Self::DEFAULT_BUSY_LIMIT,
            shutdown_limit: Self::DEFAULT_SHUTDOWN_LIMIT,
            extra_roots: Vec::new(),
        }
    }
}

/// What an app gets from outside for one run.
pub(crate) struct Configuration {
    resolver: Resolver,
    stores: BTreeMap<String, KeyValueStore>,
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
    stores: BTreeMap<String, KeyValueStore>,
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
    logs: Arc<Logs>,
    /// No new connections and no new requests.
    stop: CancellationToken,
    /// Nothing goes on.
    end: CancellationToken,
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

    /// The key-value store of this label: what guests have put there, to be read, changed and broken by tests.
    pub fn key_value_store(&self, label: &str) -> Option<KeyValueStore> {
        self.server.stores.get(label).cloned()
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
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let accepted = async || -> io::Result<_> {
        let place = Arc::clone(&room)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, client) = listener.accept().await?;
        Ok((place, stream, client))
    };
    loop {
        let accepted = tokio::select! {
            () = server.stop.cancelled() => return,
            accepted = accepted() => accepted,
        };
        match accepted {
            Ok((place, stream, client)) => {
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    server.converse(stream, client).await;
                    drop(place);
                });
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
        let Configuration { resolver, stores } = options.configuration(manifest)?;
        let counters = Arc::<Counters>::default();
        let logs = Arc::<Logs>::default();
        let end = CancellationToken::new();
        let client = client(options.extra_roots.clone());
        let lifetimes = Lifetimes {
            reuse: options.max_instance_reuse_count,
            concurrent_reuse: options.max_instance_concurrent_reuse_count,
            request_timeout: options.request_timeout,
            idle_timeout: options.idle_instance_timeout,
            busy_limit: options.busy_limit,
        };
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
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
                pool: Arc::clone(&app.pool),
                door: Arc::new(Semaphore::new(processors)),
                pre: unit.pre.clone(),
                component: Arc::clone(id),
                variables: Arc::new(variables),
                stores: Arc::new(granted),
                outbound: Outbound {
                    component: Arc::clone(id),
                    allowed: Arc::new(allowed),
                    client: client.clone(),
                    counters: Arc::clone(&counters),
                },
                logs: Arc::clone(&logs),
                counters: Arc::clone(&counters),
                lifetimes,
                end: end.clone(),
            }));
        }
        Ok(Self {
            app,
            handlers,
            stores,
            places: Arc::new(Semaphore::new(options.max_requests_in_flight)),
            counters,
            logs,
            stop: CancellationToken::new(),
            end,
        })
    }

    /// Serves one connection to its end.
    async fn converse(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        // Best effort: without it answers are slower and no less right.
        _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let server = Arc::clone(self);
            async move { Ok::<_, Infallible>(server.respond(request, client).await) }
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
        );
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

    async fn respond(&self, request: Request<Incoming>, client: SocketAddr) -> Response<WasiBody> {
        let path = request.uri().path();
        if let Some(reserved) = path.strip_prefix(RESERVED_PREFIX) {
            return match reserved {
                "health" => plain(StatusCode::OK, "OK"),
                _ => plain(StatusCode::NOT_FOUND, ""),
            };
        }
        if request.method() == Method::CONNECT {
            return plain(StatusCode::BAD_REQUEST, "this host is no proxy\n");
        }
        let Some(found) = self.app.router.find(path) else {
            return plain(StatusCode::NOT_FOUND, "");
        };
        let handler = self
            .app
            .unit_of_trigger
            .get(found.trigger)
            .and_then(|unit| self.handlers.get(*unit));
        let Some(handler) = handler else {
            return plain(StatusCode::NOT_FOUND, "");
        };
        let request = match prepare(request, &found, client) {
            Ok(request) => request,
            Err(reason) => return plain(StatusCode::BAD_REQUEST, reason),
        };
        // Neither is ever closed, so there is always a place and a turn in the end.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "");
        };
        let Ok(turn) = Arc::clone(&handler.state().door).acquire_owned().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "");
        };
        let place = Arc::new(place);
        let admission = Admission {
            place: Arc::clone(&place),
            turn,
        };
        match handler.handle(admission, request).await {
            Ok(response) => response.map(|body| {
                let body = body.map_err(|error| {
                    error
                        .downcast()
                        .unwrap_or_else(|error| ErrorCode::InternalError(Some(error.to_string())))
                });
                Holding::new(body.boxed_unsync(), place).boxed_unsync()
            }),
            Err(error) => {
                tracing::error!("[{}] no response: {error:#}", handler.state().component);
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the component failed\n")
            }
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    if !text.is_empty() {
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
    }
    response
}

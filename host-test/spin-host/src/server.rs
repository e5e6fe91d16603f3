//! The server: accepts connections and passes each request to the component of its route.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime_wasi_http::{handler::ProxyHandler, p3::bindings::http::types::ErrorCode};

use super::{
    allowed_hosts::AllowedHosts,
    app::Inner,
    body::{WasiBody, full},
    connections::{Connections, FollowedBody, Place, default_limit},
    instance::{Instances, Lifetimes},
    key_value::Store,
    manifest::{Manifest, RESERVED_PREFIX},
    options::{Configuration, ServeOptions},
    outbound::{Outbound, client},
    output::Logs,
    request::{NotUtf8, Unaddressed, address, prepare, strip},
    stats::Counters,
    variables::ComponentVariables,
};

/// How long to wait before accepting again when no connection can be accepted, for example because
/// no file descriptor is free. Spin exits then.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How long a caller may take for the first request of a connection to begin, and for the head of
/// each HTTP/1.1 request, from the end of the response before it. Longer than callers keep idle
/// connections in their pools, so that they close them first, and as long as in other servers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the caller of an HTTP/2 connection has to show that it is there, by answering a PING:
/// such a connection may be idle for longer.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// How long the answer to a PING may take. Far longer than any network.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The app with everything its connections share.
pub(crate) struct Server {
    app: Arc<Inner>,
    /// One for each unit of the app.
    pub(crate) handlers: Vec<ProxyHandler<Instances>>,
    pub(crate) stores: BTreeMap<String, Store>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) logs: Arc<Logs>,
    open: Arc<Connections>,
    /// Cancelled when no new connections and requests are accepted.
    pub(crate) stop: CancellationToken,
    /// Cancelled when everything still open is closed.
    pub(crate) end: CancellationToken,
    pub(crate) instances: TaskTracker,
}

/// Accepts connections until the server stops.
pub(crate) async fn accept_connections(
    listener: TcpListener,
    server: Arc<Server>,
    connections: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = server.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let place = tokio::select! {
                    () = server.stop.cancelled() => return,
                    place = server.open.place() => place,
                };
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    server.serve_connection(stream, client, place).await;
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                // Something else in this process may have taken the file descriptors.
                server.open.close_longest_idle();
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

impl Server {
    pub(crate) fn new(app: Arc<Inner>, options: &ServeOptions) -> Result<Self> {
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
            let context = || format!("{}: [component.{id}]", manifest.path().display());
            let variables =
                ComponentVariables::new(manifest, id, &resolver).with_context(context)?;
            let component = manifest.component(id)?;
            let allowed = AllowedHosts::parse(&component.allowed_outbound_hosts, &resolver)
                .with_context(context)?;
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
                    tls: tls.for_component(id),
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
            open: Connections::new(options.max_connections.unwrap_or_else(default_limit)),
            stop: CancellationToken::new(),
            end,
            instances,
        })
    }

    /// Serves one connection until it closes: HTTP/1.1, or HTTP/2 with prior knowledge. A caller
    /// that sends no request is closed in the end, and earlier if its place is needed. Without
    /// timeouts for requests and responses, as in Spin.
    async fn serve_connection(
        self: &Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
        place: Place,
    ) {
        let service = service_fn(|request| {
            let (server, turn) = (Arc::clone(self), place.request());
            async move {
                let response = server.respond(request, client).await?;
                let response: Response<FollowedBody> = response.map(|body| turn.follow(body));
                Ok::<_, Unaddressed>(response)
            }
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        server
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        // hyper's timeout begins when it knows the version, with the first bytes.
        let silent = async {
            sleep(HEAD_TIMEOUT).await;
            if place.used() {
                std::future::pending::<()>().await;
            }
        };
        let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            () = self.end.cancelled() => return,
            () = place.needed() => {
                tracing::debug!("the connection of {client}, which waited for its caller, is closed for another");
                return;
            }
            () = silent => return,
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

    /// On an error hyper closes the connection without a response.
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
                "info" => app_info(&self.app.manifest),
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
}

/// The response of Spin's `/.well-known/spin/info`.
fn app_info(manifest: &Manifest) -> Response<WasiBody> {
    #[derive(Serialize)]
    struct Info<'a> {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<&'a str>,
    }
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

/// The error that ended a component's response early.
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

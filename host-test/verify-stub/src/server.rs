//! Serves connections and requests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST},
    uri::Authority,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    body::{Abort, StubBody, cut, drip, full, huge},
    control,
    endpoints::{is_form, respond},
    reaction::{ReactionKind, StubResponse},
    record::{Endpoint, RecordedRequest},
    state::State,
    tls::HTTP2,
    urls::route,
    wire::{ConnectionEnd, Stream, Wire},
};

/// The largest body that is read, in bytes: enough for any token.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long a caller may take for a TLS handshake, for the head of a request, and between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait if no connection can be accepted, for example for lack of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The response to a caller that does not offer HTTP/2 if the stub accepts nothing else.
const NOT_HTTP2: &[u8] = b"HTTP/1.0 403 Forbidden\r\ncontent-type: text/plain\r\n\r\nUnknown ALPN Protocol, expected `h2` to be available";

/// Accepts connections until `stop` is cancelled.
pub(super) struct Server {
    pub(super) state: Arc<State>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) http2_only: bool,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Server {
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn(async move {
                        let _open = server.state.counts.connection();
                        tokio::select! {
                            () = server.stop.cancelled() => {}
                            () = server.serve_connection(stream) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    async fn serve_connection(self: &Arc<Self>, stream: TcpStream) {
        // Best effort: without it responses are only slower.
        _ = stream.set_nodelay(true);
        let (mut server_name, mut is_http2) = (None, false);
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(acceptor) => match timeout(IDLE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(mut stream)) => {
                    let (_, session) = stream.get_ref();
                    server_name = session.server_name().map(str::to_owned);
                    is_http2 = session.alpn_protocol() == Some(HTTP2);
                    if self.http2_only && !is_http2 {
                        // Ignored: the caller may have closed the connection.
                        _ = stream.write_all(NOT_HTTP2).await;
                        _ = stream.shutdown().await;
                        return;
                    }
                    Stream::Tls(Box::new(stream))
                }
                Ok(Err(error)) => return tracing::debug!("no TLS: {error}"),
                Err(_) => return,
            },
        };
        let end = Arc::new(ConnectionEnd::default());
        let wire = TokioIo::new(Wire::new(stream, Arc::clone(&end)));
        let server = Arc::clone(self);
        let service = service_fn(move |request| {
            let (server, end) = (Arc::clone(&server), Arc::clone(&end));
            let server_name = server_name.clone();
            async move { server.handle(request, server_name, &end).await }
        });
        let served = if is_http2 {
            http2::Builder::new(Streams(Arc::clone(self)))
                .timer(TokioTimer::new())
                .serve_connection(wire, service)
                .await
        } else {
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE_TIMEOUT)
                .serve_connection(wire, service)
                .await
        };
        if let Err(error) = served {
            tracing::debug!("a connection ended early: {error}");
        }
    }

    /// Records the request and does what its script says.
    async fn handle(
        &self,
        request: Request<Incoming>,
        server_name: Option<String>,
        end: &ConnectionEnd,
    ) -> Result<Response<StubBody>, Abort> {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let (endpoint, provider) = route(head.uri.path());
        let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
            // Too large, or the caller has closed the connection.
            let response = StubResponse::new(StatusCode::PAYLOAD_TOO_LARGE);
            return Ok(complete(&response).map(full));
        };
        let body = body.to_bytes();
        let mut form = Vec::new();
        if is_form(&head.headers) {
            form.extend(form_urlencoded::parse(&body).into_owned());
        }
        if self.state.control
            && let Some(command) = head.uri.path().strip_prefix(control::PREFIX)
        {
            let response = control::respond(&self.state, &head.method, command, &form);
            return Ok(complete(&response).map(full));
        }
        self.state.counts.count_call(endpoint);
        let request = RecordedRequest {
            endpoint,
            method: head.method,
            path_and_query: head.uri.path_and_query().map_or_else(
                || head.uri.to_string(),
                |path_and_query| path_and_query.as_str().to_owned(),
            ),
            headers: with_host(head.headers, head.uri.authority()),
            server_name,
            body,
            form,
        };
        let token = request.parameter("token").map(str::to_owned);
        let introspected = token
            .as_deref()
            .filter(|_| endpoint == Endpoint::Introspect);
        if let Some(token) = introspected {
            self.state.count_introspection(token);
        }
        let reaction = self.state.reaction(endpoint, introspected);
        let name = reaction.kind.name();
        self.state.record(request.clone());
        if !reaction.delay.is_zero() {
            sleep(reaction.delay).await;
        }
        if let Some(released) = reaction.hold {
            released.cancelled().await;
        }

        let mut note = "";
        let mut client = None;
        let mut normal = || {
            let outcome = respond(&self.state, provider, &request);
            note = outcome.note;
            client = outcome.client;
            outcome.response
        };
        let response = match reaction.kind {
            ReactionKind::Normal => Ok(complete(&normal()).map(full)),
            ReactionKind::Respond(response) => Ok(complete(&response).map(full)),
            ReactionKind::Drop => Err(Abort),
            ReactionKind::Reset => {
                end.reset();
                Err(Abort)
            }
            ReactionKind::Hang => {
                tracing::info!("{endpoint} hangs, as scripted");
                std::future::pending().await
            }
            ReactionKind::Cut { response, after } => {
                let response = response.unwrap_or_else(normal);
                Ok(complete(&response).map(|body| cut(body, after)))
            }
            ReactionKind::Drip { response, every } => {
                let response = response.unwrap_or_else(normal);
                Ok(complete(&response).map(|body| drip(body, every)))
            }
            ReactionKind::Huge { bytes } => {
                let mut response = Response::new(huge(bytes));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                Ok(response)
            }
            ReactionKind::Raw { bytes, every } => {
                end.send(bytes, every);
                let mut response = Response::new(full(Bytes::new()));
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
                Ok(response)
            }
        };
        if tracing::enabled!(tracing::Level::INFO) {
            let status = match &response {
                Ok(response) => response.status().as_u16().to_string(),
                Err(Abort) => "---".to_owned(),
            };
            let mut line = format!("{endpoint:<10} {status}");
            if name != "normal" {
                line.push_str(&format!(" scripted: {name}"));
            }
            if !note.is_empty() {
                line.push_str(&format!(" {note}"));
            }
            if let Some(client) = client {
                line.push_str(&format!(", client {client}"));
            }
            if let Some(token) = token {
                line.push_str(&format!(", token #{}", self.state.fingerprint(&token)));
            }
            let took = began.elapsed().as_secs_f64() * 1000.0;
            tracing::info!("{line}, {took:.1} ms");
        }
        response
    }
}

/// Adds `host`, which HTTP/2 sends as `:authority`.
fn with_host(mut headers: HeaderMap, authority: Option<&Authority>) -> HeaderMap {
    if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        headers.entry(HOST).or_insert(host);
    }
    headers
}

/// Runs the streams of an HTTP/2 connection. They stop with the stub.
#[derive(Clone)]
struct Streams(Arc<Server>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = stream => {}
            }
        });
    }
}

/// Head and body of a response. The head promises the whole length.
fn complete(scripted: &StubResponse) -> Response<Bytes> {
    let mut response = Response::new(scripted.body.clone());
    *response.status_mut() = scripted.status;
    for (name, value) in &scripted.headers {
        response.headers_mut().append(name, value.clone());
    }
    let headers = response.headers_mut();
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, scripted.body.len().into());
    }
    response
}

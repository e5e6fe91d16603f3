//! The server: connections, and what becomes of each request.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
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
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    body::{Abort, StubBody, cut, drip, full, huge},
    clients::StubClient,
    control,
    endpoints::{answer, is_form},
    reaction::{Reaction, ReactionKind, StubAnswer},
    record::{Counters, Endpoint, RecordedRequest},
    state::{State, lock},
    tls::{HTTP2, StubCertificate, StubTls},
    tokens::TokenSpec,
    urls::{Provider, Urls, base, route},
    wire::{Fate, Stream, Wire},
};

/// Connections that may wait to be accepted; the kernel has its own limit below that.
const BACKLOG: u32 = 4096;

/// Largest body read, in bytes: room for any token, and no more.
const BODY_LIMIT: usize = 256 * 1024;

/// How long a caller may take for a TLS handshake, for the head of a request, and between requests.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait when no connection can be accepted, for lack of file descriptors for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// To a caller that does not ask for HTTP/2, where the stub speaks nothing else.
const NOT_HTTP2: &[u8] = b"HTTP/1.0 403 Forbidden\r\ncontent-type: text/plain\r\n\r\nUnknown ALPN Protocol, expected `h2` to be available";

/// How to run a stub.
#[derive(Clone, Debug)]
pub struct StubOptions {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The host name in the stub's URLs. None: the address.
    pub host: Option<String>,
    /// The clients that it knows.
    pub clients: Vec<StubClient>,
    /// A client is told of its own tokens only; any other is inactive to it.
    pub only_own_tokens: bool,
    /// How long a token is active.
    pub token_lifetime: Duration,
    /// `https` with a certificate of the stub's own. None: `http`.
    pub tls: Option<StubTls>,
    /// Serves `/_stub/`, where anybody can script the stub.
    pub control: bool,
}

impl StubOptions {
    /// How long IBM Verify's tokens are active.
    pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(7199);
}

impl Default for StubOptions {
    /// On a free port, with the clients `service-a` and `service-b`.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: None,
            clients: ["service-a", "service-b"].map(StubClient::new).into(),
            only_own_tokens: false,
            token_lifetime: Self::DEFAULT_TOKEN_LIFETIME,
            tls: None,
            control: false,
        }
    }
}

/// A stub that is running. Dropping it ends everything at once, the connections too.
pub struct VerifyStub {
    state: Arc<State>,
    address: SocketAddr,
    tls: Option<(TlsAcceptor, StubCertificate)>,
    http2_only: bool,
    /// Bound but never listening: keeps a port that was free for us while we are down.
    reserved: Option<TcpSocket>,
    up: Mutex<Option<Up>>,
}

/// What ends when the stub goes down.
struct Up {
    end: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Up {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl VerifyStub {
    /// Begins to listen.
    pub async fn start(options: StubOptions) -> Result<Self> {
        let any_port = options.listen.port() == 0;
        let listener = listen(options.listen, any_port)?;
        let address = listener.local_addr()?;
        let reserved = any_port
            .then(|| bind(address, true))
            .transpose()
            .context("cannot reserve the stub's port")?;
        let tls = options
            .tls
            .as_ref()
            .map(|tls| -> Result<_> {
                let (config, certificate) = tls.generate()?;
                Ok((TlsAcceptor::from(config), certificate))
            })
            .transpose()
            .context("cannot make a certificate for the stub")?;
        let http2_only = options.tls.as_ref().is_some_and(|tls| tls.http2_only);
        let stub = Self {
            state: Arc::new(State::new(
                options.clients,
                options.only_own_tokens,
                options.token_lifetime,
                options.control,
                &base(tls.is_some(), options.host.as_deref(), address),
            )),
            address,
            tls,
            http2_only,
            reserved,
            up: Mutex::new(None),
        };
        stub.accept(listener);
        Ok(stub)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URLs of one of the two families.
    pub fn urls(&self, provider: Provider) -> &Urls {
        self.state.urls(provider)
    }

    /// The issuer: what `iss` says, and what Service A is given.
    pub fn issuer(&self) -> &str {
        &self.urls(Provider::New).issuer
    }

    /// The token endpoint.
    pub fn token_url(&self) -> &str {
        &self.urls(Provider::New).token
    }

    /// The introspection endpoint.
    pub fn introspect_url(&self) -> &str {
        &self.urls(Provider::New).introspect
    }

    /// The revocation endpoint.
    pub fn revoke_url(&self) -> &str {
        &self.urls(Provider::New).revoke
    }

    /// The authority that callers have to trust, if the stub speaks TLS.
    pub fn certificate(&self) -> Option<&StubCertificate> {
        self.tls.as_ref().map(|(_, certificate)| certificate)
    }

    /// The client of this name or id.
    ///
    /// # Panics
    ///
    /// If there is none: a test that asks for it is wrong.
    #[expect(
        clippy::panic,
        reason = "a test that asks for a client it did not make is wrong"
    )]
    pub fn client(&self, name_or_id: &str) -> &StubClient {
        match self.state.client(name_or_id) {
            Ok(client) => client,
            Err(error) => panic!("{error}"),
        }
    }

    /// What Service B exports to ask this issuer as its client `service-b`: keys as in the README, in lower case.
    ///
    /// # Panics
    ///
    /// If the stub was started without that client.
    pub fn resource_settings(&self) -> BTreeMap<String, String> {
        let us = self.client("service-b");
        [
            ("introspect_url", self.introspect_url()),
            ("resource_client_id", us.id.as_str()),
            ("resource_client_secret", us.secret.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// Makes a token, as the token endpoint does.
    ///
    /// # Panics
    ///
    /// If `spec` names a client that there is not.
    #[expect(
        clippy::panic,
        reason = "a test that names a client it did not make is wrong"
    )]
    pub fn issue(&self, spec: TokenSpec) -> String {
        match self.state.issue(spec) {
            Ok((token, _)) => token,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes any text an active token that introspection says this about.
    pub fn register(&self, token: &str, document: &Value) {
        self.state.register(token, document.to_string().into());
    }

    /// Makes any text a token that introspection answers with these bytes, whether they are JSON or not.
    pub fn register_bytes(&self, token: &str, document: impl Into<Bytes>) {
        self.state.register(token, document.into());
    }

    /// Makes a token inactive.
    pub fn revoke(&self, token: &str) {
        self.state.revoke(token, None);
    }

    /// What is done with questions about this token, one reaction per question; the last one repeats. None: as usual.
    pub fn script(&self, token: &str, reactions: Vec<Reaction>) {
        self.state.script(token, reactions);
    }

    /// What is done with calls of this endpoint, one reaction per call; the last one repeats. None: as usual.
    ///
    /// A token's own script wins.
    pub fn script_endpoint(&self, endpoint: Endpoint, reactions: Vec<Reaction>) {
        self.state.script_endpoint(endpoint, reactions);
    }

    /// Everything as usual again. Calls that are under way end as they began.
    pub fn clear_scripts(&self) {
        self.state.clear_scripts();
    }

    /// How often it was called.
    pub fn counters(&self) -> Counters {
        self.state.counts.read()
    }

    /// How often introspection was asked about this token, whatever came of it. Counted when the question arrives.
    pub fn questions_about(&self, token: &str) -> u64 {
        self.state.questions_about(token)
    }

    /// The last requests, oldest first; a few hundred are kept.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.requests()
    }

    /// Stops listening and cuts every connection; callers meet a closed port. Tokens, scripts and counts stay.
    pub async fn down(&self) {
        let up = lock(&self.up).take();
        if let Some(up) = up {
            up.end.cancel();
            up.tasks.wait().await;
        }
    }

    /// Listens again, where it listened before.
    pub async fn up(&self) -> Result<()> {
        if lock(&self.up).is_none() {
            self.accept(listen(self.address, self.reserved.is_some())?);
        }
        Ok(())
    }

    fn accept(&self, listener: TcpListener) {
        let end = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.close();
        let server = Arc::new(Server {
            state: Arc::clone(&self.state),
            tls: self.tls.as_ref().map(|(acceptor, _)| acceptor.clone()),
            http2_only: self.http2_only,
            end: end.clone(),
            tasks: tasks.clone(),
        });
        tasks.spawn(server.accept(listener));
        *lock(&self.up) = Some(Up { end, tasks });
    }
}

/// `shared`: another socket of ours may have the same port.
fn bind(address: SocketAddr, shared: bool) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Not both: with SO_REUSEADDR the reserved port could be had by anybody.
    #[cfg(unix)]
    if shared {
        socket.set_reuseport(true)?;
    } else {
        socket.set_reuseaddr(true)?;
    }
    #[cfg(not(unix))]
    let _ = shared;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr, shared: bool) -> Result<TcpListener> {
    bind(address, shared)
        .and_then(|socket| socket.listen(BACKLOG))
        .with_context(|| {
            format!(
                "cannot listen on {address}: end what uses the port, or choose another with --listen"
            )
        })
}

struct Server {
    state: Arc<State>,
    tls: Option<TlsAcceptor>,
    http2_only: bool,
    end: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.end.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn(async move {
                        let _open = server.state.counts.connection();
                        tokio::select! {
                            () = server.end.cancelled() => {}
                            () = server.converse(stream) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn converse(self: &Arc<Self>, stream: TcpStream) {
        // Best effort: without it answers are slower and no less right.
        _ = stream.set_nodelay(true);
        let (mut server_name, mut is_http2) = (None, false);
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(acceptor) => match timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(mut stream)) => {
                    let (_, session) = stream.get_ref();
                    server_name = session.server_name().map(str::to_owned);
                    is_http2 = session.alpn_protocol() == Some(HTTP2);
                    if self.http2_only && !is_http2 {
                        // The caller may have gone.
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
        let fate = Arc::new(Fate::default());
        let wire = TokioIo::new(Wire::new(stream, Arc::clone(&fate)));
        let server = Arc::clone(self);
        let service = service_fn(move |request| {
            let (server, fate) = (Arc::clone(&server), Arc::clone(&fate));
            let server_name = server_name.clone();
            async move { server.respond(request, server_name, &fate).await }
        });
        let ended = if is_http2 {
            http2::Builder::new(Streams(Arc::clone(self)))
                .timer(TokioTimer::new())
                .serve_connection(wire, service)
                .await
        } else {
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(wire, service)
                .await
        };
        if let Err(error) = ended {
            tracing::debug!("a connection ended early: {error}");
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        server_name: Option<String>,
        fate: &Fate,
    ) -> Result<Response<StubBody>, Abort> {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let (endpoint, provider) = route(head.uri.path());
        let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
            // Too large, or the caller has gone.
            let answer = StubAnswer::new(StatusCode::PAYLOAD_TOO_LARGE);
            return Ok(whole(&answer).map(full));
        };
        let body = body.to_bytes();
        let mut form = Vec::new();
        if is_form(&head.headers) {
            form.extend(form_urlencoded::parse(&body).into_owned());
        }
        if self.state.control
            && let Some(command) = head.uri.path().strip_prefix(control::PREFIX)
        {
            let answer = control::answer(&self.state, &head.method, command, &form);
            return Ok(whole(&answer).map(full));
        }
        self.state.counts.call(endpoint);
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
        let questioned = token
            .as_deref()
            .filter(|_| endpoint == Endpoint::Introspect);
        if let Some(token) = questioned {
            self.state.count_question(token);
        }
        let reaction = self.state.reaction(endpoint, questioned);
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
            let outcome = answer(&self.state, provider, &request);
            note = outcome.note;
            client = outcome.client;
            outcome.answer
        };
        let response = match reaction.kind {
            ReactionKind::Normal => Ok(whole(&normal()).map(full)),
            ReactionKind::Answer(answer) => Ok(whole(&answer).map(full)),
            ReactionKind::Drop => Err(Abort),
            ReactionKind::Reset => {
                fate.reset();
                Err(Abort)
            }
            ReactionKind::Hang => {
                tracing::info!("{endpoint} hangs, as scripted");
                std::future::pending().await
            }
            ReactionKind::Cut { answer, after } => {
                let answer = answer.unwrap_or_else(normal);
                Ok(whole(&answer).map(|body| cut(body, after)))
            }
            ReactionKind::Drip { answer, every } => {
                let answer = answer.unwrap_or_else(normal);
                Ok(whole(&answer).map(|body| drip(body, every)))
            }
            ReactionKind::Huge { bytes } => {
                let mut response = Response::new(huge(bytes));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                Ok(response)
            }
            ReactionKind::Raw { bytes, every } => {
                fate.send(bytes, every);
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

/// HTTP/2 has the host in `:authority`.
fn with_host(mut headers: HeaderMap, authority: Option<&Authority>) -> HeaderMap {
    if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        headers.entry(HOST).or_insert(host);
    }
    headers
}

/// Where the streams of an HTTP/2 connection run. They end with the stub.
#[derive(Clone)]
struct Streams(Arc<Server>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let end = self.0.end.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = stream => {}
            }
        });
    }
}

/// Head and body of an answer, its whole length promised.
fn whole(answer: &StubAnswer) -> Response<Bytes> {
    let mut response = Response::new(answer.body.clone());
    *response.status_mut() = answer.status;
    for (name, value) in &answer.headers {
        response.headers_mut().append(name, value.clone());
    }
    let headers = response.headers_mut();
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, answer.body.len().into());
    }
    response
}

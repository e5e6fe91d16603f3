//! The stub as tests use it: options, URLs, tokens, scripts and counters.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clients::StubClient,
    counters::Counters,
    dpop::new_nonce,
    endpoints::respond,
    jwt::{SigningAlgorithm, TokenFormat, unusable_keys},
    reaction::{Reaction, StubResponse},
    record::{Endpoint, RecordedRequest},
    server::Server,
    state::State,
    tables::lock,
    tls::{StubCertificate, StubTls},
    tokens::TokenSpec,
    urls::{Provider, Urls, base},
};

/// Connections that may wait to be accepted; the kernel has a lower limit of its own.
const BACKLOG: u32 = 4096;

/// How to run a stub.
#[derive(Clone, Debug)]
pub struct StubOptions {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The host name in the stub's URLs. `None`: the address.
    pub host: Option<String>,
    /// The registered clients.
    pub clients: Vec<StubClient>,
    /// Introspection reports the tokens of other clients as inactive.
    pub only_own_tokens: bool,
    /// The lifetime of tokens.
    pub token_lifetime: Duration,
    /// What the token endpoint issues.
    pub token_format: TokenFormat,
    /// The algorithms whose keys exist and are published from the start, in addition to that of
    /// `token_format`. Any other key is made when it first signs.
    pub signing_keys: Vec<SigningAlgorithm>,
    /// `https` with a certificate of the stub's own. `None`: `http`.
    pub tls: Option<StubTls>,
    /// Serves `/_stub/`, where any caller can script the stub.
    pub control: bool,
}

impl StubOptions {
    /// The lifetime of IBM Verify's tokens.
    pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(7199);
}

impl Default for StubOptions {
    /// A free port, and the clients `service-a` and `service-b`.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: None,
            clients: ["service-a", "service-b"].map(StubClient::new).into(),
            only_own_tokens: false,
            token_lifetime: Self::DEFAULT_TOKEN_LIFETIME,
            token_format: TokenFormat::Opaque,
            signing_keys: Vec::new(),
            tls: None,
            control: false,
        }
    }
}

/// A running stub. Dropping it stops it at once and closes its connections.
pub struct VerifyStub {
    state: Arc<State>,
    address: SocketAddr,
    tls: Option<(TlsAcceptor, StubCertificate)>,
    http2_only: bool,
    /// Bound but never listening: reserves a port that the stub chose while the stub is down.
    reserved: Option<TcpSocket>,
    running: Mutex<Option<Running>>,
}

/// What stops when the stub goes down.
struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl VerifyStub {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, a key cannot be made, or a name of the certificate is
    /// invalid.
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
                options.tls.as_ref().and_then(|tls| tls.client.clone()),
                &base(tls.is_some(), options.host.as_deref(), address),
            )),
            address,
            tls,
            http2_only,
            reserved,
            running: Mutex::new(None),
        };
        let format = match options.token_format {
            TokenFormat::Opaque => None,
            TokenFormat::Jwt(algorithm) => Some(algorithm),
        };
        for algorithm in options.signing_keys.into_iter().chain(format) {
            stub.state.keys.require(algorithm)?;
        }
        stub.state.set_format(options.token_format);
        stub.accept(listener);
        Ok(stub)
    }

    /// The address on which it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URLs of one of the two families.
    pub fn urls(&self, provider: Provider) -> &Urls {
        self.state.urls(provider)
    }

    /// The issuer: the value of `iss`, and the setting of Service A.
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

    /// The authority that callers have to trust, if the stub uses TLS.
    pub fn certificate(&self) -> Option<&StubCertificate> {
        self.tls.as_ref().map(|(_, certificate)| certificate)
    }

    /// The client with this name or id.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[expect(
        clippy::panic,
        reason = "a test that names a client that does not exist is wrong"
    )]
    pub fn client(&self, name_or_id: &str) -> &StubClient {
        match self.state.client(name_or_id) {
            Ok(client) => client,
            Err(error) => panic!("{error}"),
        }
    }

    /// The settings with which Service B introspects tokens as the client `service-b`. The keys are
    /// those of docs/settings.md.
    ///
    /// # Panics
    ///
    /// If the stub was started without that client.
    pub fn resource_settings(&self) -> BTreeMap<String, String> {
        let client = self.client("service-b");
        [
            ("introspect_url", self.introspect_url()),
            ("resource_client_id", client.id.as_str()),
            ("resource_client_secret", client.secret.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// Issues a token, as the token endpoint does.
    ///
    /// # Panics
    ///
    /// If `spec` names a client that does not exist.
    #[expect(
        clippy::panic,
        reason = "a test that names a client that does not exist is wrong"
    )]
    pub fn issue(&self, spec: TokenSpec) -> String {
        match self.state.issue(Provider::New, spec) {
            Ok((token, _)) => token,
            Err(error) => panic!("{error}"),
        }
    }

    /// What the token endpoint issues from now on.
    pub fn set_token_format(&self, format: TokenFormat) {
        self.state.set_format(format);
    }

    /// The JWK set that is published now.
    pub fn key_set(&self) -> Value {
        self.state.keys.set()
    }

    /// Publishes a new key and signs with it from now on. The old one stays published. Returns its
    /// `kid`.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    pub fn rotate_key(&self, algorithm: SigningAlgorithm) -> String {
        self.new_key(algorithm, true)
    }

    /// Publishes a new key without signing with it, as issuers do some time before they rotate.
    /// Returns its `kid`.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    pub fn add_key(&self, algorithm: SigningAlgorithm) -> String {
        self.new_key(algorithm, false)
    }

    #[expect(clippy::panic, reason = "a test cannot go on without a key")]
    fn new_key(&self, algorithm: SigningAlgorithm, signs: bool) -> String {
        match self.state.keys.add(algorithm, signs) {
            Ok(kid) => kid,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Withdraws every key that does not sign any more.
    pub fn withdraw_old_keys(&self) {
        self.state.keys.withdraw_old();
    }

    /// Withdraws a key. If it signs, it goes on to.
    ///
    /// # Panics
    ///
    /// If the stub has no such key.
    pub fn withdraw_key(&self, kid: &str) {
        self.set_published(kid, false);
    }

    /// Publishes a key that was withdrawn.
    ///
    /// # Panics
    ///
    /// If the stub has no such key.
    pub fn publish_key(&self, kid: &str) {
        self.set_published(kid, true);
    }

    #[expect(
        clippy::panic,
        reason = "a test that names a key that does not exist is wrong"
    )]
    fn set_published(&self, kid: &str, published: bool) {
        if let Err(error) = self.state.keys.set_published(kid, published) {
            panic!("{error}");
        }
    }

    /// Publishes these JWKs, valid or not, before the stub's own. An empty list ends that.
    pub fn publish_also(&self, keys: Vec<Value>) {
        self.state.keys.publish_also(keys);
    }

    /// For [`Self::publish_also`]: keys that verify no token, as key sets in the field have them
    /// beside good ones.
    pub fn unusable_keys() -> Vec<Value> {
        unusable_keys()
    }

    /// From now on DPoP proofs need a nonce (RFC 9449 section 8): a new one, which responses of the
    /// token endpoint send.
    pub fn require_dpop_nonce(&self) -> String {
        let nonce = new_nonce();
        self.state.set_dpop_nonce(Some(nonce.clone()));
        nonce
    }

    /// What a `POST` of this form to the introspection endpoint gets, for callers without a network.
    /// Nothing is counted, recorded or scripted.
    pub fn introspect(&self, headers: HeaderMap, body: impl Into<Bytes>) -> StubResponse {
        let body = body.into();
        let request = RecordedRequest {
            endpoint: Endpoint::Introspect,
            method: Method::POST,
            path_and_query: String::new(),
            headers,
            server_name: None,
            form: form_urlencoded::parse(&body).into_owned().collect(),
            body,
        };
        respond(&self.state, Provider::New, &request).response
    }

    /// Makes `token` an active token with this introspection document.
    pub fn register(&self, token: &str, document: &Value) {
        self.state.register(token, document.to_string().into());
    }

    /// Makes a token inactive.
    pub fn revoke(&self, token: &str) {
        self.state.revoke(token, None);
    }

    /// Scripts the introspection calls for this token, one reaction per call; the last one repeats.
    /// An empty script restores the normal behaviour.
    pub fn script(&self, token: &str, reactions: Vec<Reaction>) {
        self.state.script(token, reactions);
    }

    /// Scripts the calls of this endpoint, one reaction per call; the last one repeats. An empty
    /// script restores the normal behaviour.
    ///
    /// The script of a token takes precedence.
    pub fn script_endpoint(&self, endpoint: Endpoint, reactions: Vec<Reaction>) {
        self.state.script_endpoint(endpoint, reactions);
    }

    /// Restores the normal behaviour. Calls in progress end as they began.
    pub fn clear_scripts(&self) {
        self.state.clear_scripts();
    }

    /// How often it has been called.
    pub fn counters(&self) -> Counters {
        self.state.counts.read()
    }

    /// The number of introspection calls for this token, whatever their outcome. A call counts when
    /// it arrives.
    pub fn introspections_of(&self, token: &str) -> u64 {
        self.state.introspections_of(token)
    }

    /// The last requests, oldest first; a few hundred are kept.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.requests()
    }

    /// Stops listening and closes every connection, so that connections are refused. Tokens,
    /// scripts and counters stay.
    pub async fn down(&self) {
        let running = lock(&self.running).take();
        if let Some(running) = running {
            running.stop.cancel();
            running.tasks.wait().await;
        }
    }

    /// Listens again, on the same address.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound any more.
    pub async fn up(&self) -> Result<()> {
        if lock(&self.running).is_none() {
            self.accept(listen(self.address, self.reserved.is_some())?);
        }
        Ok(())
    }

    fn accept(&self, listener: TcpListener) {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.close();
        let server = Arc::new(Server {
            state: Arc::clone(&self.state),
            tls: self.tls.as_ref().map(|(acceptor, _)| acceptor.clone()),
            http2_only: self.http2_only,
            stop: stop.clone(),
            tasks: tasks.clone(),
        });
        tasks.spawn(server.accept(listener));
        *lock(&self.running) = Some(Running { stop, tasks });
    }
}

/// `shared`: another socket of this process may have the same port.
fn bind(address: SocketAddr, shared: bool) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Not both: with SO_REUSEADDR other processes could take the reserved port.
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
                "cannot listen on {address}: stop the program that uses the port, or choose another port with --listen"
            )
        })
}

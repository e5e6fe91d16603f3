//! Outbound calls of guests: granted or denied, then sent through one pool for the whole host.
//!
//! Redirects are not followed and bodies are streamed: a guest reads what the server sent.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use http::{Request, Response, header::HOST, uri::Scheme};
use http_body_util::BodyExt as _;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout_at;
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p3::{RequestOptions, WasiHttpHooks, bindings::http::types::ErrorCode};

use super::{
    allowed_hosts::AllowedHosts,
    body::{TimedBody, WasiBody},
    connector::{CONNECT, ConnectOptions, Connector, error_code},
    stats::Counters,
    timeouts::{DEFAULT_TIMEOUT, deadline_after},
    tls::ComponentTls,
};

/// The connection pool that all guests of a host share.
pub(crate) type HttpClient = Client<Connector, WasiBody>;

pub(crate) fn client() -> HttpClient {
    // By default the client resends a request on a new connection if the server closed the idle
    // one before it processed any of the request.
    Client::builder(TokioExecutor::new()).build(Connector)
}

/// The outbound access of one instance.
#[derive(Clone)]
pub(crate) struct Outbound {
    pub(crate) component: Arc<str>,
    pub(crate) allowed: Arc<AllowedHosts>,
    pub(crate) tls: ComponentTls,
    pub(crate) client: HttpClient,
    pub(crate) counters: Arc<Counters>,
}

type Sent = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), ErrorCode>> + Send>,
    ),
    TrappableError<ErrorCode>,
>;

impl Outbound {
    async fn send(self, mut request: Request<WasiBody>, options: RequestOptions) -> Sent {
        let uri = request.uri();
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty());
        let Some(authority) = authority else {
            tracing::warn!(
                "[{}] a call without a host was denied: calls of an app to itself are not supported",
                self.component
            );
            self.counters.denied.fetch_add(1, Relaxed);
            return Err(ErrorCode::HttpRequestDenied.into());
        };
        if authority.as_str().contains('@') {
            return Err(ErrorCode::HttpRequestUriInvalid.into());
        }
        if !self.allowed.allows(uri) {
            tracing::warn!(
                "[{component}] a call to {scheme}://{authority} was denied: to grant it, add it to \
                 allowed_outbound_hosts of [component.{component}]",
                component = self.component,
                scheme = uri.scheme_str().unwrap_or_default(),
            );
            self.counters.denied.fetch_add(1, Relaxed);
            return Err(ErrorCode::HttpRequestDenied.into());
        }
        let tls = match (uri.scheme(), uri.host()) {
            (Some(scheme), Some(host)) if *scheme == Scheme::HTTPS => {
                let config = self.tls.for_host(host).map_err(|error| {
                    tracing::error!("{error}");
                    ErrorCode::ConfigurationError
                })?;
                Some(config)
            }
            _ => None,
        };
        // The client derives it from the URI.
        request.headers_mut().remove(HOST);
        self.counters.outbound.fetch_add(1, Relaxed);

        let connect = ConnectOptions {
            timeout: options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT),
            tls,
        };
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let between_bytes = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let call = CONNECT.scope(connect, self.client.request(request));
        let response = timeout_at(deadline_after(first_byte), call)
            .await
            .map_err(|_| ErrorCode::ConnectionReadTimeout)?
            .map_err(|error| error_code(&error))?;
        let response = response.map(|body| TimedBody::new(body, between_bytes).boxed_unsync());
        // The body reports errors of the connection to the guest.
        Ok((response, Box::new(async { Ok(()) })))
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), ErrorCode>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(self.clone().send(request, options.unwrap_or_default()))
    }
}

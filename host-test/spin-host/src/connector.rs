//! Connections to where guests call: TCP, TLS, and what can go wrong with them in the words of `wasi:http`.

use std::{
    error::Error as StdError,
    fmt, io,
    iter::successors,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connected, Connection},
    },
    rt::TokioIo,
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout_at,
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::p3::bindings::http::types::{
    DnsErrorPayload, ErrorCode, TlsAlertReceivedPayload,
};

use super::body::after;

tokio::task_local! {
    /// The connect timeout of the call that asks for a connection; the pooled client has no parameter for it.
    pub(crate) static CONNECT_TIMEOUT: Duration;
}

/// Opens connections for the pooled client.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Tls>);

/// TLS settings, made at the first call that needs them: reading the platform's roots takes a while.
struct Tls {
    extra_roots: Vec<CertificateDer<'static>>,
    config: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
}

impl Tls {
    fn config(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        let made = self.config.get_or_init(|| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = Verifier::new_with_extra_roots(
                self.extra_roots.iter().cloned(),
                Arc::clone(&provider),
            )?;
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        });
        made.clone().map_err(|error| {
            tracing::error!("no TLS for outbound calls: {error}");
            ConnectError::Configuration
        })
    }
}

impl Connector {
    pub(crate) fn new(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Self(Arc::new(Tls {
            extra_roots,
            config: OnceLock::new(),
        }))
    }

    async fn connect(&self, uri: &Uri) -> Result<Transport, ConnectError> {
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().ok_or(ConnectError::Uri)?;
        let name = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });

        let addresses: Vec<_> = lookup_host((name, port))
            .await
            .map_err(|error| ConnectError::dns(host, &error))?
            .collect();
        let stream = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|error| ConnectError::tcp(host, &error))?;
        // Best effort: without it calls are slower and no less right.
        _ = stream.set_nodelay(true);
        if !secure {
            return Ok(Transport(Box::new(stream)));
        }
        let server = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Uri)?;
        let connector = TlsConnector::from(self.0.config()?);
        let stream = connector
            .connect(server, stream)
            .await
            .map_err(|error| ConnectError::tls(host, &error))?;
        Ok(Transport(Box::new(stream)))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Transport>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Read here, in the task of the call: the connection may be finished in another task.
        let limit = CONNECT_TIMEOUT
            .try_with(|limit| *limit)
            .unwrap_or(super::outbound::DEFAULT_TIMEOUT);
        let this = self.clone();
        Box::pin(async move {
            let connected = timeout_at(after(limit), this.connect(&uri)).await;
            connected
                .unwrap_or(Err(ConnectError::Timeout))
                .map(TokioIo::new)
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, with or without TLS.
pub(crate) struct Transport(Box<dyn Io>);

impl Connection for Transport {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    Certificate,
    Configuration,
    Dns,
    Refused,
    Terminated,
    Timeout,
    Tls,
    TlsAlert(u8),
    Unavailable,
    Unroutable,
    Uri,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection: {self:?}")
    }
}

impl StdError for ConnectError {}

impl ConnectError {
    fn dns(host: &str, error: &io::Error) -> Self {
        tracing::debug!("{host} has no address: {error}");
        Self::Dns
    }

    fn tcp(host: &str, error: &io::Error) -> Self {
        tracing::debug!("cannot connect to {host}: {error}");
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Terminated,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unroutable,
            _ => Self::Unavailable,
        }
    }

    fn tls(host: &str, error: &io::Error) -> Self {
        tracing::warn!("no TLS with {host}: {error}");
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Self::Certificate
            }
            Some(rustls::Error::AlertReceived(alert)) => Self::TlsAlert(u8::from(*alert)),
            Some(_) => Self::Tls,
            None => Self::Terminated,
        }
    }

    fn into_wasi(self) -> ErrorCode {
        match self {
            Self::Certificate => ErrorCode::TlsCertificateError,
            Self::Configuration => ErrorCode::ConfigurationError,
            Self::Dns => ErrorCode::DnsError(DnsErrorPayload {
                rcode: Some("address not available".to_owned()),
                info_code: Some(0),
            }),
            Self::Refused => ErrorCode::ConnectionRefused,
            Self::Terminated => ErrorCode::ConnectionTerminated,
            Self::Timeout => ErrorCode::ConnectionTimeout,
            Self::Tls => ErrorCode::TlsProtocolError,
            Self::TlsAlert(id) => ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
                alert_id: Some(id),
                alert_message: Some(format!("{:?}", rustls::AlertDescription::from(id))),
            }),
            Self::Unavailable => ErrorCode::DestinationUnavailable,
            Self::Unroutable => ErrorCode::DestinationIpUnroutable,
            Self::Uri => ErrorCode::HttpRequestUriInvalid,
        }
    }
}

/// What became of a call that got no response head.
pub(crate) fn call_error(error: &legacy::Error) -> ErrorCode {
    if let Some(connect) = cause::<ConnectError>(error) {
        return connect.into_wasi();
    }
    tracing::debug!("outbound call failed: {error:?}");
    let hyper = cause::<hyper::Error>(error);
    if hyper.is_some_and(hyper::Error::is_parse_too_large) {
        return ErrorCode::HttpResponseHeaderSectionSize(None);
    }
    if hyper.is_some_and(hyper::Error::is_parse) {
        return ErrorCode::HttpProtocolError;
    }
    // The guest's own body failed: not the other side's fault.
    if cause::<ErrorCode>(error).is_some() {
        return ErrorCode::InternalError(Some("the request body failed".to_owned()));
    }
    let gone = |hyper: &hyper::Error| {
        hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_canceled()
    };
    if hyper.is_some_and(gone) || cause::<io::Error>(error).is_some() {
        return ErrorCode::ConnectionTerminated;
    }
    ErrorCode::HttpProtocolError
}

/// What became of a response body that broke off.
pub(crate) fn body_error(error: &hyper::Error) -> ErrorCode {
    tracing::debug!("the body of an outbound call broke off: {error:?}");
    let early =
        cause::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    if early || error.is_incomplete_message() {
        return ErrorCode::HttpResponseIncomplete;
    }
    if cause::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    {
        return ErrorCode::ConnectionTerminated;
    }
    if error.is_parse()
        || cause::<io::Error>(error)
            .is_some_and(|error| error.kind() == io::ErrorKind::InvalidInput)
    {
        return ErrorCode::HttpProtocolError;
    }
    ErrorCode::ConnectionTerminated
}

fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

//! Outbound connections of guests, over TCP and TLS, and the error codes Spin reports for them.

use std::{
    error::Error as StdError,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout_at,
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::p3::bindings::http::types::{DnsErrorPayload, ErrorCode};

use super::timeouts::deadline_after;

tokio::task_local! {
    /// Options of the current call; the pooled client cannot pass them as a parameter.
    pub(crate) static CONNECT: ConnectOptions;
}

/// How to connect for one call.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    /// For the TCP connection alone, as in Spin.
    pub(crate) timeout: Duration,
    /// None for a call without TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// Opens connections for the pooled client.
#[derive(Clone)]
pub(crate) struct Connector;

impl ConnectOptions {
    async fn connect(self, uri: Uri) -> Result<Transport, ErrorCode> {
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().ok_or(ErrorCode::HttpRequestUriInvalid)?;
        let name = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });

        let addresses: Vec<_> = lookup_host((name, port))
            .await
            .map_err(|error| {
                tracing::debug!("{host} has no address: {error}");
                dns_error("address not available")
            })?
            .collect();
        let connecting = TcpStream::connect(addresses.as_slice());
        let stream = timeout_at(deadline_after(self.timeout), connecting)
            .await
            .map_err(|_| ErrorCode::ConnectionTimeout)?
            .map_err(|error| {
                tracing::debug!("cannot connect to {host}: {error}");
                match error.kind() {
                    io::ErrorKind::AddrNotAvailable => dns_error("address not available"),
                    _ => ErrorCode::ConnectionRefused,
                }
            })?;
        if !secure {
            return Ok(Transport::plain(stream));
        }
        // Spin takes the host as the URL spells it, so an IPv6 address in brackets is refused.
        let server = ServerName::try_from(host.to_owned()).map_err(|error| {
            tracing::warn!("TLS with {host} failed: {error}");
            dns_error("invalid dns name")
        })?;
        let config = self.tls.ok_or(ErrorCode::ConfigurationError)?;
        let stream = TlsConnector::from(config)
            .connect(server, stream)
            .await
            .map_err(|error| {
                tracing::warn!("TLS with {host} failed: {error}");
                ErrorCode::TlsProtocolError
            })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Transport {
            stream: Box::new(stream),
            http2,
        })
    }
}

fn dns_error(rcode: &str) -> ErrorCode {
    ErrorCode::DnsError(DnsErrorPayload {
        rcode: Some(rcode.to_owned()),
        info_code: Some(0),
    })
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Transport>;
    type Error = ErrorCode;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ErrorCode>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ErrorCode>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Read in the task of the call; another task may finish the connection.
        let options = CONNECT.try_with(ConnectOptions::clone);
        Box::pin(async move {
            let options = options.map_err(|_| ErrorCode::ConfigurationError)?;
            options.connect(uri).await.map(TokioIo::new)
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, with or without TLS.
pub(crate) struct Transport {
    stream: Box<dyn Io>,
    /// HTTP/2 was negotiated by ALPN.
    http2: bool,
}

impl Transport {
    fn plain(stream: TcpStream) -> Self {
        Self {
            stream: Box::new(stream),
            http2: false,
        }
    }
}

impl Connection for Transport {
    fn connected(&self) -> Connected {
        if self.http2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The error code Spin reports to a guest for a failed call or response: the one that is the direct
/// source of `error`, otherwise `HTTP-protocol-error`.
pub(crate) fn error_code(error: &(dyn StdError + 'static)) -> ErrorCode {
    if let Some(code) = error
        .source()
        .and_then(<dyn StdError>::downcast_ref::<ErrorCode>)
    {
        return code.clone();
    }
    tracing::warn!("an outbound call failed: {error:?}");
    ErrorCode::HttpProtocolError
}

//! The echo app of `host-test/echo-app` as a native server, the upstream of Envoy in tests.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

/// A running echo server. Dropping it closes all connections.
pub struct Echo {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    _accepting: AbortOnDropHandle<()>,
}

impl Echo {
    /// Listens on a free port of the loopback address.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let requests = Arc::<AtomicU64>::default();
        let count = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            // Dropped with this task, which closes the connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                let service = service_fn(move |request| {
                    count.fetch_add(1, Relaxed);
                    echo(request)
                });
                connections
                    .spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            requests,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// The address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of requests that reached it.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // Latin-1: each byte becomes one character, so no value is changed.
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let (head, mut body) = request.into_parts();
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
        .collect();
    let (mut bytes, mut crc32) = (0_usize, crc32fast::Hasher::new());
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes = bytes.saturating_add(data.len());
            crc32.update(data);
        }
    }
    let seen = json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body": { "bytes": bytes, "crc32": crc32.finalize() },
    });
    let mut response = Response::new(Full::new(Bytes::from(seen.to_string())));
    response.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

//! An issuer that costs next to nothing: one answer for every token, and another one for a bad one.
//! The stub of IBM Verify records what it is called and would be in the way.

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
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::typical::TYPICAL;

/// A token that the issuer calls inactive.
pub(crate) const BAD_TOKEN: &str = "bad-bad-bad";

/// Where it is called.
pub(crate) const PATH: &str = "/oauth2/introspect";

const INACTIVE: &str = r#"{"active":false}"#;

/// A running issuer. Dropped, it closes everything.
pub(crate) struct Issuer {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
    _accepting: AbortOnDropHandle<()>,
}

impl Issuer {
    /// Listens on a free port of the loopback address.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let calls = Arc::<AtomicU64>::default();
        let count = Arc::clone(&calls);
        let accepting = tokio::spawn(async move {
            // Dropped with this task, which closes the connections.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Without it answers wait for acknowledgements; with an error they are only slower.
                let _ = stream.set_nodelay(true);
                let count = Arc::clone(&count);
                let service = service_fn(move |request: Request<Incoming>| {
                    // The others are knocks at the door.
                    if request.method() == Method::POST {
                        count.fetch_add(1, Relaxed);
                    }
                    answer(request)
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(connection);
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            calls,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn introspect_url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_bad = match request.into_body().collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let bad = BAD_TOKEN.as_bytes();
            body.windows(bad.len()).any(|part| part == bad)
        }
        Err(_) => true,
    };
    let document = if is_bad { INACTIVE } else { TYPICAL };
    let mut response = Response::new(Full::new(Bytes::from_static(document.as_bytes())));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

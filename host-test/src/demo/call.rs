//! One call of Service B, whatever it answers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{
    HeaderName, Request, StatusCode, Uri,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// Longer than an auth check waits for its issuer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Larger than any answer of ours.
const BODY_LIMIT: usize = 64 * 1024;

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: http::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    /// All values of a header field, joined as RFC 9110 section 5.2 does.
    pub(super) fn header(&self, name: &HeaderName) -> Option<String> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        let shown = values
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        (!values.is_empty()).then(|| shown.collect::<Vec<_>>().join(", "))
    }

    /// A member of the body, if that is a JSON object with such a text.
    pub(super) fn member(&self, name: &str) -> Option<String> {
        let document = serde_json::from_str::<serde_json::Value>(&self.body).ok()?;
        Some(document.get(name)?.as_str()?.to_owned())
    }
}

/// Calls `http` on a connection of its own.
pub(super) async fn get(url: &str, token: Option<&str>) -> Result<Answer> {
    let call = timeout(PATIENCE, send(url, token));
    call.await
        .with_context(|| format!("no answer after {PATIENCE:?}"))?
        .with_context(|| format!("cannot call {url}"))
}

async fn send(url: &str, token: Option<&str>) -> Result<Answer> {
    let url: Uri = url.parse()?;
    let authority = url.authority().context("the URL names no host")?;
    let stream = TcpStream::connect(authority.as_str()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(HOST, authority.as_str());
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer breaks off: {error}"))?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    })
}

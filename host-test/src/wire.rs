//! Raw HTTP/1.1 requests over a socket, which no client library would send.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The longest wait for a response: longer than every timeout that tests configure.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// More header fields than any host sends.
const MAX_HEADERS: usize = 64;

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header fields in order, names in lower case. Invalid UTF-8 in values is replaced.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The values of a header field, named in lower case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(n, _)| n == name);
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `reason` member of a refusal; empty if there is none.
    pub fn reason(&self) -> String {
        let body = self.json();
        let reason = body.get("reason").and_then(Value::as_str);
        reason.unwrap_or_default().to_owned()
    }
}

/// `GET` with this Authorization header, if it is not empty, and the connection closed afterwards.
pub fn get(path: &str, authorization: impl AsRef<[u8]>) -> Vec<u8> {
    let mut request =
        format!("GET {path} HTTP/1.1\r\nhost: service-b.test\r\nconnection: close\r\n")
            .into_bytes();
    let authorization = authorization.as_ref();
    if !authorization.is_empty() {
        request.extend_from_slice(b"authorization: ");
        request.extend_from_slice(authorization);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Sends the bytes on a new connection and reads one response.
///
/// # Errors
/// No connection, no answer within [`ANSWER_LIMIT`], or one that is not HTTP/1.1 with a
/// content-length; to HEAD, whose connection has to be closed afterwards, one that is followed by
/// anything.
pub async fn exchange(to: SocketAddr, request: &[u8]) -> Result<Reply> {
    let head_only = request.starts_with(b"HEAD ");
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.context("connect")?;
        // A host may respond and close before it has read everything.
        let _ = stream.write_all(request).await;
        if !head_only {
            return read_reply(&mut stream, false).await;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.context("read")?;
        let said = String::from_utf8_lossy(&answer);
        ensure!(said.ends_with("\r\n\r\n"), "after the head: {said:?}");
        parse(&answer, true)?.with_context(|| format!("closed after {said:?}"))
    };
    timeout(ANSWER_LIMIT, exchange)
        .await
        .with_context(|| format!("no answer within {ANSWER_LIMIT:?}"))?
}

/// Reads one response. `head_only`: the response to HEAD, which announces a body but has none.
///
/// # Errors
/// The connection ended before, or what came is not HTTP/1.1 with a content-length.
pub async fn read_reply(stream: &mut TcpStream, head_only: bool) -> Result<Reply> {
    let mut answer = Vec::new();
    loop {
        if let Some(reply) = parse(&answer, head_only)? {
            return Ok(reply);
        }
        if stream.read_buf(&mut answer).await.context("read")? == 0 {
            bail!("closed after {:?}", String::from_utf8_lossy(&answer));
        }
    }
}

fn parse(answer: &[u8], head_only: bool) -> Result<Option<Reply>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(answer)
        .with_context(|| format!("in {:?}", String::from_utf8_lossy(answer)))?;
    let httparse::Status::Complete(start) = parsed else {
        return Ok(None);
    };
    let headers: Vec<_> = response
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_ascii_lowercase(), value)
        })
        .collect();
    let length = match headers.iter().find(|(name, _)| name == "content-length") {
        _ if head_only => 0,
        Some((_, value)) => value
            .parse()
            .with_context(|| format!("content-length: {value}"))?,
        None => bail!("no content-length in {headers:?}"),
    };
    let body = answer.get(start..).unwrap_or_default();
    Ok(body.get(..length).map(|body| Reply {
        status: response.code.unwrap_or_default(),
        headers,
        body: body.to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_all_of_it_is_there() {
        let whole = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 16\r\nx: a\r\nx: b\r\n\r\n{\"reason\":\"why\"}";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end], false).unwrap(), None, "{end}");
        }
        let reply = parse(whole, false).unwrap().unwrap();
        assert_eq!((reply.status, reply.reason().as_str()), (401, "why"));
        assert_eq!(reply.header("x"), ["a", "b"]);
        assert!(parse(whole, true).unwrap().unwrap().body.is_empty());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n", false).is_err());
        assert!(parse(b"SSH-2.0\r\n", false).is_err());
    }
}

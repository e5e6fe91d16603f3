//! Requests as bytes, so that anything can be sent, and their answers.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Longer than any answer takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn reason(&self) -> String {
        self.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The values of every line of this name.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .collect()
    }
}

/// A connection that can be used again.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Writes as much as the other side takes before it has enough. Whether that was all.
    pub(crate) async fn write_what_is_taken(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(Duration::from_millis(200), self.0.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// The next answer; its body needs a content-length.
    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read())
            .await
            .expect("no answer comes")
            .expect("the connection ends without an answer")
    }

    async fn read(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break bytes.drain(..end + 4).collect::<Vec<_>>();
            }
            self.more(&mut bytes).await?;
        };
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let length = answer
            .values("content-length")
            .first()
            .map_or(0, |l| l.parse().unwrap());
        while bytes.len() < length {
            self.more(&mut bytes).await?;
        }
        answer.body = String::from_utf8(bytes).unwrap();
        Some(answer)
    }

    async fn more(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let read = self.0.read_buf(bytes).await.ok()?;
        (read > 0).then_some(())
    }
}

/// A request without a body. `extra`: whole header lines, each with its end.
pub(crate) fn head(method: &str, path: &str, extra: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: b\r\n").into_bytes();
    head.extend_from_slice(extra);
    head.extend_from_slice(b"\r\n");
    head
}

/// The header line with this token.
pub(crate) fn bearer(token: &str) -> Vec<u8> {
    format!("authorization: Bearer {token}\r\n").into_bytes()
}

/// The answer to these bytes, sent on a connection of their own.
pub(crate) async fn send(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut connection = Connection::open(to).await;
    connection.write(bytes).await;
    connection.answer().await
}

/// `GET path` with this token.
pub(crate) async fn get(to: SocketAddr, path: &str, token: &str) -> Answer {
    send(to, &head("GET", path, &bearer(token))).await
}

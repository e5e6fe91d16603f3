//! Requests as bytes, so that anything can be sent, and their answers.

use std::{net::SocketAddr, time::Duration};

use host_test::wire::{Reply, read_reply};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Longer than any answer takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that can be used again.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// From this address of this machine.
    pub(crate) async fn open_from(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// What comes until the other side closes the connection.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match timeout(PATIENCE, self.0.read(&mut chunk)).await.unwrap() {
                Ok(0) | Err(_) => return bytes,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// That many, one after the other, so that Envoy deals them out to its workers in turn: which
    /// one it is, is decided when it is accepted.
    pub(crate) async fn open_in_turn<const COUNT: usize>(to: SocketAddr) -> [Self; COUNT] {
        let mut connections = Vec::new();
        for _ in 0..COUNT {
            let mut connection = Self::open(to).await;
            connection.write(&head("GET", "/data", b"")).await;
            assert_eq!(connection.answer().await.reason(), "no_credentials");
            connections.push(connection);
        }
        connections.try_into().unwrap_or_else(|_| unreachable!())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Writes as much as the other side takes before it has enough. Whether that was all.
    pub(crate) async fn write_what_is_taken(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(Duration::from_millis(200), self.0.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// The next bytes, that many.
    pub(crate) async fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = timeout(PATIENCE, self.0.read_exact(&mut bytes)).await;
        read.unwrap().unwrap();
        bytes
    }

    /// The status of the next answer, whatever its body is.
    pub(crate) async fn status(&mut self) -> u16 {
        let line = self.read_exactly("HTTP/1.1 200".len()).await;
        let line = String::from_utf8(line).unwrap();
        line.split_once(' ').unwrap().1.parse().unwrap()
    }

    /// The next answer; its body needs a content-length.
    pub(crate) async fn answer(&mut self) -> Reply {
        timeout(PATIENCE, read_reply(&mut self.0, false))
            .await
            .unwrap()
            .unwrap()
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
pub(crate) async fn send(to: SocketAddr, bytes: &[u8]) -> Reply {
    let mut connection = Connection::open(to).await;
    connection.write(bytes).await;
    connection.answer().await
}

/// `GET path` with this token.
pub(crate) async fn get(to: SocketAddr, path: &str, token: &str) -> Reply {
    send(to, &head("GET", path, &bearer(token))).await
}

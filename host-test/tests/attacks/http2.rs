//! HTTP/2 (RFC 9113), frame by frame: the crate h2 does not send the head of a stream that is reset
//! at once, and packs every head.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use host_test::http2::{
    ACK, CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame, get,
    opening, read,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

pub(crate) struct Http2 {
    stream: TcpStream,
    next: u32,
}

impl Http2 {
    pub(crate) async fn connect(to: SocketAddr, from: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&opening()).await.unwrap();
        Self { stream, next: 1 }
    }

    /// `GET /data` with each of these tokens. With `is_reset`, each stream is reset at once. What
    /// the other side does not take any more is left out.
    pub(crate) async fn send(
        &mut self,
        tokens: impl IntoIterator<Item = String>,
        is_reset: bool,
    ) -> usize {
        let mut bytes = Vec::new();
        for token in tokens {
            let head = get("/data", &token);
            bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, self.next, &head));
            if is_reset {
                bytes.extend(frame(RST_STREAM, 0, self.next, &CANCEL));
            }
            self.next += 2;
        }
        // The other side may have had enough and closed the connection.
        let _ = self.stream.write_all(&bytes).await;
        bytes.len()
    }

    /// Reads until so many streams have ended, or the connection, or the patience. The bodies of
    /// all, one after the other.
    pub(crate) async fn bodies(&mut self, streams: usize, patience: Duration) -> Vec<u8> {
        let mut bodies = Vec::new();
        let _ = timeout(patience, self.read(streams, &mut bodies)).await;
        bodies
    }

    async fn read(&mut self, streams: usize, bodies: &mut Vec<u8>) {
        let mut ended = 0;
        while ended < streams {
            let Ok(received) = read(&mut self.stream).await else {
                break;
            };
            match received.kind {
                SETTINGS if received.flags & ACK == 0 => {
                    let _ = self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
                }
                DATA | HEADERS => {
                    ended += usize::from(received.flags & END_STREAM != 0);
                    if received.kind == DATA {
                        bodies.extend(received.payload);
                    }
                }
                RST_STREAM => ended += 1,
                GOAWAY => break,
                _ => {}
            }
        }
    }
}

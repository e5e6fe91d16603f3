//! HTTP/2 (RFC 9113), frame by frame: the crate h2 does not send the head of a stream that is reset
//! at once, and packs every head.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
/// In a frame of settings, the same bit.
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const CANCEL: [u8; 4] = [0, 0, 0, 8];

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
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        stream.write_all(&bytes).await.unwrap();
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
            let head = head(&token);
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
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                break;
            }
            let [high, middle, low, kind, flags, ..] = head;
            let length = u32::from_be_bytes([0, high, middle, low]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            if self.stream.read_exact(&mut payload).await.is_err() {
                break;
            }
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    let _ = self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
                }
                DATA | HEADERS => {
                    if kind == DATA {
                        bodies.extend(payload);
                    }
                    ended += usize::from(flags & END_STREAM != 0);
                }
                RST_STREAM => ended += 1,
                GOAWAY => break,
                _ => {}
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![high, middle, low, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RFC 7541: the method and the scheme from the static table, literal values for its other names.
fn head(token: &str) -> Vec<u8> {
    const GET: u8 = 0x82;
    const SCHEME_HTTP: u8 = 0x86;
    const PATH: [u8; 1] = [4];
    const AUTHORITY: [u8; 1] = [1];
    // 23, past the 15 that fit into the first byte.
    const AUTHORIZATION: [u8; 2] = [15, 23 - 15];
    let mut head = vec![GET, SCHEME_HTTP];
    let credentials = format!("Bearer {token}");
    let fields: [(&[u8], &str); 3] = [
        (&PATH, "/data"),
        (&AUTHORITY, "b"),
        (&AUTHORIZATION, &credentials),
    ];
    for (name, value) in fields {
        head.extend(name);
        head.extend(length(value.len()));
        head.extend(value.as_bytes());
    }
    head
}

/// RFC 7541 section 5.1, with a prefix of seven bits.
fn length(value: usize) -> Vec<u8> {
    const PREFIX: usize = 127;
    let Some(mut rest) = value.checked_sub(PREFIX) else {
        return vec![u8::try_from(value).unwrap()];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

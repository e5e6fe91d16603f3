//! HTTP/2 (RFC 9113), frame by frame: no client library would send these requests.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::request::{Answer, Field, Request};
use host_test::wire::ANSWER_LIMIT;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
/// In a frame of settings, the same bit.
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Sends it on a connection of its own.
pub(crate) async fn send(to: SocketAddr, request: &Request, row: usize) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // Some are refused and the connection is closed before all is read.
    let _ = stream.write_all(&bytes(request, row)).await;
    let body = timeout(ANSWER_LIMIT, body(&mut stream)).await;
    Answer {
        status: None,
        body: body.unwrap_or_else(|_| panic!("{}: no answer", request.target.escape_ascii())),
    }
}

/// Reads until the stream or the connection ends.
async fn body(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return body;
        }
        let [high, middle, low, kind, flags, _, _, _, id] = head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if stream.read_exact(&mut payload).await.is_err() {
            return body;
        }
        match (id, kind) {
            (0, SETTINGS) if flags & ACK == 0 => {
                let _ = stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
            }
            (1, DATA | HEADERS) => {
                if kind == DATA {
                    body.extend(payload);
                }
                if flags & END_STREAM != 0 {
                    return body;
                }
            }
            (1, RESET) => return body,
            // Envoy leaves the closing to the caller for a second.
            (0, GOAWAY) => return body,
            _ => {}
        }
    }
}

fn bytes(request: &Request, row: usize) -> Vec<u8> {
    let pseudo = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    let mut fields = vec![
        pseudo(b":method", &request.method),
        pseudo(b":scheme", b"http"),
        pseudo(b":path", &request.target),
    ];
    let mut hosts = request.hosts.iter();
    if let Some(authority) = hosts.next() {
        fields.push(pseudo(b":authority", authority));
    }
    fields.extend(hosts.map(|host| pseudo(b"host", host)));
    fields.extend(request.all_headers(row));
    let end = |last: bool| END_HEADERS | if last { END_STREAM } else { 0 };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let last = request.trailers.is_empty();
    bytes.extend(frame(HEADERS, end(last), 1, &encoded(&fields)));
    if !last {
        bytes.extend(frame(DATA, 0, 1, b"."));
        bytes.extend(frame(HEADERS, end(true), 1, &encoded(&request.trailers)));
    }
    bytes
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![high, middle, low, kind, flags, 0, 0, 0, stream];
    frame.extend(payload);
    frame
}

/// Literal fields that no table keeps (RFC 7541 section 6.2.2).
fn encoded(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Longer ones need another form.
            block.push(u8::try_from(text.len()).unwrap());
            assert!(text.len() < 127, "{}", text.escape_ascii());
            block.extend(text);
        }
    }
    block
}

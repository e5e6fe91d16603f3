//! HTTP/2 (RFC 9113), frame by frame: no client library would send these requests.

use std::net::SocketAddr;

use host_test::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame, literal,
    opening, read,
};
use host_test::wire::ANSWER_LIMIT;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::request::{Answer, Field, Request};

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
    while let Ok(received) = read(stream).await {
        let is_last = received.flags & END_STREAM != 0;
        match (received.stream, received.kind) {
            (0, SETTINGS) if received.flags & ACK == 0 => {
                let _ = stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
            }
            (1, DATA | HEADERS) => {
                if received.kind == DATA {
                    body.extend(received.payload);
                }
                if is_last {
                    break;
                }
            }
            // Envoy leaves the closing to the caller for a second.
            (1, RST_STREAM) | (0, GOAWAY) => break,
            _ => {}
        }
    }
    body
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
    let mut bytes = opening();
    let last = request.trailers.is_empty();
    bytes.extend(frame(HEADERS, end(last), 1, &encoded(&fields)));
    if !last {
        bytes.extend(frame(DATA, 0, 1, b"."));
        bytes.extend(frame(HEADERS, end(true), 1, &encoded(&request.trailers)));
    }
    bytes
}

/// Literal fields that no table keeps (RFC 7541 section 6.2.2).
fn encoded(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        block.extend(literal(name));
        block.extend(literal(value));
    }
    block
}

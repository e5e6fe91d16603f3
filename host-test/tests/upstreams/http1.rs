//! HTTP/1.1.

use std::net::SocketAddr;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::request::{Answer, Field, Request};
use host_test::wire::{ANSWER_LIMIT, read_reply};

/// Sends it on a connection of its own.
pub(crate) async fn send(to: SocketAddr, request: &Request, row: usize) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // Some are refused and the connection is closed before all is read.
    let _ = stream.write_all(&bytes(request, row)).await;
    // Not to the end of the connection: Envoy leaves the closing to the caller for a second.
    let reply = timeout(ANSWER_LIMIT, read_reply(&mut stream, false)).await;
    let reply = reply.unwrap_or_else(|_| panic!("{}: no answer", request.target.escape_ascii()));
    reply.map_or_else(
        |_closed| Answer {
            status: None,
            body: Vec::new(),
        },
        |reply| Answer {
            status: Some(reply.status),
            body: reply.body,
        },
    )
}

fn bytes(request: &Request, row: usize) -> Vec<u8> {
    let mut bytes = [
        &request.method,
        &b" "[..],
        &request.target,
        b" HTTP/1.1\r\n",
    ]
    .concat();
    let mut line = |(name, value): &Field| {
        bytes.extend([name, &b": "[..], value, b"\r\n"].concat());
    };
    for host in &request.hosts {
        line(&(b"Host".to_vec(), host.clone()));
    }
    let chunked = !request.trailers.is_empty();
    if chunked {
        line(&(b"transfer-encoding".to_vec(), b"chunked".to_vec()));
    }
    let headers = request.all_headers(row);
    headers.iter().for_each(&mut line);
    if !headers.iter().any(|(name, _)| name == b"connection") {
        line(&(b"connection".to_vec(), b"close".to_vec()));
    }
    if chunked {
        bytes.extend(b"\r\n1\r\n.\r\n0\r\n");
        for (name, value) in &request.trailers {
            bytes.extend([name, &b": "[..], value, b"\r\n"].concat());
        }
    }
    bytes.extend(b"\r\n");
    bytes
}

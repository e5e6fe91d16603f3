//! Connections that cost their callers nothing, in the embedded host: they keep nobody out.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::{bearer, load, options, stub};
use host_test::http2::{self, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame};
use host_test::wire::{exchange, get, read_reply};
use programs::{Guest, repository};
use spin_host::{App, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use verify_stub::{Reaction, TokenSpec, VerifyStub};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// spin.toml as it ships, with room for this many connections.
async fn serve(stub: &VerifyStub, max_connections: usize) -> Running {
    static APP: OnceLock<App> = OnceLock::new();
    let app = APP.get_or_init(|| load(&repository().join("spin.toml"), Guest::ServiceB));
    let patient = [("timeout", "30"), ("first_byte_timeout", "30")];
    let mut options = options(stub, &patient);
    options.max_connections = Some(max_connections);
    app.serve(options).await.unwrap()
}

async fn open(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Waits until the other side has closed or reset the connection; what it sent before is ignored.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection is still open");
}

async fn is_healthy(to: SocketAddr) {
    let reply = exchange(to, &get("/health", "")).await.unwrap();
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, r#"{"status":"ok"}"#)
    );
}

/// An HTTP/2 connection whose caller never reads the body of the response (RFC 9113 section 6.9).
fn unread_response() -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
    let none = [INITIAL_WINDOW_SIZE.as_slice(), &[0; 4]].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    [
        preface.as_slice(),
        &frame(SETTINGS, 0, 0, &none),
        &frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &http2::get("/health", ""),
        ),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_connections_that_wait_for_their_callers_keep_nobody_out() {
    const ROOM: usize = 8;
    let stub = stub().await;
    let keep_alive = b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n".to_vec();
    let unread = unread_response();
    let kinds = [
        ("nothing was sent", vec![]),
        ("a part of a head", b"GET /health HTTP/1.1\r\nhost".to_vec()),
        ("a part of HTTP/2's preface", b"PRI * HTTP".to_vec()),
        ("HTTP/2 without a request", http2::opening()),
        ("kept alive after a response", keep_alive),
        ("HTTP/2 whose response is not read", unread),
    ];
    for (kind, bytes) in kinds {
        let running = serve(&stub, ROOM).await;
        let to = running.address();
        let mut idle = Vec::new();
        for _ in 0..4 * ROOM {
            idle.push(open(to, &bytes).await);
        }
        for _ in 0..2 {
            timeout(PATIENCE, is_healthy(to))
                .await
                .unwrap_or_else(|_| panic!("{kind}: no answer"));
        }
        // The others had to go. Not always the first: a response may take longer than the next.
        let mut closing: JoinSet<()> = idle.into_iter().map(closed).collect();
        for _ in 0..3 * ROOM {
            closing.join_next().await.unwrap().unwrap();
        }
        assert_eq!(running.stats().traps, 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_the_connection_that_has_waited_longest_for_its_caller_goes_first() {
    let stub = stub().await;
    let running = serve(&stub, 3).await;
    let to = running.address();
    let request = b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut stream = open(to, request).await;
        assert_eq!(read_reply(&mut stream, false).await.unwrap().status, 200);
        connections.push(stream);
    }
    let [first, second, third] = connections.try_into().unwrap();
    let (mut first, mut third) = (first, third);
    // All but the second are used once more.
    for stream in [&mut first, &mut third] {
        stream.write_all(request).await.unwrap();
        assert_eq!(read_reply(stream, false).await.unwrap().status, 200);
    }
    is_healthy(to).await;
    closed(second).await;
    for stream in [&mut first, &mut third] {
        stream.write_all(request).await.unwrap();
        assert_eq!(read_reply(stream, false).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_connection_whose_request_waits_for_the_issuer_is_never_closed_for_another() {
    let stub = stub().await;
    let running = serve(&stub, 2).await;
    let to = running.address();
    let token = stub.issue(TokenSpec::default());
    let answer = CancellationToken::new();
    let held = Reaction::normal().held_until(answer.clone());
    stub.script(&token, vec![held]);
    let mut waits = open(to, &get("/data", bearer(&token))).await;
    timeout(PATIENCE, async {
        while stub.introspections_of(&token) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    for _ in 0..8 {
        is_healthy(to).await;
    }
    // With no other place left, one that comes waits until one is free.
    let other = stub.issue(TokenSpec::default());
    stub.script(&other, vec![Reaction::normal().held_until(answer.clone())]);
    let mut waits_too = open(to, &get("/data", bearer(&other))).await;
    timeout(PATIENCE, async {
        while stub.introspections_of(&other) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let late = tokio::spawn(is_healthy(to));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!late.is_finished(), "there is room for a third");
    answer.cancel();
    for stream in [&mut waits, &mut waits_too] {
        assert_eq!(read_reply(stream, false).await.unwrap().status, 200);
    }
    timeout(PATIENCE, late).await.unwrap().unwrap();
    assert_eq!(running.stats().traps, 0);
}

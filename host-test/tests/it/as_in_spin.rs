//! What Spin does to requests before and after a component: the embedded host does the same. Read
//! in the source of Spin 4.1 (crates/trigger-http) and seen in a running one.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::OnceLock};

use bytes::Bytes;
use host_test::wire::{Reply, exchange};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use programs::Guest;
use serde_json::{Value, json};
use spin_host::{App, Running, ServeOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const MANIFEST: &str = r#"
spin_manifest_version = 2
application = { name = "as-in-spin", version = "1.2.3" }
[[trigger.http]]
route = "/app/..."
component = "app"
[component.app]
source = "echo_app.wasm"
"#;

async fn serve() -> Running {
    static APP: OnceLock<App> = OnceLock::new();
    let app = APP.get_or_init(|| {
        let manifest = Path::new(env!("CARGO_TARGET_TMPDIR")).join("as-in-spin.toml");
        std::fs::write(&manifest, MANIFEST).unwrap();
        let echo = Guest::EchoApp.build().unwrap();
        App::load(&manifest, &[("app".to_owned(), echo)].into()).unwrap()
    });
    let options = ServeOptions {
        environment: Some(BTreeMap::new()),
        ..ServeOptions::default()
    };
    app.serve(options).await.unwrap()
}

/// The request of these lines, after which the connection is to be closed.
fn request(head: &[u8]) -> Vec<u8> {
    [head, b"\r\nconnection: close\r\n\r\n"].concat()
}

/// What the app saw of headers with this name.
fn seen<'a>(reply: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = reply["headers"].as_array().unwrap().iter();
    headers
        .filter(|header| header[0] == name)
        .map(|header| header[1].as_str().unwrap())
        .collect()
}

async fn answered(to: SocketAddr, head: &[u8]) -> Reply {
    exchange(to, &request(head)).await.unwrap()
}

#[tokio::test]
async fn a_header_that_is_not_utf8_is_a_500_without_a_body_before_any_component() {
    let running = serve().await;
    for header in [
        b"x: \xff".as_slice(),
        b"authorization: Bearer a\xffb",
        b"x: good\r\nx: \xc3\x28",
    ] {
        let head = [b"GET /app/ HTTP/1.1\r\nhost: h\r\n", header].concat();
        let reply = answered(running.address(), &head).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (500, ""),
            "{header:?}"
        );
        assert_eq!(reply.header("content-type"), [""; 0]);
    }
    assert_eq!(running.stats().requests, 0);
    let utf8 = "GET /app/ HTTP/1.1\r\nhost: h\r\nx: grün".as_bytes();
    assert_eq!(answered(running.address(), utf8).await.status, 200);
}

#[tokio::test]
async fn a_request_with_an_unknown_host_gets_no_response() {
    let running = serve().await;
    for head in [
        "GET /app/ HTTP/1.1",
        "GET /app/ HTTP/1.1\r\nhost: a b",
        "GET /app/ HTTP/1.1\r\nhost: b.spin.internal",
        "GET http://a.test/app/ HTTP/1.1\r\nhost: b.test",
    ] {
        let mut stream = TcpStream::connect(running.address()).await.unwrap();
        stream.write_all(&request(head.as_bytes())).await.unwrap();
        let mut answer = Vec::new();
        // Closed, or reset for what was left unread.
        _ = stream.read_to_end(&mut answer).await;
        assert_eq!(String::from_utf8_lossy(&answer), "", "{head}");
    }
    assert_eq!(running.stats().requests, 0);
}

#[tokio::test]
async fn of_two_hosts_the_first_is_meant_and_both_are_shown() {
    let running = serve().await;
    let head = b"GET /app/x?y HTTP/1.1\r\nhost: a.test\r\nhost: b.test";
    let reply = answered(running.address(), head).await.json();
    assert_eq!(seen(&reply, "host"), ["a.test", "b.test"]);
    assert_eq!(seen(&reply, "spin-full-url"), ["http://a.test/app/x?y"]);
}

#[tokio::test]
async fn hop_by_hop_headers_are_shown_but_for_connection_and_spins_own_come_last() {
    let running = serve().await;
    let head = b"GET /app/x HTTP/1.1\r\nhost: h\r\nkeep-alive: 5\r\nte: trailers\r\nproxy-authorization: Basic a\r\n\
        spin-client-addr: forged\r\nspin-path-info: forged";
    let reply = answered(running.address(), head).await.json();
    let table = [
        ("connection", vec![]),
        ("keep-alive", vec!["5"]),
        ("te", vec!["trailers"]),
        ("proxy-authorization", vec!["Basic a"]),
        ("spin-path-info", vec!["forged", "/x"]),
        ("spin-matched-route", vec!["/app/..."]),
    ];
    for (name, expected) in table {
        assert_eq!(seen(&reply, name), expected, "{name}");
    }
    let addresses = seen(&reply, "spin-client-addr");
    assert_eq!((addresses.len(), addresses[0]), (2, "forged"));
}

#[tokio::test]
async fn fields_made_of_a_requests_own_are_refused_for_the_forbidden_ones_among_them() {
    let running = serve().await;
    for (header, expected) in [
        ("host: h", "HeaderError::Forbidden"),
        (
            "host: h\r\nproxy-authorization: Basic a",
            "HeaderError::Forbidden",
        ),
    ] {
        let head = format!("GET /app/fields HTTP/1.1\r\n{header}");
        let reply = answered(running.address(), head.as_bytes()).await.json();
        assert_eq!(
            reply,
            json!({ "from_list": expected, "clone": "ok" }),
            "{header}"
        );
    }
}

#[tokio::test]
async fn spin_answers_for_itself_below_its_own_path() {
    let running = serve().await;
    let table = [
        ("health", 200, "", "OK"),
        (
            "info",
            200,
            "application/json",
            "{\n  \"name\": \"as-in-spin\",\n  \"version\": \"1.2.3\"\n}",
        ),
        ("x", 404, "", ""),
    ];
    for (name, status, media_type, body) in table {
        // Without a Host, too.
        let head = format!("GET /.well-known/spin/{name} HTTP/1.1");
        let reply = answered(running.address(), head.as_bytes()).await;
        let found = (
            reply.status,
            reply.header("content-type").concat(),
            reply.text(),
        );
        assert_eq!(
            found,
            (status, media_type.to_owned(), body.to_owned()),
            "{name}"
        );
    }
    let reply = answered(running.address(), b"GET /none HTTP/1.1").await;
    assert_eq!((reply.status, reply.text().as_str()), (404, ""));
    assert_eq!(running.stats().requests, 0);
}

/// What a client without TLS gets that begins with HTTP/2; the error if it is none.
async fn http2(
    to: SocketAddr,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let stream = TcpStream::connect(to).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn http2_is_spoken_to_a_client_that_begins_with_it() {
    let running = serve().await;
    let request = Request::get("http://h.test/app/x?y").body(Empty::new());
    let response = http2(running.address(), request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let reply: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&reply["method"], &reply["target"]),
        (&json!("GET"), &json!("/app/x?y"))
    );
    assert_eq!(seen(&reply, "host"), [""; 0]);
    assert_eq!(seen(&reply, "spin-full-url"), ["http://localhost/app/x?y"]);
}

#[tokio::test]
async fn connect_has_no_path_and_so_no_route() {
    let running = serve().await;
    let reply = answered(
        running.address(),
        b"CONNECT h.test:80 HTTP/1.1\r\nhost: h.test:80",
    )
    .await;
    assert_eq!((reply.status, reply.text().as_str()), (404, ""));
    assert_eq!(running.stats().requests, 0);
}

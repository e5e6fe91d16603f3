//! `Expect: 100-continue` (RFC 9110 section 10.1.1): a body that is refused is not called for.

use host_test::wire::Reply;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    fixture::{Fixture, skip_without_envoy},
    wire::{Connection, bearer, head, send},
};

const BODY: &[u8] = b"hello";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn upload(credentials: &[u8]) -> Vec<u8> {
    let expect = b"content-length: 5\r\nexpect: 100-continue\r\n";
    head("POST", "/upload", &[credentials, expect].concat())
}

fn is_refused(answer: &Reply, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, reason),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_first_answer_to_an_upload_that_is_refused_is_401_and_no_100_comes_before() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    // `send` reads one answer, whatever its status.
    let answer = send(fixture.address(), &upload(b"")).await;
    is_refused(&answer, "no_credentials");
    let answer = send(fixture.address(), &upload(&bearer("unknown"))).await;
    is_refused(&answer, "inactive");
    assert!(fixture.app.seen().is_empty());
    fixture.finish().await;
}

#[tokio::test]
async fn the_100_of_an_upload_that_is_granted_is_the_services() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    fixture.active("good");
    let mut connection = Connection::open(fixture.address()).await;
    connection.write(&upload(&bearer("good"))).await;
    assert_eq!(connection.read_exactly(CONTINUE.len()).await, CONTINUE);
    connection.write(BODY).await;
    let answer = connection.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "5 bytes"));
    fixture.finish().await;
}

#[tokio::test]
async fn a_service_that_ignores_the_expectation_gets_the_body_of_a_caller_that_waits_no_longer() {
    skip_without_envoy!();
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = service.local_addr().unwrap();
    let (has_head, head_is_there) = oneshot::channel();
    let served = tokio::spawn(async move {
        let (mut stream, _) = service.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        has_head.send(()).unwrap();
        let mut body = [0; BODY.len()];
        stream.read_exact(&mut body).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
        (head, body)
    });
    let fixture = Fixture::start_with(&[], |options, _| {
        options.plugin_json = Some(serde_json::json!({}));
        options.upstream = address;
    })
    .await;
    fixture.active("good");
    let mut connection = Connection::open(fixture.address()).await;
    connection.write(&upload(&bearer("good"))).await;
    head_is_there.await.unwrap();
    connection.write(BODY).await;
    // The first that comes: nobody has said 100 in the service's place.
    let answer = connection.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let (head, body) = served.await.unwrap();
    assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
    assert_eq!(body, BODY);
    fixture.finish().await;
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

//! Requests that wait for one introspection call, and callers that leave meanwhile.

use std::time::Duration;

use bytes::Bytes;
use envoy_runner::MANAGER;
use futures::{StreamExt as _, future::join_all, stream};
use h2::client::SendRequest;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinHandle};
use verify_stub::Reaction;

use crate::{
    fixture::{Fixture, skip_without_envoy},
    wire::{Connection, bearer, get, head},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_with_one_cold_token_ask_once_per_worker() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| options.concurrency = 2).await;
    fixture.active("cold");
    let slow = Reaction::normal().after(Duration::from_millis(1500));
    fixture.stub.script("cold", vec![slow]);
    let to = fixture.address();
    let answers = join_all((0..1000).map(|_| get(to, "/data", "cold"))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let introspections = fixture.stub.introspections_of("cold");
    assert!(
        (1..=2).contains(&introspections),
        "{introspections} questions"
    );
    let stats = fixture.envoy.settled_stats().await.unwrap();
    assert_eq!(
        stats["wasmcustom.trust_triangle_flights_joined"],
        1000 - introspections
    );
    assert_eq!(fixture.decisions("granted").await, 1000);
    fixture.finish().await;
}

#[tokio::test]
async fn an_answer_that_comes_after_its_caller_has_left_serves_those_who_joined() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    fixture.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(800));
    fixture.stub.script("slow", vec![slow]);
    let to = fixture.address();
    // The one that calls.
    let mut first = Connection::open(to).await;
    first.write(&head("GET", "/data", &bearer("slow"))).await;
    until(async || fixture.stub.introspections_of("slow") == 1).await;
    let mut second = Connection::open(to).await;
    second.write(&head("GET", "/data", &bearer("slow"))).await;
    until(async || joined(&fixture).await == 1).await;
    drop(first);
    assert_eq!(second.answer().await.status, 200);
    assert_eq!(fixture.stub.introspections_of("slow"), 1);
    fixture.finish().await;
}

#[tokio::test]
async fn an_answer_that_comes_after_everybody_has_left_does_no_harm() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    fixture.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(300));
    fixture.stub.script("slow", vec![slow]);
    let to = fixture.address();
    for introspections in 1..=5 {
        let mut caller = Connection::open(to).await;
        caller.write(&head("GET", "/data", &bearer("slow"))).await;
        until(async || fixture.stub.introspections_of("slow") == introspections).await;
        drop(caller);
        until(async || answered(&fixture).await == introspections).await;
    }
    assert_eq!(fixture.decisions("granted").await, 0);
    assert_eq!(get(to, "/data", "slow").await.status, 200);
    fixture.finish().await;
}

#[tokio::test]
async fn a_request_is_answered_at_its_own_deadline_even_if_envoy_never_calls_back() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[("timeout", "1")]).await;
    fixture.active("hang");
    fixture.stub.script("hang", vec![Reaction::hang()]);
    let start = std::time::Instant::now();
    let answers = join_all((0..50).map(|_| get(fixture.address(), "/data", "hang"))).await;
    for answer in answers {
        assert_eq!(answer.reason(), "issuer_timeout");
    }
    assert!(start.elapsed() < Duration::from_secs(2));
    fixture.finish().await;
}

#[tokio::test]
async fn a_body_is_held_back_while_the_request_waits_and_arrives_whole() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    fixture.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(300));
    fixture.stub.script("slow", vec![slow]);
    const BODY: usize = 5_000_000;
    let callers = (0..4).map(async |_| {
        let extra = [
            bearer("slow"),
            format!("content-length: {BODY}\r\n").into_bytes(),
        ]
        .concat();
        let mut connection = Connection::open(fixture.address()).await;
        connection.write(&head("POST", "/", &extra)).await;
        connection.write(&vec![b'x'; BODY]).await;
        connection.answer().await
    });
    for answer in join_all(callers).await {
        assert_eq!(answer.text(), format!("{BODY} bytes"));
    }
    assert!(fixture.app.seen().iter().all(|seen| seen.body == BODY));
    fixture.finish().await;
}

/// Streams of one HTTP/2 connection: some are reset while they wait, the others get their answer.
#[tokio::test]
async fn streams_that_are_reset_do_not_take_their_neighbours_along() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    fixture.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(500));
    fixture.stub.script("slow", vec![slow]);
    let (client, driver) = http2(&fixture, &h2::client::Builder::new()).await;
    let streams: Vec<_> = stream::iter(0..100)
        .then(async |_| {
            let mut client = client.clone().ready().await.unwrap();
            client.send_request(slow_request(), true).unwrap()
        })
        .collect()
        .await;
    until(async || joined(&fixture).await == 99).await;
    // The leader is among those that leave.
    for (at, (answer, mut stream)) in streams.into_iter().enumerate() {
        if at % 2 == 0 {
            stream.send_reset(h2::Reason::CANCEL);
        } else {
            assert_eq!(answer.await.unwrap().status(), 200, "{at}");
        }
    }
    assert_eq!(fixture.stub.introspections_of("slow"), 1);
    driver.abort();
    fixture.finish().await;
}

/// A caller who does not read what Envoy answered after a timeout of its own keeps the stream, and
/// so its context, alive.
#[tokio::test]
async fn a_request_that_envoy_has_answered_is_not_decided_any_more() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| {
        let duration = "common_http_protocol_options/max_stream_duration";
        (options.overrides).push((format!("{MANAGER}/{duration}"), json!("0.3s")));
    })
    .await;
    fixture.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(800));
    fixture.stub.script("slow", vec![slow]);
    let (client, driver) = http2(&fixture, h2::client::Builder::new().initial_window_size(0)).await;
    let mut client = client.ready().await.unwrap();
    let (answer, _stream) = client.send_request(slow_request(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 504);
    until(async || answered(&fixture).await == 1).await;
    // Another request, so that whatever the answer to the introspection call has woken is over.
    assert_eq!(get(fixture.address(), "/data", "bad").await.status, 401);
    assert_eq!(fixture.decisions("granted").await, 0);
    driver.abort();
    until(async || fixture.envoy.access_log().len() == 2).await;
    let log = fixture.envoy.access_log();
    let line = log.iter().find(|line| line["status"] == 504).unwrap();
    assert!(line["decision"].is_null(), "{line}");
    fixture.finish().await;
}

/// A connection, and what drives it.
async fn http2(
    fixture: &Fixture,
    builder: &h2::client::Builder,
) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(fixture.address()).await.unwrap();
    let (client, connection) = builder.handshake(socket).await.unwrap();
    (client, tokio::spawn(connection))
}

fn slow_request() -> http::Request<()> {
    let request = http::Request::get("http://b/data").header("authorization", "Bearer slow");
    request.body(()).unwrap()
}

async fn joined(fixture: &Fixture) -> u64 {
    fixture.envoy.stats().await.unwrap()["wasmcustom.trust_triangle_flights_joined"]
}

async fn answered(fixture: &Fixture) -> u64 {
    fixture.envoy.stats().await.unwrap()["wasmcustom.trust_triangle_introspections.outcome.answered"]
}

/// Looks again and again until it is so.
pub(crate) async fn until(is_so: impl AsyncFn() -> bool) {
    let until = tokio::time::Instant::now() + crate::wire::PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < until, "it does not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! Requests that wait for one question, and callers that leave meanwhile.

use std::time::Duration;

use bytes::Bytes;
use envoy_runner::MANAGER;
use futures::{StreamExt as _, future::join_all, stream};
use h2::client::SendRequest;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinHandle};
use verify_stub::Reaction;

use crate::{
    wire::{Connection, bearer, get, head},
    world::{World, skip_without_envoy},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_with_one_cold_token_ask_once_per_worker() {
    skip_without_envoy!();
    let world = World::start_with(&[], |options, _| options.concurrency = 2).await;
    world.active("cold");
    let slow = Reaction::normal().after(Duration::from_millis(1500));
    world.stub.script("cold", vec![slow]);
    let to = world.address();
    let answers = join_all((0..1000).map(|_| get(to, "/data", "cold"))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let asked = world.stub.introspections_of("cold");
    assert!((1..=2).contains(&asked), "{asked} questions");
    let stats = world.envoy.stats().await.unwrap();
    assert_eq!(
        stats["wasmcustom.trust_triangle_flights_joined"],
        1000 - asked
    );
    assert_eq!(world.decisions("granted").await, 1000);
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_comes_after_its_caller_has_left_serves_those_who_joined() {
    skip_without_envoy!();
    let world = World::start(&[]).await;
    world.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(800));
    world.stub.script("slow", vec![slow]);
    let to = world.address();
    // The one that asks.
    let mut first = Connection::open(to).await;
    first.write(&head("GET", "/data", &bearer("slow"))).await;
    until(async || world.stub.introspections_of("slow") == 1).await;
    let mut second = Connection::open(to).await;
    second.write(&head("GET", "/data", &bearer("slow"))).await;
    until(async || joined(&world).await == 1).await;
    drop(first);
    assert_eq!(second.answer().await.status, 200);
    assert_eq!(world.stub.introspections_of("slow"), 1);
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_comes_after_everybody_has_left_does_no_harm() {
    skip_without_envoy!();
    let world = World::start(&[]).await;
    world.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(300));
    world.stub.script("slow", vec![slow]);
    let to = world.address();
    for asked in 1..=5 {
        let mut caller = Connection::open(to).await;
        caller.write(&head("GET", "/data", &bearer("slow"))).await;
        until(async || world.stub.introspections_of("slow") == asked).await;
        drop(caller);
        until(async || answered(&world).await == asked).await;
    }
    assert_eq!(world.decisions("granted").await, 0);
    assert_eq!(get(to, "/data", "slow").await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn a_request_is_answered_at_its_own_deadline_even_if_envoy_never_calls_back() {
    skip_without_envoy!();
    let world = World::start(&[("timeout", "1")]).await;
    world.active("hang");
    world.stub.script("hang", vec![Reaction::hang()]);
    let start = std::time::Instant::now();
    let answers = join_all((0..50).map(|_| get(world.address(), "/data", "hang"))).await;
    for answer in answers {
        assert_eq!(answer.reason(), "issuer_timeout");
    }
    assert!(start.elapsed() < Duration::from_secs(2));
    world.finish().await;
}

#[tokio::test]
async fn a_body_is_held_back_while_the_request_waits_and_arrives_whole() {
    skip_without_envoy!();
    let world = World::start_with_app(&[]).await;
    world.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(300));
    world.stub.script("slow", vec![slow]);
    const BODY: usize = 5_000_000;
    let callers = (0..4).map(async |_| {
        let extra = [
            bearer("slow"),
            format!("content-length: {BODY}\r\n").into_bytes(),
        ]
        .concat();
        let mut connection = Connection::open(world.address()).await;
        connection.write(&head("POST", "/", &extra)).await;
        connection.write(&vec![b'x'; BODY]).await;
        connection.answer().await
    });
    for answer in join_all(callers).await {
        assert_eq!(answer.text(), format!("{BODY} bytes"));
    }
    assert!(world.app.seen().iter().all(|seen| seen.body == BODY));
    world.finish().await;
}

/// Streams of one HTTP/2 connection: some are reset while they wait, the others get their answer.
#[tokio::test]
async fn streams_that_are_reset_do_not_take_their_neighbours_along() {
    skip_without_envoy!();
    let world = World::start(&[]).await;
    world.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(500));
    world.stub.script("slow", vec![slow]);
    let (client, driver) = http2(&world, &h2::client::Builder::new()).await;
    let streams: Vec<_> = stream::iter(0..100)
        .then(async |_| {
            let mut client = client.clone().ready().await.unwrap();
            client.send_request(slow_request(), true).unwrap()
        })
        .collect()
        .await;
    until(async || joined(&world).await == 99).await;
    // The leader is among those that leave.
    for (at, (answer, mut stream)) in streams.into_iter().enumerate() {
        if at % 2 == 0 {
            stream.send_reset(h2::Reason::CANCEL);
        } else {
            assert_eq!(answer.await.unwrap().status(), 200, "{at}");
        }
    }
    assert_eq!(world.stub.introspections_of("slow"), 1);
    driver.abort();
    world.finish().await;
}

/// A caller who does not read what Envoy answered after a timeout of its own keeps the stream, and
/// so its context, alive.
#[tokio::test]
async fn a_request_that_envoy_has_answered_is_not_decided_any_more() {
    skip_without_envoy!();
    let world = World::start_with(&[], |options, _| {
        let duration = "common_http_protocol_options/max_stream_duration";
        (options.overrides).push((format!("{MANAGER}/{duration}"), json!("0.3s")));
    })
    .await;
    world.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(800));
    world.stub.script("slow", vec![slow]);
    let (client, driver) = http2(&world, h2::client::Builder::new().initial_window_size(0)).await;
    let mut client = client.ready().await.unwrap();
    let (answer, _stream) = client.send_request(slow_request(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 504);
    until(async || answered(&world).await == 1).await;
    // Another request, so that whatever the answer to the question has woken is over.
    assert_eq!(get(world.address(), "/data", "bad").await.status, 401);
    assert_eq!(world.decisions("granted").await, 0);
    driver.abort();
    until(async || world.envoy.access_log().len() == 2).await;
    let log = world.envoy.access_log();
    let line = log.iter().find(|line| line["status"] == 504).unwrap();
    assert!(line["decision"].is_null(), "{line}");
    world.finish().await;
}

/// A connection, and what drives it.
async fn http2(
    world: &World,
    builder: &h2::client::Builder,
) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(world.address()).await.unwrap();
    let (client, connection) = builder.handshake(socket).await.unwrap();
    (client, tokio::spawn(connection))
}

fn slow_request() -> http::Request<()> {
    let request = http::Request::get("http://b/data").header("authorization", "Bearer slow");
    request.body(()).unwrap()
}

async fn joined(world: &World) -> u64 {
    world.envoy.stats().await.unwrap()["wasmcustom.trust_triangle_flights_joined"]
}

async fn answered(world: &World) -> u64 {
    world.envoy.stats().await.unwrap()["wasmcustom.trust_triangle_introspections.outcome.answered"]
}

/// Looks again and again until it is so.
pub(crate) async fn until(is_so: impl AsyncFn() -> bool) {
    let until = tokio::time::Instant::now() + crate::wire::PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < until, "it does not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

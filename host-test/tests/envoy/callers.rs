//! Ten thousand callers of a kind.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use verify_stub::Reaction;

use crate::{
    fixture::{Fixture, skip_without_envoy},
    waiting::until,
    wire::{Connection, bearer, get, head},
};

const CALLERS: usize = 10_000;
/// How long the issuer takes.
const ANSWER: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_callers_that_leave_during_an_introspection_call_do_no_harm() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| options.concurrency = 2).await;
    // Few tokens, so that many wait for a introspection call whose asker leaves.
    for token in 0..50 {
        let token = format!("t{token}");
        fixture.active(&token);
        let slow = Reaction::normal().after(ANSWER);
        fixture.stub.script(&token, vec![slow]);
    }
    let to = fixture.address();
    stream::iter(0..CALLERS)
        .for_each_concurrent(200, async |caller| {
            let mut connection = Connection::open(to).await;
            let token = format!("t{}", caller % 50);
            connection
                .write(&head("GET", "/data", &bearer(&token)))
                .await;
            // From "before Envoy has read it" to "after the answer", by a fixed hash of the number.
            let hash = (caller as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            tokio::time::sleep(2 * ANSWER * u32::try_from(hash % 1000).unwrap() / 1000).await;
        })
        .await;
    until(async || {
        let stats = fixture.envoy.stats().await.unwrap();
        stats["http.service_b.downstream_rq_active"] == 0
            && stats["cluster.issuer_http.upstream_rq_active"] == 0
    })
    .await;
    for token in 0..50 {
        let answer = get(to, "/data", &format!("t{token}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let stats = fixture.envoy.stats().await.unwrap();
    // It was what it should be: callers left before, while and after they waited.
    let left = stats["http.service_b.downstream_rq_rx_reset"];
    let granted = fixture.decisions("granted").await;
    assert!(
        left > 1000 && granted > 1000,
        "{left} left, {granted} stayed"
    );
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_refusals_while_the_body_still_arrives_do_no_harm() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    let to = fixture.address();
    let body = vec![b'x'; 20_000];
    stream::iter(0..CALLERS)
        .for_each_concurrent(50, async |caller| {
            let credentials = match caller % 3 {
                0 => Vec::new(),
                1 => bearer("unknown"),
                _ => b"authorization: Bearer \xff\r\n".to_vec(),
            };
            let length = format!("content-length: {}\r\n", body.len()).into_bytes();
            let mut connection = Connection::open(to).await;
            let request = head("POST", "/", &[credentials, length].concat());
            connection.write(&request).await;
            connection.write_what_is_taken(&body).await;
            let answer = connection.answer().await;
            assert!([400, 401].contains(&answer.status), "{answer:?}");
        })
        .await;
    assert!(fixture.app.seen().is_empty());
    fixture.finish().await;
}

#[tokio::test]
async fn a_body_without_end_is_not_kept_for_a_request_that_is_refused() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    let before = fixture.envoy.rss_bytes().unwrap();
    let mut connection = Connection::open(fixture.address()).await;
    connection
        .write(&head("POST", "/", b"content-length: 1000000000\r\n"))
        .await;
    let piece = vec![b'x'; 1_000_000];
    for _ in 0..1000 {
        if !connection.write_what_is_taken(&piece).await {
            break;
        }
    }
    let answer = connection.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, "no_credentials")
    );
    let grown = fixture.envoy.rss_bytes().unwrap().saturating_sub(before);
    assert!(grown < 20_000_000, "{grown} bytes");
    assert!(fixture.app.seen().is_empty());
    fixture.finish().await;
}

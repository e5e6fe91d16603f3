//! An issuer in trouble: 503 with Retry-After and no challenge, in time, and never a way in.

use std::time::{Duration, Instant};

use host_test::wire::Reply;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use verify_stub::{Reaction, StubOptions, StubResponse, StubTls, VerifyStub};

use crate::{
    fixture::{Fixture, active, skip_without_envoy},
    wire::get,
};

/// The shortest that can be set.
const TIMEOUT: Duration = Duration::from_secs(1);
/// What the issue allows on top.
const GRACE: Duration = Duration::from_secs(1);

fn is_unavailable(answer: &Reply, reason: &str) {
    assert_eq!(answer.status, 503, "{reason}: {answer:?}");
    assert_eq!(answer.reason(), reason);
    assert_eq!(answer.header("retry-after"), ["1"], "{reason}");
    assert!(answer.header("www-authenticate").is_empty(), "{reason}");
}

#[tokio::test]
async fn whatever_the_issuer_does_the_caller_gets_a_503_in_time() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[("timeout", "1"), ("breaker_faults", "0")]).await;
    let json = |status| StubResponse::json(status, &json!({"error": "scripted"}));
    let every = Duration::from_millis(100);
    let rows: Vec<(&str, Reaction)> = vec![
        ("issuer_timeout", Reaction::hang()),
        (
            "issuer_timeout",
            Reaction::normal().after(Duration::from_secs(5)),
        ),
        ("issuer_timeout", Reaction::drip(None, every)),
        (
            "issuer_timeout",
            Reaction::raw_drip("HTTP/1.1 200 OK\r\ncontent-type: a", every),
        ),
        ("issuer_unreachable", Reaction::reset()),
        ("issuer_unreachable", Reaction::drop_connection()),
        ("issuer_unreachable", Reaction::cut(None, 5)),
        ("issuer_unreachable", Reaction::raw("nonsense\r\n\r\n")),
        ("issuer_answer_too_large", Reaction::huge(80_000)),
        ("issuer_answer_too_large", Reaction::huge(1_000_000)),
        // Envoy itself gives up at `http.async_response_buffer_limit`, and does not say why.
        ("issuer_unreachable", Reaction::huge(1_000_000_000)),
        (
            "issuer_failed",
            json(StatusCode::INTERNAL_SERVER_ERROR).into(),
        ),
        (
            "issuer_failed",
            json(StatusCode::SERVICE_UNAVAILABLE).into(),
        ),
        ("issuer_failed", json(StatusCode::GATEWAY_TIMEOUT).into()),
        (
            "issuer_overloaded",
            json(StatusCode::TOO_MANY_REQUESTS).into(),
        ),
        (
            "issuer_rejected_client",
            StubResponse::request_unauthorized().into(),
        ),
        (
            "issuer_redirected",
            StubResponse::redirect(
                StatusCode::FOUND,
                HeaderValue::from_static("http://127.0.0.1:1/"),
            )
            .into(),
        ),
        (
            "issuer_unexpected_status",
            StubResponse::unknown_url().into(),
        ),
        // A name that is not ASCII must not trap the VM either.
        (
            "issuer_unreachable",
            Reaction::raw(&b"HTTP/1.1 200 OK\r\nx-\xff: 1\r\ncontent-length: 0\r\n\r\n"[..]),
        ),
        (
            "issuer_not_json",
            Reaction::raw(
                &b"HTTP/1.1 200 OK\r\ncontent-type: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}"[..],
            ),
        ),
    ];
    for (at, (reason, reaction)) in rows.into_iter().enumerate() {
        let token = format!("t{at}");
        fixture.active(&token);
        fixture.stub.script(&token, vec![reaction]);
        let start = Instant::now();
        let answer = get(fixture.address(), "/data", &token).await;
        is_unavailable(&answer, reason);
        let took = start.elapsed();
        assert!(took < TIMEOUT + GRACE, "{at} {reason}: {took:?}");
        assert!(fixture.stub.introspections_of(&token) <= 2, "{at} {reason}");
    }
    assert!(fixture.app.seen().is_empty());
    // Nothing of that is left behind.
    fixture.active("good");
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 200);
    // Both grew by 1 GB if the body was kept.
    assert!(fixture.envoy.rss_bytes().unwrap() < 300_000_000);
    fixture.finish().await;
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_unreachable_and_back_as_soon_as_it_is_back() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    fixture.active("good");
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 200);
    fixture.stub.down().await;
    is_unavailable(
        &get(fixture.address(), "/data", "good").await,
        "issuer_unreachable",
    );
    fixture.stub.up().await.unwrap();
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 200);
    fixture.finish().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_once_more_and_an_answer_never() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    for (token, first) in [
        ("reset", Reaction::reset()),
        ("drop", Reaction::drop_connection()),
        ("cut", Reaction::cut(None, 5)),
    ] {
        fixture.active(token);
        fixture.stub.script(token, vec![first, Reaction::normal()]);
        assert_eq!(
            get(fixture.address(), "/data", token).await.status,
            200,
            "{token}"
        );
        assert_eq!(fixture.stub.introspections_of(token), 2, "{token}");
    }
    fixture.active("failed");
    let failed = StubResponse::json(StatusCode::BAD_GATEWAY, &json!({})).into();
    fixture
        .stub
        .script("failed", vec![failed, Reaction::normal()]);
    assert_eq!(get(fixture.address(), "/data", "failed").await.status, 503);
    assert_eq!(fixture.stub.introspections_of("failed"), 1);
    fixture.finish().await;
}

#[tokio::test]
async fn an_https_issuer_is_believed_only_with_a_certificate_for_its_name_from_a_trusted_root() {
    skip_without_envoy!();
    let stub = VerifyStub::start(StubOptions {
        tls: Some(StubTls::default()),
        host: Some("localhost".to_owned()),
        ..StubOptions::default()
    })
    .await
    .unwrap();
    stub.register("good", &active());
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), stub.certificate().unwrap().pem.as_str()).unwrap();
    let trusted = "/static_resources/clusters/issuer_https/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca";
    for (trust, status) in [(true, 200), (false, 503)] {
        let fixture = Fixture::start_with(&[], |options, _| {
            options.settings = crate::fixture::exports(&stub, &[("timeout", "2")]);
            if trust {
                let file = json!({ "filename": root.path() });
                options.overrides.push((trusted.to_owned(), file));
            }
        })
        .await;
        let before = stub.introspections_of("good");
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(answer.status, status, "{answer:?}");
        if !trust {
            is_unavailable(&answer, "issuer_unreachable");
            assert_eq!(stub.introspections_of("good"), before);
        }
        fixture.finish().await;
    }
}

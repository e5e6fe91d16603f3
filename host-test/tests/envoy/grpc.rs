//! What Envoy takes for gRPC: a refusal has status 200 only if it is.

use http::{HeaderMap, Method, Request, StatusCode, Version};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    fixture::{Fixture, skip_without_envoy},
    waiting::until,
    wire::{bearer, head, send},
};

/// Status and headers of the answer to a request over HTTP/2.
async fn http2(
    fixture: &Fixture,
    method: Method,
    headers: &[(&'static str, &str)],
) -> (StatusCode, HeaderMap) {
    let stream = TcpStream::connect(fixture.address()).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .version(Version::HTTP_2)
        .uri("http://b/helloworld.Greeter/SayHello");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (answer, _) = sender
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let (parts, _) = answer.await.unwrap().into_parts();
    connection.abort();
    (parts.status, parts.headers)
}

#[tokio::test]
async fn f16_a_refusal_of_real_grpc_is_200_with_its_own_status_which_log_and_metrics_tell() {
    skip_without_envoy!();
    let fixture =
        Fixture::start(&[("rules", r#"[{"path":{"exact":"/closed"},"deny":true}]"#)]).await;
    let real = [("content-type", "application/grpc"), ("te", "trailers")];
    let (status, headers) = http2(&fixture, Method::POST, &real).await;
    assert_eq!(
        (status, &headers["grpc-status"]),
        (StatusCode::OK, &"16".parse().unwrap())
    );
    assert!(
        headers["grpc-message"]
            .to_str()
            .unwrap()
            .contains("no_credentials")
    );

    let with_token = [real[0], real[1], ("authorization", "Bearer bad")];
    let (status, headers) = http2(&fixture, Method::POST, &with_token).await;
    assert_eq!(
        (status, &headers["grpc-status"]),
        (StatusCode::OK, &"16".parse().unwrap())
    );

    assert_eq!(fixture.decisions("no_credentials").await, 1);
    assert_eq!(fixture.decisions("inactive").await, 1);
    until(async || fixture.envoy.access_log().len() == 2).await;
    for (line, reason) in fixture
        .envoy
        .access_log()
        .iter()
        .zip(["no_credentials", "inactive"])
    {
        let told = json!([
            line["status"],
            line["grpc_status"],
            line["decision"],
            line["reason"]
        ]);
        assert_eq!(told, json!([200, "Unauthenticated", "refused", reason]));
    }
    fixture.finish().await;
}

#[tokio::test]
async fn f16_a_refusal_of_what_only_looks_like_grpc_has_the_status_of_any_other() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(
        &[("rules", r#"[{"path":{"exact":"/closed"},"deny":true}]"#)],
        |options, _| options.concurrency = 2,
    )
    .await;
    let kind = ("content-type", "application/grpc");
    let te = ("te", "trailers");
    let mut reasons = Vec::new();
    // Over HTTP/2.
    for (method, headers) in [
        (Method::GET, vec![kind, te]),
        (Method::POST, vec![kind]),
        (
            Method::POST,
            vec![("content-type", "application/grpc+proto")],
        ),
    ] {
        let (status, headers) = http2(&fixture, method, &headers).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{headers:?}");
        assert_eq!(headers["www-authenticate"], r#"Bearer realm="service-b""#);
        for gone in ["grpc-status", "grpc-message", "content-type"] {
            assert!(!headers.contains_key(gone), "{gone}: {headers:?}");
        }
        reasons.push((401, "no_credentials"));
    }
    // Over HTTP/1.1: at once, after a call, by a rule, and if it is malformed.
    let lines = b"content-type: application/grpc\r\nte: trailers\r\ncontent-length: 0\r\n";
    let ask = async |path: &str, more: &[u8]| {
        let bytes = head("POST", path, &[lines.as_slice(), more].concat());
        send(fixture.address(), &bytes).await
    };
    let answers = [
        (ask("/x", b"").await, 401, "no_credentials"),
        (ask("/x", &bearer("bad")).await, 401, "inactive"),
        (ask("/closed", &bearer("bad")).await, 403, "denied_by_rule"),
        (
            ask("/x", b"authorization: Bearer a b\r\n").await,
            400,
            "malformed_authorization",
        ),
    ];
    for (answer, status, reason) in answers {
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, 0),
            "{answer:?}"
        );
        assert!(answer.header("grpc-status").is_empty(), "{answer:?}");
        reasons.push((status, reason));
    }
    until(async || fixture.envoy.access_log().len() == reasons.len()).await;
    for (line, (status, reason)) in fixture.envoy.access_log().iter().zip(&reasons) {
        let told = json!([line["status"], line["decision"], line["reason"]]);
        assert_eq!(told, json!([status, "refused", reason]));
    }
    let stats = fixture.envoy.stats().await.unwrap();
    assert_eq!(stats["http.service_b.downstream_rq_2xx"], 0);
    assert_eq!(stats["http.service_b.downstream_rq_4xx"], 7);
    fixture.finish().await;
}

/// What the service answers is not the filter's business, and nor is what Envoy answers itself.
#[tokio::test]
async fn an_answer_that_is_no_refusal_of_the_filter_stays_as_it_is() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| {
        options.plugin_json = Some(json!({}));
        options.upstream = ([127, 0, 0, 1], 1).into();
    })
    .await;
    fixture.active("good");
    let lines = b"content-type: application/grpc\r\ncontent-length: 0\r\n";
    let bytes = head("POST", "/x", &[lines.as_slice(), &bearer("good")].concat());
    let answer = send(fixture.address(), &bytes).await;
    assert_eq!(
        (answer.status, answer.header("grpc-status")),
        (200, vec!["14"])
    );
    until(async || fixture.envoy.access_log().len() == 1).await;
    let line = &fixture.envoy.access_log()[0];
    assert_eq!(
        (&line["client_id"], &line["decision"], &line["reason"]),
        (&json!("caller"), &Value::Null, &Value::Null)
    );
    fixture.finish().await;
}

//! Requests that no client sends by accident: each gets an answer, none traps the VM.

use envoy_runner::PLUGIN;
use serde_json::json;

use crate::{
    fixture::{Fixture, skip_without_envoy},
    wire::{bearer, get, head, send},
};

#[tokio::test]
async fn every_byte_from_0x80_up_in_authorization_is_a_400_and_no_trap() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    for byte in 0x80..=0xff_u8 {
        for value in [
            [b"Bearer a".as_slice(), &[byte]].concat(),
            vec![byte],
            [b"Bearer ".as_slice(), &[byte], b"a"].concat(),
            [b"Bea".as_slice(), &[byte], b"er a"].concat(),
        ] {
            let extra = [b"authorization: ".as_slice(), &value, b"\r\n"].concat();
            // A connection each: Envoy closes one after a 400.
            let answer = send(fixture.address(), &head("GET", "/", &extra)).await;
            assert_eq!(answer.status, 400, "{value:?}: {answer:?}");
            assert_eq!(answer.reason(), "malformed_authorization");
        }
    }
    assert!(fixture.app.seen().is_empty());
    assert_eq!(fixture.stub.counters().introspect, 0);
    fixture.finish().await;
}

#[tokio::test]
async fn odd_credentials_get_the_answer_of_the_core() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    fixture.active("good");
    let long = [b"Bearer ".as_slice(), &vec![b'a'; 16 * 1024 + 1]].concat();
    let rows: Vec<(&[u8], u16, &str)> = vec![
        (b"", 400, "malformed_authorization"),
        (b" ", 400, "malformed_authorization"),
        (b"Bearer", 400, "malformed_authorization"),
        (b"Bearer\tgood", 400, "malformed_authorization"),
        (b"Bearer good,good", 400, "malformed_authorization"),
        (b"Bearer good,Bearer good", 400, "repeated_authorization"),
        (b"Basic YTpi", 401, "unsupported_scheme"),
        (&long, 400, "token_too_long"),
        // Envoy joins lines of one name with a comma before any filter sees them.
        (
            b"Bearer good\r\nauthorization: Bearer good",
            400,
            "repeated_authorization",
        ),
        (
            b"Basic YTpi\r\nauthorization: Bearer good",
            400,
            "repeated_authorization",
        ),
    ];
    for (value, status, reason) in rows {
        let extra = [b"authorization: ".as_slice(), value, b"\r\n"].concat();
        let answer = send(fixture.address(), &head("GET", "/", &extra)).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (status, reason),
            "{answer:?}"
        );
    }
    let answer = send(
        fixture.address(),
        &head("GET", "/?a=1&access%5Ftoken=good", &bearer("good")),
    )
    .await;
    assert_eq!(answer.reason(), "token_in_query");
    for scheme in ["bearer", "BEARER"] {
        let extra = format!("Authorization: {scheme}  good\r\n");
        let answer = send(fixture.address(), &head("GET", "/", extra.as_bytes())).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(fixture.app.seen().len(), 2);
    fixture.finish().await;
}

#[tokio::test]
async fn what_envoy_refuses_itself_never_reaches_the_filter_or_the_app() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    fixture.active("good");
    let big = [b"x: ".as_slice(), &vec![b'a'; 64 * 1024], b"\r\n"].concat();
    let many = b"x: 1\r\n".repeat(101);
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("OPTIONS *", head("OPTIONS", "*", &bearer("good")), 404),
        (
            "a NUL",
            head("GET", "/", b"authorization: Bearer a\0b\r\n"),
            400,
        ),
        (
            "a name of other bytes",
            head("GET", "/", b"x-\xff: 1\r\n"),
            400,
        ),
        ("a path of other bytes", head("GET", "/\u{ff}", b""), 400),
        ("64 KiB in a header", head("GET", "/", &big), 431),
        ("101 headers", head("GET", "/", &many), 431),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n".to_vec(), 426),
        (
            "an upgrade",
            head(
                "GET",
                "/",
                &[
                    bearer("good"),
                    b"connection: upgrade\r\nupgrade: websocket\r\n".to_vec(),
                ]
                .concat(),
            ),
            403,
        ),
    ];
    for (name, bytes, status) in rows {
        assert_eq!(
            send(fixture.address(), &bytes).await.status,
            status,
            "{name}"
        );
    }
    assert!(fixture.app.seen().is_empty());
    assert_eq!(fixture.stub.counters().introspect, 0);
    assert_eq!(get(fixture.address(), "/", "good").await.status, 200);
    fixture.finish().await;
}

#[tokio::test]
async fn a_request_without_a_path_is_checked_too() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    fixture.active("good");
    let connect = |extra: &[u8]| head("CONNECT", "h:443", extra);
    let answer = send(fixture.address(), &connect(b"")).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, "no_credentials")
    );
    let answer = send(fixture.address(), &connect(&bearer("bad"))).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "inactive"));
    // Let in, and no route leads on.
    assert_eq!(
        send(fixture.address(), &connect(&bearer("good")))
            .await
            .status,
        404
    );
    assert!(fixture.app.seen().is_empty());
    fixture.finish().await;
}

#[tokio::test]
async fn forwarding_headers_of_a_caller_change_nothing() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    fixture.active("good");
    for header in [
        "x-envoy-original-path: /health",
        "x-envoy-decorator-operation: health",
        "x-forwarded-uri: /health",
        "x-original-url: /health",
        "x-forwarded-for: 127.0.0.1",
        "x-envoy-internal: true",
    ] {
        let answer = send(
            fixture.address(),
            &head("GET", "/", format!("{header}\r\n").as_bytes()),
        )
        .await;
        assert_eq!(answer.reason(), "no_credentials", "{header}");
        let extra = [bearer("good"), format!("{header}\r\n").into_bytes()].concat();
        let answer = send(fixture.address(), &head("GET", "/here", &extra)).await;
        assert_eq!(answer.status, 200, "{header}");
        assert_eq!(fixture.app.seen().last().unwrap().path, "/here");
    }
    let options = send(fixture.address(), &head("OPTIONS", "/", b"")).await;
    assert_eq!(options.reason(), "no_credentials");
    fixture.finish().await;
}

/// Where a plugin says whether Envoy holds the rest of a request back while its head waits. Other
/// plugins tell users to.
const ON_HEADERS_STOP: &str = "allow_on_headers_stop_iteration";

#[tokio::test]
async fn a_body_waits_as_its_head_does_even_where_envoy_would_not_hold_it_back() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| {
        options.plugin_json = Some(json!({}));
        options
            .overrides
            .push((format!("{PLUGIN}/{ON_HEADERS_STOP}"), json!(true)));
    })
    .await;
    fixture.active("good");
    for (token, status, seen) in [("bad", 401, 0), ("good", 200, 2)] {
        let sized = [&bearer(token)[..], b"content-length: 5\r\n"].concat();
        let chunked = [&bearer(token)[..], b"transfer-encoding: chunked\r\n"].concat();
        let sized = [head("POST", "/x", &sized), b"hello".to_vec()].concat();
        let chunked = [
            head("POST", "/x", &chunked),
            b"5\r\nhello\r\n0\r\n\r\n".to_vec(),
        ]
        .concat();
        for request in [sized, chunked] {
            assert_eq!(send(fixture.address(), &request).await.status, status);
        }
        assert_eq!(fixture.app.seen().len(), seen, "{token}");
    }
    for seen in fixture.app.seen() {
        assert_eq!(seen.body, 5);
        assert_eq!(seen.values("x-auth-client-id"), ["caller"]);
        assert!(seen.values("authorization").is_empty());
    }
    fixture.finish().await;
}

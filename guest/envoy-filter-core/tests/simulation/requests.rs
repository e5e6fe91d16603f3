//! What is done to a request: edited and forwarded, or answered.

use core::time::Duration;

use envoy_filter_core::host::{Action, LogLevel};
use serde_json::json;

use crate::fake::{
    Configuration, Response, StreamEnd, Worker, active, inactive, lines, ms, request,
};

/// A worker whose cache holds the token `a`.
fn with_cached_token(mut settings: serde_json::Value) -> Worker {
    settings["cache_ttl"] = json!(60);
    let mut worker = Worker::new(&Configuration::new(settings));
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.respond_to_only(active("client"));
    worker.end_stream(stream);
    worker.host_calls();
    worker.log();
    worker
}

#[test]
fn a_cached_request_costs_five_host_calls_and_one_of_them_copies_data_in() {
    let mut worker = with_cached_token(json!({}));
    let stream = worker.request(request("a"));
    assert!(worker.stream(stream).is_forwarded());
    assert_eq!(
        worker.host_calls(),
        [
            "request_headers",
            "now",
            "add_request_header",
            "add_request_header",
            "remove_request_header",
        ]
    );
}

#[test]
fn identity_headers_of_the_caller_are_replaced_and_its_token_removed() {
    let mut worker = with_cached_token(json!({}));
    let mut headers = request("a");
    headers.extend(lines(&[
        ("x-auth-client-id", "forged"),
        ("x_auth.subject", "forged"),
        ("x-auth-user", "kept"),
    ]));
    let stream = worker.request(headers);
    let stream = worker.stream(stream);
    assert!(stream.is_forwarded());
    assert_eq!(stream.values("x-auth-client-id"), ["client"]);
    assert_eq!(stream.values("x_auth.subject"), [""; 0]);
    assert_eq!(stream.values("x-auth-user"), ["kept"]);
    assert_eq!(stream.values("authorization"), [""; 0]);
    assert_eq!(stream.values("x-auth-claims").len(), 1);
}

#[test]
fn the_token_is_forwarded_if_configured() {
    let mut worker = with_cached_token(json!({"forward_token": true}));
    let stream = worker.request(request("a"));
    let stream = worker.stream(stream);
    assert!(stream.is_forwarded());
    assert_eq!(stream.values("authorization"), ["Bearer a"]);
}

#[test]
fn a_granted_request_has_filter_state_if_configured() {
    for (settings, client_id) in [
        (json!({}), None),
        (json!({ "filter_state": "refused" }), None),
        (json!({ "filter_state": "all" }), Some("client")),
    ] {
        let mut worker = with_cached_token(settings);
        let stream = worker.request(request("a"));
        let state = worker.stream(stream).filter_state;
        let shown = state.get("auth_client_id").map(String::as_str);
        assert_eq!(shown, client_id);
        let decision = state.get("auth_decision").map(String::as_str);
        assert_eq!(decision, client_id.map(|_| "granted"));
    }
}

#[test]
fn a_refused_request_gets_the_complete_response() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(lines(&[(":method", "GET"), (":path", "/")]));
    let stream = worker.stream(stream);
    let body = r#"{"error":"invalid_token","error_description":"An access token is needed.","reason":"no_credentials"}"#;
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let answered = StreamEnd::Answered {
        status: 401,
        headers: vec![
            header("content-type", "application/json"),
            header("content-length", &body.len().to_string()),
            header("cache-control", "no-store"),
            header("www-authenticate", r#"Bearer realm="service-b""#),
        ],
        body: body.to_owned(),
    };
    assert_eq!(stream.end.map(|(end, _)| end), Some(answered));
    assert_eq!(stream.filter_state["auth_decision"], "refused");
    assert_eq!(stream.filter_state["auth_reason"], "no_credentials");
    assert_eq!(worker.metric("decisions.reason.no_credentials"), [1]);
}

#[test]
fn what_requests_count_is_handed_to_envoy_within_half_a_second_and_the_timer_stops() {
    let mut worker = with_cached_token(json!({}));
    worker.advance(ms(500));
    assert_eq!(worker.tick_period(), Duration::ZERO);
    worker.host_calls();
    worker.request(request("a"));
    assert_eq!(worker.tick_period(), ms(500));
    worker.advance(ms(500));
    let calls = worker.host_calls();
    let handed = calls.iter().filter(|name| **name == "increment_metric");
    assert_eq!(handed.count(), 2);
    assert_eq!(worker.tick_period(), Duration::ZERO);
    assert_eq!(worker.metric("decisions.reason.granted"), [1, 1]);
    for (cache, uses) in [("hit", 1), ("miss", 1), ("stale", 0)] {
        let metric = worker.metric(&format!("cache.use.{cache}"));
        assert_eq!(metric.len(), uses, "{cache}");
    }
}

#[test]
fn a_request_that_envoy_does_not_let_the_filter_edit_is_refused() {
    let mut worker = with_cached_token(json!({}));
    let stream = worker.request_with(request("a"), |stream| stream.is_read_only = true);
    let misconfigured = Some((503, "misconfigured".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), misconfigured);
    let line = "Envoy did not let the filter edit the request headers";
    assert_eq!(worker.log(), [(LogLevel::Error, line.to_owned())]);
    assert_eq!(worker.metric("decisions.reason.misconfigured"), [1]);
}

#[test]
fn a_request_whose_forged_headers_cannot_be_removed_is_refused_before_its_token_is_looked_at() {
    let mut worker = Worker::new(&Configuration::default());
    let mut headers = request("a");
    headers.extend(lines(&[("x-auth-subject", "forged")]));
    let stream = worker.request_with(headers, |stream| stream.is_read_only = true);
    let misconfigured = Some((503, "misconfigured".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), misconfigured);
    assert_eq!(worker.run_posted(), 0);
}

#[test]
fn forged_trailers_that_cannot_be_removed_stop_the_request() {
    let mut worker = with_cached_token(json!({}));
    let stream = worker.request(request("a"));
    assert!(worker.stream(stream).is_forwarded());
    let forged = || lines(&[("x-auth-subject", "forged"), ("x-checksum", "1")]);
    assert_eq!(worker.trailers(stream, forged()), Action::Continue);
    assert_eq!(
        worker.stream(stream).trailers,
        lines(&[("x-checksum", "1")])
    );

    let mut headers = request("a");
    headers.retain(|(name, _)| name != "authorization");
    let mut worker = Worker::new(&Configuration::new(
        json!({"rules": [{"path": {"prefix": "/"}, "public": true}], "forward_token": true}),
    ));
    let stream = worker.request_with(headers, |stream| stream.is_read_only = true);
    assert!(worker.stream(stream).is_forwarded());
    assert_eq!(worker.trailers(stream, forged()), Action::Pause);
}

/// RFC 9110 section 6.5.1. Also with `forward_token`: nobody asked the issuer about this one.
#[test]
fn credentials_in_trailers_do_not_go_on() {
    for settings in [json!({}), json!({"forward_token": true})] {
        let mut worker = with_cached_token(settings);
        let stream = worker.request(request("a"));
        assert!(worker.stream(stream).is_forwarded());
        let trailers = lines(&[
            ("authorization", "Bearer a"),
            ("Authorization", "Bearer another"),
            ("x-authorization", "1"),
            ("x-checksum", "1"),
        ]);
        assert_eq!(worker.trailers(stream, trailers), Action::Continue);
        assert_eq!(
            worker.stream(stream).trailers,
            lines(&[("x-authorization", "1"), ("x-checksum", "1")])
        );
    }
}

#[test]
fn the_path_of_whoami_is_answered_by_the_filter() {
    let mut worker = with_cached_token(json!({"whoami_path": "/data"}));
    for (method, path, status) in [
        ("GET", "/data", Some(200)),
        ("GET", "/data?x=1", Some(200)),
        ("POST", "/data", Some(405)),
        ("GET", "/data/", None),
    ] {
        let stream = worker.request(lines(&[
            (":method", method),
            (":path", path),
            ("authorization", "Bearer a"),
        ]));
        let answered = match worker.stream(stream).end {
            Some((StreamEnd::Answered { status, .. }, _)) => Some(status),
            _ => None,
        };
        assert_eq!(answered, status, "{method} {path}");
    }
}

#[test]
fn a_request_for_whoami_that_waited_is_answered_by_the_filter() {
    let mut worker = Worker::new(&Configuration::new(json!({"whoami_path": "/orders"})));
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.respond_to_only(active("client"));
    let (StreamEnd::Answered { status, .. }, _) = worker.stream(stream).end.unwrap() else {
        panic!("a response");
    };
    assert_eq!(status, 200);
}

/// A request with these lines too, over this protocol.
fn edits(worker: &mut Worker, more: &[(&str, &str)], protocol: &'static str) -> Option<String> {
    let mut headers = request("bad");
    headers.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    headers.extend(lines(more));
    let stream = worker.request_with(headers, |stream| stream.protocol = protocol);
    worker.run_posted();
    worker.respond_to_only(inactive());
    let stream = worker.stream(stream);
    assert_eq!(stream.refusal(), Some((401, "inactive".to_owned())));
    let (status, removed) = stream.response_edits.split_first()?;
    assert_eq!(status.0, ":status");
    let removed: Vec<_> = removed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(removed, ["content-type", "grpc-status", "grpc-message"]);
    status.1.clone()
}

#[test]
fn f16_a_refusal_keeps_its_status_unless_the_request_is_real_grpc() {
    let grpc = [
        (":method", "POST"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut worker = Worker::new(&Configuration::default());
    for protocol in ["HTTP/2", "HTTP/3"] {
        assert_eq!(edits(&mut worker, &grpc, protocol), None, "{protocol}");
    }
    let restored = Some("401".to_owned());
    for protocol in ["HTTP/1.0", "HTTP/1.1"] {
        assert_eq!(edits(&mut worker, &grpc, protocol), restored, "{protocol}");
    }
    for (at, other) in [
        (0, (":method", "GET")),
        (0, (":method", "post")),
        (2, ("te", "gzip")),
        (2, ("x-te", "trailers")),
    ] {
        let mut lines = grpc;
        lines[at] = other;
        assert_eq!(edits(&mut worker, &lines, "HTTP/2"), restored, "{other:?}");
    }
    // Envoy gives these a status of their own.
    for kind in ["application/json", "text/plain", "Application/Grpc"] {
        let lines = [("content-type", kind)];
        assert_eq!(edits(&mut worker, &lines, "HTTP/1.1"), None, "{kind}");
    }
}

#[test]
fn the_status_of_a_response_that_is_no_refusal_of_the_filter_stays() {
    let mut worker = with_cached_token(json!({}));
    let mut headers = request("a");
    headers.extend(lines(&[("content-type", "application/grpc")]));
    let stream = worker.request(headers);
    assert!(worker.stream(stream).is_forwarded());
    worker.response_from_upstream(stream);
    assert_eq!(worker.stream(stream).response_edits, []);
}

const CERTIFICATE: &str = "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd";

/// A worker that knows the token `a`, which is bound to [`CERTIFICATE`].
fn with_bound_token(settings: serde_json::Value) -> Worker {
    let mut worker = Worker::new(&Configuration::new(settings));
    worker.request(request("a"));
    worker.run_posted();
    let bound =
        r#"{"active":true,"cnf":{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}"#;
    worker.respond_to_only(Response::new(200, bound));
    worker.host_calls();
    worker
}

#[test]
fn j9_the_certificate_of_the_connection_is_asked_for_once_per_request() {
    let settings = json!({"cache_ttl": 60, "certificate_binding": "connection"});
    let mut worker = with_bound_token(settings);
    for (certificate, refusal) in [
        (Some(CERTIFICATE), None),
        (None, Some("client_certificate_missing")),
        (Some("00"), Some("client_certificate_missing")),
        (
            Some("1380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd"),
            Some("client_certificate_mismatch"),
        ),
    ] {
        let mut headers = request("a");
        headers.extend(lines(&[("x-forwarded-client-cert", CERTIFICATE)]));
        let stream = worker.request_with(headers, |stream| {
            stream.client_certificate = certificate;
        });
        let refusal = refusal.map(|reason| (401, reason.to_owned()));
        assert_eq!(worker.stream(stream).refusal(), refusal, "{certificate:?}");
        let calls = worker.host_calls();
        let asked = calls.iter().filter(|call| **call == "client_certificate");
        assert_eq!(asked.count(), 1, "{calls:?}");
    }
}

#[test]
fn j9_a_header_counts_only_if_it_is_the_chosen_one() {
    let settings = json!({
        "cache_ttl": 60, "certificate_binding": "header", "certificate_header": "X-Certificate",
    });
    let mut worker = with_bound_token(settings);
    let missing = Some((401, "client_certificate_missing".to_owned()));
    let header = ("x-certificate", CERTIFICATE);
    for (headers, refusal) in [
        (vec![header], None),
        (vec![header, header], missing.clone()),
        (vec![("x-certificates", CERTIFICATE)], missing),
    ] {
        let more = lines(&headers);
        let stream = worker.request([request("a"), more].concat());
        assert_eq!(worker.stream(stream).refusal(), refusal, "{headers:?}");
        assert!(!worker.host_calls().contains(&"client_certificate"));
    }
}

//! Introspection calls: sent, answered, lost, late, refused, repeated after a warm-up.

use core::time::Duration;

use envoy_filter_core::host::{DispatchError, LogLevel};
use serde_json::json;

use crate::fake::{
    Call, Configuration, Response, SharedStore, StreamEnd, Worker, active, inactive, lines, ms,
    request,
};

const NO_ADDRESS: &str = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";

fn methods(worker: &Worker) -> Vec<String> {
    let calls = worker.calls();
    let method = |call: &Call| call.header(":method").unwrap().to_owned();
    calls.iter().map(method).collect()
}

#[test]
fn the_first_tick_warms_the_path_to_the_issuer_up() {
    let mut worker = Worker::starting(&SharedStore::default());
    assert!(worker.configure(&Configuration::default()));
    assert_eq!(worker.calls().len(), 0);
    worker.advance(ms(1));
    let call = worker.only_call();
    assert_eq!(call.cluster, "issuer_https");
    assert_eq!(call.header(":method"), Some("HEAD"));
    assert_eq!(call.header(":scheme"), Some("https"));
    assert_eq!(call.header(":authority"), Some("issuer.example"));
    assert_eq!(call.header(":path"), Some("/"));
    assert_eq!((call.body, call.timeout), (None, Duration::from_secs(5)));
    worker.respond_to_only(Response::local_reply(503, NO_ADDRESS));
    worker.advance(ms(99));
    assert_eq!(worker.calls().len(), 0, "nobody waits for another attempt");
    assert_eq!(worker.tick_period(), Duration::ZERO);
}

#[test]
fn a_call_is_sent_at_once_and_belongs_to_the_root_context() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    let call = worker.only_call();
    assert_eq!((call.owner, call.sent), (1, worker.now()));
    assert_eq!(call.header(":method"), Some("POST"));
    assert_eq!(call.header(":path"), Some("/introspect"));
    assert_eq!((call.token(), call.timeout), (Some("a"), ms(1000)));
    worker.respond_to_only(active("client"));
    assert!(worker.stream(stream).is_forwarded());
    assert_eq!(worker.metric("introspections.outcome.answered"), [1]);
}

#[test]
fn a_lost_call_is_given_up_one_second_after_its_timeout_and_its_late_response_does_nothing() {
    let mut worker = Worker::new(&Configuration::new(json!({"cache_ttl": 60})));
    let begun = worker.now();
    let first = worker.request(request("a"));
    worker.run_posted();
    let lost = worker.only_call().id;
    worker.lose(lost);

    worker.advance(ms(999));
    assert_eq!(worker.stream(first).end, None);
    worker.advance(ms(1));
    assert_eq!(worker.stream(first).ended(), Some(begun + ms(1000)));
    let timed_out = Some((503, "issuer_timeout".to_owned()));
    assert_eq!(worker.stream(first).refusal(), timed_out);

    // The flight is still in progress: the same token joins it.
    let second = worker.request(request("a"));
    worker.advance(ms(1000));
    assert_eq!(worker.only_call().id, lost);
    assert_eq!(worker.stream(second).ended(), Some(begun + ms(2000)));
    assert_eq!(worker.metric("introspections.outcome.timeout"), [0; 0]);
    worker.advance(ms(50));
    assert_eq!(worker.metric("introspections.outcome.timeout"), [1]);
    assert_eq!(worker.tick_period(), Duration::ZERO);

    worker.respond(lost, active("client"));
    let third = worker.request(request("a"));
    worker.run_posted();
    assert_eq!(worker.stream(third).end, None, "nothing was cached");
    assert_eq!(worker.only_call().token(), Some("a"));
    assert_eq!(worker.stream(first).refusal(), timed_out);
    assert_eq!(worker.metric("introspections.outcome.answered"), [0; 0]);
}

#[test]
fn a_late_response_of_a_call_that_was_not_given_up_is_cached() {
    let mut worker = Worker::new(&Configuration::new(json!({"cache_ttl": 60})));
    let first = worker.request(request("a"));
    worker.run_posted();
    let late = worker.only_call().id;
    worker.lose(late);
    worker.advance(ms(1500));
    assert_eq!(worker.stream(first).refusal().unwrap().1, "issuer_timeout");
    worker.respond(late, active("client"));
    let second = worker.request(request("a"));
    assert!(worker.stream(second).is_forwarded());
    assert_eq!(worker.calls().len(), 0);
}

#[test]
fn a_second_response_to_a_call_does_nothing() {
    let mut worker = Worker::new(&Configuration::new(json!({"cache_ttl": 60})));
    let first = worker.request(request("a"));
    worker.run_posted();
    let call = worker.only_call();
    worker.respond(call.id, inactive());
    worker.respond_again(&call, active("client"));
    let refused = Some((401, "inactive".to_owned()));
    assert_eq!(worker.stream(first).refusal(), refused);
    let _second = worker.request(request("a"));
    worker.run_posted();
    assert_eq!(worker.only_call().token(), Some("a"), "nothing was cached");
}

#[test]
fn without_shared_data_each_worker_introspects_and_nobody_waits_for_it() {
    let configuration = Configuration::new(json!({"cache_ttl": 60}));
    let store = SharedStore::default();
    let mut workers = [(); 2].map(|()| Worker::sharing(&configuration, &store));
    for worker in &mut workers {
        worker.faults().no_shared_data = true;
        let stream = worker.request(request("a"));
        worker.run_posted();
        worker.respond_to_only(active("client"));
        assert!(worker.stream(stream).is_forwarded());
    }
    let facts = |key: &String| key.contains("facts");
    assert!(!store.keys().iter().any(facts), "{:?}", store.keys());
}

#[test]
fn without_metrics_requests_are_decided() {
    let mut worker = Worker::starting(&SharedStore::default());
    worker.faults().no_metrics = true;
    assert!(worker.configure(&Configuration::default()));
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.respond_to_only(active("client"));
    assert!(worker.stream(stream).is_forwarded());
}

#[test]
fn envoys_own_timeout_answers_the_request_without_a_tick() {
    let mut worker = Worker::new(&Configuration::default());
    let begun = worker.now();
    let stream = worker.request(request("a"));
    worker.advance(ms(1000));
    let stream = worker.stream(stream);
    assert_eq!(stream.ended(), Some(begun + ms(1000)));
    assert_eq!(stream.refusal(), Some((503, "issuer_timeout".to_owned())));
    assert_eq!(worker.metric("issuer_faults.reason.issuer_timeout"), [1]);
}

#[test]
fn a_leader_that_leaves_strands_nobody() {
    let mut worker = Worker::new(&Configuration::default());
    let leader = worker.request(request("a"));
    let followers: Vec<_> = (0..3).map(|_| worker.request(request("a"))).collect();
    worker.leave(leader);
    worker.run_posted();
    worker.leave(followers[0]);
    worker.respond_to_only(active("client"));
    for follower in &followers[1..] {
        let stream = worker.stream(*follower);
        assert!(stream.is_forwarded());
        assert_eq!(stream.values("x-auth-client-id"), ["client"]);
        assert_eq!(stream.filter_state["auth_cache"], "collapsed");
    }
    assert_eq!(worker.metric("flights_joined"), [1, 1, 1]);
    worker.advance(ms(50));
    assert_eq!(worker.tick_period(), Duration::ZERO);
}

#[test]
fn of_calls_whose_callers_left_at_once_only_the_first_is_sent() {
    let mut worker = Worker::new(&Configuration::default());
    for n in 0..1000 {
        let stream = worker.request(request(&format!("token{n}")));
        worker.leave(stream);
    }
    worker.run_posted();
    assert_eq!(worker.only_call().token(), Some("token0"));
    worker.respond_to_only(active("client"));
    worker.advance(ms(50));
    assert_eq!(worker.tick_period(), Duration::ZERO);
    let next = worker.request(request("token1"));
    worker.respond_to_only(active("client"));
    assert!(worker.stream(next).is_forwarded());
}

#[test]
fn a_call_with_one_caller_left_of_two_is_sent() {
    let mut worker = Worker::new(&Configuration::default());
    let leader = worker.request(request("a"));
    let follower = worker.request(request("a"));
    worker.leave(leader);
    worker.run_posted();
    worker.respond_to_only(active("client"));
    assert!(worker.stream(follower).is_forwarded());
}

#[test]
fn past_max_calls_requests_wait_for_their_turn() {
    let mut worker = Worker::new(&Configuration::new(json!({"max_calls": 1})));
    let streams = ["a", "b", "c"].map(|token| worker.request(request(token)));
    worker.run_posted();
    for (token, stream) in ["a", "b", "c"].into_iter().zip(streams) {
        assert_eq!(worker.only_call().token(), Some(token));
        worker.respond_to_only(active("client"));
        assert!(worker.stream(stream).is_forwarded());
        worker.run_posted();
    }
    assert_eq!(worker.metric("calls_queued"), [1, 1]);
    assert_eq!(worker.metric("flights_joined"), [0_u64; 0]);
    worker.advance(ms(50));
    assert_eq!(worker.tick_period(), Duration::ZERO);
}

#[test]
fn a_caller_that_left_while_it_waited_for_its_turn_is_skipped() {
    let mut worker = Worker::new(&Configuration::new(json!({"max_calls": 1})));
    let [_a, b, c] = ["a", "b", "c"].map(|token| worker.request(request(token)));
    worker.run_posted();
    worker.leave(b);
    worker.respond_to_only(active("client"));
    worker.run_posted();
    assert_eq!(worker.only_call().token(), Some("c"));
    worker.respond_to_only(active("client"));
    assert!(worker.stream(c).is_forwarded());
}

#[test]
fn past_max_waiting_requests_are_refused_at_once() {
    let mut worker = Worker::new(&Configuration::new(json!({"max_waiting": 1})));
    let _first = worker.request(request("a"));
    let second = worker.request(request("b"));
    let refusal = worker.stream(second).refusal();
    assert_eq!(refusal, Some((503, "too_busy".to_owned())));
    assert_eq!(worker.metric("decisions.reason.too_busy"), [1]);
}

#[test]
fn without_a_connection_a_warm_up_precedes_the_only_retry() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.advance(ms(10));
    worker.respond_to_only(Response::local_reply(503, NO_ADDRESS));
    assert_eq!(methods(&worker), ["HEAD"]);
    assert_eq!(worker.only_call().timeout, ms(990));
    worker.advance(ms(10));
    worker.respond_to_only(Response::new(404, ""));
    assert_eq!(methods(&worker), ["POST"]);
    assert_eq!(worker.only_call().timeout, ms(980));
    worker.respond_to_only(active("client"));
    assert!(worker.stream(stream).is_forwarded());
    assert_eq!(worker.metric("introspections.outcome.unreachable"), [1]);
    assert_eq!(worker.metric("introspections.outcome.answered"), [1]);
    assert_eq!(worker.metric("introspection_milliseconds"), [10, 0]);
}

#[test]
fn a_retry_without_a_connection_either_refuses_the_request() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.log();
    let refused = "reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused";
    worker.respond_to_only(Response::local_reply(503, refused));
    // The response to a HEAD has no body.
    worker.respond_to_only(Response::local_reply(503, ""));
    assert_eq!(worker.calls().len(), 0);
    let unreachable = Some((503, "issuer_unreachable".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), unreachable);
    let line = "issuer_unreachable: no response from the issuer: it refuses the connection: nothing listens on its port, or a firewall is in between";
    assert_eq!(worker.log(), [(LogLevel::Error, line.to_owned())]);
}

#[test]
fn a_response_is_never_retried() {
    for (response, reason) in [
        (Response::new(500, ""), "issuer_failed"),
        (Response::new(503, ""), "issuer_failed"),
        (Response::local_reply(504, ""), "issuer_timeout"),
        (Response::local_reply(404, ""), "issuer_unexpected_status"),
    ] {
        let mut worker = Worker::new(&Configuration::default());
        let stream = worker.request(request("a"));
        worker.run_posted();
        worker.respond_to_only(response);
        assert_eq!(worker.calls().len(), 0, "{reason}");
        let refusal = Some((503, reason.to_owned()));
        assert_eq!(worker.stream(stream).refusal(), refusal);
    }
}

#[test]
fn a_response_that_broke_off_is_retried_once_without_a_warm_up() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.log();
    for _ in 0..2 {
        assert_eq!(methods(&worker), ["POST"]);
        worker.respond_to_only(Response::none());
    }
    assert_eq!(worker.calls().len(), 0);
    let unreachable = Some((503, "issuer_unreachable".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), unreachable);
    // Envoy does not say which of the two it was.
    let line = "issuer_unreachable: no response from the issuer: it closed the connection before its response was complete, or its response is over Envoy's limit (runtime key http.async_response_buffer_limit)";
    assert_eq!(worker.log(), [(LogLevel::Error, line.to_owned())]);
}

#[test]
fn a_response_without_headers_within_20_ms_of_the_timeout_is_a_timeout() {
    for (after, reason) in [(979, "unreachable"), (980, "timeout")] {
        let mut worker = Worker::new(&Configuration::default());
        let _stream = worker.request(request("a"));
        worker.run_posted();
        worker.advance(ms(after));
        worker.respond_to_only(Response::none());
        let outcome = format!("introspections.outcome.{reason}");
        assert_eq!(worker.metric(&outcome), [1], "{after}");
    }
}

#[test]
fn without_a_cluster_the_call_is_denied_and_the_log_names_the_cluster() {
    let mut worker = Worker::new(&Configuration::new(json!({"issuer_cluster": "idp"})));
    worker.log();
    worker
        .faults()
        .dispatch
        .push_back(DispatchError::BadArgument);
    let stream = worker.request(request("a"));
    worker.run_posted();
    let denied = Some((503, "issuer_call_denied".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), denied);
    let line = r#"issuer_call_denied: no response from the issuer: this host does not allow the call: there is no Envoy cluster "idp""#;
    assert_eq!(worker.log(), [(LogLevel::Error, line.to_owned())]);
    assert_eq!(worker.metric("introspections.outcome.denied"), [1]);
}

#[cfg(feature = "jwt")]
fn with_keys_at(jwks_url: &str) -> Configuration {
    Configuration::new(json!({
        "issuer_cluster": "idp",
        "strategy": "auto",
        "jwks_url": jwks_url,
        "expected_issuer": "https://issuer.example",
        "expected_aud": "b",
    }))
}

#[cfg(feature = "jwt")]
#[test]
fn f20_what_has_another_origin_than_introspection_goes_through_the_shipped_clusters() {
    for (jwks_url, cluster) in [
        ("https://issuer.example/keys", "idp"),
        ("https://issuer.example:444/keys", "issuer_https"),
        ("https://keys.issuer.example/keys", "issuer_https"),
        ("http://localhost/keys", "issuer_http"),
    ] {
        let mut worker = Worker::starting(&SharedStore::default());
        assert!(worker.configure(&with_keys_at(jwks_url)));
        worker.advance(ms(1));
        let _stream = worker.request(request("a"));
        worker.run_posted();
        let calls = worker.calls();
        let mut calls: Vec<_> = (calls.iter())
            .map(|call| (call.header(":method").unwrap(), call.cluster.as_str()))
            .collect();
        calls.sort_unstable();
        let expected = [("GET", cluster), ("HEAD", "idp"), ("POST", "idp")];
        assert_eq!(calls, expected, "{jwks_url}");
    }
}

#[cfg(feature = "jwt")]
#[test]
fn the_log_names_the_cluster_that_a_denied_call_for_keys_needs() {
    let mut worker = Worker::starting(&SharedStore::default());
    assert!(worker.configure(&with_keys_at("https://keys.issuer.example/keys")));
    worker.log();
    // The warm-up's, and that of the call.
    worker
        .faults()
        .dispatch
        .extend([DispatchError::BadArgument; 2]);
    worker.advance(ms(1));
    let line = r#"issuer_call_denied: no response from the issuer: this host does not allow the call: there is no Envoy cluster "issuer_https""#;
    assert_eq!(worker.log(), [(LogLevel::Error, line.to_owned())]);
}

#[test]
fn a_call_that_envoy_refuses_is_retried_after_a_warm_up() {
    for error in [DispatchError::InternalFailure, DispatchError::Other] {
        let mut worker = Worker::new(&Configuration::default());
        worker.faults().dispatch.push_back(error);
        let stream = worker.request(request("a"));
        assert_eq!(methods(&worker), ["HEAD"]);
        worker.respond_to_only(Response::new(404, ""));
        worker.respond_to_only(active("client"));
        assert!(worker.stream(stream).is_forwarded());
        assert_eq!(worker.metric("introspections.outcome.unreachable"), [1]);
    }
}

#[test]
fn a_response_over_the_limit_is_not_read_to_its_end() {
    let mut worker = Worker::new(&Configuration::new(json!({"max_answer_bytes": 1024})));
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.respond_to_only(Response::new(200, &" ".repeat(5000)));
    let too_large = Some((503, "issuer_answer_too_large".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), too_large);
}

#[test]
fn a_call_carries_the_traceparent_of_its_request() {
    let mut worker = Worker::new(&Configuration::default());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = request("a");
    headers.extend(lines(&[("traceparent", parent)]));
    worker.request(headers);
    worker.run_posted();
    assert_eq!(worker.only_call().header("traceparent"), Some(parent));
}

#[test]
fn the_host_of_a_request_chooses_its_rule() {
    let rules = r#"[{"host":"service-b.example","deny":true}]"#;
    let mut worker = Worker::new(&Configuration::new(json!({ "rules": rules })));
    let stream = worker.request(request("a"));
    let denied = Some((403, "denied_by_rule".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), denied);
}

/// What becomes of a request whose call gets this response.
fn refusal_after(response: Response) -> (u16, String, Option<String>) {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.respond_to_only(response);
    let (status, reason) = worker.stream(stream).refusal().unwrap();
    let end = worker.stream(stream).end.unwrap();
    let StreamEnd::Answered { headers, .. } = end.0 else {
        panic!("{end:?}");
    };
    let retry_after = headers.into_iter().find(|(name, _)| name == "retry-after");
    (status, reason, retry_after.map(|(_, value)| value))
}

#[test]
fn each_header_of_the_issuer_that_decides_is_read() {
    let with = |status, body, name, value| {
        let mut response = Response::new(status, body);
        response.headers.extend(lines(&[(name, value)]));
        refusal_after(response)
    };
    let second = || Some("1".to_owned());
    // RFC 9110 section 8.4: a coding that was not accepted.
    assert_eq!(
        with(200, r#"{"active":true}"#, "content-encoding", "gzip"),
        (503, "issuer_answer_malformed".to_owned(), second())
    );
    assert_eq!(
        with(503, "", "retry-after", "30"),
        (503, "issuer_failed".to_owned(), Some("30".to_owned()))
    );
    // RFC 7617 section 2: it rejects our credentials, and not the token.
    assert_eq!(
        with(401, "no", "www-authenticate", "Basic realm=\"issuer\""),
        (503, "issuer_rejected_client".to_owned(), second())
    );
    assert_eq!(
        with(401, "no", "x-other", "Basic realm=\"issuer\""),
        (503, "issuer_unexpected_status".to_owned(), second())
    );
}

#[test]
fn what_a_token_lacks_is_a_warning_and_a_fault_of_the_issuer_an_error() {
    let settings = json!({ "expected_aud": "orders" });
    for (response, level) in [
        (active("client"), LogLevel::Warn),
        (Response::new(500, ""), LogLevel::Error),
    ] {
        let mut worker = Worker::new(&Configuration::new(settings.clone()));
        worker.log();
        worker.request(request("a"));
        worker.run_posted();
        worker.respond_to_only(response);
        let log = worker.log();
        assert_eq!(log.len(), 1, "{log:?}");
        assert_eq!(log[0].0, level, "{log:?}");
    }
}

#[cfg(feature = "jwt")]
#[test]
fn each_call_has_the_lines_of_its_own_endpoint_and_its_own_traceparent() {
    let issuer = |name: &str| {
        json!({
            "issuer": format!("https://{name}.example"),
            "introspect_url": format!("https://{name}.example/introspect"),
            "resource_client_id": "service-b",
            "client_auth": "none",
        })
    };
    let rule = |name: &str| {
        json!({
            "path": { "exact": format!("/{name}") },
            "issuers": [format!("https://{name}.example")],
        })
    };
    let configuration = Configuration::new(json!({
        "introspect_url": "",
        "resource_client_id": "",
        "issuers": json!([issuer("a"), issuer("b")]).to_string(),
        "rules": json!([rule("a"), rule("b"), { "deny": true }]).to_string(),
    }));
    let mut worker = Worker::new(&configuration);
    let parent = |n: usize| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333{n}-01");
    for (n, name) in ["a", "b", "a", "b", "b"].into_iter().enumerate() {
        let (path, parent) = (format!("/{name}"), parent(n));
        let mut header_lines = vec![
            (":method", "GET"),
            (":path", path.as_str()),
            (":authority", "service-b.example"),
            ("authorization", "Bearer token"),
        ];
        // Some callers send none.
        let parent = (n != 2).then_some(parent.as_str());
        header_lines.extend(parent.map(|parent| ("traceparent", parent)));
        let _stream = worker.request(lines(&header_lines));
        let call = worker.only_call();
        assert_eq!(
            call.header(":authority"),
            Some(format!("{name}.example").as_str())
        );
        assert_eq!(call.header(":path"), Some("/introspect"));
        assert_eq!(call.header("accept"), Some("application/json"));
        assert_eq!(call.header("traceparent"), parent);
        worker.respond_to_only(inactive());
    }
}

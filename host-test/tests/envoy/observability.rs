//! Metrics and access log.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use verify_stub::{Endpoint, Provider, Reaction, StubResponse};

use crate::{
    fixture::{Fixture, skip_without_envoy, with_two_workers},
    waiting::until,
    wire::{Connection, bearer, get, head, send},
};

#[tokio::test]
async fn prometheus_shows_decisions_by_reason_and_introspections_by_outcome() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[("timeout", "1")]).await;
    fixture.active("good");
    fixture.active("ours");
    fixture
        .stub
        .script("ours", vec![StubResponse::request_unauthorized().into()]);
    fixture.active("hang");
    fixture.stub.script("hang", vec![Reaction::hang()]);
    fixture.active("reset");
    fixture.stub.script("reset", vec![Reaction::reset()]);
    for token in ["good", "good", "bad", "ours", "hang", "reset"] {
        get(fixture.address(), "/data", token).await;
    }
    send(fixture.address(), &head("GET", "/data", b"")).await;
    let text = fixture.envoy.prometheus().await.unwrap();
    for line in [
        r#"trust_triangle_decisions{reason="granted"} 2"#,
        r#"trust_triangle_decisions{reason="inactive"} 1"#,
        r#"trust_triangle_decisions{reason="issuer_rejected_client"} 1"#,
        r#"trust_triangle_decisions{reason="issuer_timeout"} 1"#,
        r#"trust_triangle_decisions{reason="issuer_unreachable"} 1"#,
        r#"trust_triangle_decisions{reason="no_credentials"} 1"#,
        r#"trust_triangle_decisions{reason="misconfigured"} 0"#,
        r#"trust_triangle_introspections{outcome="answered"} 4"#,
        r#"trust_triangle_introspections{outcome="denied"} 0"#,
        r#"trust_triangle_introspections{outcome="timeout"} 1"#,
        // A broken connection is tried once more.
        r#"trust_triangle_introspections{outcome="unreachable"} 2"#,
        r#"trust_triangle_issuer_faults{reason="issuer_unreachable"} 1"#,
        r#"trust_triangle_issuer_faults{reason="issuer_rejected_client"} 1"#,
        r#"trust_triangle_cache{use="miss"} 6"#,
        r#"trust_triangle_cache{use="hit"} 0"#,
        r#"trust_triangle_flights_joined{} 0"#,
        r#"trust_triangle_calls_queued{} 0"#,
        r#"trust_triangle_metadata_responses{} 0"#,
        "# TYPE trust_triangle_introspection_milliseconds histogram",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    // Envoy merges histograms every few seconds.
    until(async || {
        let text = fixture.envoy.prometheus().await.unwrap();
        text.lines()
            .any(|line| line == "trust_triangle_introspection_milliseconds_count{} 7")
    })
    .await;
    for reason in token_check::ALL_REASONS {
        let name = format!(r#"trust_triangle_decisions{{reason="{}"}}"#, reason.name());
        assert!(text.contains(&name), "{name}");
    }
    // A fault that is not the caller's is in the log under its name.
    let log = fixture.envoy.log();
    assert!(
        log.contains("issuer_rejected_client: the issuer responded with HTTP status 401: check ")
    );
    assert!(!log.contains("inactive"));
    fixture.finish().await;
}

#[tokio::test]
async fn prometheus_shows_fetches_by_outcome() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[("strategy", "auto")], |options, stub| {
        // The key of RFC 7515 appendix A.3.
        let keys = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
        let reactions = vec![
            Reaction::reset(),
            Reaction::reset(),
            StubResponse::document(keys).into(),
        ];
        stub.script_endpoint(Endpoint::Jwks, reactions);
        for (key, value) in [
            ("jwks_url", stub.urls(Provider::New).jwks.clone()),
            ("expected_issuer", stub.issuer().to_owned()),
            ("expected_aud", "service-b".to_owned()),
        ] {
            options.settings.insert(key.to_owned(), value);
        }
    })
    .await;
    until(async || {
        let text = fixture.envoy.prometheus().await.unwrap();
        let has = |name: &str, count: u32| {
            let line = format!("trust_triangle_{name} {count}");
            text.lines().any(|one| one == line)
        };
        let answered = r#"fetches{outcome="answered"}"#;
        // By the worker, and by Envoy's main thread, if that one does not find the worker's.
        (has(answered, 1) || has(answered, 2))
            && has(r#"fetches{outcome="unreachable"}"#, 2)
            && has(r#"fetches{outcome="denied"}"#, 0)
            && has(r#"fetches{outcome="timeout"}"#, 0)
            && has(r#"introspections{outcome="answered"}"#, 0)
    })
    .await;
    fixture.finish().await;
}

#[tokio::test]
async fn the_access_log_shows_decision_and_client_and_no_secret() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    fixture.active("t0kengood");
    get(fixture.address(), "/data?access=1", "t0kengood").await;
    get(fixture.address(), "/data", "t0kenbad").await;
    let query = head("GET", "/data?access_token=t0kenquery", &bearer("t0kengood"));
    send(fixture.address(), &query).await;
    until(async || fixture.envoy.access_log().len() == 3).await;
    let lines = fixture.envoy.access_log();
    let expected = [
        json!({"path": "/data", "status": 200, "decision": null, "reason": null, "client_id": "caller"}),
        json!({"path": "/data", "status": 401, "decision": "refused", "reason": "inactive", "client_id": null}),
        json!({"path": "/data", "status": 400, "decision": "refused", "reason": "token_in_query", "client_id": null}),
    ];
    for (line, expected) in lines.iter().zip(&expected) {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name}: {line}");
        }
    }
    let everything = format!("{}{}", fixture.envoy.log(), Value::from(lines));
    let us = fixture.stub.client("service-b");
    for secret in ["t0ken", us.secret.as_str()] {
        assert!(!everything.contains(secret), "{everything}");
    }
    fixture.finish().await;
}

/// Every way in which a caller's token or our secret could be written.
fn secrets(fixture: &Fixture, token: &str) -> [(&'static str, String); 4] {
    let us = fixture.stub.client("service-b");
    let pair = format!("{}:{}", us.id, us.secret);
    [
        ("token in the request", format!("Bearer {token}")),
        ("token in the call", format!("token={token}")),
        ("secret", us.secret.clone()),
        ("credentials", STANDARD.encode(pair)),
    ]
}

#[tokio::test]
async fn f14_debug_logs_show_tokens_and_credentials_and_the_usual_log_and_config_dump_none() {
    skip_without_envoy!();
    for (level, shown) in [
        (None, &[][..]),
        (Some("debug"), &["token in the request", "credentials"]),
    ] {
        let fixture = Fixture::start_with(&[], |options, _| options.log_level = level).await;
        fixture.active("t0kengood");
        let answer = get(fixture.address(), "/data", "t0kengood").await;
        assert_eq!(answer.status, 200);
        let dump = fixture.envoy.config_dump().await.unwrap();
        assert!(dump.contains("WORKOUT18_RESOURCE_CLIENT_SECRET"));
        let log = fixture.envoy.log();
        for (name, secret) in secrets(&fixture, "t0kengood") {
            assert!(!dump.contains(&secret), "{name}");
            assert_eq!(
                log.contains(&secret),
                shown.contains(&name),
                "{level:?}: {name}"
            );
        }
        fixture.envoy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn metrics_and_access_log_say_where_the_facts_of_each_decision_came_from() {
    skip_without_envoy!();
    let settings = [
        ("cache_ttl", "2"),
        ("negative_cache_ttl", "2"),
        ("stale_if_error", "600"),
        ("breaker_faults", "1"),
        ("probe_interval", "60"),
    ];
    let fixture = Fixture::start_with(&settings, |options, _| with_two_workers(options)).await;
    fixture.active("good");
    fixture.active("slow");
    let slow = Reaction::normal().after(Duration::from_millis(300));
    fixture.stub.script("slow", vec![slow]);
    // The first and the third on one worker, the others on the other one.
    let mut connections: [Connection; 4] = Connection::open_in_turn(fixture.address()).await;
    let ask = async |connection: &mut Connection, token: &str, status: u16| {
        connection
            .write(&head("GET", "/data", &bearer(token)))
            .await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, status, "{token}: {answer:?}");
    };
    // Four callers at once: on either worker one leads and one joins; one of the leaders calls, the
    // other one waits for it.
    for connection in &mut connections {
        connection
            .write(&head("GET", "/data", &bearer("slow")))
            .await;
    }
    for connection in &mut connections {
        assert_eq!(connection.answer().await.status, 200);
    }
    until(async || fixture.envoy.access_log().len() == 8).await;
    let caches = || -> Vec<String> {
        let lines = fixture.envoy.access_log();
        let cache = |line: &Value| line["cache"].as_str().unwrap_or("none").to_owned();
        let mut caches: Vec<_> = lines.iter().map(cache).collect();
        // Those of the four callers.
        caches[4..8].sort_unstable();
        caches
    };
    let mut expected = vec!["none"; 4];
    expected.extend(["collapsed", "collapsed", "miss", "shared"]);
    assert_eq!(caches(), expected);

    let [a, b, ..] = &mut connections;
    ask(a, "good", 200).await;
    ask(a, "good", 200).await;
    ask(b, "good", 200).await;
    ask(b, "good", 200).await;
    // What is common, a hit, is counted, and not in the access log.
    expected.extend(["miss", "none", "shared", "none"]);
    // That a token is not active is shared as well.
    ask(a, "bad", 401).await;
    ask(a, "bad", 401).await;
    ask(b, "bad", 401).await;
    expected.extend(["miss", "none", "shared"]);

    tokio::time::sleep(Duration::from_millis(2100)).await;
    let failed = StubResponse::json(http::StatusCode::BAD_GATEWAY, &json!({}));
    let failed = vec![Reaction::from(failed)];
    fixture.stub.script_endpoint(Endpoint::Introspect, failed);
    // The first fault calls for the probe, which fails too and opens the breaker of this worker. The
    // other one has its own, and sends the probe with the second request.
    ask(a, "good", 200).await;
    ask(a, "good", 200).await;
    ask(a, "new", 503).await;
    ask(a, "newer", 503).await;
    ask(b, "new", 503).await;
    ask(b, "good", 200).await;
    expected.extend(["stale", "stale", "miss", "miss", "miss", "stale"]);
    until(async || fixture.envoy.access_log().len() == expected.len()).await;
    assert_eq!(caches(), expected);
    let stats = fixture.envoy.settled_stats().await.unwrap();
    let counted = |name: &str| stats[&format!("wasmcustom.trust_triangle_{name}")];
    for (name, count) in [
        ("cache.use.miss", 6),
        ("cache.use.hit", 3),
        ("cache.use.shared", 3),
        ("cache.use.collapsed", 2),
        ("cache.use.stale", 3),
        ("flights_joined", 2),
        ("decisions.reason.granted", 11),
        ("decisions.reason.inactive", 3),
        ("decisions.reason.issuer_failed", 1),
        ("decisions.reason.issuer_circuit_open", 2),
        ("decisions.reason.no_credentials", 4),
        // Questions: those that nobody put because of the breaker are none.
        ("issuer_faults.reason.issuer_failed", 3),
        ("issuer_faults.reason.issuer_circuit_open", 0),
        ("introspections.outcome.answered", 7),
        ("introspections.outcome.unreachable", 0),
    ] {
        assert_eq!(counted(name), count, "{name}");
    }
    assert_eq!(fixture.stub.counters().introspect, 7);
    fixture.finish().await;
}

#[tokio::test]
async fn both_attempts_of_an_introspection_call_carry_the_callers_traceparent() {
    skip_without_envoy!();
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fixture = Fixture::start(&[]).await;
    for (token, sent, expected) in [
        ("traced", Some(PARENT), Some(PARENT)),
        ("broken", Some("00-0-0-00"), None),
        ("plain", None, None),
    ] {
        fixture.active(token);
        let breaks = vec![Reaction::reset(), Reaction::normal()];
        fixture.stub.script(token, breaks);
        let line = sent.map_or(String::new(), |line| format!("traceparent: {line}\r\n"));
        let extra = [bearer(token), line.into_bytes()].concat();
        let answer = send(fixture.address(), &head("GET", "/data", &extra)).await;
        assert_eq!(answer.status, 200, "{token}");
        let lines: Vec<_> = (fixture.stub.requests().iter())
            .filter(|request| request.parameter("token") == Some(token))
            .map(|request| {
                let lines = request.headers.get_all("traceparent").iter();
                lines
                    .map(|line| line.to_str().unwrap().to_owned())
                    .collect()
            })
            .collect::<Vec<Vec<_>>>();
        let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(lines, [expected.clone(), expected], "{token}");
    }
    fixture.finish().await;
}

#[tokio::test]
async fn f15_the_admin_interface_says_whether_envoy_is_ready_and_its_metrics_and_refuses_all_else()
{
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    let admin = fixture.envoy.admin();
    let status = async |method: &str, path: &str| {
        let mut connection = Connection::open(admin).await;
        connection
            .write(&head(method, path, b"connection: close\r\n"))
            .await;
        connection.status().await
    };
    for path in [
        "/ready",
        "/stats",
        "/stats?filter=wasmcustom",
        "/stats/prometheus",
        "/stats/prometheus?usedonly",
    ] {
        assert_eq!(status("GET", path).await, 200, "{path}");
    }
    for path in [
        "/",
        "/certs",
        "/clusters",
        "/config_dump",
        "/config_dump?resource=static_listeners",
        "/contention",
        "/init_dump",
        "/listeners",
        "/memory",
        "/server_info",
        "/runtime",
        "/stats/recentlookups",
        "/stats/../config_dump",
        "/stats/prometheus/../../config_dump",
        "/stats%2f..%2fconfig_dump",
        "/ready/../quitquitquit",
    ] {
        assert_eq!(status("GET", path).await, 403, "{path}");
    }
    for path in [
        "/cpuprofiler?enable=y",
        "/drain_listeners",
        "/healthcheck/fail",
        "/heapprofiler?enable=y",
        "/logging",
        "/logging?level=trace",
        "/quitquitquit",
        "/reopen_logs",
        "/reset_counters",
        "/runtime_modify?http.max_requests_per_io_cycle=0",
        "/stats/recentlookups/enable",
        "/tap",
    ] {
        assert_eq!(status("POST", path).await, 403, "{path}");
    }
    fixture.finish().await;
}

//! Metrics and access log.

use host_test::stub::StubAnswer;
use serde_json::{Value, json};

use crate::{
    waiting::until,
    wire::{bearer, get, head, send},
    world::{World, skip_without_envoy},
};

#[tokio::test]
async fn prometheus_shows_decisions_by_reason_and_introspections_by_outcome() {
    skip_without_envoy!();
    let world = World::start(&[("timeout", "1")]).await;
    world.active("good");
    world.active("ours");
    world
        .stub
        .script("ours", vec![StubAnswer::request_unauthorized().into()]);
    world.active("hang");
    world
        .stub
        .script("hang", vec![host_test::stub::Reaction::hang()]);
    world.active("reset");
    world
        .stub
        .script("reset", vec![host_test::stub::Reaction::reset()]);
    for token in ["good", "good", "bad", "ours", "hang", "reset"] {
        get(world.address(), "/data", token).await;
    }
    send(world.address(), &head("GET", "/data", b"")).await;
    let text = world.envoy.prometheus().await.unwrap();
    for line in [
        r#"trust_triangle_decisions{reason="granted"} 2"#,
        r#"trust_triangle_decisions{reason="inactive"} 1"#,
        r#"trust_triangle_decisions{reason="issuer_refused_us"} 1"#,
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
        r#"trust_triangle_issuer_faults{reason="issuer_refused_us"} 1"#,
        r#"trust_triangle_cache{use="miss"} 6"#,
        r#"trust_triangle_cache{use="hit"} 0"#,
        r#"trust_triangle_flights_joined{} 0"#,
        "# TYPE trust_triangle_introspection_milliseconds histogram",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    // Envoy merges histograms every few seconds.
    until(async || {
        let text = world.envoy.prometheus().await.unwrap();
        text.lines()
            .any(|line| line == "trust_triangle_introspection_milliseconds_count{} 7")
    })
    .await;
    for reason in token_check::ALL_REASONS {
        let name = format!(r#"trust_triangle_decisions{{reason="{}"}}"#, reason.name());
        assert!(text.contains(&name), "{name}");
    }
    // A fault that is not the caller's is in the log under its name.
    let log = world.envoy.log();
    assert!(log.contains("issuer_refused_us: The issuer refused this service's own credentials."));
    assert!(!log.contains("inactive"));
    world.finish().await;
}

#[tokio::test]
async fn the_access_log_says_what_was_decided_about_whom_and_holds_no_secret() {
    skip_without_envoy!();
    let world = World::start(&[]).await;
    world.active("t0kengood");
    get(world.address(), "/data?access=1", "t0kengood").await;
    get(world.address(), "/data", "t0kenbad").await;
    let query = head("GET", "/data?access_token=t0kenquery", &bearer("t0kengood"));
    send(world.address(), &query).await;
    until(async || world.envoy.access_log().len() == 3).await;
    let lines = world.envoy.access_log();
    let expected = [
        json!({"path": "/data", "status": 200, "decision": "granted", "reason": null, "client_id": "caller"}),
        json!({"path": "/data", "status": 401, "decision": "refused", "reason": "inactive", "client_id": null}),
        json!({"path": "/data", "status": 400, "decision": "refused", "reason": "token_in_query", "client_id": null}),
    ];
    for (line, expected) in lines.iter().zip(&expected) {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name}: {line}");
        }
    }
    let everything = format!("{}{}", world.envoy.log(), Value::from(lines));
    let us = world.stub.client("service-b");
    for secret in ["t0ken", us.secret.as_str()] {
        assert!(!everything.contains(secret), "{everything}");
    }
    world.finish().await;
}

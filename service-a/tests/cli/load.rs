//! Many calls.

use serde_json::{Value, json};
use wiremock::{Mock, ResponseTemplate, matchers::method};

use crate::fixture::{MASKED, TOKEN, World, granted, json_body, refusal, run, token_response};

#[tokio::test(flavor = "multi_thread")]
async fn many_concurrent_callers_share_one_token_request() {
    let world = World::working().await;
    let finished =
        run(world.service_a(&["--json", "--repeat", "1000", "--concurrency", "50"])).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stdout);
    assert_eq!(finished.stderr, "");
    let json = finished.json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["token"], MASKED);
    assert_eq!(json["calls"], 1000);
    assert_eq!(json["succeeded"], 1000);
    assert_eq!(json["failed"], 0);
    assert_eq!(json["errors"], json!({}));
    assert_eq!(json["interrupted"], false);
    assert_eq!(json["token_requests"], 1);
    let latencies =
        ["min", "p50", "p99", "max"].map(|name| json["latency_ms"][name].as_f64().unwrap());
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{latencies:?}");
    assert_eq!(world.token_requests().await.len(), 1);
    assert_eq!(world.calls().await.len(), 1000);
}

#[tokio::test]
async fn failures_are_counted_by_reason_and_the_first_is_explained() {
    let world = World::with_token_response(token_response(TOKEN)).await;
    let timeout = refusal(503, "temporarily_unavailable", "Slow.", "issuer_timeout");
    for (response, times) in [(timeout, 3), (ResponseTemplate::new(404), 2)] {
        let some = Mock::given(method("GET")).respond_with(response);
        some.up_to_n_times(times).mount(&world.service_b).await;
    }
    world.serve_call(granted()).await;
    let finished = run(world.service_a(&["--repeat", "10"])).await;
    assert_eq!(finished.code, Some(5));
    let lines: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(lines[0], format!("Access token (masked): {MASKED}"));
    assert!(lines[1].starts_with("10 calls in "), "{}", lines[1]);
    let end = " per second, 1 concurrent): 5 ok, 5 failed; 1 token request";
    assert!(lines[1].ends_with(end), "{}", lines[1]);
    assert!(lines[2].starts_with("Latency: min "), "{}", lines[2]);
    let reasons = [
        "Failures by reason:",
        "  issuer_timeout: 3",
        "  status_404: 2",
    ];
    assert_eq!(lines[3..], reasons);
    let stderr = &finished.stderr;
    assert!(stderr.starts_with("Error: Service B refused the call\n"));
    assert!(stderr.contains("\n  reason: issuer_timeout\n"), "{stderr}");
}

#[tokio::test]
async fn calls_that_never_arrived_have_no_latency() {
    let world = World::working().await;
    let url = "http://127.0.0.1:1/";
    let arguments = ["--json", "--repeat", "5", "--service-b-url", url];
    let finished = run(world.service_a(&arguments)).await;
    assert_eq!(finished.code, Some(6));
    assert_eq!(finished.json()["latency_ms"], Value::Null);
    assert_eq!(finished.json()["errors"], json!({"connection_failed": 5}));
}

#[tokio::test]
async fn without_a_token_nothing_is_repeated() {
    let refused = json_body(401, json!({"error": "invalid_client"}));
    let world = World::with_token_response(refused).await;
    for task in [
        ["--repeat", "1000", "--json"],
        ["--watch", "0.01", "--json"],
    ] {
        let finished = run(world.service_a(&task)).await;
        assert_eq!(finished.code, Some(4));
        let last = finished.stdout.lines().last().unwrap();
        let summary: Value = serde_json::from_str(last).unwrap();
        assert_eq!(summary["error"]["reason"], "invalid_client");
        assert_eq!(summary["token_requests"], 1);
    }
    assert_eq!(world.token_requests().await.len(), 2);
    assert_eq!(world.calls().await.len(), 0);
}

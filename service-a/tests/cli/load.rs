//! Many calls.

use serde_json::{Value, json};
use wiremock::{Mock, ResponseTemplate, matchers::method};

use crate::world::{MASKED, TOKEN, World, granted, refusal, run, token_answer};

#[tokio::test(flavor = "multi_thread")]
async fn many_concurrent_callers_share_one_token_request() {
    let world = World::sound().await;
    let ended = run(world.service_a(&["--json", "--repeat", "1000", "--concurrency", "50"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
    let json = ended.json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["token"], MASKED);
    assert_eq!(json["calls"], 1000);
    assert_eq!(json["succeeded"], 1000);
    assert_eq!(json["failed"], 0);
    assert_eq!(json["errors"], json!({}));
    assert_eq!(json["interrupted"], false);
    assert_eq!(json["token_requests"], 1);
    let latency = |name: &str| json["latency_ms"][name].as_f64().unwrap();
    assert!(latency("min") > 0.0);
    assert!(latency("min") <= latency("p50"));
    assert!(latency("p50") <= latency("p99"));
    assert!(latency("p99") <= latency("max"));
    assert_eq!(world.token_requests().await.len(), 1);
    assert_eq!(world.calls().await.len(), 1000);
}

#[tokio::test]
async fn failures_are_counted_by_reason_and_the_first_is_explained() {
    let world = World::empty().await;
    world.discovery().await;
    world.answer_token(token_answer(TOKEN)).await;
    Mock::given(method("GET"))
        .respond_with(refusal(
            503,
            "temporarily_unavailable",
            "Slow.",
            "issuer_timeout",
        ))
        .up_to_n_times(3)
        .mount(&world.service_b)
        .await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(404))
        .up_to_n_times(2)
        .mount(&world.service_b)
        .await;
    world.answer_call(granted()).await;
    let ended = run(world.service_a(&["--repeat", "10"])).await;
    assert_eq!(ended.code, Some(5));
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines[0], format!("Access token (masked): {MASKED}"));
    assert!(lines[1].starts_with("10 calls in "), "{}", lines[1]);
    assert!(
        lines[1].ends_with(" per second, 1 at once): 5 ok, 5 failed; 1 token request"),
        "{}",
        lines[1]
    );
    assert!(lines[2].starts_with("Latency: min "), "{}", lines[2]);
    assert_eq!(
        lines[3..],
        [
            "Failures by reason:",
            "  issuer_timeout: 3",
            "  status_404: 2"
        ]
    );
    assert!(
        ended
            .stderr
            .starts_with("Error: Service B refused the call\n")
    );
    assert!(ended.stderr.contains("\n  reason: issuer_timeout\n"));
}

#[tokio::test]
async fn calls_that_never_arrived_have_no_latency() {
    let world = World::sound().await;
    let arguments = [
        "--json",
        "--repeat",
        "5",
        "--service-b-url",
        "http://127.0.0.1:1/",
    ];
    let ended = run(world.service_a(&arguments)).await;
    assert_eq!(ended.code, Some(6));
    assert_eq!(ended.json()["latency_ms"], Value::Null);
    assert_eq!(ended.json()["errors"], json!({"connection_failed": 5}));
}

#[tokio::test]
async fn without_a_token_nothing_is_repeated() {
    let world = World::empty().await;
    world.discovery().await;
    let refused = json!({"error": "invalid_client"});
    world
        .answer_token(ResponseTemplate::new(401).set_body_json(refused))
        .await;
    for task in [
        &["--repeat", "1000", "--json"][..],
        &["--watch", "0.01", "--json"],
    ] {
        let ended = run(world.service_a(task)).await;
        assert_eq!(ended.code, Some(4));
        let last = ended.stdout.lines().last().unwrap();
        let summary: Value = serde_json::from_str(last).unwrap();
        assert_eq!(summary["error"]["reason"], "invalid_client");
        assert_eq!(summary["token_requests"], 1);
    }
    assert_eq!(world.token_requests().await.len(), 2);
    assert_eq!(world.calls().await.len(), 0);
}

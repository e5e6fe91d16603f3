//! One renewal after a 401 and no more; early refresh.

use serde_json::json;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{header, method},
};

use crate::fixture::{TOKEN, World, granted, inactive, json_body, run, token_response};

const SECOND: &str = "second-token-of-the-same-client";

/// An issuer whose token endpoint responds with `first` once, then always with `next`.
async fn first_then(first: ResponseTemplate, next: ResponseTemplate) -> World {
    let world = World::empty().await;
    world.serve_metadata().await;
    let once = Mock::given(method("POST")).respond_with(first);
    once.up_to_n_times(1).mount(&world.issuer).await;
    world.serve_token(next).await;
    world
}

async fn two_tokens() -> World {
    first_then(token_response(TOKEN), token_response(SECOND)).await
}

#[tokio::test]
async fn a_401_is_followed_by_one_new_token_and_one_new_call() {
    let world = two_tokens().await;
    for (token, response) in [(TOKEN, inactive()), (SECOND, granted())] {
        let call = Mock::given(header("authorization", format!("Bearer {token}")));
        call.respond_with(response).mount(&world.service_b).await;
    }
    let finished = run(world.service_a(&["--json"])).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stdout);
    assert_eq!(finished.json()["token"], "second-t…client");
    assert_eq!(world.token_requests().await.len(), 2);
    assert_eq!(world.calls().await.len(), 2);
}

#[tokio::test]
async fn a_401_to_every_token_ends_after_the_second() {
    let world = two_tokens().await;
    world.serve_call(inactive()).await;
    assert_eq!(run(world.service_a(&[])).await.code, Some(5));
    assert_eq!(world.token_requests().await.len(), 2);
    assert_eq!(world.calls().await.len(), 2);
}

#[tokio::test]
async fn a_401_to_every_call_of_many_still_costs_one_renewal() {
    let world = two_tokens().await;
    world.serve_call(inactive()).await;
    let finished =
        run(world.service_a(&["--json", "--repeat", "200", "--concurrency", "20"])).await;
    assert_eq!(finished.code, Some(5));
    let json = finished.json();
    assert_eq!(json["failed"], 200);
    assert_eq!(json["errors"], json!({"inactive": 200}));
    assert_eq!(json["token_requests"], 2);
    assert_eq!(world.token_requests().await.len(), 2);
}

#[tokio::test]
async fn only_a_401_renews() {
    for status in [400, 403, 500, 503] {
        let world = two_tokens().await;
        world.serve_call(ResponseTemplate::new(status)).await;
        let finished = run(world.service_a(&[])).await;
        assert_eq!(finished.code, Some(5), "{status}");
        assert_eq!(world.token_requests().await.len(), 1, "{status}");
        assert_eq!(world.calls().await.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_renewal_that_the_issuer_refuses_is_the_issuers_failure() {
    let refused = json_body(400, json!({"error": "unauthorized_client"}));
    let world = first_then(token_response(TOKEN), refused).await;
    world.serve_call(inactive()).await;
    let finished = run(world.service_a(&["--json"])).await;
    assert_eq!(finished.code, Some(4));
    assert_eq!(finished.json()["error"]["reason"], "unauthorized_client");
    assert_eq!(world.token_requests().await.len(), 2);
}

fn short_lived(seconds: u64) -> ResponseTemplate {
    let body = json!({"access_token": TOKEN, "token_type": "bearer", "expires_in": seconds});
    json_body(200, body)
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires() {
    let world = first_then(short_lived(4), token_response(SECOND)).await;
    world.serve_call(granted()).await;
    // 9 calls in 4 seconds; the refresh is due in the last second of the token.
    let finished = run(world.service_a(&["--json", "--repeat", "9", "--rate", "2"])).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stdout);
    assert_eq!(finished.json()["token_requests"], 2);
    assert_eq!(finished.json()["token"], "second-t…client");
    let calls = world.calls().await;
    assert_eq!(calls.len(), 9);
    let sent = |call: usize| calls[call].headers["authorization"].to_str().unwrap();
    assert_eq!(sent(0), format!("Bearer {TOKEN}"));
    assert_eq!(sent(8), format!("Bearer {SECOND}"));
}

#[tokio::test]
async fn an_early_refresh_that_fails_leaves_the_old_token_in_use() {
    // The last quarter of 6 s begins at 4.5 s; the last call is made at 5 s.
    let world = first_then(short_lived(6), ResponseTemplate::new(503)).await;
    world.serve_call(granted()).await;
    let finished = run(world.service_a(&["--json", "--repeat", "21", "--rate", "4"])).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stdout);
    assert_eq!(finished.json()["succeeded"], 21);
    // One attempt; after it the issuer has its cooldown.
    assert_eq!(finished.json()["token_requests"], 2);
}

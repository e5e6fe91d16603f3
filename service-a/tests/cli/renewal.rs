//! One renewal after a 401 and no more; early refresh.

use serde_json::json;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{header, method, path},
};

use crate::world::{TOKEN, World, granted, inactive, run, token_answer};

const SECOND: &str = "second-token-of-the-same-client";

/// The first token, then the second for ever.
async fn two_tokens(world: &World) {
    world.discovery().await;
    Mock::given(method("POST"))
        .and(path("/oauth2/token"))
        .respond_with(token_answer(TOKEN))
        .up_to_n_times(1)
        .mount(&world.issuer)
        .await;
    world.answer_token(token_answer(SECOND)).await;
}

#[tokio::test]
async fn a_401_is_followed_by_one_new_token_and_one_new_call() {
    let world = World::empty().await;
    two_tokens(&world).await;
    Mock::given(header("authorization", format!("Bearer {TOKEN}")))
        .respond_with(inactive())
        .mount(&world.service_b)
        .await;
    Mock::given(header("authorization", format!("Bearer {SECOND}")))
        .respond_with(granted())
        .mount(&world.service_b)
        .await;
    let ended = run(world.service_a(&["--json"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.json()["token"], "second-t…client");
    assert_eq!(world.token_requests().await.len(), 2);
    assert_eq!(world.calls().await.len(), 2);
}

#[tokio::test]
async fn a_401_to_every_token_ends_after_the_second() {
    let world = World::empty().await;
    two_tokens(&world).await;
    world.answer_call(inactive()).await;
    let ended = run(world.service_a(&[])).await;
    assert_eq!(ended.code, Some(5));
    assert_eq!(world.token_requests().await.len(), 2);
    assert_eq!(world.calls().await.len(), 2);
}

#[tokio::test]
async fn a_401_to_every_call_of_many_still_costs_one_renewal() {
    let world = World::empty().await;
    two_tokens(&world).await;
    world.answer_call(inactive()).await;
    let ended = run(world.service_a(&["--json", "--repeat", "200", "--concurrency", "20"])).await;
    assert_eq!(ended.code, Some(5));
    let json = ended.json();
    assert_eq!(json["failed"], 200);
    assert_eq!(json["errors"], json!({"inactive": 200}));
    assert_eq!(json["token_requests"], 2);
    assert_eq!(world.token_requests().await.len(), 2);
}

#[tokio::test]
async fn only_a_401_renews() {
    for status in [400, 403, 500, 503] {
        let world = World::empty().await;
        two_tokens(&world).await;
        world.answer_call(ResponseTemplate::new(status)).await;
        let ended = run(world.service_a(&[])).await;
        assert_eq!(ended.code, Some(5), "{status}");
        assert_eq!(world.token_requests().await.len(), 1, "{status}");
        assert_eq!(world.calls().await.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_renewal_that_the_issuer_refuses_is_the_issuers_failure() {
    let world = World::empty().await;
    world.discovery().await;
    Mock::given(method("POST"))
        .respond_with(token_answer(TOKEN))
        .up_to_n_times(1)
        .mount(&world.issuer)
        .await;
    let refused = json!({"error": "unauthorized_client"});
    world
        .answer_token(ResponseTemplate::new(400).set_body_json(refused))
        .await;
    world.answer_call(inactive()).await;
    let ended = run(world.service_a(&["--json"])).await;
    assert_eq!(ended.code, Some(4));
    assert_eq!(ended.json()["error"]["reason"], "unauthorized_client");
    assert_eq!(world.token_requests().await.len(), 2);
}

/// An issuer whose first token lives for `seconds`, and whose next ones are [`SECOND`].
async fn short_lived(world: &World, seconds: u64) {
    world.discovery().await;
    let body = json!({"access_token": TOKEN, "token_type": "bearer", "expires_in": seconds});
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .up_to_n_times(1)
        .mount(&world.issuer)
        .await;
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires() {
    let world = World::empty().await;
    short_lived(&world, 4).await;
    world.answer_token(token_answer(SECOND)).await;
    world.answer_call(granted()).await;
    // 9 calls in 4 seconds: the margin of a token of 4 seconds is its last one.
    let ended = run(world.service_a(&["--json", "--repeat", "9", "--rate", "2"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.json()["token_requests"], 2);
    assert_eq!(ended.json()["token"], "second-t…client");
    let calls = world.calls().await;
    assert_eq!(calls.len(), 9);
    assert_eq!(calls[0].headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(
        calls[8].headers["authorization"],
        format!("Bearer {SECOND}")
    );
}

#[tokio::test]
async fn an_early_refresh_that_fails_leaves_the_old_token_in_use() {
    let world = World::empty().await;
    // The last quarter of 6 s begins at 4.5 s; the last call is made at 5 s.
    short_lived(&world, 6).await;
    world.answer_token(ResponseTemplate::new(503)).await;
    world.answer_call(granted()).await;
    let ended = run(world.service_a(&["--json", "--repeat", "21", "--rate", "4"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.json()["succeeded"], 21);
    // One attempt; the issuer then has its rest.
    assert_eq!(ended.json()["token_requests"], 2);
}

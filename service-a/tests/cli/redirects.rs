//! S6 and Camel CVE-2026-85251: neither credentials nor a token follow a redirect, or take another way than the one set.

use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::world::{MASKED, TOKEN, World, granted, received, run, token_answer};

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

#[tokio::test]
async fn s6_credentials_do_not_follow_a_redirect_of_the_token_endpoint() {
    for status in REDIRECTS {
        let thief = MockServer::start().await;
        let world = World::empty().await;
        world.discovery().await;
        let target = format!("{}/token", thief.uri());
        world
            .answer_token(ResponseTemplate::new(status).insert_header("location", target.as_str()))
            .await;
        let ended = run(world.service_a(&["--json"])).await;
        assert_eq!(ended.code, Some(4), "{status}");
        let error = &ended.json()["error"];
        assert_eq!(error["reason"], "redirected");
        assert_eq!(error["status"], status);
        assert_eq!(error["location"], target);
        assert_eq!(received(&thief).await.len(), 0, "{status}");
        assert_eq!(world.token_requests().await.len(), 1);
    }
}

#[tokio::test]
async fn s6_the_token_does_not_follow_a_redirect_of_service_b() {
    for status in REDIRECTS {
        let thief = MockServer::start().await;
        let world = World::empty().await;
        world.discovery().await;
        world.answer_token(token_answer(TOKEN)).await;
        let target = format!("{}/data", thief.uri());
        world
            .answer_call(ResponseTemplate::new(status).insert_header("location", target.as_str()))
            .await;
        let ended = run(world.service_a(&[])).await;
        assert_eq!(ended.code, Some(5), "{status}");
        assert_eq!(ended.stdout, format!("Access token (masked): {MASKED}\n"));
        assert!(
            ended.stderr.ends_with(&format!(
                "
  reason: redirected
  location (not followed): {target}
  next: Set WORKOUT18_SERVICE_B_URL (--service-b-url) to the final address: a token is not sent after a redirect.
"
            )),
            "{}",
            ended.stderr
        );
        assert_eq!(received(&thief).await.len(), 0, "{status}");
        assert_eq!(world.calls().await.len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_of_discovery_is_not_followed_and_counts_as_none() {
    let thief = MockServer::start().await;
    let world = World::empty().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", thief.uri().as_str()))
        .mount(&world.issuer)
        .await;
    world.answer_token(token_answer(TOKEN)).await;
    world.answer_call(granted()).await;
    let ended = run(world.service_a(&[])).await;
    assert_eq!(ended.code, Some(0));
    assert_eq!(received(&thief).await.len(), 0);
}

#[tokio::test]
async fn what_stays_on_this_machine_passes_no_proxy() {
    let proxy = MockServer::start().await;
    let world = World::sound().await;
    let mut command = world.service_a(&[]);
    for variable in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "all_proxy",
        "ALL_PROXY",
    ] {
        command.env(variable, proxy.uri());
    }
    assert_eq!(run(command).await.code, Some(0));
    assert_eq!(received(&proxy).await.len(), 0);
}

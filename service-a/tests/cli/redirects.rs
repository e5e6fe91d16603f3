//! S6 and Camel CVE-2026-85251: neither credentials nor a token follow a redirect, or go through a
//! proxy that is not meant for them.

use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::fixture::{TOKEN, TOKEN_LINE, World, granted, received, run, token_response};

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

fn redirect(status: u16, target: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).insert_header("location", target)
}

#[tokio::test]
async fn s6_credentials_do_not_follow_a_redirect_of_the_token_endpoint() {
    for status in REDIRECTS {
        let thief = MockServer::start().await;
        let target = format!("{}/token", thief.uri());
        let world = World::with_token_response(redirect(status, &target)).await;
        let finished = run(world.service_a(&["--json"])).await;
        assert_eq!(finished.code, Some(4), "{status}");
        let error = &finished.json()["error"];
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
        let target = format!("{}/data", thief.uri());
        let world = World::with_call_response(redirect(status, &target)).await;
        let finished = run(world.service_a(&[])).await;
        assert_eq!(finished.code, Some(5), "{status}");
        assert_eq!(finished.stdout, TOKEN_LINE);
        let end = format!(
            "
  reason: redirected
  location (not followed): {target}
  next: Set WORKOUT18_SERVICE_B_URL (--service-b-url) to the final address: a token is not sent after a redirect.
"
        );
        assert!(finished.stderr.ends_with(&end), "{}", finished.stderr);
        assert_eq!(received(&thief).await.len(), 0, "{status}");
        assert_eq!(world.calls().await.len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_of_discovery_is_not_followed_and_counts_as_no_metadata() {
    let thief = MockServer::start().await;
    let world = World::empty().await;
    let metadata = Mock::given(method("GET")).respond_with(redirect(302, &thief.uri()));
    metadata.mount(&world.issuer).await;
    world.serve_token(token_response(TOKEN)).await;
    world.serve_call(granted()).await;
    assert_eq!(run(world.service_a(&[])).await.code, Some(0));
    assert_eq!(received(&thief).await.len(), 0);
}

#[tokio::test]
async fn loopback_requests_go_through_no_proxy() {
    let proxy = MockServer::start().await;
    let world = World::working().await;
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

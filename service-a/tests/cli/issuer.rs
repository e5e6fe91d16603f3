//! What an issuer may do: refuse, redirect, break off, or claim to be another one.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::fixture::{
    Finished, METADATA_PATH, TOKEN, World, granted, html, json_body, raw_json, received,
    refused_connection, run, serve, service_a, token_response,
};

/// A server that reads one request on each connection and responds with these bytes.
async fn serve_bytes(response: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(response).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_wrong_secret_is_explained_with_what_ibm_verify_says() {
    let body = json!({"error": "invalid_client", "error_description": "CSIAQ0155E The client is not known."});
    let world = World::with_token_response(json_body(401, body)).await;
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {}
  status: 401 Unauthorized
  reason: invalid_client
  error: invalid_client
  description: CSIAQ0155E The client is not known.
  next: Check WORKOUT18_CLIENT_ID and the client secret: the issuer rejects this pair. If it is right, the issuer may not form-decode it (--client-auth basic-raw), or may expect it in the body (--client-auth post).
",
        world.token_url()
    );
    let finished = run(world.service_a(&[])).await;
    assert_eq!(finished, Finished::failed(4, expected));
    assert_eq!(world.token_requests().await.len(), 1);
    assert_eq!(world.calls().await.len(), 0);
}

#[tokio::test]
async fn a_stopped_issuer_is_unreachable() {
    let expected = format!(
        "\
Error: the issuer cannot be reached
  url: http://127.0.0.1:1{METADATA_PATH}
  reason: connection_failed
  description: {}
  next: Check that WORKOUT18_ISSUER (--issuer) is right and reachable from here, proxy settings included.
",
        refused_connection()
    );
    // Port 1 is reserved, and nothing listens on it.
    let finished = run(service_a("http://127.0.0.1:1/oauth2", &[])).await;
    assert_eq!(finished, Finished::failed(3, expected));
}

#[tokio::test]
async fn a_request_to_a_silent_issuer_times_out() {
    let slow = token_response(TOKEN).set_delay(Duration::from_secs(600));
    let world = World::with_token_response(slow).await;
    let expected = format!(
        "\
Error: the issuer cannot be reached
  url: {}
  reason: timeout
  description: no complete response in time
  next: Check that the issuer is up and that WORKOUT18_ISSUER (--issuer) names it; --timeout gives it more time.
",
        world.token_url()
    );
    let finished = run(world.service_a(&["--timeout", "0.3"])).await;
    assert_eq!(finished, Finished::failed(3, expected));
    assert_eq!(world.token_requests().await.len(), 1);
}

#[tokio::test]
async fn broken_responses_of_the_issuer_have_their_own_reasons() {
    let table: [(&'static [u8], i32, &str); 5] = [
        (b"", 3, "connection_broken"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{",
            3,
            "connection_broken",
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 3, "connection_broken"),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
            4,
            "issuer_failed",
        ),
        (
            b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
            4,
            "issuer_overloaded",
        ),
    ];
    for (response, code, reason) in table {
        let issuer = serve_bytes(response).await;
        let finished = run(service_a(&issuer, &["--json"])).await;
        assert_eq!(finished.code, Some(code), "{reason}");
        assert_eq!(finished.json()["error"]["reason"], reason);
        assert_eq!(finished.json()["error"]["exit_code"], code);
    }
}

#[tokio::test]
async fn unusable_token_responses_are_refused() {
    let huge = "x".repeat(70_000);
    let huge = format!(r#"{{"access_token":"{huge}","token_type":"bearer"}}"#);
    let status = ResponseTemplate::new;
    let not_understood = "token_answer_not_understood";
    let table = [
        (html(200), not_understood),
        (raw_json("{}"), not_understood),
        (
            raw_json(r#"{"access_token":"a","access_token":"b","token_type":"bearer"}"#),
            not_understood,
        ),
        (raw_json(r#"{"access_token":"a"}"#), not_understood),
        (
            raw_json(r#"{"access_token":"","token_type":"bearer"}"#),
            "unusable_token",
        ),
        (
            raw_json(r#"{"access_token":"a\nb","token_type":"bearer"}"#),
            "unusable_token",
        ),
        (
            raw_json(r#"{"access_token":"a","token_type":"DPoP"}"#),
            "unusable_token",
        ),
        (raw_json(&huge), "too_large"),
        (status(404), "no_token_endpoint"),
        (status(418).set_body_string("teapot"), "unexpected_answer"),
        (status(500).set_body_string("oops"), "issuer_failed"),
    ];
    for (response, reason) in table {
        let world = World::with_token_response(response).await;
        let finished = run(world.service_a(&["--json"])).await;
        assert_eq!(finished.code, Some(4), "{reason}");
        assert_eq!(finished.json()["error"]["reason"], reason);
        assert_eq!(finished.json()["token_requests"], 1);
        assert_eq!(world.token_requests().await.len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn token_responses_of_all_providers_are_understood() {
    let table = [
        r#"{"access_token":"abc","token_type":"Bearer"}"#,
        r#"{"access_token":"abc","token_type":"BEARER","expires_in":"3600"}"#,
        r#"{"access_token":"abc","token_type":"bearer","expires_in":null,"scope":"a b"}"#,
        r#"{"access_token":"abc","token_type":"bearer","expires_in":-1}"#,
        r#"{"access_token":"abc","token_type":"bearer","expires_in":1e300,"scope":["a"]}"#,
    ];
    for body in table {
        let world = World::with_token_response(raw_json(body)).await;
        let finished = run(world.service_a(&["--token-only"])).await;
        assert_eq!(finished, Finished::ok("abc\n"), "{body}");
    }
}

#[tokio::test]
async fn without_metadata_the_token_endpoint_is_below_the_issuer() {
    for absent in [
        ResponseTemplate::new(404),
        html(200),
        ResponseTemplate::new(401),
    ] {
        let world = World::empty().await;
        let metadata = Mock::given(method("GET")).respond_with(absent);
        metadata.mount(&world.issuer).await;
        world.serve_token(token_response(TOKEN)).await;
        world.serve_call(granted()).await;
        assert_eq!(run(world.service_a(&[])).await.code, Some(0));
        let requests = received(&world.issuer).await;
        let paths: Vec<_> = requests.iter().map(|request| request.url.path()).collect();
        assert_eq!(
            paths,
            [
                METADATA_PATH,
                "/.well-known/oauth-authorization-server/oauth2",
                "/oauth2/.well-known/oauth-authorization-server",
                "/oauth2/token"
            ]
        );
    }
}

#[tokio::test]
async fn rfc8414_3_1_metadata_of_oauth_servers_is_found_at_both_of_its_urls() {
    let paths = [
        "/.well-known/oauth-authorization-server/oauth2",
        // django-oauth-toolkit.
        "/oauth2/.well-known/oauth-authorization-server",
    ];
    for path in paths {
        let world = World::empty().await;
        let endpoint = format!("{}/elsewhere", world.issuer.uri());
        let metadata = json!({"issuer": world.issuer_url(), "token_endpoint": endpoint});
        serve(&world.issuer, "GET", path, json_body(200, metadata)).await;
        serve(&world.issuer, "POST", "/elsewhere", token_response(TOKEN)).await;
        let finished = run(world.service_a(&["--token-only"])).await;
        assert_eq!(finished.stdout, format!("{TOKEN}\n"), "{path}");
    }
}

#[tokio::test]
async fn a_token_url_needs_no_metadata_and_advice_names_it() {
    let world = World::empty().await;
    world.serve_token(token_response(TOKEN)).await;
    let url = world.token_url();
    // The flag takes precedence over the issuer in the environment.
    let finished = run(world.service_a(&["--token-only", "--token-url", &url])).await;
    assert_eq!(finished, Finished::ok(format!("{TOKEN}\n")));
    let requests = received(&world.issuer).await;
    let paths: Vec<_> = requests.iter().map(|request| request.url.path()).collect();
    assert_eq!(paths, ["/oauth2/token"]);

    let elsewhere = format!("{}/elsewhere", world.issuer.uri());
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {elsewhere}
  status: 404 Not Found
  reason: no_token_endpoint
  next: Check WORKOUT18_TOKEN_URL (--token-url): there is no token endpoint at this URL.
"
    );
    let finished = run(world.service_a(&["--token-url", &elsewhere])).await;
    assert_eq!(finished, Finished::failed(4, expected));
}

#[tokio::test]
async fn a_refusal_is_explained_by_its_error_code_and_status() {
    let wrong_client = "Check WORKOUT18_CLIENT_ID and the client secret: the issuer rejects this pair; if it expects them in the body, add --client-auth post.";
    let either = "Check WORKOUT18_CLIENT_ID and the client secret first; if they are right, allow the grant type client_credentials (at some issuers: a service account) for this client.";
    let policies = "Check the policies of this client at the issuer.";
    let scope =
        "Correct WORKOUT18_SCOPE (--scope), or grant that scope to this client at the issuer.";
    let no_issuer = "Check WORKOUT18_ISSUER (--issuer): what responds there does not behave like an issuer; --verbose shows it.";
    let coded = [
        // RFC 6749 section 5.2.
        (401, "invalid_client", wrong_client),
        (400, "invalid_client", wrong_client),
        (400, "invalid_scope", scope),
        // Salesforce, a wrong id.
        (400, "invalid_client_id", wrong_client),
        // Keycloak, a wrong secret; and the meaning of RFC 6749.
        (401, "unauthorized_client", either),
        (400, "unauthorized_client", either),
        // Auth0, a wrong secret; and a policy.
        (401, "access_denied", wrong_client),
        (403, "access_denied", policies),
        // Some issuers refuse with 200.
        (200, "invalid_client", wrong_client),
        (200, "invalid_scope", scope),
    ]
    .map(|(status, code, next)| (json_body(status, json!({ "error": code })), code, next));
    let unexpected = "unexpected_answer";
    let uncoded = [
        // Glewlwyd, a wrong secret.
        (ResponseTemplate::new(403), unexpected, wrong_client),
        (ResponseTemplate::new(401), unexpected, wrong_client),
        // A firewall, a gateway.
        (
            json_body(403, json!({"message": "Forbidden"})),
            unexpected,
            no_issuer,
        ),
        (html(403), unexpected, no_issuer),
        (html(200), "token_answer_not_understood", no_issuer),
    ];
    for (response, reason, next) in coded.into_iter().chain(uncoded) {
        let world = World::with_token_response(response).await;
        let mut command = world.service_a(&["--json"]);
        command.env("WORKOUT18_CLIENT_SECRET", "unchanged-by-encoding");
        let finished = run(command).await;
        assert_eq!(finished.code, Some(4), "{reason}");
        let error = &finished.json()["error"];
        assert_eq!(error["reason"], reason);
        assert_eq!(error["next"], next, "{reason}");
        assert_eq!(world.token_requests().await.len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn rfc8414_3_3_metadata_of_another_issuer_is_refused() {
    let world = World::empty().await;
    let metadata = json!({"issuer": "https://evil.example", "token_endpoint": world.token_url()});
    let metadata = json_body(200, metadata);
    serve(&world.issuer, "GET", METADATA_PATH, metadata).await;
    world.serve_token(token_response(TOKEN)).await;
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {}/.well-known/openid-configuration
  reason: wrong_issuer
  description: the issuer calls itself https://evil.example
  next: If you trust the issuer that the description names, set WORKOUT18_ISSUER (--issuer) to exactly that; or set the token endpoint itself, WORKOUT18_TOKEN_URL (--token-url).
",
        world.issuer_url()
    );
    let finished = run(world.service_a(&[])).await;
    assert_eq!(finished, Finished::failed(4, expected));
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn credentials_are_not_sent_to_another_origin_that_http_metadata_names() {
    let world = World::empty().await;
    let thief = MockServer::start().await;
    let endpoint = format!("{}/token", thief.uri());
    let metadata = json!({"issuer": world.issuer_url(), "token_endpoint": endpoint});
    let metadata = json_body(200, metadata);
    serve(&world.issuer, "GET", METADATA_PATH, metadata).await;
    let finished = run(world.service_a(&["--json"])).await;
    assert_eq!(finished.code, Some(4));
    assert_eq!(finished.json()["error"]["reason"], "unsafe_token_endpoint");
    assert_eq!(received(&thief).await.len(), 0);
    assert_eq!(world.token_requests().await.len(), 0);
}

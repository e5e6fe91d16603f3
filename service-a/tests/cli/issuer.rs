//! What the issuer can do to us.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::world::{
    CLIENT_ID, Ended, SECRET, TOKEN, World, bare, granted, received, refused_connection, run,
    token_answer,
};

fn failed(code: i32, stderr: String) -> Ended {
    Ended {
        code: Some(code),
        stdout: String::new(),
        stderr,
    }
}

/// A server that reads one request on each connection and answers with these bytes, whatever they are.
async fn raw(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_wrong_secret_is_told_as_ibm_verify_tells_it() {
    let world = World::empty().await;
    world.discovery().await;
    let body = json!({"error": "invalid_client", "error_description": "CSIAQ0155E The client is not known."});
    world
        .answer_token(ResponseTemplate::new(401).set_body_json(body))
        .await;
    let ended = run(world.service_a(&[])).await;
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {}
  status: 401 Unauthorized
  reason: invalid_client
  error: invalid_client
  description: CSIAQ0155E The client is not known.
  next: Check WORKOUT18_CLIENT_ID and the client secret: the issuer does not take this pair. If it is right, the issuer may not decode what form encoding changed in it (--client-auth basic-raw) or want it in the body (--client-auth post).
",
        world.token_url()
    );
    assert_eq!(ended, failed(4, expected));
    assert_eq!(world.token_requests().await.len(), 1);
    assert_eq!(world.calls().await.len(), 0);
}

#[tokio::test]
async fn a_stopped_issuer_is_unreachable() {
    let mut command = bare(&[]);
    // Port 1 of loopback: reserved, nothing listens.
    command
        .env("WORKOUT18_ISSUER", "http://127.0.0.1:1/oauth2")
        .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
        .env("WORKOUT18_CLIENT_SECRET", SECRET);
    let expected = format!(
        "\
Error: the issuer cannot be reached
  url: http://127.0.0.1:1/oauth2/.well-known/openid-configuration
  reason: connection_failed
  description: {}
  next: Check that WORKOUT18_ISSUER (--issuer) is right and reachable from here, proxy settings included.
",
        refused_connection()
    );
    assert_eq!(run(command).await, failed(3, expected));
}

#[tokio::test]
async fn an_issuer_that_says_nothing_is_given_up_in_time() {
    let world = World::empty().await;
    world.discovery().await;
    let slow = token_answer(TOKEN).set_delay(std::time::Duration::from_secs(600));
    world.answer_token(slow).await;
    let ended = run(world.service_a(&["--timeout", "0.3"])).await;
    let expected = format!(
        "\
Error: the issuer cannot be reached
  url: {}
  reason: timeout
  description: no complete answer in time
  next: Check that the issuer is up and WORKOUT18_ISSUER (--issuer) names it; --timeout gives it longer.
",
        world.token_url()
    );
    assert_eq!(ended, failed(3, expected));
    assert_eq!(world.token_requests().await.len(), 1);
}

#[tokio::test]
async fn broken_answers_of_the_issuer_are_told_apart() {
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
    for (answer, code, reason) in table {
        let issuer = raw(answer).await;
        let mut command = bare(&["--json", "--issuer", &issuer]);
        command
            .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
            .env("WORKOUT18_CLIENT_SECRET", SECRET);
        let ended = run(command).await;
        assert_eq!(ended.code, Some(code), "{reason}");
        assert_eq!(ended.json()["error"]["reason"], reason);
        assert_eq!(ended.json()["error"]["exit_code"], code);
    }
}

#[tokio::test]
async fn token_answers_that_cannot_be_used_are_refused() {
    let text = |body: &str| ResponseTemplate::new(200).set_body_raw(body, "application/json");
    let html = ResponseTemplate::new(200).set_body_raw("<html>login</html>", "text/html");
    let huge = format!(
        r#"{{"access_token":"{}","token_type":"bearer"}}"#,
        "x".repeat(70_000)
    );
    let table = [
        (html, "token_answer_not_understood"),
        (text("{}"), "token_answer_not_understood"),
        (
            text(r#"{"access_token":"a","access_token":"b","token_type":"bearer"}"#),
            "token_answer_not_understood",
        ),
        (
            text(r#"{"access_token":"a"}"#),
            "token_answer_not_understood",
        ),
        (
            text(r#"{"access_token":"","token_type":"bearer"}"#),
            "unusable_token",
        ),
        (
            text(r#"{"access_token":"a\nb","token_type":"bearer"}"#),
            "unusable_token",
        ),
        (
            text(r#"{"access_token":"a","token_type":"DPoP"}"#),
            "unusable_token",
        ),
        (text(&huge), "too_large"),
        (ResponseTemplate::new(404), "no_token_endpoint"),
        (
            ResponseTemplate::new(418).set_body_string("teapot"),
            "unexpected_answer",
        ),
        (
            ResponseTemplate::new(500).set_body_string("oops"),
            "issuer_failed",
        ),
    ];
    for (answer, reason) in table {
        let world = World::empty().await;
        world.discovery().await;
        world.answer_token(answer).await;
        let ended = run(world.service_a(&["--json"])).await;
        assert_eq!(ended.code, Some(4), "{reason}");
        assert_eq!(ended.json()["error"]["reason"], reason);
        assert_eq!(ended.json()["token_requests"], 1);
        assert_eq!(world.token_requests().await.len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn token_answers_of_all_providers_are_understood() {
    let table = [
        r#"{"access_token":"abc","token_type":"Bearer"}"#,
        r#"{"access_token":"abc","token_type":"BEARER","expires_in":"3600"}"#,
        r#"{"access_token":"abc","token_type":"bearer","expires_in":null,"scope":"a b"}"#,
        r#"{"access_token":"abc","token_type":"bearer","expires_in":-1}"#,
        r#"{"access_token":"abc","token_type":"bearer","expires_in":1e300,"scope":["a"]}"#,
    ];
    for body in table {
        let world = World::empty().await;
        world.discovery().await;
        world
            .answer_token(ResponseTemplate::new(200).set_body_raw(body, "application/json"))
            .await;
        let ended = run(world.service_a(&["--token-only"])).await;
        assert_eq!(ended.stdout, "abc\n", "{body}");
        assert_eq!(ended.code, Some(0));
    }
}

#[tokio::test]
async fn an_issuer_without_discovery_has_its_token_endpoint_below_itself() {
    let page = ResponseTemplate::new(200).set_body_raw("<html></html>", "text/html");
    for absent in [ResponseTemplate::new(404), page, ResponseTemplate::new(401)] {
        let world = World::empty().await;
        Mock::given(method("GET"))
            .respond_with(absent)
            .mount(&world.issuer)
            .await;
        world.answer_token(token_answer(TOKEN)).await;
        world.answer_call(granted()).await;
        assert_eq!(run(world.service_a(&[])).await.code, Some(0));
        let asked: Vec<_> = received(&world.issuer).await;
        let asked: Vec<_> = asked.iter().map(|request| request.url.path()).collect();
        assert_eq!(
            asked,
            [
                "/oauth2/.well-known/openid-configuration",
                "/.well-known/oauth-authorization-server/oauth2",
                "/oauth2/.well-known/oauth-authorization-server",
                "/oauth2/token"
            ]
        );
    }
}

#[tokio::test]
async fn rfc8414_3_1_metadata_of_oauth_servers_is_found_and_beside_that_of_openid_too() {
    let places = [
        "/.well-known/oauth-authorization-server/oauth2",
        // django-oauth-toolkit.
        "/oauth2/.well-known/oauth-authorization-server",
    ];
    for place in places {
        let world = World::empty().await;
        let endpoint = format!("{}/elsewhere", world.issuer.uri());
        let metadata = json!({"issuer": world.issuer_url(), "token_endpoint": endpoint});
        Mock::given(method("GET"))
            .and(path(place))
            .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
            .mount(&world.issuer)
            .await;
        Mock::given(method("POST"))
            .and(path("/elsewhere"))
            .respond_with(token_answer(TOKEN))
            .mount(&world.issuer)
            .await;
        let ended = run(world.service_a(&["--token-only"])).await;
        assert_eq!(ended.stdout, format!("{TOKEN}\n"), "{place}");
    }
}

#[tokio::test]
async fn a_token_url_is_asked_at_once_and_advice_names_it() {
    let world = World::empty().await;
    world.answer_token(token_answer(TOKEN)).await;
    let url = world.token_url();
    // The flag wins over the issuer of the environment.
    let ended = run(world.service_a(&["--token-only", "--token-url", &url])).await;
    assert_eq!(ended.stdout, format!("{TOKEN}\n"), "{}", ended.stderr);
    let asked = received(&world.issuer).await;
    let asked: Vec<_> = asked.iter().map(|request| request.url.path()).collect();
    assert_eq!(asked, ["/oauth2/token"]);

    let elsewhere = format!("{}/elsewhere", world.issuer.uri());
    let ended = run(world.service_a(&["--token-url", &elsewhere])).await;
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {elsewhere}
  status: 404 Not Found
  reason: no_token_endpoint
  next: Check WORKOUT18_TOKEN_URL (--token-url): there is no token endpoint.
"
    );
    assert_eq!(ended, failed(4, expected));
}

#[tokio::test]
async fn a_refusal_is_explained_by_what_the_issuer_says_and_with_which_status() {
    let unknown = "Check WORKOUT18_CLIENT_ID and the client secret: the issuer does not know this pair; if it wants them in the body, add --client-auth post.";
    let either = "Check WORKOUT18_CLIENT_ID and the client secret first; if they are right, allow the grant type client_credentials (at some issuers: a service account) for this client.";
    let policies = "Check the policies of this client at the issuer.";
    let scope =
        "Correct WORKOUT18_SCOPE (--scope), or grant that scope to this client at the issuer.";
    let no_issuer = "Check WORKOUT18_ISSUER (--issuer): what answers there does not behave as an issuer; --verbose shows it.";
    let json = |status, body| ResponseTemplate::new(status).set_body_json(body);
    let error = |code: &str| json!({ "error": code });
    let html = |status| ResponseTemplate::new(status).set_body_raw("<html></html>", "text/html");
    let table = [
        // RFC 6749 section 5.2.
        (
            json(401, error("invalid_client")),
            "invalid_client",
            unknown,
        ),
        (
            json(400, error("invalid_client")),
            "invalid_client",
            unknown,
        ),
        (json(400, error("invalid_scope")), "invalid_scope", scope),
        // Salesforce, a wrong id.
        (
            json(400, error("invalid_client_id")),
            "invalid_client_id",
            unknown,
        ),
        // Keycloak, a wrong secret; and the RFC's meaning.
        (
            json(401, error("unauthorized_client")),
            "unauthorized_client",
            either,
        ),
        (
            json(400, error("unauthorized_client")),
            "unauthorized_client",
            either,
        ),
        // Auth0, a wrong secret; and a policy.
        (json(401, error("access_denied")), "access_denied", unknown),
        (json(403, error("access_denied")), "access_denied", policies),
        // With status 200.
        (
            json(200, error("invalid_client")),
            "invalid_client",
            unknown,
        ),
        (json(200, error("invalid_scope")), "invalid_scope", scope),
        // Glewlwyd, a wrong secret.
        (ResponseTemplate::new(403), "unexpected_answer", unknown),
        (ResponseTemplate::new(401), "unexpected_answer", unknown),
        // A firewall, a gateway.
        (
            json(403, json!({"message": "Forbidden"})),
            "unexpected_answer",
            no_issuer,
        ),
        (html(403), "unexpected_answer", no_issuer),
        (html(200), "token_answer_not_understood", no_issuer),
    ];
    for (answer, reason, next) in table {
        let world = World::empty().await;
        world.discovery().await;
        world.answer_token(answer).await;
        let mut command = world.service_a(&["--json"]);
        command.env("WORKOUT18_CLIENT_SECRET", "unchanged-by-encoding");
        let ended = run(command).await;
        assert_eq!(ended.code, Some(4), "{reason}");
        let error = &ended.json()["error"];
        assert_eq!(error["reason"], reason);
        assert_eq!(error["next"], next, "{reason}");
        assert_eq!(world.token_requests().await.len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn rfc8414_3_3_metadata_of_another_issuer_is_refused() {
    let world = World::empty().await;
    let metadata = json!({"issuer": "https://evil.example", "token_endpoint": world.token_url()});
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&world.issuer)
        .await;
    world.answer_token(token_answer(TOKEN)).await;
    let ended = run(world.service_a(&[])).await;
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {}/.well-known/openid-configuration
  reason: wrong_issuer
  description: the issuer calls itself https://evil.example
  next: Set WORKOUT18_ISSUER (--issuer) to exactly the issuer that the description names, if that is the one you trust; or name the token endpoint itself, WORKOUT18_TOKEN_URL (--token-url).
",
        world.issuer_url()
    );
    assert_eq!(ended, failed(4, expected));
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn credentials_do_not_go_to_another_origin_that_plain_http_named() {
    let world = World::empty().await;
    let thief = MockServer::start().await;
    let metadata =
        json!({"issuer": world.issuer_url(), "token_endpoint": format!("{}/token", thief.uri())});
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&world.issuer)
        .await;
    let ended = run(world.service_a(&["--json"])).await;
    assert_eq!(ended.code, Some(4));
    assert_eq!(ended.json()["error"]["reason"], "unsafe_token_endpoint");
    assert_eq!(received(&thief).await.len(), 0);
    assert_eq!(world.token_requests().await.len(), 0);
}

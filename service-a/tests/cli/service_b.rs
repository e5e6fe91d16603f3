//! What Service B can do to us.

use std::time::Duration;

use wiremock::ResponseTemplate;

use crate::world::{
    Ended, MASKED, TOKEN, World, granted, inactive, refusal, refused_connection, run, token_answer,
};

fn failed(code: i32, stderr: String) -> Ended {
    Ended {
        code: Some(code),
        stdout: format!("Access token (masked): {MASKED}\n"),
        stderr,
    }
}

async fn answering(answer: ResponseTemplate) -> World {
    let world = World::empty().await;
    world.discovery().await;
    world.answer_token(token_answer(TOKEN)).await;
    world.answer_call(answer).await;
    world
}

#[tokio::test]
async fn a_refusal_shows_what_service_b_sent_and_what_to_check() {
    let world = answering(inactive()).await;
    let ended = run(world.service_a(&[])).await;
    let expected = format!(
        "\
Error: Service B refused the call
  url: {}
  status: 401 Unauthorized
  reason: inactive
  error: invalid_token
  description: The issuer says that the access token is not active.
  challenge: Bearer realm=\"service-b\", error=\"invalid_token\", error_description=\"The issuer says that the access token is not active.\"
  next: Check that WORKOUT18_ISSUER here and WORKOUT18_INTROSPECT_URL of Service B are the same tenant, and that the client of Service B may introspect the tokens of other clients.
",
        world.data_url()
    );
    assert_eq!(ended, failed(5, expected));
}

#[tokio::test]
async fn a_503_shows_retry_after() {
    let answer = refusal(
        503,
        "temporarily_unavailable",
        "The issuer did not answer in time.",
        "issuer_timeout",
    );
    let world = answering(answer.insert_header("retry-after", "1")).await;
    let ended = run(world.service_a(&[])).await;
    let expected = format!(
        "\
Error: Service B refused the call
  url: {}
  status: 503 Service Unavailable
  reason: issuer_timeout
  error: temporarily_unavailable
  description: The issuer did not answer in time.
  retry after: 1
  next: Try again later: the issuer of Service B is in trouble.
",
        world.data_url()
    );
    assert_eq!(ended, failed(5, expected));
}

#[tokio::test]
async fn a_refusal_as_json_has_class_and_reason() {
    let world = answering(inactive()).await;
    let ended = run(world.service_a(&["--json"])).await;
    assert_eq!(ended.code, Some(5));
    assert_eq!(ended.stderr, "");
    let mut json = ended.json();
    for timing in ["discovery", "token", "call"] {
        let taken = json["timings_ms"][timing].take();
        assert!(taken.as_f64().unwrap() > 0.0, "{timing}");
    }
    let text = "The issuer says that the access token is not active.";
    assert_eq!(
        json,
        serde_json::json!({
            "ok": false,
            "token": MASKED,
            "expires_in": 7199,
            "token_requests": 2,
            "status": 401,
            "response": null,
            "error": {
                "class": "service_b_refused",
                "exit_code": 5,
                "message": "Service B refused the call",
                "reason": "inactive",
                "url": world.data_url(),
                "status": 401,
                "error": "invalid_token",
                "description": text,
                "challenge": format!(r#"Bearer realm="service-b", error="invalid_token", error_description="{text}""#),
                "next": "Check that WORKOUT18_ISSUER here and WORKOUT18_INTROSPECT_URL of Service B are the same tenant, and that the client of Service B may introspect the tokens of other clients.",
            },
            "timings_ms": {"discovery": null, "token": null, "call": null},
        })
    );
}

#[tokio::test]
async fn a_granted_call_as_json_keeps_the_document() {
    let world = answering(granted()).await;
    let ended = run(world.service_a(&["--json"])).await;
    assert_eq!(ended.code, Some(0));
    assert!(
        ended
            .stdout
            .contains(&format!(r#""response":{}"#, crate::world::DOCUMENT))
    );
    let json = ended.json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["token"], MASKED);
    assert_eq!(json["status"], 200);
    assert_eq!(json["token_requests"], 1);
    assert_eq!(json["error"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_stopped_service_b_is_unreachable() {
    let world = World::sound().await;
    let ended = run(world.service_a(&["--service-b-url", "http://127.0.0.1:1/data"])).await;
    let expected = format!(
        "\
Error: Service B cannot be reached
  url: http://127.0.0.1:1/data
  reason: connection_failed
  description: {}
  next: Start Service B (`spin up` or `cargo serve`), or correct WORKOUT18_SERVICE_B_URL (--service-b-url).
",
        refused_connection()
    );
    assert_eq!(ended, failed(6, expected));
}

#[tokio::test]
async fn a_hanging_service_b_is_given_up_in_time() {
    let world = answering(granted().set_delay(Duration::from_secs(600))).await;
    let ended = run(world.service_a(&["--timeout", "0.3", "--json"])).await;
    assert_eq!(ended.code, Some(6));
    assert_eq!(ended.json()["error"]["class"], "service_b_unreachable");
    assert_eq!(ended.json()["error"]["reason"], "timeout");
}

#[tokio::test]
async fn answers_that_no_gate_wrote_have_a_reason_too() {
    let page = ResponseTemplate::new(404).set_body_raw("<html>no</html>", "text/html");
    let huge = ResponseTemplate::new(200).set_body_string("x".repeat(1024 * 1024 + 1));
    let table = [
        (page, "status_404"),
        (ResponseTemplate::new(502), "status_502"),
        (
            ResponseTemplate::new(403).set_body_string(r#"{"reason":7}"#),
            "status_403",
        ),
        (huge, "too_large"),
    ];
    for (answer, reason) in table {
        let world = answering(answer).await;
        let ended = run(world.service_a(&["--json"])).await;
        assert_eq!(ended.code, Some(5), "{reason}");
        assert_eq!(ended.json()["error"]["reason"], reason);
    }
}

#[tokio::test]
async fn granted_answers_of_any_kind_are_shown() {
    let json = |body: &str| ResponseTemplate::new(200).set_body_raw(body, "application/json");
    let table = [
        (
            json(r#"{"aud":"one","n":1.5,"o":{"b":[true]}}"#),
            "  aud: one\n  n: 1.5\n  o: {'b': [True]}\n",
        ),
        (json(r#"["a",null]"#), "  ['a', None]\n"),
        (
            ResponseTemplate::new(200).set_body_string("two\nlines\n"),
            "  two\n  lines\n",
        ),
        (ResponseTemplate::new(204), ""),
    ];
    for (answer, shown) in table {
        let world = answering(answer).await;
        let ended = run(world.service_a(&[])).await;
        assert_eq!(ended.code, Some(0));
        assert_eq!(
            ended.stdout,
            format!("Access token (masked): {MASKED}\nService B response:\n{shown}")
        );
    }
}

#[tokio::test]
async fn nothing_of_an_answer_reaches_the_terminal_raw() {
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let shown = r"\x1b]0;owned\x07\x9b2J\u202e";
    let body = serde_json::json!({evil: evil, "list": [evil]});
    let world = answering(ResponseTemplate::new(200).set_body_json(&body)).await;
    let ended = run(world.service_a(&[])).await;
    assert_eq!(
        ended.stdout,
        format!(
            "Access token (masked): {MASKED}\nService B response:\n  {shown}: {shown}\n  list: ['{shown}']\n"
        )
    );
    let ended = run(world.service_a(&["--json"])).await;
    assert_eq!(ended.json()["response"], body);
    assert!(
        ended
            .stdout
            .trim_end()
            .chars()
            .all(|c| !c.is_control() && c != '\u{202e}')
    );

    let world = answering(refusal(400, evil, evil, evil)).await;
    let ended = run(world.service_a(&[])).await;
    assert!(ended.stderr.contains(&format!(
        "  reason: {shown}\n  error: {shown}\n  description: {shown}\n"
    )));
}

#[tokio::test]
async fn rfc6750_2_1_a_token_that_older_auth_checks_call_malformed_is_named_as_that() {
    let text = "The Authorization header is malformed.";
    let proxies = "Check the proxies between here and Service B, and the query of WORKOUT18_SERVICE_B_URL: the token did not arrive as it was sent.";
    let update = "Update Service B: the token has characters beyond those of RFC 6750 (Salesforce writes `!`), which older auth checks refuse; if it is up to date, check the proxies between here and it.";
    // The second is as Salesforce writes them.
    for (token, next) in [(TOKEN, proxies), ("00Dxx0000001gPL!AQ8AQJ", update)] {
        let world = World::empty().await;
        world.discovery().await;
        world.answer_token(token_answer(token)).await;
        let answer = refusal(400, "invalid_request", text, "malformed_authorization");
        world.answer_call(answer).await;
        let ended = run(world.service_a(&["--json"])).await;
        assert_eq!(ended.code, Some(5));
        let error = &ended.json()["error"];
        assert_eq!(error["reason"], "malformed_authorization");
        assert_eq!(error["next"], next);
    }
}

//! What Service B may do: grant, refuse, hang, or send text that a terminal would act on.

use std::time::Duration;

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::fixture::{
    DOCUMENT, Finished, MASKED, TOKEN, TOKEN_LINE, World, granted, html, inactive, json_body,
    raw_json, refusal, refused_connection, run, token_response,
};

/// A failure after there was a token.
fn failed(code: i32, stderr: String) -> Finished {
    Finished {
        stdout: TOKEN_LINE.to_owned(),
        ..Finished::failed(code, stderr)
    }
}

const INACTIVE: &str = "The issuer says that the access token is not active.";
const INACTIVE_NEXT: &str = "Check that WORKOUT18_ISSUER here and WORKOUT18_INTROSPECT_URL of Service B are the same tenant, and that the client of Service B may introspect the tokens of other clients.";
const CHALLENGE: &str = r#"Bearer realm="service-b", error="invalid_token", error_description="The issuer says that the access token is not active.""#;

#[tokio::test]
async fn a_refusal_shows_what_service_b_sent_and_what_to_check() {
    let world = World::with_call_response(inactive()).await;
    let expected = format!(
        "\
Error: Service B refused the call
  url: {}
  status: 401 Unauthorized
  reason: inactive
  error: invalid_token
  description: {INACTIVE}
  challenge: {CHALLENGE}
  next: {INACTIVE_NEXT}
",
        world.data_url()
    );
    assert_eq!(run(world.service_a(&[])).await, failed(5, expected));
}

#[tokio::test]
async fn a_503_shows_retry_after() {
    let text = "The issuer did not answer in time.";
    let response = refusal(503, "temporarily_unavailable", text, "issuer_timeout");
    let world = World::with_call_response(response.insert_header("retry-after", "1")).await;
    let expected = format!(
        "\
Error: Service B refused the call
  url: {}
  status: 503 Service Unavailable
  reason: issuer_timeout
  error: temporarily_unavailable
  description: {text}
  retry after: 1
  next: Try again later: the issuer of Service B is failing.
",
        world.data_url()
    );
    assert_eq!(run(world.service_a(&[])).await, failed(5, expected));
}

#[tokio::test]
async fn a_refusal_as_json_has_class_and_reason() {
    let world = World::with_call_response(inactive()).await;
    let finished = run(world.service_a(&["--json"])).await;
    assert_eq!(finished.code, Some(5));
    assert_eq!(finished.stderr, "");
    let mut json = finished.json();
    for timing in ["discovery", "token", "call"] {
        let taken = json["timings_ms"][timing].take();
        assert!(taken.as_f64().unwrap() > 0.0, "{timing}");
    }
    let expected = json!({
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
            "description": INACTIVE,
            "challenge": CHALLENGE,
            "next": INACTIVE_NEXT,
        },
        "timings_ms": {"discovery": null, "token": null, "call": null},
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn a_granted_call_as_json_keeps_the_document() {
    let world = World::working().await;
    let finished = run(world.service_a(&["--json"])).await;
    assert_eq!(finished.code, Some(0));
    let response = format!(r#""response":{DOCUMENT}"#);
    assert!(finished.stdout.contains(&response), "{}", finished.stdout);
    let json = finished.json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["token"], MASKED);
    assert_eq!(json["status"], 200);
    assert_eq!(json["token_requests"], 1);
    assert_eq!(json["error"], Value::Null);
}

#[tokio::test]
async fn a_stopped_service_b_is_unreachable() {
    let world = World::working().await;
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
    let finished = run(world.service_a(&["--service-b-url", "http://127.0.0.1:1/data"])).await;
    assert_eq!(finished, failed(6, expected));
}

#[tokio::test]
async fn a_call_of_a_hanging_service_b_times_out() {
    let world = World::with_call_response(granted().set_delay(Duration::from_secs(600))).await;
    let finished = run(world.service_a(&["--timeout", "0.3", "--json"])).await;
    assert_eq!(finished.code, Some(6));
    let error = &finished.json()["error"];
    assert_eq!(error["class"], "service_b_unreachable");
    assert_eq!(error["reason"], "timeout");
}

#[tokio::test]
async fn responses_that_no_auth_check_wrote_have_a_reason_too() {
    let huge = ResponseTemplate::new(200).set_body_string("x".repeat(1024 * 1024 + 1));
    let table = [
        (html(404), "status_404"),
        (ResponseTemplate::new(502), "status_502"),
        (json_body(403, json!({"reason": 7})), "status_403"),
        (huge, "too_large"),
    ];
    for (response, reason) in table {
        let world = World::with_call_response(response).await;
        let finished = run(world.service_a(&["--json"])).await;
        assert_eq!(finished.code, Some(5), "{reason}");
        assert_eq!(finished.json()["error"]["reason"], reason);
    }
}

#[tokio::test]
async fn granted_responses_of_any_kind_are_shown() {
    let table = [
        (
            raw_json(r#"{"aud":"one","n":1.5,"o":{"b":[true]}}"#),
            "  aud: one\n  n: 1.5\n  o: {'b': [True]}\n",
        ),
        (raw_json(r#"["a",null]"#), "  ['a', None]\n"),
        (
            ResponseTemplate::new(200).set_body_string("two\nlines\n"),
            "  two\n  lines\n",
        ),
        (ResponseTemplate::new(204), ""),
    ];
    for (response, shown) in table {
        let world = World::with_call_response(response).await;
        let finished = run(world.service_a(&[])).await;
        let expected = format!("{TOKEN_LINE}Service B response:\n{shown}");
        assert_eq!(finished, Finished::ok(expected));
    }
}

#[tokio::test]
async fn nothing_of_a_response_reaches_the_terminal_raw() {
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let shown = r"\x1b]0;owned\x07\x9b2J\u202e";
    let body = json!({evil: evil, "list": [evil]});
    let world = World::with_call_response(json_body(200, body.clone())).await;
    let finished = run(world.service_a(&[])).await;
    let document = format!("  {shown}: {shown}\n  list: ['{shown}']\n");
    let expected = format!("{TOKEN_LINE}Service B response:\n{document}");
    assert_eq!(finished, Finished::ok(expected));
    let finished = run(world.service_a(&["--json"])).await;
    assert_eq!(finished.json()["response"], body);
    let mut characters = finished.stdout.trim_end().chars();
    assert!(characters.all(|c| !c.is_control() && c != '\u{202e}'));

    let world = World::with_call_response(refusal(400, evil, evil, evil)).await;
    let finished = run(world.service_a(&[])).await;
    let lines = format!("  reason: {shown}\n  error: {shown}\n  description: {shown}\n");
    assert!(finished.stderr.contains(&lines), "{}", finished.stderr);
}

#[tokio::test]
async fn rfc6750_2_1_a_token_that_older_auth_checks_call_malformed_has_its_own_advice() {
    let proxies = "Check the proxies between here and Service B, and the query of WORKOUT18_SERVICE_B_URL: the token did not arrive as it was sent.";
    let update = "Update Service B: the token has characters that RFC 6750 does not allow (Salesforce uses `!`), and older auth checks refuse them; if Service B is up to date, check the proxies between here and it.";
    // The second token has the form of Salesforce's.
    for (token, next) in [(TOKEN, proxies), ("00Dxx0000001gPL!AQ8AQJ", update)] {
        let world = World::with_token_response(token_response(token)).await;
        let text = "The Authorization header is malformed.";
        let response = refusal(400, "invalid_request", text, "malformed_authorization");
        world.serve_call(response).await;
        let finished = run(world.service_a(&["--json"])).await;
        assert_eq!(finished.code, Some(5));
        let error = &finished.json()["error"];
        assert_eq!(error["reason"], "malformed_authorization");
        assert_eq!(error["next"], next);
    }
}

//! What the log says, and what the caller does not see.

use token_check::{CallFailure, Reason};

use crate::fixture::{Clock, Instance, Issuer, Outcome, START, active, inactive};

/// The log after one request about a token of its own.
fn log(settings: &[(&str, &str)], says: Outcome) -> Vec<String> {
    let (clock, issuer) = (Clock::new(), Issuer::new(says));
    let mut instance = Instance::new(settings, &issuer, &clock);
    instance.get("/", "t");
    instance.host.log
}

fn http(status: u16, media: &'static str, body: &str) -> Outcome {
    Outcome::http(status, media, body)
}

#[test]
fn a_malformed_response_is_logged_with_its_member() {
    let deep = format!(
        r#"{{"active":true,"x":{}{}}}"#,
        "[".repeat(20),
        "]".repeat(20)
    );
    for (document, told) in [
        (
            r#"{"active":"true"}"#,
            "the member active is not true or false: it is a string",
        ),
        (
            r#"{"active":1}"#,
            "the member active is not true or false: it is a number",
        ),
        (
            r#"{"active":null}"#,
            "the member active is not true or false: it is null",
        ),
        (
            r#"{"active":[true]}"#,
            "the member active is not true or false: it is an array",
        ),
        (r#"{"exp":1}"#, "the member active is missing"),
        (
            r#"{"active":true,"exp":1800000300000}"#,
            "the member exp is not a time in seconds: it looks like milliseconds",
        ),
        (
            r#"{"active":true,"iat":1800000000000.5}"#,
            "the member iat is not a time in seconds: it looks like milliseconds",
        ),
        (
            r#"{"active":true,"nbf":1e300}"#,
            "the member nbf is not a time in seconds: it is past the year 9999",
        ),
        (
            r#"{"active":true,"exp":"1800000300"}"#,
            "the member exp is not a time in seconds: it is a string",
        ),
        (
            r#"{"active":true,"sub":5}"#,
            "the member sub is not a string: it is a number",
        ),
        (
            r#"{"active":true,"token_type":{}}"#,
            "the member token_type is not a string: it is an object",
        ),
        (
            r#"{"active":true,"aud":true}"#,
            "the member aud is neither a string nor an array of strings: it is true or false",
        ),
        (
            r#"{"active":true,"aud":["a",null]}"#,
            "the member aud is not an array of strings: it holds null",
        ),
        (
            r#"{"active":true,"scope":"a\tb"}"#,
            "the member scope has characters that no scope has",
        ),
        (
            r#"{"active":true,"exp":1,"exp":2}"#,
            "the member exp appears twice in one object",
        ),
        (
            r#"{"active":true,"x-issuer-text":1,"x-issuer-text":2}"#,
            "the issuer's response has a duplicate member in one object",
        ),
        (&deep, "the issuer's response is nested too deeply"),
        ("", "the issuer's response is not JSON"),
        (
            r#"{"active":true,"exp":1e999}"#,
            "the member exp is not a time in seconds: it is past the year 9999",
        ),
        (
            "[]",
            "the issuer's response is not a JSON object: it is an array",
        ),
    ] {
        let expected = format!("issuer_answer_malformed: {told}");
        assert_eq!(log(&[], Outcome::json(document)), [expected], "{document}");
    }
}

#[test]
fn a_response_that_is_not_rfc7662s_is_logged_with_status_or_media_type() {
    let url = ": check introspect_url, and any proxy between here and the issuer";
    for (says, told) in [
        (http(502, "text/html", ""), "issuer_failed: the issuer responded with HTTP status 502".to_owned()),
        (
            http(429, "text/html", ""),
            "issuer_overloaded: the issuer responded with HTTP status 429".to_owned(),
        ),
        (
            http(302, "text/html", ""),
            "issuer_redirected: the issuer responded with HTTP status 302: set introspect_url to the final address".to_owned(),
        ),
        (
            http(404, "text/html", "<html>"),
            format!("issuer_unexpected_status: the issuer responded with HTTP status 404{url}"),
        ),
        (
            http(403, "text/html", "<html>"),
            format!("issuer_unexpected_status: the issuer responded with HTTP status 403{url}"),
        ),
        (
            http(401, "application/json", r#"{"error":"invalid_client"}"#),
            "issuer_rejected_client: the issuer responded with HTTP status 401: check resource_client_id, resource_client_secret and client_auth".to_owned(),
        ),
        (
            http(200, "text/html; charset=utf-8", "<html>"),
            "issuer_not_json: the issuer's response has the media type of HTML".to_owned(),
        ),
        (
            http(200, "", "{}"),
            "issuer_not_json: the issuer's response has no media type".to_owned(),
        ),
    ] {
        assert_eq!(log(&[("resource_client_secret", "plain")], says), [told]);
    }
}

#[test]
fn a_failed_call_is_logged_as_precisely_as_the_host_knows() {
    for (failure, reason, told) in [
        (
            CallFailure::NameNotFound,
            "issuer_unreachable",
            "its host name has no address",
        ),
        (
            CallFailure::CertificateForAnotherName,
            "issuer_unreachable",
            "its certificate is for another host name",
        ),
        (
            CallFailure::ConnectTimeout,
            "issuer_timeout",
            "there was no connection to it in time",
        ),
        (
            CallFailure::Timeout,
            "issuer_timeout",
            "it did not respond in time",
        ),
        (
            CallFailure::Denied,
            "issuer_call_denied",
            "this host does not allow the call",
        ),
    ] {
        let expected = format!("{reason}: no response from the issuer: {told}");
        assert_eq!(log(&[], Outcome::Failed(failure)), [expected]);
    }
}

#[test]
fn rfc6749_s2_3_1_credentials_that_basic_changes_are_pointed_out_and_none_is_shown() {
    let hint = "; id or secret has characters that form-encoding changes; an issuer that does not decode them needs client_auth=basic-raw or post";
    let refused = || http(401, "application/json", r#"{"error":"invalid_client"}"#);
    for (settings, has_hint) in [
        (
            &[
                ("resource_client_secret", "plain"),
                ("client_auth", "basic"),
            ][..],
            false,
        ),
        (&[("resource_client_secret", "p%Q+r:s")], true),
        (
            &[
                ("resource_client_id", "b@example.test"),
                ("resource_client_secret", "plain"),
            ],
            true,
        ),
        (
            &[
                ("resource_client_secret", "p%Q+r:s"),
                ("client_auth", "post"),
            ],
            false,
        ),
        (
            &[
                ("resource_client_secret", "p%Q+r:s"),
                ("client_auth", "basic-raw"),
            ],
            false,
        ),
    ] {
        let log = log(settings, refused());
        let [line] = log.as_slice() else {
            panic!("{log:?}")
        };
        assert_eq!(line.ends_with(hint), has_hint, "{settings:?}: {line}");
        assert!(
            !line.contains("p%Q") && !line.contains("example.test"),
            "{line}"
        );
    }
}

#[test]
fn each_kind_of_fault_is_logged_once_per_interval() {
    let (clock, issuer) = (Clock::new(), Issuer::new(http(500, "text/html", "")));
    let mut instance = Instance::new(&[("breaker_faults", "0")], &issuer, &clock);
    let status = |status| format!("issuer_failed: the issuer responded with HTTP status {status}");
    for n in 0..100 {
        instance.get("/", &format!("t{n}"));
    }
    assert_eq!(instance.host.log, [status(500)]);
    issuer.responds(http(502, "text/html", ""));
    instance.get("/", "t");
    clock.advance_ms(9_999);
    instance.get("/", "t");
    clock.advance_ms(1);
    instance.get("/", "t");
    assert_eq!(instance.host.log, [status(500), status(502), status(502)]);
}

#[test]
fn what_does_not_fit_is_shown_beside_what_was_expected() {
    for (setting, members, told) in [
        (
            ("expected_aud", "orders-api other"),
            r#","aud":["a","b\r\nc"]"#,
            r#"wrong_audience: the token has aud "a", "b\r\nc"; expected "orders-api", "other""#,
        ),
        (
            ("expected_aud", "orders-api"),
            "",
            r#"no_audience: the token has no aud; expected "orders-api""#,
        ),
        (
            ("expected_issuer", "https://i"),
            r#","iss":"https://i/""#,
            r#"wrong_issuer: the token has iss "https://i/"; expected "https://i""#,
        ),
        (
            ("allowed_clients", "a"),
            r#","client_id":"b""#,
            r#"client_not_allowed: the token has client_id "b"; expected "a""#,
        ),
        (
            ("allowed_grant_types", "client_credentials"),
            "",
            r#"no_grant_type: the token has no grant_type; expected "client_credentials""#,
        ),
        (
            ("realm", "b"),
            r#","token_type":"Odd","typ":"Odder""#,
            r#"wrong_token_type: the token has token_type "Odd", "Odder"; token_types can accept it"#,
        ),
    ] {
        let (clock, issuer) = (Clock::new(), Issuer::new(active(members)));
        let mut instance = Instance::new(&[setting, ("cache_ttl", "60")], &issuer, &clock);
        for _ in 0..3 {
            let verdict = instance.request("/", "t");
            let reply = verdict.into_result(instance.check.policy()).unwrap_err();
            let named = ["orders-api", "https://i", "Odd", "client_credentials"];
            let shown = format!("{}{:?}", reply.body, reply.headers);
            assert!(named.iter().all(|name| !shown.contains(name)), "{shown}");
        }
        assert_eq!(instance.host.log, [told], "once, and on a hit too");
    }
}

#[test]
fn what_is_known_to_be_another_kind_of_token_is_the_callers_fault_alone() {
    for kind in ["refresh_token", "N_A", "DPoP"] {
        let members = format!(r#","token_type":"{kind}""#);
        assert_eq!(log(&[], active(&members)), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn p10_an_exp_of_0_is_expired_and_the_log_says_whose_fault_it_is() {
    let told = "expired: the issuer sent an exp of 0 or less for an active token; a token that never expires has no exp";
    for exp in ["0", "-1", "-1e300", "0.0"] {
        assert_eq!(
            log(&[], active(&format!(r#","exp":{exp}"#))),
            [told],
            "{exp}"
        );
    }
    let exp = format!(r#","exp":{}"#, START - 1);
    assert_eq!(log(&[], active(&exp)), Vec::<String>::new());
}

const NONE_ACTIVE: &str = "no token has been active so far: check introspect_url, resource_client_id, resource_client_secret and whether this client may introspect tokens of other clients";

#[test]
fn twenty_inactive_tokens_and_no_active_one_are_logged_once() {
    let (clock, issuer) = (Clock::new(), Issuer::new(inactive()));
    let mut instance = Instance::new(&[], &issuer, &clock);
    for n in 0..19 {
        instance.get("/", &format!("t{n}"));
    }
    assert_eq!(instance.host.log, Vec::<String>::new());
    for n in 0..100 {
        instance.get("/", &format!("t{n}"));
        clock.advance_ms(1_000);
    }
    assert_eq!(instance.host.log, [NONE_ACTIVE]);
}

#[test]
fn one_active_token_ends_the_suspicion_and_a_fault_is_no_token() {
    let (clock, issuer) = (Clock::new(), Issuer::new(inactive()));
    let mut instance = Instance::new(&[], &issuer, &clock);
    instance.get("/", "t");
    issuer.responds(active(""));
    instance.get("/", "good");
    issuer.responds(inactive());
    for n in 0..100 {
        instance.get("/", &format!("t{n}"));
    }
    assert_eq!(instance.host.log, Vec::<String>::new());

    let (clock, issuer) = (Clock::new(), Issuer::new(http(500, "text/html", "")));
    let mut instance = Instance::new(&[("breaker_faults", "0")], &issuer, &clock);
    for n in 0..100 {
        assert_eq!(
            instance.get("/", &format!("t{n}")).0,
            Some(Reason::IssuerFailed)
        );
    }
    assert_eq!(instance.host.log.len(), 1, "{:?}", instance.host.log);
}

#[test]
fn an_open_circuit_and_stale_facts_are_logged() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let settings = [
        ("cache_ttl", "1"),
        ("stale_if_error", "600"),
        ("breaker_faults", "1"),
    ];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    instance.get("/", "t");
    issuer.responds(http(503, "text/html", ""));
    clock.advance_ms(1_000);
    for _ in 0..3 {
        instance.get("/", "t");
        instance.get("/", "other");
    }
    assert_eq!(
        instance.host.log,
        [
            "issuer_failed: the issuer responded with HTTP status 503",
            "stale: cached results are used past their time while the issuer is unavailable",
            "issuer_circuit_open: The issuer failed repeatedly and is not called for a moment.",
        ]
    );
    // That stale facts are used is a warning.
    assert_eq!(
        instance.host.errors,
        [
            "issuer_failed: the issuer responded with HTTP status 503",
            "issuer_circuit_open: The issuer failed repeatedly and is not called for a moment.",
        ]
    );
}

//! One line per decision.

use serde_json::{Value, json};
use token_check::RequestHead;

use crate::fixture::{Clock, Instance, Issuer, START, TIMED_OUT, UNREACHABLE, active, inactive};

fn line(instance: &mut Instance, path: &str, token: &str) -> Value {
    let line = instance.request(path, token).audit.unwrap();
    assert!(!line.contains('\n') && !line.contains(token), "{line}");
    serde_json::from_str(&line).unwrap()
}

const RULES: &str = r#"[
    {"name":"open","path":{"exact":"/open"},"public":true},
    {"path":{"exact":"/closed"},"deny":true},
    {"name":"w","path":{"exact":"/write"},"scopes":{"all":["write"]}}]"#;

fn instance(issuer: &Issuer, clock: &Clock) -> Instance {
    let settings = [
        ("audit", "true"),
        ("cache_ttl", "10"),
        ("stale_if_error", "60"),
        ("rules", RULES),
    ];
    Instance::new(&settings, issuer, clock)
}

#[test]
fn a_line_says_who_was_let_in_where_and_why() {
    let (clock, issuer) = (
        Clock::new(),
        Issuer::new(active(r#","sub":"s","client_id":"c","iss":"i""#)),
    );
    let mut instance = instance(&issuer, &clock);
    clock.advance_ms(7);
    let token = "cace6X_XtokenQyXzUw";
    let fingerprint = line(&mut instance, "/", token)["token"].clone();
    let hex = fingerprint.as_str().unwrap();
    assert!(hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let none = None::<&str>;
    let expected = |decision, reason, rule, cache, issuer_ms: Option<u64>| {
        let ms = START * 1000 + 7;
        json!({
            "unix_ms": ms, "host": "service-b.example", "rule": rule, "decision": decision,
            "reason": reason, "client_id": "c", "subject": "s", "issuer": "i", "token": fingerprint,
            "cache": cache, "issuer_ms": issuer_ms,
        })
    };
    assert_eq!(
        line(&mut instance, "/", token),
        expected("granted", none, none, "hit", None)
    );
    assert_eq!(
        line(&mut instance, "/write", token),
        expected(
            "refused",
            Some("insufficient_scope"),
            Some("w"),
            "hit",
            None
        )
    );
    clock.advance_ms(10_000);
    issuer.responds(TIMED_OUT);
    let stale = line(&mut instance, "/", token);
    assert_eq!(stale["cache"], "stale");
    assert_eq!(stale["issuer_ms"], 0);
}

#[test]
fn a_line_says_how_long_the_issuer_took_from_the_first_call_on() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = instance(&issuer, &clock);
    issuer.takes_ms(25);
    assert_eq!(line(&mut instance, "/", "token-1")["issuer_ms"], 25);
    // The second call is the retry.
    issuer.responds_in_turn([UNREACHABLE, active("")]);
    issuer.calls();
    assert_eq!(line(&mut instance, "/", "token-2")["issuer_ms"], 50);
    assert_eq!(issuer.calls(), 2);
}

#[test]
fn a_line_about_a_call_that_failed_says_where_and_how_long_it_took() {
    let (clock, issuer) = (Clock::new(), Issuer::new(TIMED_OUT));
    let mut instance = instance(&issuer, &clock);
    issuer.takes_ms(31);
    let line = line(&mut instance, "/", "token-1");
    let read = ["host", "reason", "cache", "issuer_ms"].map(|key| line[key].clone());
    assert_eq!(
        read,
        [
            json!("service-b.example"),
            json!("issuer_timeout"),
            json!("miss"),
            json!(31)
        ]
    );
}

#[test]
fn a_line_of_a_request_that_got_no_further_says_so() {
    let (clock, issuer) = (Clock::new(), Issuer::new(inactive()));
    let mut instance = instance(&issuer, &clock);
    let of = |instance: &mut Instance, path: &str, token: &str| {
        let line = line(instance, path, token);
        ["rule", "decision", "reason", "cache"].map(|key| line[key].clone())
    };
    assert_eq!(
        of(&mut instance, "/open", "t1"),
        [json!("open"), json!("granted"), Value::Null, Value::Null]
    );
    assert_eq!(
        of(&mut instance, "/closed", "t1"),
        [
            json!("#2"),
            json!("refused"),
            json!("denied_by_rule"),
            Value::Null
        ]
    );
    assert_eq!(
        of(&mut instance, "/a//b", "t1"),
        [
            Value::Null,
            json!("refused"),
            json!("ambiguous_path"),
            Value::Null
        ]
    );
    assert_eq!(
        of(&mut instance, "/", "t 1"),
        [
            Value::Null,
            json!("refused"),
            json!("malformed_authorization"),
            Value::Null
        ]
    );
    assert_eq!(
        of(&mut instance, "/", "t1"),
        [
            Value::Null,
            json!("refused"),
            json!("inactive"),
            json!("miss")
        ]
    );
}

#[test]
fn nothing_that_a_caller_or_an_issuer_says_can_begin_another_line_or_member() {
    let evil = r#"a\",\"decision\":\"granted\"}\n{\u2028\u0000\u0085\u009b31m😀"#;
    let claims = format!(r#","sub":"{evil}","client_id":"{}""#, "é".repeat(1000));
    let (clock, issuer) = (Clock::new(), Issuer::new(active(&claims)));
    let mut instance = instance(&issuer, &clock);
    let mut line = |authority: &[u8]| {
        let head = RequestHead {
            authorization: &[b"Bearer tok"],
            method: b"GET",
            authority: Some(authority),
            path_and_query: Some(b"/"),
            dpop: &[],
            client_certificate: &[],
            traceparent: &[],
        };
        let step = instance.check.begin(&head, clock.now());
        let line = instance.finish(step).audit.unwrap();
        assert!(line.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{line}");
        assert!(line.len() < 4000);
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let read = line(b"h");
    let subject: String = serde_json::from_str(&format!("\"{evil}\"")).unwrap();
    assert_eq!(read["subject"], subject);
    assert_eq!(read["client_id"], "é".repeat(128));
    let read = line(&[b"h\"\r\n\xff".as_slice(), &[b'x'; 5000]].concat());
    assert_eq!(read["reason"], "ambiguous_path");
    assert_eq!(
        read["host"].as_str().unwrap(),
        format!("h\"\r\n\u{fffd}{}", "x".repeat(251))
    );
}

#[test]
fn without_the_setting_there_is_no_line() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[], &issuer, &clock);
    assert_eq!(instance.request("/", "t").audit, None);
}

#[test]
fn a_fingerprint_is_the_same_in_every_instance_and_another_under_another_secret() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let of = |settings: &[(&str, &str)]| {
        let settings = [&[("audit", "true")], settings].concat();
        let mut instance = Instance::new(&settings, &issuer, &clock);
        line(&mut instance, "/", "cace6X_Xtok")["token"].clone()
    };
    assert_eq!(of(&[]), of(&[("cache_ttl", "9")]));
    let another = ("cache_key", "another-key-another-key-another-key");
    let none = ("cache_key", "");
    let secret = ("resource_client_secret", "another");
    let all = [of(&[]), of(&[another]), of(&[none]), of(&[none, secret])];
    for (place, one) in all.iter().enumerate() {
        assert!(!all[..place].contains(one), "{all:?}");
    }
}

#[test]
fn without_a_secret_there_is_no_fingerprint_since_anybody_could_compute_it() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let settings = [
        ("audit", "true"),
        ("client_auth", "none"),
        ("resource_client_secret", ""),
        ("cache_key", ""),
    ];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let line = line(&mut instance, "/", "cace6X_Xtok");
    assert_eq!(
        (&line["decision"], &line["token"]),
        (&"granted".into(), &serde_json::Value::Null)
    );
}

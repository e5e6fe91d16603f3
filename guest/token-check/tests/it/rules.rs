//! Rules per route, from the document to the verdict.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use token_check::{
    AuthCheck, Decision, MAX_RULES, MAX_RULES_BYTES, Now, Problem, Reason, RequestHead, RulesError,
    RulesFault, SettingsError, Step, Verdict,
};

use crate::fixture::{Outcome, START, finishes, introspects, policy, reason, try_policy};

const NOW: Now = Now {
    unix: Duration::from_secs(START),
    monotonic: Duration::from_secs(100),
};

fn check(extra: &[(&str, &str)]) -> AuthCheck<u32> {
    AuthCheck::new(policy(extra), [7; 16])
}

fn rules_error(document: &str) -> Option<RulesError> {
    match try_policy(&[("rules", document)]) {
        Ok(_) => None,
        Err(SettingsError {
            problem: Problem::Rules(error),
            ..
        }) => Some(error),
        Err(other) => panic!("{other}"),
    }
}

fn head<'a>(
    authorization: &'a [&'a [u8]],
    method: &'a str,
    authority: Option<&'a str>,
    target: Option<&'a [u8]>,
) -> RequestHead<'a> {
    RequestHead {
        authorization,
        method: method.as_bytes(),
        authority: authority.map(str::as_bytes),
        path_and_query: target,
        dpop: &[],
        client_certificate: &[],
        traceparent: &[],
    }
}

fn done(step: Step<u32>) -> Verdict {
    match step {
        Step::Done(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

/// What becomes of a request without a token: `denied NAME`, `public NAME`, `token NAME`,
/// `ambiguous` or `ambiguous method`.
fn route(
    check: &mut AuthCheck<u32>,
    method: &str,
    authority: Option<&str>,
    target: Option<&[u8]>,
) -> String {
    let decision = done(check.begin(&head(&[], method, authority, target), NOW)).decision;
    let rule = decision.rule().unwrap_or("default");
    match &decision {
        Decision::Granted(grant) => {
            assert_eq!(grant.headers().count(), 0, "nobody is known here");
            format!("public {rule}")
        }
        Decision::Answered(response) => panic!("{response:?}"),
        Decision::Refused(refusal) => match refusal.reason() {
            Reason::NoCredentials => format!("token {rule}"),
            Reason::DeniedByRule => format!("denied {rule}"),
            Reason::AmbiguousPath if rule == "default" => "ambiguous".to_owned(),
            Reason::AmbiguousMethod if rule == "default" => "ambiguous method".to_owned(),
            other => panic!("{other:?} by {rule}"),
        },
    }
}

/// A GET of `target` with a token of which the issuer says `body`. Says whether the issuer was
/// called.
fn call(check: &mut AuthCheck<u32>, target: &str, body: &str) -> (Decision, bool) {
    let lines: &[&[u8]] = &[b"Bearer tok"];
    let request = head(lines, "GET", Some("h"), Some(target.as_bytes()));
    let step = check.begin(&request, NOW);
    if let Step::Done(verdict) = step {
        return (verdict.decision, false);
    }
    let (request, ticket, _) = introspects(step);
    let _ = finishes(check.responded(ticket, Outcome::json(body).response(), NOW));
    (done(check.resume(request, NOW)).decision, true)
}

/// The `www-authenticate` field of a refusal.
fn challenge(check: &AuthCheck<u32>, decision: Decision) -> Option<String> {
    let Decision::Refused(refusal) = decision else {
        panic!("was granted")
    };
    let response = refusal.response(check.policy());
    assert_eq!(response.status, refusal.reason().status());
    let mut headers = response.headers.into_iter();
    headers
        .find(|(name, _)| *name == "www-authenticate")
        .map(|(_, value)| value)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/rules")
        .join(name)
}

/// Every document of a folder of `tests/rules`, by path.
fn documents(name: &str) -> Vec<(PathBuf, String)> {
    let mut documents: Vec<_> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    documents.sort();
    assert!(documents.len() > 2, "{name}");
    documents
}

/// The text beside a document must be `actual`; with BLESS=1 it becomes that.
fn golden(document: &Path, actual: &str) {
    let beside = document.with_extension("txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&beside, actual).unwrap();
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    assert_eq!(actual, expected, "{}", beside.display());
}

#[test]
fn every_good_document_leads_each_request_to_the_rule_beside_it() {
    for (path, document) in documents("ok") {
        let mut check = check(&[("rules", &document)]);
        let text = fs::read_to_string(path.with_extension("txt")).unwrap();
        let mut actual = String::new();
        for line in text.lines() {
            let (request, _) = line.split_once(" => ").unwrap();
            let [method, authority, target] =
                request.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let given = |text: &'static str| move |value: &&str| *value != text;
            let outcome = route(
                &mut check,
                method,
                Some(authority).filter(given("-")),
                Some(target).filter(given("-")).map(str::as_bytes),
            );
            writeln!(actual, "{request} => {outcome}").unwrap();
        }
        golden(&path, &actual);
    }
}

#[test]
fn every_bad_document_is_refused_with_the_text_beside_it() {
    for name in ["bad/structure", "bad/meaning"] {
        for (path, document) in documents(name) {
            let error = try_policy(&[("rules", &document)]).unwrap_err();
            assert_eq!(error.key, "rules");
            golden(&path, &format!("{error}\n"));
        }
    }
}

#[test]
fn the_schema_takes_every_good_document_and_none_of_wrong_structure() {
    let read = |text: &str| serde_json::from_str::<Value>(text);
    let schema = read(include_str!("../../rules.schema.json")).unwrap();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for (path, document) in documents("ok") {
        let document = read(&document).unwrap();
        let errors: Vec<_> = schema
            .iter_errors(&document)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    for (path, document) in documents("bad/structure") {
        let good = read(&document).is_ok_and(|document| schema.is_valid(&document));
        assert!(!good, "{}", path.display());
    }
    // What only reading the whole can tell; here so that a schema that grows is noticed.
    for (path, document) in documents("bad/meaning") {
        assert!(
            schema.is_valid(&read(&document).unwrap()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_document_is_taken_to_its_limits_and_no_further() {
    let rules = |count: usize| {
        let rules: Vec<_> = (0..count)
            .map(|n| json!({ "path": { "exact": format!("/{n}") }, "deny": true }))
            .collect();
        json!(rules).to_string()
    };
    assert_eq!(rules_error(&rules(MAX_RULES)), None);
    let whole = |fault| Some(RulesError { rule: None, fault });
    assert_eq!(
        rules_error(&rules(MAX_RULES + 1)),
        whole(RulesFault::TooMany)
    );
    let padded = |length: usize| format!("[]{}", " ".repeat(length - 2));
    assert_eq!(rules_error(&padded(MAX_RULES_BYTES)), None);
    assert_eq!(
        rules_error(&padded(MAX_RULES_BYTES + 1)),
        whole(RulesFault::TooLong)
    );
}

#[test]
fn c1_a_route_that_needs_another_scope_refuses_a_token_that_another_route_let_in() {
    let mut check = check(&[(
        "rules",
        r#"[{"path": {"exact": "/r1"}, "scopes": {"all": ["read"]}},
            {"path": {"exact": "/r2"}, "scopes": {"all": ["write"]}}]"#,
    )]);
    let body = r#"{"active":true,"scope":"read"}"#;
    let (first, _) = call(&mut check, "/r1", body);
    assert_eq!((reason(&first), first.rule()), (None, Some("#1")));
    let (second, _) = call(&mut check, "/r2", body);
    assert_eq!(
        (reason(&second), second.rule()),
        (Some(Reason::InsufficientScope), Some("#2"))
    );
    assert_eq!(
        challenge(&check, second).as_deref(),
        Some(
            r#"Bearer realm="service-b", error="insufficient_scope", error_description="The access token lacks a scope that this service needs.", scope="write""#
        )
    );
}

#[test]
fn c1_two_routes_that_share_one_introspection_call_decide_each_for_itself() {
    let mut check = check(&[(
        "rules",
        r#"[{"path": {"exact": "/r1"}, "scopes": {"all": ["read"]}},
            {"path": {"exact": "/r2"}, "scopes": {"all": ["write"]}},
            {"path": {"exact": "/r3"}, "deny": true}]"#,
    )]);
    let lines: &[&[u8]] = &[b"Bearer tok"];
    let begin = |check: &mut AuthCheck<u32>, target: &'static [u8]| {
        check.begin(&head(lines, "GET", None, Some(target)), NOW)
    };
    let (first, ticket, _) = introspects(begin(&mut check, b"/r1"));
    let Step::Join(second) = begin(&mut check, b"/r2") else {
        panic!("must join")
    };
    let Step::Join(other) = begin(&mut check, b"/r4") else {
        panic!("must join")
    };
    assert_eq!(
        reason(&done(begin(&mut check, b"/r3")).decision),
        Some(Reason::DeniedByRule)
    );
    let body = r#"{"active":true,"scope":"read"}"#;
    let _ = finishes(check.responded(ticket, Outcome::json(body).response(), NOW));
    let expected = [
        (first, None, Some("#1")),
        (second, Some(Reason::InsufficientScope), Some("#2")),
        (other, None, None),
    ];
    for (waiting, why, rule) in expected {
        let decision = done(check.resume(waiting, NOW)).decision;
        assert_eq!((reason(&decision), decision.rule()), (why, rule));
    }
}

#[test]
fn c3_c5_j6_each_route_requires_its_own_audience_issuer_client_and_grant_type() {
    let rules = json!([
        { "path": { "exact": "/aud" }, "audiences": ["api", "api2"] },
        { "path": { "exact": "/iss" }, "issuers": ["https://a", "https://b"] },
        { "path": { "exact": "/client" }, "clients": ["shop"] },
        { "path": { "exact": "/grant" }, "grant_types": ["client_credentials"] },
        { "path": { "exact": "/any" }, "scopes": { "any": ["a", "b"] } },
        { "path": { "exact": "/both" }, "scopes": { "all": ["a"], "any": ["b", "c"] } }
    ])
    .to_string();
    use Reason::*;
    let rows: &[(&str, &str, Option<Reason>)] = &[
        ("/aud", r#""aud":["x","api2"]"#, None),
        ("/aud", r#""aud":"api3""#, Some(WrongAudience)),
        ("/aud", r#""iss":"https://a""#, Some(NoAudience)),
        ("/iss", r#""iss":"https://b""#, None),
        ("/iss", r#""iss":"https://c""#, Some(WrongIssuer)),
        ("/iss", r#""aud":"api""#, Some(NoIssuer)),
        ("/client", r#""client_id":"shop""#, None),
        ("/client", r#""client_id":"shop2""#, Some(ClientNotAllowed)),
        ("/client", r#""sub":"shop""#, Some(NoClientId)),
        ("/grant", r#""grant_type":"client_credentials""#, None),
        (
            "/grant",
            r#""grant_type":"password""#,
            Some(GrantTypeNotAllowed),
        ),
        ("/grant", r#""sub":"shop""#, Some(NoGrantType)),
        ("/any", r#""scope":"x b""#, None),
        ("/any", r#""scope":"x""#, Some(InsufficientScope)),
        ("/any", r#""sub":"a""#, Some(InsufficientScope)),
        ("/both", r#""scope":"c a""#, None),
        ("/both", r#""scope":"b c""#, Some(InsufficientScope)),
        ("/both", r#""scope":"a""#, Some(InsufficientScope)),
        ("/other", r#""scope":"x""#, None),
    ];
    for (target, member, expected) in rows {
        // One check for each row, and one for all: what was called before changes nothing.
        let mut fresh = check(&[("rules", &rules)]);
        let body = format!(r#"{{"active":true,{member}}}"#);
        let (decision, _) = call(&mut fresh, target, &body);
        assert_eq!(reason(&decision), *expected, "{target} {member}");
        if *expected == Some(InsufficientScope) {
            let scope = if *target == "/any" { "a b" } else { "a b c" };
            let challenge = challenge(&fresh, decision).unwrap();
            assert!(
                challenge.ends_with(&format!(r#", scope="{scope}""#)),
                "{challenge}"
            );
        }
    }
}

#[test]
fn a_rule_inherits_the_requirements_that_it_does_not_set() {
    let extra = [
        ("expected_aud", "api"),
        ("expected_issuer", "https://a"),
        ("required_scope", "base"),
        ("allowed_clients", "shop"),
        ("allowed_grant_types", "client_credentials"),
        (
            "rules",
            r#"[{"path": {"exact": "/same"}},
                {"path": {"exact": "/any"}, "scopes": {"any": ["more"]}},
                {"path": {"exact": "/all"}, "scopes": {"all": ["other"]}},
                {"path": {"exact": "/aud"}, "audiences": ["api2"]}]"#,
        ),
    ];
    use Reason::*;
    let rows: &[(&str, &str, &str, &str, Option<Reason>)] = &[
        ("/same", "api", "base", "shop", None),
        ("/same", "api2", "base", "shop", Some(WrongAudience)),
        ("/same", "api", "more", "shop", Some(InsufficientScope)),
        ("/same", "api", "base", "x", Some(ClientNotAllowed)),
        ("/any", "api", "more", "shop", Some(InsufficientScope)),
        ("/any", "api", "base", "shop", Some(InsufficientScope)),
        ("/any", "api", "base more", "shop", None),
        ("/all", "api", "other", "shop", None),
        ("/all", "api", "base", "shop", Some(InsufficientScope)),
        ("/all", "api", "other", "x", Some(ClientNotAllowed)),
        ("/aud", "api2", "base", "shop", None),
        ("/aud", "api", "base", "shop", Some(WrongAudience)),
        ("/aud", "api2", "other", "shop", Some(InsufficientScope)),
        ("/none", "api", "base", "shop", None),
        ("/none", "api2", "base", "shop", Some(WrongAudience)),
    ];
    for (target, aud, scope, client, expected) in rows {
        let body = json!({
            "active": true, "iss": "https://a", "grant_type": "client_credentials",
            "aud": aud, "scope": scope, "client_id": client,
        });
        let (decision, _) = call(&mut check(&extra), target, &body.to_string());
        assert_eq!(
            reason(&decision),
            *expected,
            "{target} {aud} {scope} {client}"
        );
    }
}

#[test]
fn h7_a_public_route_makes_no_call_and_forwards_the_token_only_with_forward_token() {
    for forward in ["true", "false"] {
        let mut check = check(&[
            (
                "rules",
                r#"[{"path": {"exact": "/open"}, "public": true, "name": "open"}]"#,
            ),
            ("forward_token", forward),
        ]);
        let tokens: [&[&[u8]]; 4] = [
            &[],
            &[b"Bearer tok"],
            &[b"Basic x", b"Bearer \xff"],
            &[b"Bearer"],
        ];
        for lines in tokens {
            let request = head(lines, "GET", Some("h"), Some(b"/open?access_token=x"));
            let verdict = done(check.begin(&request, NOW));
            assert_eq!(verdict.cache, None);
            let Decision::Granted(grant) = verdict.decision else {
                panic!("must be granted")
            };
            assert_eq!(grant.headers().count(), 0);
            assert_eq!(grant.forward_token, forward == "true");
            assert_eq!(grant.rule.as_deref(), Some("open"));
        }
    }
}

#[test]
fn a_denied_route_is_a_403_whatever_the_token_and_names_no_way_in() {
    let mut check = check(&[("rules", r#"[{"path": {"exact": "/x"}, "deny": true}]"#)]);
    let (decision, asked) = call(&mut check, "/x", r#"{"active":true}"#);
    assert!(!asked);
    let Decision::Refused(refusal) = &decision else {
        panic!("was granted")
    };
    let response = refusal.response(check.policy());
    assert_eq!(response.status, 403);
    assert_eq!(
        response.body,
        r#"{"error":"access_denied","error_description":"Access to this resource is denied.","reason":"denied_by_rule"}"#
    );
    assert_eq!(challenge(&check, decision), None);
}

#[test]
fn h10_h11_nothing_but_method_authority_and_target_chooses_a_rule() {
    // All that the core is given of a request: no x-forwarded-*, x-envoy-* or
    // x-http-method-override is among it.
    let RequestHead {
        authorization: _,
        method: _,
        authority: _,
        path_and_query: _,
        // Checked after the rule is chosen.
        dpop: _,
        // Compared with what the token is bound to, after the rule is chosen.
        client_certificate: _,
        traceparent: _,
    } = head(&[], "GET", None, None);
    let mut check = check(&[("rules", r#"[{"path": {"exact": "/open"}, "public": true}]"#)]);
    let spoofed: &[&[u8]] = &[
        b"/data?x-forwarded-uri=/open",
        b"/data?x-envoy-original-path=/open",
    ];
    for target in spoofed {
        assert_eq!(
            route(&mut check, "GET", Some("h"), Some(target)),
            "token default"
        );
    }
}

#[test]
fn h12_the_query_takes_no_part_in_matching() {
    let mut check = check(&[(
        "rules",
        r#"[{"path": {"exact": "/health"}, "public": true},
            {"path": {"prefix": "/data"}, "name": "data"}]"#,
    )]);
    for target in [
        "/data?x=/health",
        "/data?/health",
        "/data?../health",
        "/data?",
        "/data?a?/health",
        "/data/?;//",
    ] {
        assert_eq!(
            route(&mut check, "GET", Some("h"), Some(target.as_bytes())),
            "token data",
            "{target}"
        );
    }
    assert_eq!(
        route(&mut check, "GET", Some("h"), Some(b"/health?x=/data")),
        "public #1"
    );
}

/// Ways to write `/data` or to hide it behind `/public`.
const SPELLINGS: &[&[u8]] = &[
    b"/data",
    b"/data/",
    b"/%64ata",
    b"/d%61t%61",
    b"/public/../data",
    b"/public/%2e%2e/data",
    b"/public/%2E%2E/data",
    b"/public/.%2e/data",
    b"/public/..%2fdata",
    b"/public%2f..%2fdata",
    b"/public/..%5cdata",
    b"/public/..\\data",
    b"/public\\..\\data",
    b"/public/..;/data",
    b"/public/..;a/data",
    b"/public/..;a=b/../data",
    b"/public;x=y/../data",
    b"/public/%252e%252e/data",
    b"/public/..%252fdata",
    b"/public/%c0%ae%c0%ae/data",
    b"/public/..%c0%afdata",
    b"/public/%u002e%u002e/data",
    b"/public//../data",
    b"/public/./../data",
    b"//data",
    b"///data",
    b"/./data",
    b"/.//data",
    b"//public/../data",
    b"/data;x=y",
    b"/data;",
    b"/data%3bx",
    b"/data//",
    b"/data/.",
    b"/data/%2e",
    b"/data%00",
    b"/data%00/public",
    b"/public%00/../data",
    b"/data\0",
    b"/data%0a",
    b"/data%0d%0a",
    b"/data%09",
    b"/data#/public",
    b"/public#/../data",
    b"/public%23/../data",
    b"/public%3f/../data",
    b"/data%2f",
    b"/data%5c",
    b"/data\\",
    b"/data ",
    b" /data",
    b"/data\xff",
    b"/data%ff",
    b"/data%",
    b"/data%zz",
    b"data",
    b"",
    b"?/public",
    b"http://h/public",
    b"http://h/data",
    b"https:/data",
    b"*/public",
    b"public",
];

#[test]
fn h14_every_spelling_of_a_path_meets_the_rule_of_that_path_or_is_refused() {
    let mut check = check(&[(
        "rules",
        r#"[{"name": "open", "path": {"prefix": "/public"}, "public": true},
            {"name": "closed", "path": {"exact": "/data"}, "deny": true}]"#,
    )]);
    for target in SPELLINGS {
        let outcome = route(&mut check, "GET", Some("h"), Some(target));
        assert!(
            ["denied closed", "ambiguous"].contains(&&*outcome),
            "{}: {outcome}",
            target.escape_ascii()
        );
    }
    let outcome = |check: &mut _, target: &[u8]| route(check, "GET", Some("h"), Some(target));
    assert_eq!(outcome(&mut check, b"/data/"), "denied closed");
    assert_eq!(outcome(&mut check, b"/%64ata?"), "denied closed");
    assert_eq!(outcome(&mut check, b"/DATA"), "token default");
    let refused = done(check.begin(&head(&[], "GET", None, Some(b"//data")), NOW)).decision;
    assert_eq!(
        challenge(&check, refused).as_deref(),
        Some(
            r#"Bearer realm="service-b", error="invalid_request", error_description="The path or the host of the request is ambiguous.""#
        )
    );
}

#[test]
fn h14_without_rules_there_is_one_policy_and_paths_are_left_to_the_app() {
    for extra in [&[][..], &[("rules", "")], &[("rules", "[]")]] {
        let mut check = check(extra);
        for target in SPELLINGS {
            assert_eq!(
                route(&mut check, "GET", None, Some(target)),
                "token default"
            );
        }
    }
}

#[test]
fn h17_a_request_without_a_path_meets_rules_that_name_none_and_never_a_public_one() {
    let pathless: [(&str, Option<&[u8]>); 4] = [
        ("CONNECT", None),
        ("OPTIONS", Some(b"*")),
        ("GET", None),
        ("GET", Some(b"*")),
    ];
    let rows = [
        ("[]", "token default"),
        (r#"[{"public": true}]"#, "token default"),
        (
            r#"[{"path": {"prefix": "/"}, "deny": true}]"#,
            "token default",
        ),
        (
            r#"[{"path": {"template": "/**"}, "deny": true}]"#,
            "token default",
        ),
        (r#"[{"deny": true}]"#, "denied #1"),
        (r#"[{"host": "*.example", "deny": true}]"#, "denied #1"),
        (
            r#"[{"host": "a.example", "public": true}, {"scopes": {"all": ["a"]}}]"#,
            "token #2",
        ),
        (
            r#"[{"methods": ["OPTIONS", "CONNECT", "GET"], "public": true}, {"deny": true}]"#,
            "denied #2",
        ),
    ];
    for (rules, expected) in rows {
        let mut check = check(&[("rules", rules)]);
        for (method, target) in pathless {
            assert_eq!(
                route(&mut check, method, Some("a.example:443"), target),
                expected,
                "{rules} {method}"
            );
        }
    }
    // An extended CONNECT (RFC 8441) has a path like any other request.
    let mut check = check(&[("rules", r#"[{"path": {"exact": "/ws"}, "public": true}]"#)]);
    assert_eq!(
        route(&mut check, "CONNECT", None, Some(b"/ws")),
        "public #1"
    );
}

#[test]
fn a_rule_for_everything_applies_behind_a_public_one_to_requests_without_a_path() {
    let rules = r#"[{"name": "open", "public": true}, {"name": "rest", "deny": true}]"#;
    let mut check = check(&[("rules", rules)]);
    let mut outcome = |method, target| route(&mut check, method, Some("h"), target);
    assert_eq!(outcome("GET", Some(b"/")), "public open");
    assert_eq!(outcome("OPTIONS", Some(b"*")), "denied rest");
    assert_eq!(outcome("CONNECT", None), "denied rest");
}

#[test]
fn a_method_in_the_wrong_case_is_refused_if_a_rule_names_it() {
    let rules = r#"[{"path": {"prefix": "/a"}, "methods": ["DELETE", "GET"], "deny": true}]"#;
    let mut check = check(&[("rules", rules)]);
    for (method, expected) in [
        ("DELETE", "denied #1"),
        ("delete", "ambiguous method"),
        ("Delete", "ambiguous method"),
        ("dELETE", "ambiguous method"),
        ("gET", "ambiguous method"),
        // GET includes HEAD.
        ("HEAD", "denied #1"),
        ("head", "ambiguous method"),
        ("post", "token default"),
        ("DELETES", "token default"),
        ("", "token default"),
    ] {
        for path in [&b"/a"[..], b"/elsewhere"] {
            let expected = match (expected, path) {
                ("denied #1", b"/elsewhere") => "token default",
                _ => expected,
            };
            assert_eq!(
                route(&mut check, method, Some("h"), Some(path)),
                expected,
                "{method}"
            );
        }
    }
    let mut open = self::check(&[]);
    assert_eq!(
        route(&mut open, "delete", Some("h"), Some(b"/a")),
        "token default"
    );
}

#[test]
fn h19_a_preflight_needs_a_token_unless_a_rule_opens_it() {
    let closed = r#"[{"path": {"prefix": "/api"}, "methods": ["GET", "POST"]},
        {"path": {"exact": "/open"}, "methods": ["GET"], "public": true}]"#;
    let mut closed = check(&[("rules", closed)]);
    for target in [&b"/api/x"[..], b"/open", b"/"] {
        assert_eq!(
            route(&mut closed, "OPTIONS", Some("h"), Some(target)),
            "token default"
        );
    }
    let open = r#"[{"name": "preflight", "path": {"prefix": "/api"}, "methods": ["OPTIONS"], "public": true},
        {"path": {"prefix": "/api"}, "name": "api"}]"#;
    let mut open = check(&[("rules", open)]);
    let mut outcome = |method| route(&mut open, method, Some("h"), Some(b"/api/x"));
    assert_eq!(outcome("OPTIONS"), "public preflight");
    assert_eq!(outcome("options"), "ambiguous method");
    assert_eq!(outcome("GET"), "token api");
}

#[test]
fn a_request_without_a_host_matches_no_rule_with_one_and_no_public_one_and_a_malformed_host_is_refused()
 {
    let rules = r#"[{"host": "admin.example", "deny": true, "name": "admin"},
        {"path": {"exact": "/open"}, "public": true, "name": "open"},
        {"path": {"exact": "/open"}, "methods": ["GET"], "name": "after"}]"#;
    // The last rule stands behind a public one that matches all it does, so it is told to be of no
    // use.
    assert_eq!(
        rules_error(rules).unwrap().fault,
        RulesFault::Unreachable(2)
    );
    let rules = r#"[{"host": "admin.example", "deny": true, "name": "admin"},
        {"path": {"exact": "/open"}, "public": true, "name": "open"},
        {"path": {"prefix": "/open"}, "methods": ["GET"], "name": "after"}]"#;
    let mut named = check(&[("rules", rules)]);
    let rows = [
        (Some("admin.example"), "denied admin"),
        (Some("ADMIN.example.:8443"), "denied admin"),
        (Some("other.example"), "public open"),
        (Some("[::1]:9000"), "public open"),
        (Some("127.0.0.1:9000"), "public open"),
        (None, "token after"),
        (Some(""), "ambiguous"),
        (Some("admin.example:"), "ambiguous"),
        (Some("admin.example:65536"), "ambiguous"),
        (Some("admin.example:x"), "ambiguous"),
        (Some("admin.example:80:80"), "ambiguous"),
        (Some("user@admin.example"), "ambiguous"),
        (Some("admin.example/"), "ambiguous"),
        // Two Host fields: RFC 9112 section 3.2.
        (Some("other.example,admin.example"), "ambiguous"),
        (Some("other.example, admin.example"), "ambiguous"),
        (Some("admin.example.."), "ambiguous"),
        (Some("admin%2eexample"), "ambiguous"),
        (Some("\u{212a}"), "ambiguous"),
    ];
    for (authority, expected) in rows {
        assert_eq!(
            route(&mut named, "GET", authority, Some(b"/open")),
            expected,
            "{authority:?}"
        );
    }
    // Where no rule looks at the host it does not matter.
    let mut unnamed = check(&[("rules", r#"[{"path": {"exact": "/open"}, "public": true}]"#)]);
    for (authority, expected) in [
        (None, "public #1"),
        (Some("a,b"), "public #1"),
        (Some(""), "ambiguous"),
        (Some("a b"), "ambiguous"),
    ] {
        assert_eq!(
            route(&mut unnamed, "GET", authority, Some(b"/open")),
            expected
        );
    }
}

#[test]
fn the_rules_of_the_documentation_say_what_it_says_of_them() {
    let document = include_str!("../../../../docs/rules.md");
    let (_, document) = document.split_once("```json\n").unwrap();
    let (document, _) = document.split_once("```").unwrap();
    let mut check = check(&[("rules", document)]);
    for (request, expected) in [
        ("GET /health", "public health"),
        ("GET /users/7/orders/1", "token read orders"),
        ("POST /users/7/orders", "token write orders"),
        ("GET /admin/x", "denied #4"),
        ("GET /data", "token default"),
    ] {
        let (method, target) = request.split_once(' ').unwrap();
        assert_eq!(
            route(
                &mut check,
                method,
                Some("api.example.com"),
                Some(target.as_bytes())
            ),
            expected,
            "{request}"
        );
    }
}

/// As many rules as called for, of which the last is for `/users/{id}/orders/last`.
fn many(count: usize) -> String {
    let rules: Vec<_> = (1..count)
        .map(|n| {
            json!({
                "name": format!("rule {n}"),
                "methods": ["GET", "POST"],
                "path": { "template": format!("/users/{{id}}/orders/route{n}/**") },
                "scopes": { "all": [format!("scope{n}")] },
            })
        })
        .chain([json!({
            "name": "last",
            "methods": ["GET", "POST"],
            "path": { "template": "/users/{id}/orders/last/**" },
            "scopes": { "all": ["last"] },
        })])
        .collect();
    json!(rules).to_string()
}

#[test]
fn a_thousand_rules_cost_a_request_no_more_than_twice_what_one_costs() {
    let mut checks = [1, 1000].map(|count| check(&[("rules", &many(count))]));
    let lines: &[&[u8]] = &[b"Basic none"];
    let request = head(lines, "POST", Some("h"), Some(b"/users/7/orders/last/8"));
    let round = |check: &mut AuthCheck<u32>| {
        let start = Instant::now();
        for _ in 0..200 {
            let decision = done(check.begin(&request, NOW)).decision;
            assert_eq!(decision.rule(), Some("last"));
        }
        start.elapsed()
    };
    // The least of many short rounds, taken in turn: what else this machine does cannot make that
    // less.
    let mut least = [Duration::MAX; 2];
    for _ in 0..200 {
        for (check, least) in checks.iter_mut().zip(&mut least) {
            *least = round(check).min(*least);
        }
    }
    let [one, thousand] = least;
    assert!(
        thousand <= one * 2,
        "{one:?} with one, {thousand:?} with a thousand"
    );
}

/// The same rules as they are matched one by one, to hold the index to.
mod naive {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[derive(Clone, Debug)]
    struct Rule {
        host: Option<&'static str>,
        methods: Vec<&'static str>,
        path: Option<(&'static str, Vec<&'static str>)>,
        kind: &'static str,
        name: String,
    }

    impl Rule {
        fn json(&self) -> Value {
            let mut rule = serde_json::Map::new();
            let mut set = |key: &str, value| rule.insert(key.to_owned(), value);
            set("name", json!(self.name));
            if let Some(host) = self.host {
                set("host", json!(host));
            }
            if !self.methods.is_empty() {
                set("methods", json!(self.methods));
            }
            if let Some((form, segments)) = &self.path {
                set("path", json!({ *form: format!("/{}", segments.join("/")) }));
            }
            match self.kind {
                "public" => set("public", json!(true)),
                "denied" => set("deny", json!(true)),
                _ => None,
            };
            Value::Object(rule)
        }

        fn matches(&self, request: &Request) -> bool {
            self.matches_host(request)
                && (self.methods.is_empty()
                    || self.methods.contains(&request.method)
                    || (request.method == "HEAD" && self.methods.contains(&"GET")))
                && self.matches_path(request)
                && (self.kind != "public" || (request.host_is_known() && request.path.is_some()))
        }

        fn matches_host(&self, request: &Request) -> bool {
            let Some(pattern) = self.host else {
                return true;
            };
            let host = match request.authority {
                Some("h.x:80" | "H.X.") => "h.x",
                Some(host) if request.host_is_known() => host,
                _ => return false,
            };
            match pattern.strip_prefix('*') {
                Some(end) => host.len() > end.len() && host.ends_with(end),
                None => host == pattern,
            }
        }

        fn matches_path(&self, request: &Request) -> bool {
            let Some((form, pattern)) = &self.path else {
                return true;
            };
            let Some(path) = &request.path else {
                return false;
            };
            let prefix = |pattern: &[&str]| {
                path.len() >= pattern.len()
                    && pattern
                        .iter()
                        .zip(path)
                        .all(|(want, have)| want == have || want.starts_with('{'))
            };
            match pattern.split_last() {
                Some((&"**", start)) => prefix(start),
                _ => prefix(pattern) && (*form == "prefix" || pattern.len() == path.len()),
            }
        }
    }

    #[derive(Clone, Debug)]
    struct Request {
        method: &'static str,
        authority: Option<&'static str>,
        path: Option<Vec<&'static str>>,
        encoded: bool,
        ending: &'static str,
    }

    impl Request {
        fn host_is_known(&self) -> bool {
            !matches!(self.authority, None | Some("h..x" | "h.x:y"))
        }

        fn target(&self) -> Option<String> {
            let path = self.path.as_ref()?;
            let path = path.join("/");
            let path = if self.encoded {
                path.replace('a', "%61")
            } else {
                path
            };
            let slash = if path.is_empty() { "" } else { self.ending };
            Some(format!("/{path}{slash}"))
        }
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let literal = || select(vec!["a", "b", "c"]);
        let exact = prop::collection::vec(literal(), 0..4).prop_flat_map(|path| {
            select(vec!["exact", "prefix"]).prop_map(move |form| (form, path.clone()))
        });
        let template = (
            prop::collection::vec(select(vec!["a", "b", "{x}"]), 0..4),
            any::<bool>(),
        )
            .prop_map(|(mut path, rest)| {
                if rest {
                    path.push("**");
                }
                ("template", path)
            });
        let path = prop_oneof![
            1 => Just(None),
            3 => exact.prop_map(Some),
            4 => template.prop_map(Some),
        ];
        let host = select(vec![
            None,
            None,
            None,
            Some("h.x"),
            Some("*.x"),
            Some("*.h.x"),
            Some("a.h.x"),
        ]);
        let methods = select(vec![
            vec![],
            vec![],
            vec!["GET"],
            vec!["POST"],
            vec!["POST", "GET"],
            vec!["HEAD"],
        ]);
        let rule = (
            host,
            methods,
            path,
            select(vec!["token", "public", "denied"]),
        );
        prop::collection::vec(rule, 1..24).prop_map(|rules| {
            let rules = rules.into_iter().enumerate();
            rules
                .map(|(n, (host, methods, path, kind))| Rule {
                    host,
                    methods,
                    path,
                    kind,
                    name: format!("r{n}"),
                })
                .collect()
        })
    }

    fn request() -> impl Strategy<Value = Request> {
        let authority = select(vec![
            None,
            Some("h.x"),
            Some("h.x:80"),
            Some("H.X."),
            Some("a.h.x"),
            Some("b.a.h.x"),
            Some("x"),
            Some("xh.x"),
            Some("y"),
            Some("h..x"),
            Some("h.x:y"),
        ]);
        let segment = select(vec!["a", "b", "c", "d", "aa"]);
        let path = prop_oneof![
            1 => Just(None),
            12 => prop::collection::vec(segment, 0..5).prop_map(Some),
        ];
        (
            select(vec!["GET", "HEAD", "POST", "PUT"]),
            authority,
            path,
            any::<bool>(),
            select(vec!["", "/", "?b", "/?/c"]),
        )
            .prop_map(|(method, authority, path, encoded, ending)| Request {
                method,
                authority,
                path,
                encoded,
                ending,
            })
    }

    fn expected(rules: &[Rule], request: &Request) -> String {
        if matches!(request.authority, Some("h..x" | "h.x:y")) {
            return "ambiguous".to_owned();
        }
        // Without a rule that looks at the host, every host is as good as another.
        let mut request = request.clone();
        if rules.iter().all(|rule| rule.host.is_none()) {
            request.authority = Some("y");
        }
        rules
            .iter()
            .find(|rule| rule.matches(&request))
            .map_or_else(
                || "token default".to_owned(),
                |rule| format!("{} {}", rule.kind, rule.name),
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn the_index_finds_the_rule_that_reading_all_of_them_in_order_finds(
            all in rules(),
            requests in prop::collection::vec(request(), 48),
        ) {
            // Rules that are said to be of no use go, and are found to be of none.
            let mut kept = all.clone();
            let document = loop {
                let document = json!(kept.iter().map(Rule::json).collect::<Vec<_>>()).to_string();
                match rules_error(&document) {
                    None => break document,
                    Some(RulesError { rule: Some((number, _)), fault: RulesFault::Unreachable(by) }) => {
                        prop_assert!(by < number);
                        kept.remove(number - 1);
                    }
                    Some(other) => panic!("{other}"),
                }
            };
            let mut check = check(&[("rules", &document)]);
            for request in requests {
                let target = request.target();
                let target = target.as_deref().map(str::as_bytes);
                let found = route(&mut check, request.method, request.authority, target);
                prop_assert_eq!(&found, &expected(&kept, &request), "{} {:?}", document, request);
                if request.path.is_some() && request.host_is_known() {
                    prop_assert_eq!(&found, &expected(&all, &request), "{:?} {:?}", all, request);
                }
            }
        }
    }
}

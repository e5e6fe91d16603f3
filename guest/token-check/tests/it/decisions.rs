//! One request and the issuer's response: which decision, call and HTTP response follow.

use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use token_check::{
    ALL_REASONS, Action, AuthCheck, AwaitingResponse, BodyCollector, Decision, IssuerCall as _,
    IssuerResponse, Now, Parked, PendingRequest, Problem, Range, Reason, RequestHead, Response,
    SETTINGS, SettingsError, Step, USER_AGENT, Unit,
};

use crate::fixture::{
    self, Clock, DENIED, Instance, Issuer, Outcome, START, TIMED_OUT, UNREACHABLE, finishes,
    introspects, policy, reason as reason_of, try_policy,
};

const NOW: Now = Now {
    unix: Duration::from_secs(START),
    monotonic: Duration::from_secs(100),
};

/// Form-encoding changes its id and its secret.
fn check(extra: &[(&str, &str)]) -> AuthCheck<u32> {
    let client = [
        ("resource_client_id", "service b"),
        ("resource_client_secret", "s3cr3t+/&="),
    ];
    AuthCheck::new(policy(&[&client, extra].concat()), [7; 16])
}

fn head<'a>(lines: &'a [&'a [u8]]) -> RequestHead<'a> {
    fixture::head(lines, "/data")
}

fn joins(step: Step<u32>) -> PendingRequest {
    match step {
        Step::Join(request) => request,
        other => panic!("must join: {other:?}"),
    }
}

fn respond(check: &mut AuthCheck<u32>, ticket: AwaitingResponse, outcome: &Outcome) -> Vec<u32> {
    finishes(check.responded(ticket, outcome.response(), NOW)).woken
}

/// One request whose introspection has this outcome.
fn decide(extra: &[(&str, &str)], outcome: Outcome) -> Decision {
    // The leeway of the default.
    let settings = [&[("leeway", "30")], extra].concat();
    let mut instance = Instance::new(&settings, &Issuer::new(outcome), &Clock::new());
    instance.request("/data", "tok").decision
}

/// The step must be a refusal.
fn refusal(step: Step<u32>) -> Reason {
    match step {
        Step::Done(verdict) => reason_of(&verdict.decision).expect("must be refused"),
        other => panic!("{other:?}"),
    }
}

fn reason(extra: &[(&str, &str)], outcome: Outcome) -> Option<Reason> {
    reason_of(&decide(extra, outcome))
}

fn answer(status: u16, media_type: &'static str, body: &[u8]) -> Outcome {
    Outcome::http(status, media_type, body)
}

fn json(body: &str) -> Outcome {
    Outcome::json(body)
}

#[test]
fn rfc7662_s2_2_a_response_decides_as_the_table_says() {
    use Reason::*;
    let rows: &[(&str, Option<Reason>)] = &[
        (r#"{"active":true}"#, None),
        (r#"{"active":false}"#, Some(Inactive)),
        (
            r#"{"active":false,"sub":"x","exp":"nonsense","client_id":"a"}"#,
            Some(Inactive),
        ),
        // P1, P2, P3: everything but the JSON value true or false is the issuer's fault.
        (r#"{"active":"true"}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":"false"}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":1}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":0}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":null}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":{}}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":[true]}"#, Some(IssuerAnswerMalformed)),
        (r#"{"exp":1900000000}"#, Some(IssuerAnswerMalformed)),
        ("{}", Some(IssuerAnswerMalformed)),
        ("[]", Some(IssuerAnswerMalformed)),
        ("true", Some(IssuerAnswerMalformed)),
        ("", Some(IssuerAnswerMalformed)),
        (r#"{"active":true}x"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":true"#, Some(IssuerAnswerMalformed)),
        (r#"{"Active":true}"#, Some(IssuerAnswerMalformed)),
        // P6: a name twice.
        (
            r#"{"active":false,"active":true}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"\u0061ctive":true}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"exp":1,"exp":1900000000}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"x":{"a":1,"a":2}}"#,
            Some(IssuerAnswerMalformed),
        ),
        // P10: times. The leeway is 30 s.
        (r#"{"active":true,"exp":1800000001}"#, None),
        (r#"{"active":true,"exp":1799999971}"#, None),
        (r#"{"active":true,"exp":1799999970}"#, Some(Expired)),
        (r#"{"active":true,"exp":1799999970.9}"#, Some(Expired)),
        (r#"{"active":true,"exp":1.9e9}"#, None),
        (r#"{"active":true,"exp":0}"#, Some(Expired)),
        (r#"{"active":true,"exp":-1}"#, Some(Expired)),
        (
            r#"{"active":true,"exp":-9223372036854775808}"#,
            Some(Expired),
        ),
        (r#"{"active":true,"exp":-1e300}"#, Some(Expired)),
        (
            r#"{"active":true,"exp":1900000000000}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"exp":9223372036854775808}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"exp":1e300}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"exp":1e999}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"exp":"1900000000"}"#,
            Some(IssuerAnswerMalformed),
        ),
        (r#"{"active":true,"exp":null}"#, None),
        (r#"{"active":true,"exp":NaN}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":true,"nbf":1800000030}"#, None),
        (r#"{"active":true,"nbf":1800000031}"#, Some(NotYetValid)),
        (r#"{"active":true,"nbf":1800000030.1}"#, Some(NotYetValid)),
        (r#"{"active":true,"iat":1800000031}"#, Some(NotYetValid)),
        // P12, P13, J9: not an access token, not a finished login, bound to a key.
        (
            r#"{"active":true,"token_type":"bearer","token_use":"access_token","typ":"at+jwt"}"#,
            None,
        ),
        (r#"{"active":true,"token_type":"Bearer"}"#, None),
        (
            r#"{"active":true,"token_type":"N_A"}"#,
            Some(WrongTokenType),
        ),
        (
            r#"{"active":true,"token_type":"DPoP"}"#,
            Some(WrongTokenType),
        ),
        (
            r#"{"active":true,"token_use":"refresh_token"}"#,
            Some(WrongTokenType),
        ),
        (r#"{"active":true,"typ":"ID"}"#, Some(WrongTokenType)),
        (
            r#"{"active":true,"scope":"mfa_challenge"}"#,
            Some(UnfinishedLogin),
        ),
        (
            r#"{"active":true,"scope":["read","mfa_challenge"]}"#,
            Some(UnfinishedLogin),
        ),
        (
            r#"{"active":true,"cnf":{"x5t#S256":"abc"}}"#,
            Some(ProofOfPossessionMissing),
        ),
        (
            r#"{"active":true,"cnf":{}}"#,
            Some(ProofOfPossessionMissing),
        ),
        (r#"{"active":true,"cnf":null}"#, None),
        (r#"{"active":true,"sub":5}"#, Some(IssuerAnswerMalformed)),
        (r#"{"active":true,"scope":5}"#, Some(IssuerAnswerMalformed)),
        (
            r#"{"active":true,"scope":["a b"]}"#,
            Some(IssuerAnswerMalformed),
        ),
        (
            r#"{"active":true,"scope":"a\tb"}"#,
            Some(IssuerAnswerMalformed),
        ),
        (r#"{"active":true,"aud":null}"#, None),
        (
            r#"{"active":true,"aud":[["api"]]}"#,
            Some(IssuerAnswerMalformed),
        ),
    ];
    for (body, expected) in rows {
        assert_eq!(reason(&[], json(body)), *expected, "{body}");
    }
}

#[test]
fn p7_p8_an_audience_matches_whole_or_not_at_all() {
    let rows = [
        (r#""aud":"api""#, None),
        (r#""aud":["other","api"]"#, None),
        (r#""aud":[]"#, Some(Reason::NoAudience)),
        (r#""aud":null"#, Some(Reason::NoAudience)),
        (r#""aud":"""#, Some(Reason::WrongAudience)),
        (r#""aud":"api evil""#, Some(Reason::WrongAudience)),
        (r#""aud":["api evil"]"#, Some(Reason::WrongAudience)),
        (r#""aud":"API""#, Some(Reason::WrongAudience)),
        (r#""aud":"api2""#, Some(Reason::WrongAudience)),
        (r#""aud":7"#, Some(Reason::IssuerAnswerMalformed)),
        (r#""x":1"#, Some(Reason::NoAudience)),
    ];
    for (aud, expected) in rows {
        let body = format!(r#"{{"active":true,{aud}}}"#);
        assert_eq!(
            reason(&[("expected_aud", "api")], json(&body)),
            expected,
            "{aud}"
        );
    }
}

#[test]
fn each_requirement_of_the_policy_refuses_tokens_that_lack_it() {
    let rows: &[(&str, &str, &str, Option<Reason>)] = &[
        ("expected_issuer", "https://i", r#""iss":"https://i""#, None),
        (
            "expected_issuer",
            "https://i",
            r#""iss":"https://i/""#,
            Some(Reason::WrongIssuer),
        ),
        (
            "expected_issuer",
            "https://i",
            r#""x":1"#,
            Some(Reason::NoIssuer),
        ),
        (
            "required_scope",
            "read write",
            r#""scope":"write  read""#,
            None,
        ),
        (
            "required_scope",
            "read write",
            r#""scope":["read","write"]"#,
            None,
        ),
        (
            "required_scope",
            "read write",
            r#""scope":"read""#,
            Some(Reason::InsufficientScope),
        ),
        (
            "required_scope",
            "read",
            r#""scope":"reader""#,
            Some(Reason::InsufficientScope),
        ),
        (
            "required_scope",
            "read",
            r#""scope":"""#,
            Some(Reason::InsufficientScope),
        ),
        (
            "required_scope",
            "read",
            r#""x":1"#,
            Some(Reason::InsufficientScope),
        ),
        ("allowed_clients", "a b", r#""client_id":"b""#, None),
        (
            "allowed_clients",
            "a b",
            r#""client_id":"a b""#,
            Some(Reason::ClientNotAllowed),
        ),
        (
            "allowed_clients",
            "a b",
            r#""x":1"#,
            Some(Reason::NoClientId),
        ),
        (
            "allowed_grant_types",
            "client_credentials",
            r#""grant_type":"client_credentials""#,
            None,
        ),
        (
            "allowed_grant_types",
            "client_credentials",
            r#""grant_type":"password""#,
            Some(Reason::GrantTypeNotAllowed),
        ),
        (
            "allowed_grant_types",
            "client_credentials",
            r#""x":1"#,
            Some(Reason::NoGrantType),
        ),
    ];
    for (key, value, member, expected) in rows {
        let body = format!(r#"{{"active":true,{member}}}"#);
        assert_eq!(
            reason(&[(key, value)], json(&body)),
            *expected,
            "{key}={value} {member}"
        );
    }
}

#[test]
fn f4_f5_whatever_is_wrong_with_the_issuer_is_a_503_of_its_own_reason() {
    use Reason::*;
    let html = || answer(200, "text/html", b"<html>{\"active\":true}");
    let rows = [
        (
            answer(500, "application/json", br#"{"active":true}"#),
            IssuerFailed,
        ),
        (answer(502, "text/html", b""), IssuerFailed),
        (answer(429, "application/json", b"{}"), IssuerOverloaded),
        (
            answer(302, "application/json", br#"{"active":true}"#),
            IssuerRedirected,
        ),
        (
            answer(
                401,
                "application/json",
                br#"{"error":"request_unauthorized"}"#,
            ),
            IssuerRejectedClient,
        ),
        (answer(403, "text/plain", b""), IssuerRejectedClient),
        (
            answer(400, "application/json", br#"{"error":"invalid_client"}"#),
            IssuerRejectedClient,
        ),
        (
            answer(400, "application/json", br#"{"error":"invalid_request"}"#),
            IssuerUnexpectedStatus,
        ),
        (
            answer(201, "application/json", br#"{"active":true}"#),
            IssuerUnexpectedStatus,
        ),
        (answer(204, "application/json", b""), IssuerUnexpectedStatus),
        (html(), IssuerNotJson),
        (
            answer(200, "application/json", &vec![b' '; 65_536 + 1]),
            IssuerAnswerTooLarge,
        ),
        (
            answer(200, "application/json", b"{\"active\":true,\"x\":\"\xff\"}"),
            IssuerAnswerMalformed,
        ),
        (DENIED, IssuerCallDenied),
        (TIMED_OUT, IssuerTimeout),
        (UNREACHABLE, IssuerUnreachable),
    ];
    for (outcome, expected) in rows {
        assert_eq!(reason(&[], outcome), Some(expected));
        assert_eq!(expected.status(), 503);
    }
}

#[test]
fn a_grant_carries_who_calls_and_no_header_for_an_absent_or_unsafe_claim() {
    let granted = |body: &str| match decide(&[], json(body)) {
        Decision::Granted(grant) => grant,
        Decision::Refused(refusal) => panic!("{refusal:?}"),
        Decision::Answered(response) => panic!("{response:?}"),
    };
    let body = r#"{"active":true,"sub":"s","client_id":"c","iss":"i","scope":["a","b"]}"#;
    let claims = "eyJhY3RpdmUiOnRydWUsInN1YiI6InMiLCJjbGllbnRfaWQiOiJjIiwiaXNzIjoiaSIsInNjb3BlIjpbImEiLCJiIl19";
    let expected = [
        ("x-auth-subject", "s"),
        ("x-auth-client-id", "c"),
        ("x-auth-issuer", "i"),
        ("x-auth-scope", "a b"),
        ("x-auth-claims", claims),
    ];
    let grant = granted(body);
    assert_eq!(grant.headers().collect::<Vec<_>>(), expected);
    assert_eq!((grant.forward_token, &grant.rule), (false, &None));
    let names = |body| {
        granted(body)
            .headers()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(r#"{"active":true}"#), ["x-auth-claims"]);
    assert_eq!(
        names(r#"{"active":true,"sub":"a\r\nx-admin: 1","client_id":"é","iss":""}"#),
        ["x-auth-claims"]
    );
}

/// What `x-auth-claims` holds if the issuer responds so; `Ok(None)` for no such header.
fn claims(claims_header: &str, document: &str) -> Result<Option<String>, Reason> {
    match decide(&[("claims_header", claims_header)], json(document)) {
        Decision::Refused(refusal) => Err(refusal.reason()),
        Decision::Answered(response) => panic!("{response:?}"),
        Decision::Granted(grant) => Ok(grant
            .headers()
            .find(|(name, _)| *name == "x-auth-claims")
            .map(|(_, value)| {
                let json = URL_SAFE_NO_PAD.decode_to_vec(value).unwrap();
                String::from_utf8(json).unwrap()
            })),
    }
}

#[test]
fn claims_header_says_which_claims_the_app_gets() {
    let document =
        r#"{"active":true, "sub":"s","n":1e999,"\u0061":["\u0062", null],"x":{"a" : 1}}"#;
    for (setting, expected) in [
        ("all", Some(document)),
        ("", Some(document)),
        ("none", None),
        ("sub", Some(r#"{"sub":"s"}"#)),
        // In the issuer's order, as they are written there.
        (
            "x n  a x",
            Some(r#"{"n":1e999,"\u0061":["\u0062", null],"x":{"a" : 1}}"#),
        ),
        ("email", Some("{}")),
        ("allow", Some("{}")),
    ] {
        assert_eq!(
            claims(setting, document),
            Ok(expected.map(str::to_owned)),
            "{setting}"
        );
    }
    // Its other headers and its decision do not depend on it: what the four name, the app gets.
    for setting in ["none", "x"] {
        let settings = [("claims_header", setting), ("required_scope", "a")];
        let body = r#"{"active":true,"client_id":"c","sub":"s","iss":"https://i","scope":"a b"}"#;
        let Decision::Granted(grant) = decide(&settings, json(body)) else {
            panic!("must be granted")
        };
        let headers: Vec<_> = grant
            .headers()
            .filter(|(name, _)| *name != "x-auth-claims")
            .collect();
        let expected = [
            ("x-auth-client-id", "c"),
            ("x-auth-subject", "s"),
            ("x-auth-issuer", "https://i"),
            ("x-auth-scope", "a b"),
        ];
        for header in expected {
            assert!(headers.contains(&header), "{setting}: {headers:?}");
        }
        assert_eq!(headers.len(), expected.len(), "{setting}");
        let body = json(r#"{"active":true,"sub":"s","x":{}}"#);
        assert_eq!(reason(&settings, body), Some(Reason::InsufficientScope));
    }
}

#[test]
fn claims_that_are_longer_than_apps_accept_are_refused() {
    // 8000 bytes of base64url are 6000 bytes.
    let long = |bytes: usize| {
        let [start, end] = [r#"{"active":true,"sub":"s","x":""#, r#""}"#];
        let filling = "x".repeat(bytes - start.len() - end.len());
        format!("{start}{filling}{end}")
    };
    assert_eq!(claims("all", &long(6000)), Ok(Some(long(6000))));
    assert_eq!(claims("all", &long(6001)), Err(Reason::ClaimsTooLong));
    assert_eq!(claims("active x", &long(6020)), Err(Reason::ClaimsTooLong));
    assert_eq!(
        claims("sub", &long(60_000)),
        Ok(Some(r#"{"sub":"s"}"#.to_owned()))
    );
    assert_eq!(claims("none", &long(60_000)), Ok(None));
    // What is wrong with the token itself comes first.
    let inactive = long(6001).replace("true", "false");
    assert_eq!(claims("all", &inactive), Err(Reason::Inactive));
    let settings = [("required_scope", "a")];
    assert_eq!(
        reason(&settings, json(&long(6001))),
        Some(Reason::InsufficientScope)
    );
}

#[test]
fn a_claim_has_a_header_of_its_own_up_to_1024_bytes() {
    for (bytes, expected) in [
        (1024, &["x-auth-subject", "x-auth-claims"][..]),
        (1025, &["x-auth-claims"]),
    ] {
        let body = format!(r#"{{"active":true,"sub":"{}"}}"#, "s".repeat(bytes));
        let Decision::Granted(grant) = decide(&[], json(&body)) else {
            panic!("must be granted")
        };
        let names: Vec<_> = grant.headers().map(|(name, _)| name).collect();
        assert_eq!(names, expected, "{bytes} bytes");
    }
}

#[test]
fn rfc6749_s2_3_1_the_call_is_form_encoded_before_basic_or_in_the_body() {
    let call = |extra: &[(&str, &str)]| {
        let (_, _, call) = introspects(check(extra).begin(&head(&[b"Bearer a+/=="]), NOW));
        call
    };
    let basic = call(&[]);
    assert_eq!(
        (basic.is_https(), basic.authority()),
        (true, "tenant.verify.ibm.com")
    );
    assert_eq!(basic.path_and_query(), "/oauth2/introspect");
    assert_eq!(
        basic.body(),
        b"token=a%2B%2F%3D%3D&token_type_hint=access_token"
    );
    assert_eq!(
        [
            basic.timeout(),
            basic.connect_timeout(),
            basic.first_byte_timeout()
        ],
        [5, 2, 5].map(Duration::from_secs)
    );
    assert_eq!(
        basic.headers().collect::<Vec<_>>(),
        [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
            ("user-agent", USER_AGENT),
            (
                "authorization",
                "Basic c2VydmljZStiOnMzY3IzdCUyQiUyRiUyNiUzRA=="
            ),
        ]
    );
    let post = call(&[
        ("client_auth", "post"),
        ("introspect_url", "http://127.0.0.1:9999/i?x=1"),
    ]);
    assert_eq!(
        post.body(),
        b"token=a%2B%2F%3D%3D&token_type_hint=access_token&client_id=service+b&client_secret=s3cr3t%2B%2F%26%3D"
    );
    assert_eq!(
        (post.is_https(), post.authority(), post.path_and_query()),
        (false, "127.0.0.1:9999", "/i?x=1")
    );
    assert!(post.headers().all(|(name, _)| name != "authorization"));
    assert_eq!(format!("{basic:?}"), "IntrospectionCall([redacted])");
    let policy = format!("{:?}", check(&[]).policy());
    assert!(policy.contains("Credentials([redacted])"), "{policy}");
    for printed in [format!("{basic:?}"), policy] {
        assert!(
            !printed.contains("s3cr3t") && !printed.contains("a+/"),
            "{printed}"
        );
    }
}

#[test]
fn rfc7617_s2_basic_raw_sends_id_and_secret_as_they_are() {
    use base64_simd::STANDARD;
    let mut check = check(&[
        ("client_auth", "basic-raw"),
        ("resource_client_id", "batch@shop.example.test"),
        ("resource_client_secret", "p%Q+r:s"),
    ]);
    let (_waiting, _flight, call) = introspects(check.begin(&head(&[b"Bearer tok"]), NOW));
    let pair = STANDARD.encode_to_string("batch@shop.example.test:p%Q+r:s");
    let authorization = call.headers().find(|(name, _)| *name == "authorization");
    assert_eq!(
        authorization,
        Some(("authorization", format!("Basic {pair}").as_str()))
    );
}

#[test]
fn with_client_auth_none_a_call_has_no_credentials_whether_or_not_there_is_a_secret() {
    for secret in ["", "s3cr3t"] {
        let mut check = check(&[("client_auth", "none"), ("resource_client_secret", secret)]);
        let (_waiting, _flight, call) = introspects(check.begin(&head(&[b"Bearer tok"]), NOW));
        assert!(call.headers().all(|(name, _)| name != "authorization"));
        assert_eq!(call.body(), b"token=tok&token_type_hint=access_token");
    }
}

#[test]
fn tokens_and_responses_are_accepted_up_to_their_limits() {
    for (extra, limit) in [(vec![], 16_384), (vec![("max_token_bytes", "256")], 256)] {
        let mut check = check(&extra);
        let at = [b"Bearer ".as_slice(), &vec![b'a'; limit]].concat();
        let _asks = introspects(check.begin(&head(&[&at]), NOW));
        let over = [at.as_slice(), b"a"].concat();
        assert_eq!(
            refusal(check.begin(&head(&[&over]), NOW)),
            Reason::TokenTooLong
        );
    }
    for (extra, limit) in [
        (vec![], 65_536),
        (vec![("max_answer_bytes", "262144")], 262_144),
    ] {
        let mut check = check(&[&extra[..], &[("claims_header", "none")]].concat());
        let mut decide = |length: usize| {
            let (start, end) = (r#"{"active":true,"sub":"me","x":""#, r#""}"#);
            let fill = "x".repeat(length - start.len() - end.len());
            let mut body = BodyCollector::new(check.policy().max_answer_bytes());
            let _ = body.push(format!("{start}{fill}{end}").as_bytes());
            let (waiting, ticket, _) = introspects(check.begin(&head(&[b"Bearer tok"]), NOW));
            let response = json("")
                .response()
                .map(|response| IssuerResponse { body, ..response });
            let _ = finishes(check.responded(ticket, response, NOW));
            match check.resume(waiting, NOW) {
                Step::Done(verdict) => verdict.decision,
                other => panic!("{other:?}"),
            }
        };
        let Decision::Granted(grant) = decide(limit) else {
            panic!("must be granted")
        };
        let subject = grant.headers().find(|(name, _)| *name == "x-auth-subject");
        assert_eq!(subject, Some(("x-auth-subject", "me")));
        let Decision::Refused(refusal) = decide(limit + 1) else {
            panic!("must be refused")
        };
        assert_eq!(refusal.reason(), Reason::IssuerAnswerTooLarge);
    }
}

#[test]
fn one_flight_serves_all_requests_with_the_same_token_and_no_others() {
    let mut check = check(&[]);
    let (leader, flight, _) = introspects(check.begin(&head(&[b"Bearer tok"]), NOW));
    let follower = joins(check.begin(&head(&[b"Bearer tok"]), NOW));
    let (_, other, _) = introspects(check.begin(&head(&[b"Bearer tok2"]), NOW));
    assert_eq!(check.park(&follower, 1), Parked::Yes);
    let follower = joins(check.resume(follower, NOW));
    assert_eq!(
        respond(&mut check, flight, &json(r#"{"active":true}"#)),
        [1]
    );
    for waiting in [leader, follower] {
        let Step::Done(verdict) = check.resume(waiting, NOW) else {
            panic!("must be decided")
        };
        assert!(matches!(verdict.decision, Decision::Granted(_)));
    }
    drop(other);
    assert!(
        matches!(
            check.begin(&head(&[b"Bearer tok"]), NOW),
            Step::Lead(_, Action::Introspect(..))
        ),
        "nothing is kept: the next one asks"
    );
}

#[test]
fn when_the_leader_is_cancelled_the_last_follower_leads_and_the_others_wait() {
    for dropped in [true, false] {
        let mut check = check(&[]);
        let (_, flight, _) = introspects(check.begin(&head(&[b"Bearer tok"]), NOW));
        let first = joins(check.begin(&head(&[b"Bearer tok"]), NOW));
        let second = joins(check.begin(&head(&[b"Bearer tok"]), NOW));
        assert_eq!(
            (check.park(&first, 1), check.park(&second, 2)),
            (Parked::Yes, Parked::Yes)
        );
        if dropped {
            drop(flight);
        } else {
            // It has the most time left.
            assert_eq!(check.abandon(flight, NOW).woken, [2, 1]);
        }
        let later = Now {
            monotonic: NOW.monotonic + Duration::from_secs(2),
            ..NOW
        };
        let (second, flight, call) = introspects(check.resume(second, later));
        assert_eq!(
            call.timeout(),
            Duration::from_secs(3),
            "the caller's own time goes on"
        );
        let first = joins(check.resume(first, later));
        assert_eq!(check.park(&first, 3), Parked::Yes);
        assert!(respond(&mut check, flight, &json(r#"{"active":false}"#)).contains(&3));
        for waiting in [first, second] {
            assert_eq!(refusal(check.resume(waiting, later)), Reason::Inactive);
        }
    }
}

#[test]
fn no_request_waits_past_the_timeout() {
    let mut check = check(&[("timeout", "2")]);
    let (_, _flight, call) = introspects(check.begin(&head(&[b"Bearer tok"]), NOW));
    assert_eq!(call.timeout(), Duration::from_secs(2));
    let follower = joins(check.begin(&head(&[b"Bearer tok"]), NOW));
    assert_eq!(follower.deadline(), NOW.monotonic + Duration::from_secs(2));
    let late = Now {
        monotonic: follower.deadline(),
        ..NOW
    };
    assert_eq!(refusal(check.resume(follower, late)), Reason::IssuerTimeout);
}

#[test]
fn rfc6750_s3_every_reason_has_one_response_and_none_is_below_400() {
    let policy = policy(&[("required_scope", "read write")]);
    let mut names: Vec<_> = ALL_REASONS.iter().map(|reason| reason.name()).collect();
    let sorted = {
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted
    };
    assert_eq!(names, sorted, "alphabetical");
    names.dedup();
    assert_eq!(names.len(), ALL_REASONS.len(), "no name twice");
    for reason in ALL_REASONS {
        let response = Response::for_reason(*reason, Some(&policy));
        let header = |name| {
            response
                .headers
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.as_str())
        };
        let text = reason.description();
        let challenge = match response.status {
            400 => Some(format!(
                r#"Bearer realm="service-b", error="invalid_request", error_description="{text}""#
            )),
            401 if matches!(reason, Reason::NoCredentials | Reason::UnsupportedScheme) => {
                Some(r#"Bearer realm="service-b""#.to_owned())
            }
            // RFC 9449 sections 7.1 and 9.
            401 if reason.error() != "invalid_token" => Some(format!(
                r#"DPoP realm="service-b", error="{}", error_description="{text}", algs="ES256 PS256 EdDSA""#,
                match reason {
                    Reason::DpopNonceNeeded => "use_dpop_nonce",
                    Reason::DpopProofInvalid | Reason::DpopProofReplayed => "invalid_dpop_proof",
                    other => panic!("{other:?}"),
                }
            )),
            401 => Some(format!(
                r#"Bearer realm="service-b", error="invalid_token", error_description="{text}""#
            )),
            403 if matches!(reason, Reason::ClaimsTooLong | Reason::DeniedByRule) => None,
            403 => Some(format!(
                r#"Bearer realm="service-b", error="insufficient_scope", error_description="{text}""#
            )),
            503 => None,
            other => panic!("{reason:?}: {other}"),
        };
        assert_eq!(
            header("www-authenticate"),
            challenge.as_deref(),
            "{reason:?}"
        );
        assert_eq!(
            header("retry-after"),
            (response.status == 503).then_some("1"),
            "{reason:?}"
        );
        assert_eq!(
            header("content-length"),
            Some(response.body.len().to_string().as_str()),
            "{reason:?}"
        );
        let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(body["reason"], reason.name());
        assert_eq!(body["error_description"], text);
        assert_eq!(body["error"], reason.error());
        assert_eq!(
            Response::for_reason(*reason, None)
                .headers
                .iter()
                .filter(|(n, _)| *n == "www-authenticate")
                .count(),
            0
        );
    }
}

#[test]
fn rfc6750_s3_a_challenge_for_scope_names_the_scope_that_is_needed() {
    let extra = [("required_scope", "read write")];
    let Decision::Refused(refusal) = decide(&extra, json(r#"{"active":true,"scope":"read"}"#))
    else {
        panic!("must be refused")
    };
    let response = refusal.response(&policy(&extra));
    let expected = r#"Bearer realm="service-b", error="insufficient_scope", error_description="The access token lacks a scope that this service needs.", scope="read write""#;
    assert!(
        response
            .headers
            .contains(&("www-authenticate", expected.to_owned()))
    );
    assert_eq!(refusal.rule(), None);
}

#[test]
fn f2_a_wrong_setting_is_refused_by_its_key() {
    use Problem::*;
    let out_of = |unit, min, max| OutOfRange(Range { unit, min, max });
    let rows: &[(&str, &str, Problem)] = &[
        ("introspect_url", "", Missing),
        ("introspect_url", "tenant/introspect", NotAnHttpUrl),
        ("introspect_url", "ftp://tenant/x", NotAnHttpUrl),
        (
            "introspect_url",
            "https://b\u{fc}cher.example/x",
            NonAsciiUrl,
        ),
        ("introspect_url", "https://tenant/\u{fc}", NonAsciiUrl),
        // An assertion of `idna` fails on a letter beyond ASCII before a capital.
        ("introspect_url", "https://\u{fc}A/x", NonAsciiUrl),
        ("introspect_url", "https://%C3%BCA/x", NotAnHttpUrl),
        ("introspect_url", "https:///%C3%BCA/x", NotAnHttpUrl),
        ("introspect_url", "https:%C3%BCA://x", NotAnHttpUrl),
        ("introspect_url", "https:tenant://x", NotAnHttpUrl),
        ("introspect_url", "https:///tenant/x", NotAnHttpUrl),
        ("introspect_url", "https://%74enant/x", NotAnHttpUrl),
        ("introspect_url", "https:tenant/x", NotAnHttpUrl),
        ("introspect_url", "https:\\\\tenant/x", NotAnHttpUrl),
        ("introspect_url", "http://tenant/x", PlainHttp),
        (
            "introspect_url",
            "http://127.0.0.1.evil.example/x",
            PlainHttp,
        ),
        (
            "introspect_url",
            "http://localhost.evil.example/x",
            PlainHttp,
        ),
        ("introspect_url", "https://u:p@tenant/x", UrlWithExtras),
        ("introspect_url", "https://u:%70@tenant/x", UrlWithExtras),
        ("introspect_url", "https://u@tenant/x", UrlWithExtras),
        ("introspect_url", "https://:p@tenant/x", UrlWithExtras),
        ("introspect_url", "https://tenant/x#f", UrlWithExtras),
        ("resource_identifier", "service-b", NotAnHttpUrl),
        ("resource_identifier", "http://service-b.example", PlainHttp),
        (
            "resource_identifier",
            "https://u@service-b.example",
            UrlWithExtras,
        ),
        (
            "resource_identifier",
            "https://service-b.example/#f",
            UrlWithExtras,
        ),
        (
            "resource_identifier",
            "https://service-b.example/?q",
            UrlWithQuery,
        ),
        (
            "resource_identifier",
            "https://Service-B.example:443/a/../\"b",
            NotNormalized("https://service-b.example/%22b".to_owned()),
        ),
        ("resource_client_id", "", Missing),
        ("resource_client_secret", "", Missing),
        (
            "client_auth",
            "digest",
            NotAChoice(&[
                "basic",
                "basic-raw",
                "post",
                "client_secret_jwt",
                "private_key_jwt",
                "bearer",
                "tls_client_auth",
                "none",
            ]),
        ),
        ("leeway", "301", out_of(Unit::Seconds, 0, 300)),
        ("leeway", "-1", out_of(Unit::Seconds, 0, 300)),
        ("timeout", "0", out_of(Unit::Seconds, 1, 60)),
        ("timeout", "5s", out_of(Unit::Seconds, 1, 60)),
        ("realm", "a\"b", NotPrintable),
        ("realm", "r\u{e9}alm", NotPrintable),
        ("required_scope", "a\\b", NotAScope),
        ("breaker_faults", "1001", out_of(Unit::Count, 0, 1000)),
        ("probe_interval", "0", out_of(Unit::Seconds, 1, 60)),
        ("cache_ttl", "86401", out_of(Unit::Seconds, 0, 86_400)),
        ("negative_cache_ttl", "1m", out_of(Unit::Seconds, 0, 86_400)),
        ("cache_entries", "0", out_of(Unit::Count, 1, 1_000_000)),
        ("stale_if_error", "-1", out_of(Unit::Seconds, 0, 86_400)),
        ("audit", "on", NotABoolean),
        ("forward_token", "yes", NotABoolean),
        ("allow_http", "1", NotABoolean),
        ("expected_audience", "x", Unknown(Some("expected_aud"))),
    ];
    for (key, value, problem) in rows {
        let error = try_policy(&[(key, value)]).unwrap_err();
        assert_eq!(
            error,
            SettingsError::new(key, problem.clone()),
            "{key}={value}"
        );
        assert!(error.to_string().starts_with(&format!(
            "setting `{key}` (WORKOUT18_{}) ",
            key.to_uppercase()
        )));
    }
    for good in [
        ("introspect_url", "http://localhost:1/x"),
        ("introspect_url", "http://[::1]:1/x"),
        ("resource_identifier", "https://service-b.example"),
        ("resource_identifier", "https://service-b.example/"),
        ("resource_identifier", "http://127.0.0.1:9000/data"),
        ("introspect_origin", "https://tenant.verify.ibm.com"),
        ("introspect_origin", "https://tenant.verify.ibm.com:443"),
    ] {
        assert!(try_policy(&[good]).is_ok(), "{good:?}");
    }
    assert!(
        try_policy(&[
            ("introspect_url", "http://tenant/x"),
            ("allow_http", "true")
        ])
        .is_ok()
    );
    assert!(
        SETTINGS
            .iter()
            .all(|setting| try_policy(&[(setting.key, "")]).is_ok() == setting.default.is_some())
    );
}

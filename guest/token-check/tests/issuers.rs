//! What real issuers send: each row is an answer that somebody's issuer gave, and what becomes of the request.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do"
)]

use std::time::Duration;

use token_check::{
    AnswerBody, AuthCheck, CacheUse, Decision, Ended, Errand, IssuerAnswer, Now, Outcome, Policy,
    Progress, Reason, RequestHead, Step, Verdict,
};

const NOW: u64 = 1_800_000_000;

fn policy(settings: &[(&str, &str)]) -> Policy {
    let base = [
        ("introspect_url", "http://127.0.0.1:9/introspect"),
        ("resource_client_id", "svc"),
        ("resource_client_secret", "secret"),
    ];
    let settings = base.iter().chain(settings);
    Policy::new(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).unwrap()
}

/// What came of one request: the reason of the refusal, the log, and whether the next request asks again.
#[derive(Debug, PartialEq)]
struct Seen {
    reason: Option<Reason>,
    log: Vec<String>,
    asks_again: bool,
}

fn outcome(answer: &Answer) -> Outcome {
    let mut body = AnswerBody::default();
    assert!(body.push(answer.body.as_bytes()));
    let field = |value: &'static str| (!value.is_empty()).then(|| value.as_bytes().to_vec());
    Outcome::Answered(IssuerAnswer {
        status: answer.status,
        content_type: field(answer.media),
        content_encoding: field(answer.coding),
        www_authenticate: field(answer.challenge).into_iter().collect(),
        body,
        ..IssuerAnswer::default()
    })
}

#[derive(Clone)]
struct Answer {
    status: u16,
    media: &'static str,
    coding: &'static str,
    challenge: &'static str,
    body: String,
}

fn answer(status: u16, media: &'static str, body: &str) -> Answer {
    Answer {
        status,
        media,
        coding: "",
        challenge: "",
        body: body.replace("NOW", &NOW.to_string()),
    }
}

fn json(body: &str) -> Answer {
    answer(200, "application/json", body)
}

fn now() -> Now {
    Now {
        unix: Duration::from_secs(NOW),
        monotonic: Duration::from_secs(100),
    }
}

/// One request, and whether a second one is answered from what is remembered.
fn see(settings: &[(&str, &str)], token: &str, answer: &Answer) -> Seen {
    let mut check: AuthCheck<()> = AuthCheck::new(policy(settings), [7; 16]);
    let line = format!("Bearer {token}");
    let mut log = Vec::new();
    let (verdict, _) = request(&mut check, &line, answer, &mut log);
    let reason = match &verdict.decision {
        Decision::Granted(_) => None,
        Decision::Refused(refusal) => Some(refusal.reason()),
    };
    let (_, asks_again) = request(&mut check, &line, answer, &mut Vec::new());
    Seen {
        reason,
        log,
        asks_again,
    }
}

fn request(
    check: &mut AuthCheck<()>,
    line: &str,
    answer: &Answer,
    log: &mut Vec<String>,
) -> (Verdict, bool) {
    let head = RequestHead {
        authorization: &[line.as_bytes()],
        method: b"GET",
        authority: None,
        path_and_query: Some(b"/data"),
        traceparent: &[],
    };
    let mut asked = false;
    let mut step = check.begin(&head, now());
    loop {
        match step {
            Step::Done(verdict) => {
                log.extend(verdict.note.as_ref().map(ToString::to_string));
                return (verdict, asked);
            }
            Step::Lead(waiting, flight, Errand::Ask(_)) => {
                asked = true;
                let Progress::Ended(Ended { note, .. }) =
                    check.settle(flight, outcome(answer), now())
                else {
                    panic!("an answer ends the flight")
                };
                log.extend(note.as_ref().map(ToString::to_string));
                step = check.resume(waiting, now());
            }
            other => panic!("{other:?}"),
        }
    }
}

fn reason(settings: &[(&str, &str)], body: &str) -> Option<Reason> {
    see(settings, "tok.~abc", &json(body)).reason
}

#[test]
fn rfc7662_s2_2_a_member_that_is_null_is_absent() {
    let jans = r#"{"sub":"","iss":"https://jans.example.test","active":true,"token_type":"Bearer","client_id":"orders-svc","aud":"orders-api","acr":null,"nbf":null,"authorization_details":null,"scope":"orders.read","auth_time":null,"exp":1800000300,"iat":NOW}"#;
    assert_eq!(reason(&[], jans), None);
    let all = r#"{"active":true,"aud":null,"client_id":null,"cnf":null,"exp":null,"grant_type":null,"iat":null,"iss":null,"nbf":null,"scope":null,"sub":null,"token_type":null,"token_use":null,"typ":null}"#;
    assert_eq!(reason(&[], all), None);
    for (setting, expected) in [
        (("expected_aud", "orders-api"), Reason::NoAudience),
        (("expected_issuer", "https://i"), Reason::NoIssuer),
        (("allowed_clients", "c"), Reason::NoClientId),
        (
            ("allowed_grant_types", "client_credentials"),
            Reason::NoGrantType,
        ),
        (("required_scope", "orders.read"), Reason::InsufficientScope),
    ] {
        assert_eq!(reason(&[setting], all), Some(expected), "{setting:?}");
    }
    for body in [r#"{"active":null}"#, r#"{"active":true,"aud":["a",null]}"#] {
        assert_eq!(
            reason(&[], body),
            Some(Reason::IssuerAnswerMalformed),
            "{body}"
        );
    }
}

#[test]
fn rfc7662_s2_2_what_issuers_call_an_access_token_is_one_and_nothing_else_is() {
    let wrong = Some(Reason::WrongTokenType);
    for (kind, expected) in [
        ("Bearer", None),
        ("bearer", None),
        ("BearerToken", None),
        ("access_token", None),
        ("Access_Token", None),
        ("access-token", None),
        ("client_credentials", None),
        ("JWT", None),
        ("at+jwt", None),
        ("application/at+jwt", None),
        ("urn:ietf:params:oauth:token-type:access_token", None),
        ("refresh_token", wrong),
        ("Refresh", wrong),
        ("id_token", wrong),
        ("ID", wrong),
        ("N_A", wrong),
        ("DPoP", wrong),
        ("mac", wrong),
        ("", wrong),
        ("bearer ", wrong),
        ("something", wrong),
    ] {
        for member in ["token_type", "token_use", "typ"] {
            let body = format!(r#"{{"active":true,"{member}":"{kind}"}}"#);
            assert_eq!(reason(&[], &body), expected, "{body}");
        }
    }
    for (body, expected) in [
        (r#"{"active":true,"token_type":"Bearer","typ":"ID"}"#, wrong),
        (
            r#"{"active":true,"token_type":"JWT","token_use":"refresh_token"}"#,
            wrong,
        ),
        (
            r#"{"active":true,"token_type":"access_token","cnf":{"jkt":"x"}}"#,
            Some(Reason::ProofOfPossessionMissing),
        ),
    ] {
        assert_eq!(reason(&[], body), expected, "{body}");
    }
}

#[test]
fn token_types_names_more_and_opens_nothing_that_is_known_to_be_another_token() {
    let named = [
        ("token_types", "Vendor refresh_token DPoP"),
        ("cache_ttl", "60"),
    ];
    let wrong = Some(Reason::WrongTokenType);
    for (body, expected) in [
        (r#"{"active":true,"token_type":"vendor","scope":"a"}"#, None),
        (r#"{"active":true,"typ":"VENDOR"}"#, None),
        (
            r#"{"active":true,"token_type":"Vendor","typ":"vendor","token_use":"vendor"}"#,
            None,
        ),
        (r#"{"active":true,"token_type":"v\u0065ndor"}"#, None),
        (
            r#"{"active":true,"token_type":"vendor","typ":"odd"}"#,
            wrong,
        ),
        (r#"{"active":true,"token_type":"vendors"}"#, wrong),
        (r#"{"active":true,"token_type":"refresh_token"}"#, wrong),
        (r#"{"active":true,"token_type":"DPoP"}"#, wrong),
    ] {
        let seen = see(&named, "tok", &json(body));
        assert_eq!((seen.reason, seen.asks_again), (expected, false), "{body}");
    }
    let body = r#"{"active":true,"token_type":"vendor","aud":["a","b"],"scope":"read write"}"#;
    let demands = [
        ("token_types", "vendor"),
        ("expected_aud", "b"),
        ("required_scope", "write"),
    ];
    assert_eq!(reason(&demands, body), None);
}

const REMEMBERS: [(&str, &str); 3] = [
    ("cache_ttl", "60"),
    ("negative_cache_ttl", "60"),
    ("breaker_faults", "1"),
];

#[test]
fn an_error_that_speaks_of_the_token_is_its_callers_and_is_remembered() {
    let jwt = r#"{"error":"unsupported_token_type","error_description":"Structured JWT Tokens cannot be introspected"}"#;
    for answer in [
        answer(400, "application/json; charset=utf-8", jwt),
        answer(400, "application/json", r#"{"error":"invalid_token"}"#),
        answer(401, "application/json", r#"{"active":false}"#),
        answer(401, "application/json", r#"{"active":false,"error":null}"#),
        answer(400, "application/json", r#"{"active":false}"#),
    ] {
        let told = format!(
            "inactive: the issuer answered with HTTP status {} and said that it is for the token; some issuers do not tell about JWTs",
            answer.status
        );
        let expected = Seen {
            reason: Some(Reason::Inactive),
            log: vec![told],
            asks_again: false,
        };
        assert_eq!(see(&REMEMBERS, "tok", &answer), expected, "{}", answer.body);
    }
}

#[test]
fn rfc7662_s2_3_only_an_oauth_error_a_challenge_or_no_body_at_all_speaks_of_our_credentials() {
    use Reason::{IssuerRefusedUs as Us, IssuerUnexpectedStatus as Unexpected};
    let html = "<html><head><title>403 Forbidden</title></head></html>";
    let ibm = r#"{"error":"request_unauthorized","error_description":"CSIAQ0155E The client could not be authenticated."}"#;
    let okta = r#"{"errorCode":"invalid_client","errorSummary":"Invalid value for 'client_id' parameter."}"#;
    let rows = [
        (answer(401, "application/json", ibm), Us),
        (answer(401, "application/json", okta), Us),
        (
            answer(401, "application/json", r#"{"error":"invalid_client"}"#),
            Us,
        ),
        (
            answer(403, "application/json", r#"{"error":"access_denied"}"#),
            Us,
        ),
        (
            answer(400, "application/json", r#"{"error":"invalid_client"}"#),
            Us,
        ),
        (
            answer(
                400,
                "application/json",
                r#"{"error":"unauthorized_client"}"#,
            ),
            Us,
        ),
        // Django OAuth Toolkit and Glewlwyd.
        (answer(403, "text/html; charset=utf-8", ""), Us),
        (answer(401, "", ""), Us),
        // The token's fault is believed in JSON and where nothing speaks against it.
        (
            answer(
                401,
                "application/json",
                r#"{"active":false,"error":"invalid_client"}"#,
            ),
            Us,
        ),
        (
            answer(401, "application/json", r#"{"error":"invalid_token"}"#),
            Us,
        ),
        (answer(401, "text/plain", r#"{"active":false}"#), Unexpected),
        (
            answer(400, "text/plain", r#"{"error":"unsupported_token_type"}"#),
            Unexpected,
        ),
        (
            answer(403, "application/json", r#"{"active":false}"#),
            Unexpected,
        ),
        (
            answer(404, "application/json", r#"{"active":false}"#),
            Unexpected,
        ),
        (
            answer(401, "application/json", r#"{"active":true}"#),
            Unexpected,
        ),
        (answer(401, "application/json", "{}"), Unexpected),
        (
            answer(401, "application/json", r#"{"error":401}"#),
            Unexpected,
        ),
        (
            answer(401, "application/json", r#"{"active":false,"error":401}"#),
            Unexpected,
        ),
        (
            answer(400, "application/json", r#"{"error":"invalid_request"}"#),
            Unexpected,
        ),
        // A firewall.
        (answer(403, "text/html", html), Unexpected),
        (answer(401, "text/html", html), Unexpected),
        (
            answer(403, "application/json", r#"{"message":"Forbidden"}"#),
            Unexpected,
        ),
        (
            Answer {
                challenge: "Basic realm=\"issuer\"",
                ..answer(401, "text/html", html)
            },
            Us,
        ),
        (
            Answer {
                challenge: "Basic realm=\"issuer\"",
                ..answer(403, "text/html", html)
            },
            Unexpected,
        ),
        (
            Answer {
                challenge: "Bearer",
                ..answer(401, "text/html", html)
            },
            Unexpected,
        ),
        (
            Answer {
                coding: "gzip",
                ..answer(401, "application/json", r#"{"active":false}"#)
            },
            Unexpected,
        ),
    ];
    for (answer, expected) in rows {
        let seen = see(&REMEMBERS, "tok", &answer);
        let what = (answer.status, answer.media, &answer.body);
        assert_eq!(
            (seen.reason, seen.asks_again),
            (Some(expected), true),
            "{what:?}"
        );
    }
}

#[test]
fn rfc9110_s8_4_an_answer_with_a_content_coding_is_the_issuers_fault() {
    for (coding, told) in [
        ("gzip", "the content coding gzip"),
        ("br", "the content coding br"),
        ("zstd", "the content coding zstd"),
        ("deflate", "the content coding deflate"),
        ("snappy", "an unknown content coding"),
    ] {
        let coded = Answer {
            coding,
            ..json(r#"{"active":true}"#)
        };
        let expected = Seen {
            reason: Some(Reason::IssuerAnswerMalformed),
            log: vec![format!(
                "issuer_answer_malformed: the issuer's answer has {told}; the question allows none"
            )],
            asks_again: true,
        };
        assert_eq!(see(&REMEMBERS, "tok", &coded), expected);
    }
    let plain = Answer {
        coding: "identity",
        ..json(r#"{"active":true}"#)
    };
    assert_eq!(see(&[], "tok", &plain).reason, None);
}

#[test]
fn each_public_report_comes_out_as_it_should() {
    let wso2 = r#"{"aut":"APPLICATION","scope":"orders.read","active":true,"token_type":"Bearer","exp":1800000300,"iat":NOW,"client_id":"Kd_aR1"}"#;
    let salesforce = r#"{"active":true,"scope":"api id","client_id":"3MVG9abc","username":"batch@shop.example.test","sub":"https://login.salesforce.example.test/id/00D1/0051","token_type":"access_token","exp":1800000300,"iat":NOW,"nbf":NOW}"#;
    let hydra = r#"{"active":true,"scope":"orders.read","client_id":"shop-batch","sub":"shop-batch","exp":1800000300,"iat":NOW,"iss":"https://hydra.example.test/","token_type":"access_token","ext":{"tier":"gold"}}"#;
    let webmethods = r#"{"active":"true","token_type":"Bearer","scope":"orders.read","client_id":"shop-batch","owner_id":"Administrator","iat":"NOW","exp":"1800000300"}"#;
    let gluu = r#"{"active":true,"client_id":"shop-batch","token_type":"bearer","scope":"orders.read","exp":1800000300000,"iat":1800000000000}"#;
    let doorkeeper = r#"{"active":true,"scope":"public","client_id":"abc123","token_type":"Bearer","exp":0,"iat":1799999990}"#;
    let none: &[(&str, &str)] = &[];
    let rows = [
        (
            "Salesforce's token",
            none,
            "00D2x000000AbCd!AQ4AQFuXyZ.0123456789abcdef",
            salesforce,
            None,
            "",
        ),
        (
            "Salesforce's token_type",
            none,
            "tok.~abc",
            salesforce,
            None,
            "",
        ),
        ("Hydra before token_use", none, "tok.~abc", hydra, None, ""),
        (
            "Doorkeeper's exp of 0",
            none,
            "tok.~abc",
            doorkeeper,
            Some(Reason::Expired),
            "expired: the issuer wrote an exp of 0 or less for an active token; a token that never expires has no exp",
        ),
        (
            "Gluu's milliseconds",
            none,
            "tok.~abc",
            gluu,
            Some(Reason::IssuerAnswerMalformed),
            "issuer_answer_malformed: the member exp is not a time in seconds: it looks like milliseconds",
        ),
        (
            "webMethods's strings",
            none,
            "tok.~abc",
            webmethods,
            Some(Reason::IssuerAnswerMalformed),
            "issuer_answer_malformed: the member active is not true or false: it is a string",
        ),
        (
            "WSO2 without an audience",
            &[("expected_aud", "orders-api")],
            "tok.~abc",
            wso2,
            Some(Reason::NoAudience),
            r#"no_audience: the issuer named no aud; expected "orders-api""#,
        ),
    ];
    for (name, settings, token, body, reason, told) in rows {
        let seen = see(settings, token, &json(body));
        assert_eq!(
            (seen.reason, seen.log.concat()),
            (reason, told.to_owned()),
            "{name}"
        );
    }
}

#[test]
fn a_caller_with_a_token_that_the_issuer_refuses_by_an_error_shuts_nobody_out() {
    let mut check: AuthCheck<()> = AuthCheck::new(policy(&REMEMBERS), [7; 16]);
    let refused = answer(
        400,
        "application/json",
        r#"{"error":"unsupported_token_type"}"#,
    );
    let mut log = Vec::new();
    for n in 0..10 {
        let line = format!("Bearer eyJ{n}.e30.x");
        let (verdict, asked) = request(&mut check, &line, &refused, &mut log);
        assert!(asked);
        assert!(matches!(verdict.decision, Decision::Refused(r) if r.reason() == Reason::Inactive));
    }
    assert_eq!(log.len(), 1, "{log:?}");
    let good = json(r#"{"active":true}"#);
    let (verdict, _) = request(&mut check, "Bearer good", &good, &mut log);
    assert!(matches!(verdict.decision, Decision::Granted(_)));
    assert_eq!(verdict.cache, Some(CacheUse::Miss));
}

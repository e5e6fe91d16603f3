//! Responses of real issuers, and what becomes of the request.

use token_check::{CacheStatus, Reason};

use crate::fixture::{Clock, Instance, Issuer, Outcome, START, active, reason as reason_of};

/// What one response leads to.
#[derive(Debug, PartialEq)]
struct Seen {
    reason: Option<Reason>,
    log: Vec<String>,
    /// Whether a second request introspects again.
    introspects_again: bool,
}

fn answer(status: u16, media_type: &'static str, body: &str) -> Outcome {
    Outcome::http(status, media_type, body.replace("NOW", &START.to_string()))
}

fn json(body: &str) -> Outcome {
    answer(200, "application/json", body)
}

/// Two requests with the same token.
fn see(settings: &[(&str, &str)], token: &str, outcome: &Outcome) -> Seen {
    // The leeway of the default.
    let settings = [&[("leeway", "30")], settings].concat();
    let issuer = Issuer::new(outcome.clone());
    let mut instance = Instance::new(&settings, &issuer, &Clock::new());
    let reason = reason_of(&instance.request("/data", token).decision);
    let log = instance.host.log.clone();
    issuer.calls();
    let _ = instance.request("/data", token);
    Seen {
        reason,
        log,
        introspects_again: issuer.calls() > 0,
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
        assert_eq!(
            (seen.reason, seen.introspects_again),
            (expected, false),
            "{body}"
        );
    }
    let body = r#"{"active":true,"token_type":"vendor","aud":["a","b"],"scope":"read write"}"#;
    let demands = [
        ("token_types", "vendor"),
        ("expected_aud", "b"),
        ("required_scope", "write"),
    ];
    assert_eq!(reason(&demands, body), None);
}

const CACHES: [(&str, &str); 3] = [
    ("cache_ttl", "60"),
    ("negative_cache_ttl", "60"),
    ("breaker_faults", "1"),
];

#[test]
fn an_error_about_the_token_is_the_callers_and_is_cached() {
    let jwt = r#"{"error":"unsupported_token_type","error_description":"Structured JWT Tokens cannot be introspected"}"#;
    for (status, media_type, body) in [
        (400, "application/json; charset=utf-8", jwt),
        (400, "application/json", r#"{"error":"invalid_token"}"#),
        (401, "application/json", r#"{"active":false}"#),
        (401, "application/json", r#"{"active":false,"error":null}"#),
        (400, "application/json", r#"{"active":false}"#),
        // RFC 8259 section 6: a number that nobody reads.
        (400, "application/json", r#"{"active":false,"x":1e999}"#),
        (401, "application/json", r#"{"x":[-1e999],"active":false}"#),
        (
            400,
            "application/json",
            r#"{"error":"invalid_token","x":1e999}"#,
        ),
    ] {
        let told = format!(
            "inactive: the issuer responded with HTTP status {status} and an error about the token; some issuers do not introspect JWTs"
        );
        let expected = Seen {
            reason: Some(Reason::Inactive),
            log: vec![told],
            introspects_again: false,
        };
        let seen = see(&CACHES, "tok", &answer(status, media_type, body));
        assert_eq!(seen, expected, "{body}");
    }
}

#[test]
fn rfc7662_s2_3_only_an_oauth_error_a_challenge_or_no_body_at_all_speaks_of_our_credentials() {
    use Reason::{IssuerRejectedClient as Us, IssuerUnexpectedStatus as Unexpected};
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
        (
            answer(
                400,
                "application/json",
                r#"{"error":"invalid_client","x":1e999}"#,
            ),
            Us,
        ),
        (
            answer(
                401,
                "application/json",
                r#"{"error":"invalid_client","x":1e999}"#,
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
            answer(401, "application/json", r#"{"error":1e999}"#),
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
            answer(401, "text/html", html).challenge("Basic realm=\"issuer\""),
            Us,
        ),
        (
            answer(403, "text/html", html).challenge("Basic realm=\"issuer\""),
            Unexpected,
        ),
        (
            answer(401, "text/html", html).challenge("Bearer"),
            Unexpected,
        ),
        (
            answer(401, "application/json", r#"{"active":false}"#).coded("gzip"),
            Unexpected,
        ),
    ];
    for (answer, expected) in rows {
        let seen = see(&CACHES, "tok", &answer);
        assert_eq!(
            (seen.reason, seen.introspects_again),
            (Some(expected), true),
            "{answer:?}"
        );
    }
}

#[test]
fn rfc9110_s8_4_a_response_with_a_content_coding_is_the_issuers_fault() {
    for (coding, told) in [
        ("gzip", "the content coding gzip"),
        ("br", "the content coding br"),
        ("zstd", "the content coding zstd"),
        ("deflate", "the content coding deflate"),
        ("snappy", "an unknown content coding"),
    ] {
        let coded = json(r#"{"active":true}"#).coded(coding);
        let expected = Seen {
            reason: Some(Reason::IssuerAnswerMalformed),
            log: vec![format!(
                "issuer_answer_malformed: the issuer's response has {told}; the call accepts none"
            )],
            introspects_again: true,
        };
        assert_eq!(see(&CACHES, "tok", &coded), expected);
    }
    let plain = json(r#"{"active":true}"#).coded("identity");
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
            "expired: the issuer sent an exp of 0 or less for an active token; a token that never expires has no exp",
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
            r#"no_audience: the token has no aud; expected "orders-api""#,
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
fn a_token_that_the_issuer_answers_with_an_error_opens_no_circuit() {
    let issuer = Issuer::new(answer(
        400,
        "application/json",
        r#"{"error":"unsupported_token_type"}"#,
    ));
    let mut instance = Instance::new(&CACHES, &issuer, &Clock::new());
    for n in 0..10 {
        let verdict = instance.request("/data", &format!("eyJ{n}.e30.x"));
        assert_eq!(reason_of(&verdict.decision), Some(Reason::Inactive));
        assert_eq!(issuer.calls(), 1);
    }
    assert_eq!(instance.host.log.len(), 1, "{:?}", instance.host.log);
    issuer.responds(json(r#"{"active":true}"#));
    let granted = (None, Some(CacheStatus::Miss));
    assert_eq!(instance.get("/data", "good"), granted);
}

#[test]
fn rfc8259_s7_a_scope_with_an_escape_in_it_is_the_same_scope() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("required_scope", "write")], &issuer, &clock);
    for (scope, expected) in [
        (r"read\u0020\u0077rite", None),
        (r"read\u0020rite", Some(Reason::InsufficientScope)),
    ] {
        issuer.responds(active(&format!(r#","scope":"{scope}""#)));
        assert_eq!(instance.get("/", "t").0, expected, "{scope}");
    }
}

#[test]
fn f5_our_own_token_that_is_refused_is_not_the_callers() {
    let settings = [
        ("client_auth", "bearer"),
        ("introspect_token", "our-own-token"),
    ];
    for (status, body) in [
        (400, r#"{"error":"invalid_token"}"#),
        (401, r#"{"error":"invalid_token"}"#),
        (401, r#"{"active":false}"#),
        (401, ""),
    ] {
        let seen = see(&settings, "t", &answer(status, "application/json", body));
        let expected = Some(Reason::IssuerRejectedClient);
        assert_eq!(seen.reason, expected, "{status} {body}");
    }
    // A 400 about the kind of the token is about the caller's.
    let about = answer(
        400,
        "application/json",
        r#"{"error":"unsupported_token_type"}"#,
    );
    assert_eq!(see(&settings, "t", &about).reason, Some(Reason::Inactive));
}

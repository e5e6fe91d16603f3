//! Introspection responses that the issuer must sign (RFC 9701).

use token_check::{Action, CacheStatus, IssuerCall as _, Parked, Reason, Sharing, Step};

use crate::fixture::{
    Outcome, START, SharedStore, TIMED_OUT, UNREACHABLE, finishes, inactive, introspects, reason,
    try_policy,
};
use crate::jwt_fixture::{HIT, ISSUER, Key, VERIFIED, World, refused, set, unavailable};

const MEDIA_TYPE: &str = "application/token-introspection+jwt";
const MISS: (Option<Reason>, Option<CacheStatus>) = (None, Some(CacheStatus::Miss));
const UNSIGNED: (Option<Reason>, Option<CacheStatus>) = unavailable(Reason::IssuerResponseUnsigned);
const ACTIVE: &str =
    r#"{"active":true,"iss":"https://issuer.example","aud":"service-b","sub":"service-a"}"#;

fn world(strategy: &str, settings: &[(&str, &str)]) -> World {
    World::new(
        strategy,
        &[&[("signed_introspection", "true")], settings].concat(),
    )
}

fn header(kid: &str) -> String {
    format!(r#"{{"typ":"token-introspection+jwt","alg":"EdDSA","kid":"{kid}"}}"#)
}

fn jwt(body: &str) -> Outcome {
    Outcome::http(200, MEDIA_TYPE, body)
}

impl World {
    fn unix(&self) -> u64 {
        self.clock.now().unix.as_secs()
    }

    /// The claims of a good response.
    fn claims(&self, facts: &str) -> String {
        let iat = self.unix();
        format!(
            r#"{{"iss":"{ISSUER}","aud":"service-b","iat":{iat},"token_introspection":{facts}}}"#
        )
    }

    /// From now on, the issuer says this of every token, signed with this key.
    fn says(&self, key: &Key, kid: &str, facts: &str) {
        let signed = key.sign(&header(kid), &self.claims(facts));
        self.issuer.responds(jwt(&signed));
    }

    /// A whole request with an opaque token: status, challenge, `Retry-After`.
    fn answer(&mut self, token: &str) -> (u16, Option<String>, Option<String>) {
        let verdict = self.instance.drive("/", token);
        match verdict.into_result(self.instance.check.policy()) {
            Ok(_) => (200, None, None),
            Err(response) => {
                let value = |wanted| {
                    let mut headers = response.headers.iter();
                    let header = headers.find(|(name, _)| *name == wanted);
                    header.map(|(_, value)| value.to_string())
                };
                (
                    response.status,
                    value("www-authenticate"),
                    value("retry-after"),
                )
            }
        }
    }
}

#[test]
fn rfc9701_s4_the_call_asks_for_a_signed_response() {
    let mut world = world("introspect", &[]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let (_request, _ticket, call) = introspects(world.instance.begin("/", "another"));
    let headers: Vec<_> = call
        .headers()
        .filter(|(name, _)| *name == "accept")
        .collect();
    assert_eq!(headers, [("accept", MEDIA_TYPE)]);
    assert!(call.body().starts_with(b"token=another&"));
    // And only then.
    let mut plain = World::new("introspect", &[]);
    let (_request, _ticket, call) = introspects(plain.instance.begin("/", "another"));
    assert!(
        call.headers()
            .any(|header| header == ("accept", "application/json"))
    );
}

#[test]
fn rfc9701_s5_a_response_of_the_form_of_the_example_is_read_like_a_plain_one() {
    let facts = r#"{
    "active": true,
    "iss": "https://as.example.com/",
    "aud": "https://rs.example.com/resource",
    "iat": 1514797822,
    "exp": 1801514797,
    "client_id": "paiB2goo0a",
    "scope": "read write dolphin",
    "sub": "Z5O3upPC88QrAjx00dis",
    "birthdate": "1982-02-01",
    "given_name": "John",
    "jti": "t1FoCCaZd4Xv4ORJUWVUeTZfsKhW30CQCrWDDjwXy6w"
  }"#;
    let mut world = world(
        "introspect",
        &[
            ("expected_issuer", "https://as.example.com/"),
            ("expected_aud", "https://rs.example.com/resource"),
            ("resource_client_id", "https://rs.example.com/resource"),
            ("required_scope", "dolphin"),
            ("allowed_clients", "paiB2goo0a"),
        ],
    );
    let iat = world.unix();
    let claims = format!(
        r#"{{
  "iss":"https://as.example.com/",
  "aud":"https://rs.example.com/resource",
  "iat":{iat},
  "token_introspection":
  {facts}
}}"#
    );
    // Section 5, and RFC 7515 section 4.1.9: with `application/`, and in any case.
    for typ in [
        "token-introspection+jwt",
        "Token-Introspection+JWT",
        "application/token-introspection+jwt",
    ] {
        let header = format!(r#"{{"typ":"{typ}","alg":"EdDSA","kid":"one"}}"#);
        world
            .issuer
            .responds(jwt(&world.key.sign(&header, &claims)));
        let verdict = world.instance.drive("/", "opaque");
        let grant = verdict.into_result(world.instance.check.policy()).unwrap();
        let headers: Vec<_> = grant.headers().collect();
        let value = |wanted: &str| {
            let header = headers.iter().find(|(name, _)| *name == wanted);
            header.map(|(_, value)| value.to_string())
        };
        assert_eq!(value("x-auth-subject").unwrap(), "Z5O3upPC88QrAjx00dis");
        assert_eq!(value("x-auth-client-id").unwrap(), "paiB2goo0a");
        assert_eq!(
            value("x-auth-claims").unwrap(),
            crate::jwt_fixture::encoded(facts)
        );
    }
}

#[test]
fn rfc9701_s5_the_media_type_is_compared_as_one() {
    let mut world = world("introspect", &[]);
    let signed = world.key.sign(&header("one"), &world.claims(ACTIVE));
    for (media_type, expected) in [
        ("application/token-introspection+jwt", MISS),
        ("Application/Token-Introspection+JWT; charset=utf-8", MISS),
        ("application/jwt", UNSIGNED),
        ("application/json", UNSIGNED),
        ("text/plain", UNSIGNED),
        ("", UNSIGNED),
    ] {
        world
            .issuer
            .responds(Outcome::http(200, media_type, &signed));
        assert_eq!(world.get("opaque"), expected, "{media_type}");
    }
}

const ANOTHER_KIND: &str =
    "the issuer's response is another kind of JWT: its typ is not token-introspection+jwt";
const MALFORMED: &str =
    "the issuer's response is no signed JWT that can be verified; encrypted ones are not read";
const ALGORITHM: &str =
    "the issuer's response is signed with an algorithm that `algorithms` does not list";
const ISSUER_DIFFERS: &str =
    "the issuer's response is by another issuer: its iss is not expected_issuer";
const AUDIENCE_DIFFERS: &str =
    "the issuer's response is for another recipient: its aud does not have resource_client_id";
const BEFORE: &str = "the issuer's response was signed before it was asked for, or has expired: check the clocks, and any cache between here and the issuer";
const AHEAD: &str =
    "the issuer's response was signed in the future, or is not valid yet: check the clocks";
const UNKNOWN_KEY: &str =
    "the issuer's response is signed with a key that is not among its keys: check jwks_url or jwks";
const BAD_SIGNATURE: &str =
    "the signature of the issuer's response is not by the key that it names";

/// Every way in which a response is not what the issuer signed for this service now, with the line
/// in the log.
#[test]
fn j10_a_response_that_is_not_signed_for_this_service_now_accepts_and_refuses_nothing() {
    let first = world("introspect", &[]);
    let (key, iat) = (first.key.clone(), first.unix());
    let good = first.claims(ACTIVE);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        key.sign(&header("one"), &good.replacen(from, to, 1))
    };
    let at = |time: u64| with(&format!(r#""iat":{iat}"#), &format!(r#""iat":{time}"#));
    let iss = format!(r#""iss":"{ISSUER}""#);
    let typed = |typ: &str| {
        let header = format!(r#"{{{typ}"alg":"EdDSA","kid":"one"}}"#);
        key.sign(&header, &good)
    };
    let by = |algorithm| key.sign(&header("one").replace("EdDSA", algorithm), &good);
    let signed = key.sign(&header("one"), &good);
    let (input, signature) = signed.rsplit_once('.').unwrap();
    let forged = with("service-a", "admin");
    let (forged, _) = forged.rsplit_once('.').unwrap();
    let rows = [
        (typed(""), ANOTHER_KIND),
        (typed(r#""typ":"JWT","#), ANOTHER_KIND),
        (typed(r#""typ":"at+jwt","#), ANOTHER_KIND),
        (typed(r#""typ":"logout+jwt","#), ANOTHER_KIND),
        (
            typed(r#""typ":"token-introspection+jwt","crit":[],"#),
            MALFORMED,
        ),
        (
            typed(r#""typ":"token-introspection+jwt","jwk":{},"#),
            MALFORMED,
        ),
        (
            typed(r#""typ":"token-introspection+jwt","typ":"JWT","#),
            MALFORMED,
        ),
        (ACTIVE.to_owned(), MALFORMED),
        (String::new(), MALFORMED),
        (format!("{signed}.."), MALFORMED),
        (input.to_owned(), MALFORMED),
        (format!("{signed}="), MALFORMED),
        (format!("{signed}\n"), MALFORMED),
        (by("none"), ALGORITHM),
        (by("HS256"), ALGORITHM),
        (by("RS512"), ALGORITHM),
        (format!("{forged}.{signature}"), BAD_SIGNATURE),
        (format!("{input}."), BAD_SIGNATURE),
        (
            Key::new("one", 2).sign(&header("one"), &good),
            BAD_SIGNATURE,
        ),
        (Key::new("two", 2).sign(&header("two"), &good), UNKNOWN_KEY),
        (
            with(&iss, r#""iss":"https://issuer.example/""#),
            ISSUER_DIFFERS,
        ),
        (
            with(&iss, r#""iss":"HTTPS://issuer.example""#),
            ISSUER_DIFFERS,
        ),
        (with(&iss, r#""jti":"1""#), "the member iss is missing"),
        (with(&iss, r#""iss":null"#), "the member iss is missing"),
        (
            with(&iss, r#""iss":1"#),
            "the member iss is not a string: it is a number",
        ),
        (with("service-b", "service-c"), AUDIENCE_DIFFERS),
        (
            with(r#""service-b""#, r#"["service-c","SERVICE-B"]"#),
            AUDIENCE_DIFFERS,
        ),
        (
            with(r#""aud":"service-b""#, r#""aud":[]"#),
            "the member aud is missing",
        ),
        (
            with(r#""aud":"service-b","#, ""),
            "the member aud is missing",
        ),
        (
            with(r#""service-b""#, r#"["service-b",1]"#),
            "the member aud is not an array of strings: it holds a number",
        ),
        (at(iat - 1), BEFORE),
        (at(1), BEFORE),
        (at(iat + 1), AHEAD),
        (with(r#""iat""#, r#""old""#), "the member iat is missing"),
        (
            with(&format!(r#""iat":{iat}"#), &format!(r#""iat":"{iat}""#)),
            "the member iat is not a time in seconds: it is a string",
        ),
        (
            at(iat * 1000),
            "the member iat is not a time in seconds: it looks like milliseconds",
        ),
        (with(r#""aud""#, &format!(r#""exp":{iat},"aud""#)), BEFORE),
        (
            with(r#""aud""#, &format!(r#""nbf":{},"aud""#, iat + 1)),
            AHEAD,
        ),
        (
            with(r#""token_introspection""#, r#""introspection""#),
            "the member token_introspection is missing",
        ),
        (
            first.key.sign(&header("one"), &first.claims("null")),
            "the member token_introspection is missing",
        ),
    ];
    let cached = [("cache_ttl", "60"), ("negative_cache_ttl", "60")];
    let mut outcomes: Vec<_> = rows.map(|(body, line)| (jwt(&body), body, line)).into();
    let plain = "the issuer's response is JSON, which is not signed: have the issuer sign the responses for resource_client_id (introspection_signed_response_alg, RFC 9701 section 6)";
    let other =
        "the issuer's response has another media type than application/token-introspection+jwt";
    outcomes.extend([
        (Outcome::json(ACTIVE), "plain".to_owned(), plain),
        (inactive(), "plain and inactive".to_owned(), plain),
        (
            Outcome::http(200, "application/x+json", &signed),
            "JSON".to_owned(),
            plain,
        ),
        (
            Outcome::http(200, "text/html", "<html>"),
            "HTML".to_owned(),
            other,
        ),
        (
            Outcome::http(200, "application/jwt", &signed),
            "JWT".to_owned(),
            other,
        ),
    ]);
    for (outcome, name, line) in outcomes {
        let mut world = world("introspect", &cached);
        world.issuer.responds(outcome);
        let unavailable = (503, None, Some("1".to_owned()));
        assert_eq!(world.answer("opaque"), unavailable, "{name}");
        let log = &world.instance.host.errors;
        assert_eq!(
            *log,
            [format!("issuer_response_unsigned: {line}")],
            "{name}"
        );
        // Nothing of it was kept.
        world.says(&world.key, "one", ACTIVE);
        assert_eq!(world.get("opaque"), MISS, "{name}");
        assert_eq!(world.get("opaque"), HIT, "{name}");
    }
}

#[test]
fn rfc9701_s5_aud_is_a_string_or_an_array_with_the_client_id() {
    let mut world = world("introspect", &[]);
    for aud in [
        r#""service-b""#,
        r#"["service-b"]"#,
        r#"["other","service-b"]"#,
    ] {
        let claims = world.claims(ACTIVE).replace(r#""service-b""#, aud);
        world
            .issuer
            .responds(jwt(&world.key.sign(&header("one"), &claims)));
        assert_eq!(world.get("opaque"), MISS, "{aud}");
    }
}

#[test]
fn rfc9701_s5_iat_is_between_the_call_and_now_but_for_leeway() {
    // The call takes two seconds.
    for (leeway, from, to) in [("0", 0, 2), ("30", -30, 32)] {
        for (offset, expected) in [
            (from - 1, UNSIGNED),
            (from, MISS),
            (to, MISS),
            (to + 1, UNSIGNED),
        ] {
            let mut world = world("introspect", &[("leeway", leeway)]);
            assert_eq!(world.get("first"), UNSIGNED, "the keys are there now");
            world.issuer.takes_ms(2000);
            let iat = world.unix().checked_add_signed(offset).unwrap();
            let claims = world
                .claims(ACTIVE)
                .replace(&world.unix().to_string(), &iat.to_string());
            world
                .issuer
                .responds(jwt(&world.key.sign(&header("one"), &claims)));
            assert_eq!(world.get("opaque"), expected, "{leeway} {offset}");
        }
    }
}

#[test]
fn rfc7519_s4_1_exp_and_nbf_of_a_response_count_if_they_are_there() {
    let mut world = world("introspect", &[]);
    let now = world.unix();
    let times = format!(r#""exp":{},"nbf":{now},"aud""#, now + 1);
    let claims = world.claims(ACTIVE).replacen(r#""aud""#, &times, 1);
    world
        .issuer
        .responds(jwt(&world.key.sign(&header("one"), &claims)));
    assert_eq!(world.get("opaque"), MISS);
}

#[test]
fn rfc9701_s5_what_is_signed_is_read_as_strictly_as_a_plain_response() {
    let malformed = unavailable(Reason::IssuerAnswerMalformed);
    let deep = format!(
        r#"{{"active":true,"x":{}{}}}"#,
        "[".repeat(15),
        "]".repeat(15)
    );
    for (facts, expected, line) in [
        (r#"{"active":false}"#, (Some(Reason::Inactive), MISS.1), ""),
        (
            r#"{"active":true,"exp":1}"#,
            (Some(Reason::Expired), MISS.1),
            "",
        ),
        (
            r#"{"active":true,"iss":"https://issuer.example","aud":"service-b","x":1e999}"#,
            MISS,
            "",
        ),
        (
            r#"{"active":"true"}"#,
            malformed,
            "the member active is not true or false: it is a string",
        ),
        ("{}", malformed, "the member active is missing"),
        (
            r#"{"active":true,"active":true}"#,
            malformed,
            "the member active appears twice in one object",
        ),
        (
            r#""active""#,
            malformed,
            "the issuer's response is not a JSON object: it is a string",
        ),
        (
            "[true]",
            malformed,
            "the issuer's response is not a JSON object: it is an array",
        ),
        (
            r#"{"active":true},"token_introspection":{"active":true}"#,
            malformed,
            "the member token_introspection appears twice in one object",
        ),
        (
            r#"{"active":true},"token_introspectio\u006e":{"active":true}"#,
            malformed,
            "the member token_introspection appears twice in one object",
        ),
        (
            r#"{"active":true}}"#,
            malformed,
            "the issuer's response is not JSON",
        ),
        (
            deep.as_str(),
            malformed,
            "the issuer's response is nested too deeply",
        ),
    ] {
        let mut world = world("introspect", &[]);
        world.says(&world.key, "one", facts);
        assert_eq!(world.get("opaque"), expected, "{facts}");
        let lines: Vec<_> = (!line.is_empty())
            .then(|| format!("issuer_answer_malformed: {line}"))
            .into_iter()
            .collect();
        assert_eq!(world.instance.host.errors, lines, "{facts}");
    }
    // The signature comes first: what nobody signed says nothing of the issuer's JSON.
    let mut world = world("introspect", &[]);
    let good = world.key.sign(&header("one"), "{");
    let (input, _) = good.rsplit_once('.').unwrap();
    world.issuer.responds(jwt(&format!("{input}.AAAA")));
    assert_eq!(world.get("opaque"), UNSIGNED);
    // A name may be written with escapes.
    let claims = world
        .claims(ACTIVE)
        .replace("token_introspection", r"\u0074oken_introspection");
    world
        .issuer
        .responds(jwt(&world.key.sign(&header("one"), &claims)));
    assert_eq!(world.get("opaque"), MISS);
}

#[test]
fn rfc9701_s5_a_content_coding_and_a_body_over_the_limit_are_what_they_are_without_a_signature() {
    let mut world = world("introspect", &[]);
    let signed = world.key.sign(&header("one"), &world.claims(ACTIVE));
    world.issuer.responds(jwt(&signed).coded("gzip"));
    assert_eq!(
        world.get("opaque"),
        unavailable(Reason::IssuerAnswerMalformed)
    );
    world.issuer.responds(jwt(&"a".repeat(65_537)));
    assert_eq!(
        world.get("opaque"),
        unavailable(Reason::IssuerAnswerTooLarge)
    );
}

#[test]
fn j10_an_unsigned_error_says_nothing_about_a_token() {
    let error = |status, body: &str| Outcome::http(status, "application/json", body);
    for (outcome, plain, signed) in [
        (
            error(400, r#"{"error":"unsupported_token_type"}"#),
            (Some(Reason::Inactive), MISS.1),
            UNSIGNED,
        ),
        (
            error(401, r#"{"active":false}"#),
            (Some(Reason::Inactive), MISS.1),
            UNSIGNED,
        ),
        (
            error(401, r#"{"error":"invalid_client"}"#),
            unavailable(Reason::IssuerRejectedClient),
            unavailable(Reason::IssuerRejectedClient),
        ),
        (
            error(500, ""),
            unavailable(Reason::IssuerFailed),
            unavailable(Reason::IssuerFailed),
        ),
        (
            error(302, ""),
            unavailable(Reason::IssuerRedirected),
            unavailable(Reason::IssuerRedirected),
        ),
    ] {
        let mut without = World::new("introspect", &[]);
        without.issuer.responds(outcome.clone());
        assert_eq!(without.get("opaque"), plain, "{outcome:?}");
        let mut world = world(
            "introspect",
            &[("negative_cache_ttl", "60"), ("cache_ttl", "60")],
        );
        world.issuer.responds(outcome.clone());
        assert_eq!(world.get("opaque"), signed, "{outcome:?}");
        world.says(&world.key, "one", ACTIVE);
        assert_eq!(world.get("opaque"), MISS, "{outcome:?}");
    }
}

#[test]
fn j10_a_signed_response_is_no_access_token() {
    for (strategy, settings) in [
        ("jwt", &[][..]),
        ("auto", &[]),
        ("both", &[]),
        ("auto", &[("signed_introspection", "true")]),
        ("both", &[("signed_introspection", "true")]),
    ] {
        let mut world = World::new(strategy, settings);
        assert_eq!(
            world.get_good().0.is_some(),
            strategy == "both" && !settings.is_empty()
        );
        let _ = (world.issuer.calls(), world.issuer.key_fetches());
        let claims = world.claims(ACTIVE);
        // Also one that has all that an access token has, and one whose issuer does not set `typ`.
        let both = claims.replacen(
            r#""aud""#,
            &format!(
                r#""exp":{},"sub":"service-a","client_id":"service-a","aud""#,
                START + 600
            ),
            1,
        );
        for token in [
            world.key.sign(&header("one"), &claims),
            world.key.sign(&header("one"), &both),
            world.key.sign(
                r#"{"typ":"application/Token-Introspection+jwt","alg":"EdDSA","kid":"one"}"#,
                &both,
            ),
        ] {
            assert_eq!(
                world.get(&token),
                refused(Reason::WrongTokenType),
                "{strategy}"
            );
        }
        let untyped = world.key.sign(r#"{"alg":"EdDSA","kid":"one"}"#, &both);
        assert_eq!(
            world.get(&untyped).0,
            Some(Reason::WrongTokenType),
            "{strategy}"
        );
        assert_eq!(
            (world.issuer.calls(), world.issuer.key_fetches()),
            (0, 0),
            "{strategy}"
        );
    }
}

#[test]
fn the_strategy_says_what_is_introspected_and_so_what_is_signed() {
    for (strategy, jwt, opaque) in [
        ("introspect", MISS, MISS),
        ("auto", VERIFIED, MISS),
        ("both", MISS, refused(Reason::NotAJwt)),
        ("jwt", VERIFIED, refused(Reason::NotAJwt)),
    ] {
        let mut world = world(strategy, &[("expected_aud", "service-b")]);
        world.says(&world.key, "one", ACTIVE);
        assert_eq!(world.get_good(), jwt, "{strategy}");
        assert_eq!(world.get("opaque"), opaque, "{strategy}");
        // Neither a plain response nor one of another key counts.
        world.issuer.responds(Outcome::json(ACTIVE));
        let (jwt, opaque) = match strategy {
            "introspect" => (UNSIGNED, UNSIGNED),
            "auto" => (HIT, UNSIGNED),
            "both" => (UNSIGNED, opaque),
            _ => (HIT, opaque),
        };
        assert_eq!(world.get_good(), jwt, "{strategy}");
        assert_eq!(world.get("opaque"), opaque, "{strategy}");
        assert_eq!(world.issuer.key_fetches(), 1, "{strategy}");
    }
}

#[test]
fn both_ends_a_revoked_token_by_a_signed_response() {
    let mut world = world("both", &[]);
    world.says(&world.key, "one", r#"{"active":false}"#);
    assert_eq!(world.get_good(), (Some(Reason::Inactive), MISS.1));
    world.issuer.responds(inactive());
    assert_eq!(world.get_good(), UNSIGNED);
}

#[test]
fn nothing_is_introspected_before_there_are_keys() {
    let mut world = world("introspect", &[]);
    world.says(&world.key, "one", ACTIVE);
    world.issuer.publishes(UNREACHABLE);
    assert_eq!(world.get("opaque"), unavailable(Reason::IssuerUnreachable));
    world
        .issuer
        .publishes(Outcome::http(200, "application/json", "<html>"));
    world.advance(1);
    assert_eq!(world.get("opaque"), unavailable(Reason::IssuerKeysUnusable));
    assert_eq!(world.get("opaque"), unavailable(Reason::IssuerKeysUnusable));
    assert_eq!(world.issuer.calls(), 0, "the token went nowhere");
    // An unreachable issuer is tried twice.
    assert_eq!(world.issuer.key_fetches(), 3);
    world.publish(&[&world.key]);
    world.advance(2);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!((world.issuer.calls(), world.issuer.key_fetches()), (1, 1));
}

#[test]
fn keys_that_are_given_as_a_setting_are_not_fetched() {
    let key = Key::new("one", 1);
    let document = crate::jwt_fixture::set_document(&[&key]);
    let mut world = world("introspect", &[("jwks_url", ""), ("jwks", &document)]);
    world.says(&key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    world.says(&Key::new("two", 2), "two", ACTIVE);
    assert_eq!(world.get("opaque"), UNSIGNED);
    assert_eq!((world.issuer.calls(), world.issuer.key_fetches()), (2, 0));
}

#[test]
fn a_rotation_costs_nobody_a_refusal_and_one_fetch() {
    let mut world = world("introspect", &[("max_calls", "4096")]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("first"), MISS);
    let _ = (world.issuer.calls(), world.issuer.key_fetches());
    let new = Key::new("two", 2);
    world.publish(&[&new]);
    world.says(&new, "two", ACTIVE);
    let instance = &mut world.instance;
    let now = world.clock.now();
    // A thousand callers with tokens of their own, and each call is under way.
    let calls: Vec<_> = (0..1000)
        .map(|number| instance.call("/", &format!("opaque-{number}")))
        .collect();
    let mut waiting = Vec::new();
    for (number, (request, ticket)) in (0..).zip(calls) {
        let finished = instance.respond(ticket);
        assert!(finished.woken.is_empty());
        assert!(finished.fault.is_none(), "nothing is wrong");
        match instance.check.resume(request, now) {
            Step::Join(request) => {
                assert_eq!(instance.check.park(&request, number), Parked::Yes);
                waiting.push(request);
            }
            other => panic!("it waits for the key: {other:?}"),
        }
    }
    // Who comes now waits too: the response would be signed with the new key as well.
    let late = instance.join("/", "opaque-late");
    assert_eq!(instance.check.park(&late, 1000), Parked::Yes);
    waiting.push(late);
    assert_eq!(world.issuer.calls(), 1000);
    let Some(Action::FetchDocument(ticket, _)) = instance.check.next_fetch(now) else {
        panic!("the key is to be fetched");
    };
    assert!(instance.check.next_fetch(now).is_none(), "one fetch");
    let finished = finishes(instance.check.document_responded(
        ticket,
        set(&[&new]).response(),
        now,
    ));
    assert_eq!(finished.woken, Vec::from_iter(0..=1000));
    for request in waiting {
        let verdict = instance.resume(request);
        assert_eq!((reason(&verdict.decision), verdict.cache), MISS);
    }
    assert_eq!(world.issuer.calls(), 1001, "each asks once more");
    assert!(instance.check.next_fetch(now).is_none());
    assert!(
        instance.host.errors.is_empty(),
        "{:?}",
        instance.host.errors
    );
}

#[test]
fn a_rotation_with_an_old_name_for_the_new_key_costs_nobody_a_refusal_either() {
    let mut world = world("introspect", &[]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let new = Key::new("one", 2);
    world.publish(&[&new]);
    world.says(&new, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!((world.issuer.calls(), world.issuer.key_fetches()), (3, 2));
    assert!(world.instance.host.errors.is_empty());
}

#[test]
fn a_key_that_is_not_published_costs_one_fetch_per_interval_and_one_more_call() {
    let mut world = world("introspect", &[]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let _ = (world.issuer.calls(), world.issuer.key_fetches());
    let new = Key::new("two", 2);
    world.says(&new, "two", ACTIVE);
    for _ in 0..10 {
        assert_eq!(world.get("opaque"), UNSIGNED);
    }
    assert_eq!((world.issuer.calls(), world.issuer.key_fetches()), (11, 1));
    world.advance(30);
    world.says(&new, "two", ACTIVE);
    assert_eq!(world.get("opaque"), UNSIGNED);
    assert_eq!((world.issuer.calls(), world.issuer.key_fetches()), (2, 1));
    world.advance(30);
    world.says(&new, "two", ACTIVE);
    world.publish(&[&world.key, &new]);
    assert_eq!(world.get("opaque"), MISS);
}

#[test]
fn j11_callers_cannot_use_up_the_fetches_for_responses() {
    let mut world = world("auto", &[]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let _ = world.issuer.key_fetches();
    world.advance(1);
    for number in 2..20 {
        let forged = Key::new(&format!("forged-{number}"), number).token(&[]);
        assert_eq!(world.get(&forged), refused(Reason::UnknownKey));
        let forged = Key::new("one", number).token(&[]);
        assert_eq!(world.get(&forged), refused(Reason::InvalidSignature));
    }
    assert_eq!(world.issuer.key_fetches(), 2);
    let new = Key::new("new", 99);
    world.publish(&[&world.key, &new]);
    world.says(&new, "new", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.key_fetches(), 1);
}

#[test]
fn while_the_new_key_cannot_be_fetched_nothing_is_accepted_and_nothing_refused() {
    let mut world = world("introspect", &[]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let new = Key::new("two", 2);
    world.says(&new, "two", ACTIVE);
    world.issuer.publishes(UNREACHABLE);
    for _ in 0..5 {
        assert_eq!(world.get("opaque"), UNSIGNED);
    }
    // With the old key it goes on.
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    world.publish(&[&new]);
    world.advance(30);
    world.says(&new, "two", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
}

#[test]
fn a_fetch_that_its_host_drops_is_made_again() {
    let mut world = world("introspect", &[]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let new = Key::new("two", 2);
    world.publish(&[&new]);
    world.says(&new, "two", ACTIVE);
    let instance = &mut world.instance;
    let (request, ticket) = instance.call("/", "opaque");
    let _ = instance.respond(ticket);
    let Step::Join(request) = instance.check.resume(request, world.clock.now()) else {
        panic!("it waits for the key");
    };
    drop(instance.check.next_fetch(world.clock.now()));
    world.clock.advance_ms(3000);
    world.says(&new, "two", ACTIVE);
    let instance = &mut world.instance;
    // It asks again, and so the key is fetched again.
    let step = instance.check.resume(request, world.clock.now());
    let Step::Lead(request, Action::Introspect(ticket, _)) = step else {
        panic!("{step:?}");
    };
    let _ = instance.respond(ticket);
    let Step::Join(request) = instance.check.resume(request, world.clock.now()) else {
        panic!("it waits for the key again");
    };
    let Some(Action::FetchDocument(ticket, _)) = instance.check.next_fetch(world.clock.now())
    else {
        panic!("the key is to be fetched");
    };
    let _ = instance
        .check
        .document_responded(ticket, set(&[&new]).response(), world.clock.now());
    let verdict = instance.resume(request);
    assert_eq!((reason(&verdict.decision), verdict.cache), MISS);
}

#[test]
fn keys_are_fetched_ahead_without_anybody_waiting() {
    let mut world = world("introspect", &[("cache_ttl", "0")]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    // Nor after a rotation, for which they did.
    let new = Key::new("two", 2);
    world.publish(&[&new]);
    world.says(&new, "two", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    world.advance(480);
    world.says(&new, "two", ACTIVE);
    // A fetch is due, and the request leads its own call.
    let (_request, _ticket) = world.instance.call("/", "opaque");
    let fetch = world.instance.check.next_fetch(world.clock.now());
    assert!(
        matches!(fetch, Some(Action::FetchDocument(..))),
        "{fetch:?}"
    );
    let (_request, _ticket) = world.instance.call("/", "another");
}

/// A signed response is the issuer's word, as a plain one is.
#[test]
fn what_a_response_says_ages_and_does_not_end_with_the_key_that_signed_it() {
    let mut world = world("introspect", &[("cache_ttl", "3600")]);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let new = Key::new("two", 2);
    world.publish(&[&new]);
    world.advance(700);
    // The keys are fetched again for this one.
    world.says(&new, "two", ACTIVE);
    assert_eq!(world.get("another"), MISS);
    assert_eq!(world.get("opaque"), HIT);
    world.advance(2901);
    world.says(&new, "two", r#"{"active":false}"#);
    assert_eq!(world.get("opaque"), (Some(Reason::Inactive), MISS.1));
}

#[test]
fn unsigned_responses_do_not_open_the_circuit_and_are_no_outage() {
    let settings = [
        ("breaker_faults", "2"),
        ("cache_ttl", "1"),
        ("stale_if_error", "3600"),
    ];
    let mut world = world("introspect", &settings);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let _ = world.issuer.calls();
    world.advance(10);
    world.issuer.responds(Outcome::json(ACTIVE));
    for _ in 0..10 {
        assert_eq!(world.get("opaque"), UNSIGNED);
    }
    assert_eq!(world.issuer.calls(), 10);
}

#[test]
fn stale_results_are_used_in_an_outage_of_the_issuer_and_of_its_keys() {
    let settings = [
        ("cache_ttl", "1"),
        ("stale_if_error", "86400"),
        ("jwks_max_age", "600"),
    ];
    let stale = (None, Some(CacheStatus::Stale));
    let mut world = world("introspect", &settings);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    world.issuer.responds(UNREACHABLE);
    world.issuer.publishes(TIMED_OUT);
    world.advance(10);
    assert_eq!(world.get("opaque"), stale, "the probe says so");
    // The keys are too old by now.
    world.advance(3600);
    assert_eq!(world.get("opaque"), stale);
    assert_eq!(world.get("another"), unavailable(Reason::IssuerTimeout));
    // An issuer that responds without keys is no outage.
    world.advance(60);
    world
        .issuer
        .publishes(Outcome::http(200, "application/json", "{}"));
    assert_eq!(world.get("opaque"), unavailable(Reason::IssuerKeysUnusable));
}

#[test]
fn the_probe_needs_no_signature() {
    let settings = [("breaker_faults", "2"), ("probe_interval", "1")];
    let mut world = world("introspect", &settings);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let down = Outcome::http(503, "application/json", "");
    world.issuer.responds(down);
    for _ in 0..3 {
        assert!(world.get("opaque").0.is_some());
    }
    world.advance(2);
    // The answer to the probe, then that about the token.
    let claims = world.claims(ACTIVE);
    let signed = world.key.sign(&header("one"), &claims);
    world.issuer.responds_in_turn([inactive(), jwt(&signed)]);
    assert_eq!(world.get("opaque"), MISS);
}

#[test]
fn instances_share_what_signed_responses_say_and_the_keys() {
    let store = SharedStore::default();
    let settings = [("signed_introspection", "true"), ("cache_ttl", "60")];
    let mut world = World::sharing("introspect", &settings, Sharing::Plain, &store);
    world.says(&world.key, "one", ACTIVE);
    assert_eq!(world.get("opaque"), MISS);
    let mut other = world.beside(
        &[&settings[..], &[("strategy", "introspect")]].concat(),
        &store,
    );
    let verdict = other.drive("/", "opaque");
    assert_eq!(
        (reason(&verdict.decision), verdict.cache),
        (None, Some(CacheStatus::Shared))
    );
    assert_eq!((world.issuer.calls(), world.issuer.key_fetches()), (1, 1));
}

#[test]
fn each_issuer_that_a_rule_names_may_sign_and_no_other() {
    let rules = r#"[{"path":{"exact":"/a"},"issuers":["https://a.example"]},{"path":{"exact":"/b"},"issuers":["https://b.example"]}]"#;
    for (issuer, expected) in [
        ("https://a.example", MISS),
        ("https://b.example", MISS),
        (ISSUER, MISS),
        ("https://c.example", UNSIGNED),
    ] {
        let mut world = world("introspect", &[("rules", rules)]);
        let facts = r#"{"active":true,"iss":"https://a.example","aud":"service-b"}"#;
        let claims = world.claims(facts).replacen(ISSUER, issuer, 1);
        world
            .issuer
            .responds(jwt(&world.key.sign(&header("one"), &claims)));
        let get = |world: &mut World, path| {
            let verdict = world.instance.drive(path, "opaque");
            (reason(&verdict.decision), verdict.cache)
        };
        assert_eq!(get(&mut world, "/a"), expected, "{issuer}");
        // Each route looks at the issuer of the token.
        let wrong = match expected {
            MISS => (Some(Reason::WrongIssuer), MISS.1),
            other => other,
        };
        assert_eq!(get(&mut world, "/b"), wrong, "{issuer}");
    }
}

#[test]
fn without_keys_or_an_issuer_it_does_not_start() {
    let on = ("signed_introspection", "true");
    let url = ("jwks_url", "https://issuer.example/jwks");
    let issuer = ("expected_issuer", ISSUER);
    for (settings, line) in [
        (
            &[on, issuer][..],
            "setting `signed_introspection` (WORKOUT18_SIGNED_INTROSPECTION) needs the keys of the issuer: set one of `issuer`, `jwks_url` and `jwks`",
        ),
        (
            &[on, issuer, url, ("jwks", "{}")],
            "setting `jwks` (WORKOUT18_JWKS) needs the keys of the issuer: set one of `issuer`, `jwks_url` and `jwks`",
        ),
        (
            &[on, url],
            "setting `signed_introspection` (WORKOUT18_SIGNED_INTROSPECTION) needs the `iss` of the responses: set `expected_issuer`",
        ),
        (
            &[("signed_introspection", "yes"), issuer, url],
            "setting `signed_introspection` (WORKOUT18_SIGNED_INTROSPECTION) must be `true` or `false`",
        ),
        (
            &[on, issuer, url, ("algorithms", "HS256")],
            "setting `algorithms` (WORKOUT18_ALGORITHMS) has the unknown word `HS256`: did you mean `ES256`?",
        ),
        (
            &[on, issuer, url, ("resource_client_id", "")],
            "setting `resource_client_id` (WORKOUT18_RESOURCE_CLIENT_ID) is missing or empty: set it",
        ),
    ] {
        assert_eq!(try_policy(settings).unwrap_err().to_string(), line);
    }
    assert!(try_policy(&[on, issuer, url]).is_ok());
    let rules = r#"[{"path":{"exact":"/a"},"issuers":["https://a.example"]}]"#;
    assert!(try_policy(&[on, url, ("rules", rules)]).is_ok());
    // Nobody needs keys that verify nothing.
    assert!(try_policy(&[("signed_introspection", "false")]).is_ok());
}

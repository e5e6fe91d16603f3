//! Tokens that are verified here (RFC 7519, RFC 8725, RFC 9068).

use std::cell::Cell;
use std::rc::Rc;

use token_check::{Algorithm, CacheStatus, Decision, Reason, SignatureHost};

use crate::fixture::{Clock, Instance, Issuer, Outcome, START, active, inactive, try_policy};
use crate::jwt_fixture::{
    HIT, ISSUER, Key, VERIFIED, World, encoded, object, refused, verified_but,
};

const MISS: (Option<Reason>, Option<CacheStatus>) = (None, Some(CacheStatus::Miss));

#[test]
fn the_strategy_says_which_tokens_are_verified_and_which_introspected() {
    for (strategy, jwt, opaque, calls) in [
        ("jwt", VERIFIED, refused(Reason::NotAJwt), (0, 0)),
        ("auto", VERIFIED, MISS, (0, 1)),
        ("both", MISS, refused(Reason::NotAJwt), (1, 0)),
    ] {
        let mut world = World::new(strategy, &[]);
        let claims = format!(r#","iss":"{ISSUER}","aud":"service-b""#);
        world.issuer.responds(active(&claims));
        assert_eq!(world.get_good(), jwt, "{strategy}");
        assert_eq!(world.issuer.calls(), calls.0, "{strategy}");
        assert_eq!(world.issuer.key_fetches(), 1, "{strategy}");
        // IBM's opaque tokens have two dots too.
        for token in ["opaque", "three.segments.here"] {
            assert_eq!(world.get(token), opaque, "{strategy}");
            assert_eq!(world.issuer.calls(), calls.1, "{strategy}");
        }
        assert_eq!(world.issuer.key_fetches(), 0, "{strategy}");
    }
}

#[test]
fn a_verified_token_is_remembered_whatever_cache_ttl_says_and_its_signature_checked_once() {
    #[derive(Clone)]
    struct Counting(Rc<Cell<usize>>);
    impl SignatureHost for Counting {
        fn verify(&self, _: Algorithm, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            self.0.set(self.0.get() + 1);
            None
        }
    }
    let mut world = World::new("jwt", &[("cache_ttl", "0")]);
    let count = Counting(Rc::default());
    let check = world.instance.check;
    world.instance.check = check.verifying_with(Box::new(count.clone()));
    assert_eq!(world.get_good(), VERIFIED);
    for _ in 0..3 {
        assert_eq!(world.get_good(), HIT);
    }
    world.advance(400);
    assert_eq!(world.get_good(), HIT);
    assert_eq!(count.0.get(), 1);
    let exp = (START + 450).to_string();
    let token = world.key.token(&[("exp", &exp)]);
    assert_eq!(world.get(&token), VERIFIED);
    // A hit is decided anew: it has expired.
    world.advance(50);
    let expired = (Some(Reason::Expired), Some(CacheStatus::Hit));
    assert_eq!(world.get(&token), expired);
    assert_eq!(count.0.get(), 2);
}

#[test]
fn j1_j2_algorithms_other_than_the_allowed_ones_are_refused_before_any_call() {
    let mut world = World::new("auto", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 1);
    let claims = object(&[]);
    for alg in [
        "none", "None", "nOnE", "", "HS256", "HS512", "ES384", "ES256K", "RS384", "eddsa",
    ] {
        let header = format!(r#"{{"alg":"{alg}","kid":"one"}}"#);
        let token = world.key.sign(&header, &claims);
        let unsigned = format!("{}.{}.", encoded(&header), encoded(&claims));
        for token in [&token, &unsigned] {
            assert_eq!(
                world.get(token),
                refused(Reason::AlgorithmNotAllowed),
                "{alg}"
            );
        }
    }
    // No algorithm at all: no JWT, so the issuer is asked.
    world.issuer.responds(inactive());
    for header in [r#"{"alg":0}"#, r#"{"alg":["none"]}"#, r#"{"kid":"one"}"#] {
        let token = world.key.sign(header, &claims);
        let unknown = (Some(Reason::Inactive), Some(CacheStatus::Miss));
        assert_eq!(world.get(&token), unknown, "{header}");
        assert_eq!(world.issuer.calls(), 1, "{header}");
    }
    assert_eq!(world.issuer.key_fetches(), 0);
}

#[test]
fn j1_the_type_of_the_key_decides_which_algorithm_it_verifies() {
    let mut world = World::new("jwt", &[]);
    for alg in ["RS256", "PS256", "ES256"] {
        let token = (world.key).sign(&format!(r#"{{"alg":"{alg}","kid":"one"}}"#), &object(&[]));
        assert_eq!(world.get(&token), refused(Reason::UnknownKey), "{alg}");
    }
    let mut world = World::new("jwt", &[("algorithms", "RS256 ES256")]);
    assert_eq!(world.get_good(), refused(Reason::AlgorithmNotAllowed));
}

#[test]
fn rfc7515_s4_headers_that_bring_a_key_or_an_extension_are_refused_before_any_call() {
    let mut world = World::new("auto", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 1);
    for (member, reason) in [
        (r#""crit":["exp"]"#, Reason::InvalidSignature),
        (r#""b64":false"#, Reason::InvalidSignature),
        (r#""jwk":{}"#, Reason::InvalidSignature),
        (
            r#""jku":"https://evil.example/jwks""#,
            Reason::InvalidSignature,
        ),
        (
            r#""x5u":"https://evil.example/x""#,
            Reason::InvalidSignature,
        ),
        (r#""kid":1"#, Reason::MalformedJwt),
        (r#""kid":"one","kid":"two""#, Reason::MalformedJwt),
        (r#""alg":"EdDSA""#, Reason::MalformedJwt),
        (r#""typ":"logout+jwt""#, Reason::WrongTokenType),
        (r#""typ":"token-introspection+jwt""#, Reason::WrongTokenType),
        (r#""typ":"dpop+jwt""#, Reason::WrongTokenType),
        (
            &format!(r#""x":"{}""#, "x".repeat(64 * 1024)),
            Reason::TokenTooLong,
        ),
        (
            &format!(r#""x":"{}""#, "x".repeat(4 * 1024)),
            Reason::MalformedJwt,
        ),
    ] {
        let token = world
            .key
            .sign(&format!(r#"{{"alg":"EdDSA",{member}}}"#), &object(&[]));
        assert_eq!(world.get(&token), refused(reason), "{member:.40}");
    }
    assert_eq!((world.issuer.calls(), world.issuer.key_fetches()), (0, 0));
}

#[test]
fn a_signature_by_another_key_or_over_other_claims_is_refused() {
    let mut world = World::new("auto", &[]);
    let good = world.key.token(&[]);
    let (header, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let other_claims = encoded(object(&[("sub", r#""admin""#)]));
    let forged = Key::new("one", 2).token(&[]);
    let bad = [
        forged,
        format!("{header}.{other_claims}.{signature}"),
        format!("{}.", good.rsplit_once('.').unwrap().0),
    ];
    for token in &bad {
        assert_eq!(world.get(token), refused(Reason::InvalidSignature));
    }
    assert_eq!(
        world.get(&format!("{good}=")),
        refused(Reason::MalformedJwt)
    );
    assert_eq!(world.get(&good), VERIFIED);
    assert_eq!(
        world.issuer.calls(),
        0,
        "no token of this kind is introspected"
    );
}

#[test]
fn rfc9068_s2_2_claims_without_expiry_or_issuer_or_in_the_wrong_form_are_malformed() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 1);
    for claims in [
        object(&[("exp", "")]),
        object(&[("exp", "null")]),
        object(&[("exp", r#""1""#)]),
        object(&[("exp", "1e300")]),
        object(&[("exp", "1800000100000")]),
        object(&[("iss", "")]),
        object(&[("iss", "1")]),
        object(&[("aud", "1")]),
        object(&[("aud", "[1]")]),
        object(&[("scope", "1")]),
        object(&[("client_id", "{}")]),
        format!("{} x", object(&[])),
        format!("[{}]", object(&[])),
        r#"{"iss":"a","iss":"b","exp":1}"#.to_owned(),
        String::new(),
    ] {
        let token = world.key.sign(r#"{"alg":"EdDSA","kid":"one"}"#, &claims);
        assert_eq!(world.get(&token), refused(Reason::MalformedJwt), "{claims}");
    }
    let not_utf8 = {
        let header = encoded(r#"{"alg":"EdDSA","kid":"one"}"#);
        format!(
            "{header}.{}.{}",
            encoded(b"{\"iss\":\"\xff\"}"),
            encoded([0; 64])
        )
    };
    assert_eq!(world.get(&not_utf8), refused(Reason::MalformedJwt));
    assert_eq!(world.issuer.key_fetches(), 0);
}

#[test]
fn rfc9068_s2_1_what_looks_like_another_token_is_none_unless_its_type_says_so() {
    for (header, strict, id_token, plain) in [
        (
            r#"{"alg":"EdDSA","kid":"one"}"#,
            "false",
            verified_but(Reason::WrongTokenType),
            VERIFIED,
        ),
        (
            r#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#,
            "false",
            verified_but(Reason::WrongTokenType),
            VERIFIED,
        ),
        (
            r#"{"alg":"EdDSA","kid":"one","typ":"application/AT+JWT"}"#,
            "true",
            VERIFIED,
            VERIFIED,
        ),
        (
            r#"{"alg":"EdDSA","kid":"one"}"#,
            "true",
            refused(Reason::WrongTokenType),
            refused(Reason::WrongTokenType),
        ),
        (
            r#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#,
            "true",
            refused(Reason::WrongTokenType),
            refused(Reason::WrongTokenType),
        ),
    ] {
        let mut world = World::new("jwt", &[("require_at_jwt", strict)]);
        assert_eq!(
            world.get(&world.key.clone().sign(header, &object(&[]))),
            plain,
            "{header}"
        );
        for claim in [
            "nonce",
            "at_hash",
            "c_hash",
            "events",
            "token_introspection",
        ] {
            let token = world.key.sign(header, &object(&[(claim, r#""x""#)]));
            assert_eq!(world.get(&token), id_token, "{header} {claim}");
        }
    }
    let mut world = World::new("jwt", &[]);
    for (name, value) in [
        ("token_use", "id"),
        ("typ", "ID"),
        ("typ", "Refresh"),
        ("token_type", "N_A"),
    ] {
        let token = world.key.token(&[(name, &format!("{value:?}"))]);
        assert_eq!(
            world.get(&token),
            verified_but(Reason::WrongTokenType),
            "{value}"
        );
    }
    let token = world.key.token(&[("typ", r#""Bearer""#)]);
    assert_eq!(world.get(&token), VERIFIED, "Keycloak");
}

#[test]
fn j6_signed_tokens_of_another_issuer_or_for_another_audience_are_refused() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 1);
    for issuer in [
        "https://issuer.example/",
        "https://ISSUER.example",
        "https://issuer.example/realm",
        "https://issuer.exampl",
        "http://169.254.169.254",
        "",
    ] {
        let token = world.key.token(&[("iss", &format!("{issuer:?}"))]);
        assert_eq!(world.get(&token), refused(Reason::WrongIssuer), "{issuer}");
    }
    assert_eq!(world.issuer.key_fetches(), 0, "nor do they cause a call");
    let shown = r#"wrong_issuer: the token has iss "https://issuer.example/"; expected "https://issuer.example""#;
    assert!(
        world.instance.host.log.iter().any(|line| line == shown),
        "{:#?}",
        world.instance.host.log
    );
    for (audience, expected) in [
        (r#""service-c""#, verified_but(Reason::WrongAudience)),
        (r#"["a","b"]"#, verified_but(Reason::WrongAudience)),
        (r#""service-b ""#, verified_but(Reason::WrongAudience)),
        ("", verified_but(Reason::NoAudience)),
        (r#"["a","service-b"]"#, VERIFIED),
    ] {
        let token = world.key.token(&[("aud", audience)]);
        assert_eq!(world.get(&token), expected, "{audience}");
    }
}

#[test]
fn the_same_policy_applies_as_to_an_introspected_token() {
    let rules = r#"[
        {"path":{"exact":"/scope"},"scopes":{"all":["admin"]}},
        {"path":{"exact":"/client"},"clients":["service-c"]}]"#;
    let mut world = World::new("jwt", &[("rules", rules)]);
    let soon = (START + 100).to_string();
    for (claims, path, expected) in [
        (&[][..], "/", VERIFIED),
        (
            &[],
            "/scope",
            (Some(Reason::InsufficientScope), Some(CacheStatus::Hit)),
        ),
        (
            &[],
            "/client",
            (Some(Reason::ClientNotAllowed), Some(CacheStatus::Hit)),
        ),
        (&[("exp", "1799999999")], "/", verified_but(Reason::Expired)),
        (&[("nbf", &soon)], "/", verified_but(Reason::NotYetValid)),
        (&[("iat", &soon)], "/", verified_but(Reason::NotYetValid)),
        (
            &[("cnf", r#"{"jkt":"x"}"#)],
            "/",
            verified_but(Reason::ProofOfPossessionMissing),
        ),
        (
            &[("scope", r#""mfa_challenge""#)],
            "/",
            verified_but(Reason::UnfinishedLogin),
        ),
    ] {
        let token = world.key.token(claims);
        let verdict = world.instance.drive(path, &token);
        let reason = crate::fixture::reason(&verdict.decision);
        assert_eq!((reason, verdict.cache), expected, "{claims:?} {path}");
    }
}

#[test]
fn identity_headers_come_from_the_claims_under_the_names_that_the_settings_give() {
    let names = [("client_id_claim", "azp"), ("scope_claim", "scp")];
    let mut world = World::new("jwt", &names);
    let token = world
        .key
        .token(&[("azp", r#""service-z""#), ("scp", r#"["one","two"]"#)]);
    let verdict = world.instance.drive("/", &token);
    let Decision::Granted(grant) = &verdict.decision else {
        panic!("{verdict:?}");
    };
    let headers: Vec<_> = grant.headers().collect();
    assert!(
        headers.contains(&("x-auth-client-id", "service-z")),
        "{headers:?}"
    );
    assert!(
        headers.contains(&("x-auth-subject", "service-a")),
        "{headers:?}"
    );
    assert!(
        headers.contains(&("x-auth-scope", "one two")),
        "{headers:?}"
    );
    // Never a guess: without the claim there is no client.
    let required = [("client_id_claim", "azp"), ("allowed_clients", "service-a")];
    let mut world = World::new("jwt", &required);
    assert_eq!(world.get_good(), verified_but(Reason::NoClientId));
}

#[test]
fn both_asks_the_issuer_about_what_was_verified_and_nothing_else() {
    let mut world = World::new("both", &[("cache_ttl", "60")]);
    let good = world.key.token(&[]);
    // What the signed token says counts: the issuer need not repeat it.
    assert_eq!(world.get(&good), MISS);
    assert_eq!(world.get(&good), HIT);
    assert_eq!(world.issuer.calls(), 1);
    world.advance(60);
    world.issuer.responds(inactive());
    let revoked = (Some(Reason::Inactive), Some(CacheStatus::Miss));
    assert_eq!(world.get(&good), revoked);
    assert_eq!(world.issuer.calls(), 1);
    let exp = (START + 10).to_string();
    for (claims, expected) in [
        (
            &[("sub", r#""forged""#)][..],
            refused(Reason::InvalidSignature),
        ),
        (&[("exp", &exp)], verified_but(Reason::Expired)),
        (
            &[("aud", r#""service-c""#)],
            verified_but(Reason::WrongAudience),
        ),
    ] {
        let key = match expected.1 {
            None => Key::new("one", 2),
            Some(_) => world.key.clone(),
        };
        assert_eq!(world.get(&key.token(claims)), expected, "{claims:?}");
        assert_eq!(world.issuer.calls(), 0, "{claims:?}");
    }
}

#[test]
fn in_both_the_stricter_of_the_two_counts() {
    let now = (START + 1).to_string();
    for (claims, response, expected) in [
        (&[][..], format!(r#","exp":{START}"#), Some(Reason::Expired)),
        (&[("exp", now.as_str())], String::new(), None),
        (
            &[],
            format!(r#","nbf":{}"#, START + 9),
            Some(Reason::NotYetValid),
        ),
        (
            &[],
            r#","cnf":{"jkt":"x"}"#.to_owned(),
            Some(Reason::ProofOfPossessionMissing),
        ),
        (
            &[],
            r#","token_type":"refresh_token""#.to_owned(),
            Some(Reason::WrongTokenType),
        ),
        (
            &[],
            r#","aud":"else","iss":"else","scope":"""#.to_owned(),
            None,
        ),
    ] {
        let mut world = World::new("both", &[("cache_ttl", "60")]);
        world.issuer.responds(active(&response));
        let token = world.key.token(claims);
        assert_eq!(world.get(&token), (expected, MISS.1), "{response}");
    }
    // Kept with the earlier time.
    let mut world = World::new("both", &[("cache_ttl", "60")]);
    world
        .issuer
        .responds(active(&format!(r#","exp":{}"#, START + 5)));
    assert_eq!(world.get_good(), MISS);
    assert_eq!(world.get_good(), HIT);
    world.advance(5);
    assert_eq!(world.get_good(), (Some(Reason::Expired), MISS.1));
}

#[test]
fn in_both_the_response_can_take_scopes_away_and_end_a_login() {
    let scopes = [("required_scope", "write")];
    for (settings, response, expected) in [
        (
            &scopes[..],
            r#","scope":"read""#,
            Some(Reason::InsufficientScope),
        ),
        (&scopes, r#","scope":"read write admin""#, None),
        (&scopes, "", None),
        (
            &[],
            r#","scope":"read mfa_challenge""#,
            Some(Reason::UnfinishedLogin),
        ),
        (
            &[],
            r#","token_type":"transaction_token""#,
            Some(Reason::WrongTokenType),
        ),
        (
            &[("token_types", "Transaction_Token")],
            r#","token_type":"transaction_token""#,
            None,
        ),
    ] {
        let mut world = World::new("both", settings);
        world.issuer.responds(active(response));
        assert_eq!(world.get_good(), (expected, MISS.1), "{response}");
    }
    let mut world = World::new("both", &[]);
    world.issuer.responds(active(r#","scope":"write none""#));
    let token = world.key.token(&[]);
    let verdict = world.instance.drive("/", &token);
    let Decision::Granted(grant) = &verdict.decision else {
        panic!("{verdict:?}");
    };
    assert!(
        grant
            .headers()
            .any(|header| header == ("x-auth-scope", "write"))
    );
}

#[test]
fn j5_in_both_a_removed_key_ends_what_the_issuer_has_confirmed() {
    let settings = [("cache_ttl", "86400"), ("stale_if_error", "86400")];
    let mut world = World::new("both", &settings);
    assert_eq!(world.get_good(), MISS);
    assert_eq!(world.get_good(), HIT);
    world.publish(&[&Key::new("two", 2)]);
    world.advance(601);
    assert_eq!(world.get_good(), refused(Reason::UnknownKey));
}

#[test]
fn in_auto_more_or_fewer_segments_make_no_opaque_token_of_a_jwt() {
    let mut world = World::new("auto", &[]);
    let id_token = world
        .key
        .sign(r#"{"alg":"EdDSA","kid":"one"}"#, &object(&[("nonce", "1")]));
    let (two, _) = id_token.rsplit_once('.').unwrap();
    for token in [
        format!("{id_token}."),
        format!("{id_token}.x"),
        two.to_owned(),
    ] {
        assert_eq!(world.get(&token), refused(Reason::MalformedJwt), "{token}");
    }
    assert_eq!(world.issuer.calls(), 0);
}

#[test]
fn settings_of_jwts_are_checked_at_the_start() {
    let key = Key::new("one", 1).jwk();
    let good = format!(r#"{{"keys":[{key}]}}"#);
    let required = [("expected_issuer", ISSUER), ("expected_aud", "b")];
    let url = ("jwks_url", "https://issuer.example/jwks");
    let rules = r#"[{"path":{"exact":"/a"},"audiences":[]}]"#;
    for (settings, error) in [
        (
            &[("strategy", "JWT")][..],
            "setting `strategy` (WORKOUT18_STRATEGY) must be `introspect`, `jwt`, `auto` or `both`",
        ),
        (
            &[("strategy", "jwt"), url],
            "setting `strategy` (WORKOUT18_STRATEGY) has tokens verified here, and no issuer is required of them: set `expected_issuer`",
        ),
        (
            &[("strategy", "jwt"), required[0], url],
            "setting `strategy` (WORKOUT18_STRATEGY) has tokens verified here, and no audience is required of them: set `expected_aud`",
        ),
        (
            &[("strategy", "jwt"), required[0], required[1]],
            "setting `strategy` (WORKOUT18_STRATEGY) needs the keys of the issuer: set one of `issuer`, `jwks_url` and `jwks`",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                url,
                ("jwks", &good),
            ],
            "setting `jwks` (WORKOUT18_JWKS) needs the keys of the issuer: set one of `issuer`, `jwks_url` and `jwks`",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                ("jwks", "{}"),
            ],
            "setting `jwks` (WORKOUT18_JWKS) is no JWK set with a key that can be used: public keys of RSA from 2048 bits, P-256, P-384 or Ed25519 (RFC 7517)",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                url,
                ("algorithms", "RS265"),
            ],
            "setting `algorithms` (WORKOUT18_ALGORITHMS) has the unknown word `RS265`: did you mean `RS256`?",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                url,
                ("algorithms", "none"),
            ],
            "setting `algorithms` (WORKOUT18_ALGORITHMS) has the unknown word `none`: use `RS256`, `PS256`, `ES256` and `EdDSA`; `none` and HMAC are never accepted",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                url,
                ("jwks_origin", "https://issuer.example/"),
            ],
            "setting `jwks_origin` (WORKOUT18_JWKS_ORIGIN) must be `https://issuer.example`, the scheme, host and port of `jwks_url`, and nothing more",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                ("jwks_url", "http://issuer.example/jwks"),
            ],
            "setting `jwks_url` (WORKOUT18_JWKS_URL) is plain http to another machine, which exposes the secret and every token to the network: use https, or set `allow_http`",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                url,
                ("jwks_ttl", "1"),
            ],
            "setting `jwks_ttl` (WORKOUT18_JWKS_TTL) must be a whole number of seconds from 5 to 86400",
        ),
        (
            &[
                ("strategy", "jwt"),
                required[0],
                required[1],
                url,
                ("rules", rules),
            ],
            "setting `rules` (WORKOUT18_RULES) cannot be used",
        ),
    ] {
        let message = try_policy(settings).unwrap_err().to_string();
        assert!(message.starts_with(error), "{message}");
    }
    for strategy in ["jwt", "auto", "both"] {
        let settings = [
            ("strategy", strategy),
            required[0],
            required[1],
            ("jwks", &good),
        ];
        assert!(try_policy(&settings).is_ok(), "{strategy}");
        let without_client = [("introspect_url", ""), ("resource_client_secret", "")];
        let settings = [&settings[..], &without_client].concat();
        assert_eq!(
            try_policy(&settings).is_ok(),
            strategy == "jwt",
            "{strategy}"
        );
    }
}

#[test]
fn keys_that_are_given_as_a_setting_are_never_fetched() {
    let (key, clock) = (Key::new("one", 1), Clock::new());
    let issuer = Issuer::new(Outcome::json("{}"));
    let document = format!(r#"{{"keys":[{}]}}"#, key.jwk());
    let settings = [
        ("strategy", "jwt"),
        ("jwks", document.as_str()),
        ("expected_issuer", ISSUER),
        ("expected_aud", "service-b"),
    ];
    let instance = Instance::new(&settings, &issuer, &clock);
    let mut world = World {
        key,
        issuer,
        clock,
        instance,
    };
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(
        world.get(&Key::new("two", 2).token(&[])),
        refused(Reason::UnknownKey)
    );
    assert_eq!(
        world.get(&Key::new("one", 2).token(&[])),
        refused(Reason::InvalidSignature)
    );
    world.advance(90_000);
    assert_eq!(world.get_good(), HIT);
    assert_eq!(world.issuer.key_fetches(), 0);
}

#[test]
fn expired_jwts_take_no_place_of_tokens_that_are_active() {
    let mut world = World::new(
        "auto",
        &[
            ("leeway", "30"),
            ("cache_entries", "2"),
            ("max_waiting", "4"),
        ],
    );
    let claims = format!(r#","iss":"{ISSUER}","aud":"service-b""#);
    world.issuer.responds(active(&claims));
    assert_eq!(world.get("opaque"), MISS);
    // Good signatures of tokens that were good once, for any service.
    for age in 0..5 {
        let exp = (START - 30 - age).to_string();
        let old = world.key.token(&[("exp", &exp), ("aud", r#""elsewhere""#)]);
        assert_eq!(world.get(&old), verified_but(Reason::Expired), "{age}");
    }
    let _waiting: Vec<_> = ["a", "b", "c"]
        .map(|stranger| world.instance.call("/", stranger))
        .into();
    // The last place is for a token that was active lately.
    let too_busy = (Some(Reason::TooBusy), Some(CacheStatus::Miss));
    assert_eq!(world.instance.get("/", "d"), too_busy);
    assert_eq!(world.instance.get("/", "opaque"), MISS);
    // One that is good within the leeway is cached.
    let exp = (START - 29).to_string();
    let old = world.key.token(&[("exp", &exp)]);
    assert_eq!(world.get(&old), VERIFIED);
    assert_eq!(world.get(&old), HIT);
}

#[test]
fn expired_jwts_evict_no_cached_result() {
    let mut world = World::new("auto", &[("cache_entries", "2"), ("cache_ttl", "60")]);
    let claims = format!(r#","iss":"{ISSUER}","aud":"service-b""#);
    world.issuer.responds(active(&claims));
    assert_eq!(world.get("opaque"), MISS);
    for age in 0..50 {
        let exp = (START - age).to_string();
        let old = world.key.token(&[("exp", &exp)]);
        for _ in 0..3 {
            assert_eq!(world.get(&old).0, Some(Reason::Expired), "{age}");
        }
    }
    assert_eq!(world.get("opaque"), HIT);
}

//! Several issuers: each vouches for its own tokens, and for no others.

use token_check::{
    Action, AuthCheck, CacheStatus, CallFailure, Decision, IssuerCall as _, LogEvent, Policy,
    Reason, RequestHead, Sharing,
};

use crate::fixture::{Clock, Instance, Issuer, Outcome, SharedStore, active, inactive, reason};
use crate::jwt_fixture::{HIT, Key, VERIFIED, set_document};

const A: &str = "https://a.example";
const B: &str = "https://b.example";
const C: &str = "https://c.example";
/// Nothing in a token that is no JWT says whether it is A's or C's.
const APART: &str = r#"[
    {"path":{"prefix":"/c"},"issuers":["https://c.example"]},
    {"issuers":["https://a.example","https://b.example"]}
]"#;
const MISS: (Option<Reason>, Option<CacheStatus>) = (None, Some(CacheStatus::Miss));

/// A verifies and introspects, B verifies, C introspects.
fn issuers(a_key: &Key, b_key: &Key) -> String {
    let jwks = |key: &Key| serde_json::to_string(&set_document(&[key])).unwrap();
    let credentials =
        r#""resource_client_id":"b","resource_client_secret":"a secret of Service B""#;
    format!(
        r#"[
            {{"issuer":"{A}","strategy":"auto","introspect_url":"{A}/introspect","jwks":{},{credentials}}},
            {{"issuer":"{B}","strategy":"jwt","jwks":{},"expected_aud":"only-at-b"}},
            {{"issuer":"{C}","introspect_url":"{C}/introspect",{credentials}}}
        ]"#,
        jwks(a_key),
        jwks(b_key)
    )
}

struct World {
    a: Key,
    b: Key,
    issuer: Issuer,
    clock: Clock,
    instance: Instance,
}

impl World {
    fn new(settings: &[(&str, &str)]) -> Self {
        let (a, b) = (Key::new("one", 1), Key::new("one", 2));
        let (clock, issuer) = (Clock::new(), Issuer::new(inactive()));
        // Its URLs are recorded.
        issuer.describes("https://none.example/.well-known/x", inactive());
        let list = issuers(&a, &b);
        let settings = [&base(&list)[..], settings].concat();
        let instance = Instance::new(&settings, &issuer, &clock);
        Self {
            a,
            b,
            issuer,
            clock,
            instance,
        }
    }

    fn get_at(&mut self, path: &str, token: &str) -> (Option<Reason>, Option<CacheStatus>) {
        let verdict = self.instance.drive(path, token);
        (reason(&verdict.decision), verdict.cache)
    }

    fn get(&mut self, token: &str) -> (Option<Reason>, Option<CacheStatus>) {
        self.get_at("/", token)
    }

    fn calls(&self) -> Vec<String> {
        self.issuer.urls()
    }
}

fn base(list: &str) -> Vec<(&str, &str)> {
    vec![
        ("introspect_url", ""),
        ("resource_client_id", ""),
        ("resource_client_secret", ""),
        ("issuers", list),
        ("expected_aud", "service-b"),
        ("cache_ttl", "60"),
        ("rules", APART),
    ]
}

/// Rules, and after them one for A and B.
fn and_others(rules: &str) -> String {
    format!(r#"[{rules},{{"issuers":["{A}","{B}"]}}]"#)
}

fn claims(issuer: &str, audience: &str) -> [(&'static str, String); 2] {
    [
        ("iss", format!("{issuer:?}")),
        ("aud", format!("{audience:?}")),
    ]
}

fn token(key: &Key, issuer: &str, audience: &str) -> String {
    let claims = claims(issuer, audience);
    let claims: Vec<_> = claims
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    key.token(&claims)
}

fn says(issuer: &str) -> Outcome {
    active(&format!(r#","iss":{issuer:?},"aud":"service-b""#))
}

const fn refused(reason: Reason) -> (Option<Reason>, Option<CacheStatus>) {
    (Some(reason), None)
}

#[test]
fn each_issuer_vouches_for_its_own_tokens_in_its_own_way() {
    let mut world = World::new(&[]);
    let (of_a, of_b) = (
        token(&world.a, A, "service-b"),
        token(&world.b, B, "only-at-b"),
    );
    assert_eq!(world.get(&of_a), VERIFIED);
    assert_eq!(world.get(&of_b), VERIFIED);
    assert_eq!((world.get(&of_a), world.get(&of_b)), (HIT, HIT));
    assert_eq!(world.calls(), Vec::<String>::new());
    // A JWT of an issuer that introspects.
    let of_c = token(&world.a, C, "service-b");
    world.issuer.responds(says(C));
    assert_eq!(world.get_at("/c", &of_c), MISS);
    assert_eq!(world.calls(), ["https://c.example/introspect"]);
    assert_eq!(world.get_at("/c", &of_c), HIT);
}

#[test]
fn j6_no_issuer_signs_for_another_one() {
    let mut world = World::new(&[]);
    let forged = [
        token(&world.b, A, "service-b"),
        token(&world.a, B, "only-at-b"),
    ];
    for forged in forged {
        assert_eq!(world.get(&forged), refused(Reason::InvalidSignature));
    }
    // Nor for a service that it alone may be asked for.
    let elsewhere = token(&world.b, B, "service-b");
    assert_eq!(
        world.get(&elsewhere),
        (Some(Reason::WrongAudience), Some(CacheStatus::Verified))
    );
    assert_eq!(world.calls(), Vec::<String>::new());
}

#[test]
fn j6_no_issuer_says_that_a_token_is_another_ones() {
    for (claimed, expected) in [
        (B, Some(Reason::WrongIssuer)),
        (C, Some(Reason::WrongIssuer)),
        (A, None),
    ] {
        let mut world = World::new(&[]);
        world.issuer.responds(says(claimed));
        let got = world.get("opaque");
        assert_eq!(got, (expected, Some(CacheStatus::Miss)), "{claimed}");
        assert_eq!(world.calls(), ["https://a.example/introspect"]);
        // As remembered too.
        assert_eq!(world.get("opaque"), (expected, Some(CacheStatus::Hit)));
    }
    // And it has to say whose it is.
    let mut world = World::new(&[]);
    world.issuer.responds(active(r#","aud":"service-b""#));
    assert_eq!(
        world.get("opaque"),
        (Some(Reason::NoIssuer), Some(CacheStatus::Miss))
    );
}

#[test]
fn j15_a_token_of_an_issuer_that_is_not_configured_causes_no_call() {
    let strangers = [
        "https://a.example/",
        "https://A.example",
        "https://a.example.evil.test",
        "https://a.exampl",
        "http://169.254.169.254",
        "",
    ];
    for stranger in strangers {
        let mut world = World::new(&[]);
        let token = token(&world.a, stranger, "service-b");
        assert_eq!(
            world.get(&token),
            refused(Reason::WrongIssuer),
            "{stranger}"
        );
        assert_eq!(world.calls(), Vec::<String>::new(), "{stranger}");
        let line =
            format!(r#"wrong_issuer: the token has iss {stranger:?}; expected "{A}", "{B}""#);
        assert_eq!(world.instance.host.log, [line]);
    }
}

#[test]
fn j15_a_jwt_that_does_not_name_one_issuer_causes_no_call() {
    let mut world = World::new(&[]);
    let header = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"one"}"#;
    let a_and_b = format!(r#"["{A}","{B}"]"#);
    for (claims, why) in [
        (r#"{"aud":"service-b"}"#.to_owned(), Reason::NoIssuer),
        (format!(r#"{{"iss":{a_and_b}}}"#), Reason::NoIssuer),
        (r#"{"iss":null}"#.to_owned(), Reason::NoIssuer),
        (
            format!(r#"{{"iss":"{A}","iss":"{B}"}}"#),
            Reason::MalformedJwt,
        ),
        ("[]".to_owned(), Reason::MalformedJwt),
        ("not JSON".to_owned(), Reason::MalformedJwt),
    ] {
        let token = world.a.sign(header, &claims);
        assert_eq!(world.get(&token), refused(why), "{claims}");
    }
    assert_eq!(world.calls(), Vec::<String>::new());
    // What changes how it would be verified is for its issuer to refuse.
    let (iss, exp) = (A, crate::fixture::START + 100);
    let claims = format!(r#"{{"iss":"{iss}","aud":"service-b","exp":{exp}}}"#);
    let token = world
        .a
        .sign(r#"{"alg":"EdDSA","kid":"one","crit":["x"],"x":1}"#, &claims);
    assert_eq!(world.get(&token), refused(Reason::InvalidSignature));
    assert_eq!(world.calls(), Vec::<String>::new());
}

#[test]
fn an_opaque_token_is_shown_to_one_issuer_only() {
    let rules = and_others(&format!(
        r#"
            {{"path":{{"prefix":"/c"}},"issuers":["{C}"]}},
            {{"path":{{"prefix":"/bc"}},"issuers":["{B}","{C}"]}},
            {{"path":{{"prefix":"/b"}},"issuers":["{B}"]}}
        "#
    ));
    let mut world = World::new(&[("rules", &rules)]);
    let miss = |why| (Some(why), Some(CacheStatus::Miss));
    for (path, call) in [
        ("/", "https://a.example/introspect"),
        ("/c", "https://c.example/introspect"),
        ("/bc", "https://c.example/introspect"),
    ] {
        // It is not active there, and nobody else is asked.
        assert_eq!(
            world.get_at(path, "opaque"),
            miss(Reason::Inactive),
            "{path}"
        );
        assert_eq!(world.calls(), [call], "{path}");
    }
    assert_eq!(world.get_at("/b", "opaque"), refused(Reason::NotAJwt));
    assert_eq!(world.calls(), Vec::<String>::new());
}

#[test]
fn a_prefix_says_whose_an_opaque_token_is() {
    let one = |issuer: &str, prefix: &str| {
        format!(
            r#"{{"issuer":"{issuer}","introspect_url":"{issuer}/i","resource_client_id":"b","resource_client_secret":"a secret of Service B"{prefix}}}"#
        )
    };
    let list = format!(
        "[{},{},{}]",
        one(A, ""),
        one(B, r#","opaque_prefix":"bee_""#),
        one(C, r#","opaque_prefix":"c.""#)
    );
    let rules = format!(
        r#"[
            {{"path":{{"prefix":"/ab"}},"issuers":["{A}","{B}"]}},
            {{"path":{{"prefix":"/bc"}},"issuers":["{B}","{C}"]}}
        ]"#
    );
    let (issuer, clock) = (Issuer::new(inactive()), Clock::new());
    issuer.describes("https://none.example/.well-known/x", inactive());
    let settings = [&base(&list)[..], &[("rules", &rules)]].concat();
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let mut get = |path: &str, token: &str| {
        let refused = reason(&instance.drive(path, token).decision);
        (refused, issuer.urls().join(" "))
    };
    let shown_to = |issuer: &str| (Some(Reason::Inactive), format!("{issuer}/i"));
    let refused = |why| (Some(why), String::new());
    for (token, whose) in [
        ("bee_1", B),
        ("bee_", B),
        ("c.1", C),
        // Letter by letter, from the first one on, and all of it.
        ("Bee_1", A),
        ("xbee_1", A),
        ("bee", A),
        ("c", A),
        ("cx1", A),
    ] {
        assert_eq!(get("/", token), shown_to(whose), "{token}");
    }
    assert_eq!(get("/ab", "a-1"), shown_to(A));
    assert_eq!(get("/ab", "bee_2"), shown_to(B));
    // Of an issuer that the route does not have: it is not shown to another one.
    assert_eq!(get("/ab", "c.2"), refused(Reason::WrongIssuer));
    // Of nobody.
    assert_eq!(get("/bc", "a-2"), refused(Reason::WrongIssuer));
    assert_eq!(get("/bc", "c.3"), shown_to(C));
    // Also where there is one issuer.
    let list = format!("[{}]", one(B, r#","opaque_prefix":"bee_""#));
    let settings = [&base(&list)[..], &[("rules", "")]].concat();
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let mut get = |token: &str| reason(&instance.drive("/", token).decision);
    assert_eq!(get("bee_1"), Some(Reason::Inactive));
    assert_eq!(get("opaque"), Some(Reason::WrongIssuer));
    assert_eq!(issuer.urls(), ["https://b.example/i"]);
}

#[test]
fn opaque_tokens_that_may_be_either_of_two_issuers_are_refused_at_the_start() {
    let error = |list: &str, rules: &str| {
        let settings = [
            ("issuers", list),
            ("rules", rules),
            ("expected_aud", "service-b"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Policy::new(settings).err().map(|error| error.to_string())
    };
    let jwks = serde_json::to_string(&set_document(&[&Key::new("one", 1)])).unwrap();
    let one = |issuer: &str, more: &str| {
        format!(
            r#"{{"issuer":"{issuer}","introspect_url":"{issuer}/i","jwks":{jwks},"resource_client_id":"b","resource_client_secret":"sixteen characters"{more}}}"#
        )
    };
    let auto = r#","strategy":"auto""#;
    let list = |a: &str, b: &str, c: &str| format!("[{},{},{}]", one(A, a), one(B, b), one(C, c));
    let jwt = r#","strategy":"jwt""#;
    let both = r#","strategy":"both""#;
    let prefix = r#","opaque_prefix":"c_""#;
    let ambiguous = |first: u8, second: u8, place: &str| {
        Some(format!(
            "setting `issuers[{second}].strategy` (WORKOUT18_ISSUERS) has tokens introspected that are no JWTs, as has \
             `issuers[{first}]`{place}, and nothing says whose such a token is: set `opaque_prefix` in one of these \
             objects, or `strategy` = `jwt` or `both` where all tokens are JWTs, or name only one of the two in \
             `issuers` of each rule"
        ))
    };
    assert_eq!(
        error(&list("", "", ""), ""),
        ambiguous(0, 1, " where no rule matches")
    );
    assert_eq!(
        error(&list(auto, jwt, ""), ""),
        ambiguous(0, 2, " where no rule matches")
    );
    assert_eq!(
        error(&list(jwt, auto, auto), ""),
        ambiguous(1, 2, " where no rule matches")
    );
    for good in [
        list(auto, jwt, both),
        list(jwt, both, ""),
        list(auto, jwt, prefix),
        list(jwt, r#","opaque_prefix":"b_""#, prefix),
    ] {
        assert_eq!(error(&good, ""), None, "{good}");
    }
    // On each route.
    let rules = format!(
        r#"[{{"path":{{"prefix":"/c"}},"issuers":["{C}","{B}"]}},{{"name":"rest","issuers":["{A}","{B}"]}}]"#
    );
    assert_eq!(error(&list(auto, jwt, auto), &rules), None);
    assert_eq!(
        error(&list(auto, auto, jwt), &rules),
        ambiguous(0, 1, " on the route of rule 2 (\"rest\")")
    );
    let rules = format!(r#"[{{"path":{{"prefix":"/c"}},"issuers":["{C}"]}}]"#);
    assert_eq!(
        error(&list(auto, jwt, auto), &rules),
        ambiguous(0, 2, " where no rule matches")
    );
    let rules = r#"[{"path":{"prefix":"/c"},"public":true,"methods":["GET"]},{"path":{"prefix":"/d"},"deny":true}]"#;
    assert_eq!(
        error(&list(auto, jwt, auto), rules),
        ambiguous(0, 2, " where no rule matches")
    );
}

#[test]
fn prefixes_that_cannot_be_used_are_refused_at_the_start() {
    let one = |issuer: &str, more: &str| {
        format!(
            r#"{{"issuer":"{issuer}","introspect_url":"{issuer}/i","resource_client_id":"b","resource_client_secret":"sixteen characters"{more}}}"#
        )
    };
    let error = |a: &str, b: &str| {
        let list = format!("[{},{}]", one(A, a), one(B, b));
        let settings = [("issuers", list.as_str()), ("expected_aud", "service-b")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Policy::new(settings).err().map(|error| error.to_string())
    };
    let setting = "setting `issuers[1].opaque_prefix` (WORKOUT18_ISSUERS)";
    let prefix = |value: &str| format!(r#","opaque_prefix":{value}"#);
    for wrong in [
        r#""a b""#,
        r#""a=""#,
        r#""é""#,
        "7",
        "true",
        r#"["b_"]"#,
        r#""a,b""#,
    ] {
        assert_eq!(
            error("", &prefix(wrong)),
            Some(format!(
                "{setting} must be a string with which tokens begin: letters, digits and `-._~+/!`"
            )),
            "{wrong}"
        );
    }
    for (a, b) in [("b_", "b_"), ("b", "b_"), ("b_", "b")] {
        let (a, b) = (format!("{a:?}"), format!("{b:?}"));
        assert_eq!(
            error(&prefix(&a), &prefix(&b)),
            Some(format!(
                "{setting} is not told apart from that of `issuers[0]`: one of the two begins with the other"
            ))
        );
    }
    assert_eq!(error(&prefix(r#""a_""#), &prefix(r#""b_""#)), None);
    // An empty one is none.
    assert!(error("", &prefix(r#""""#)).is_some());
    assert!(error("", &prefix("null")).is_some());
    let jwt = format!(
        r#","strategy":"jwt","jwks_url":"{B}/k"{}"#,
        prefix(r#""b_""#)
    );
    assert_eq!(
        error("", &jwt),
        Some(format!(
            "{setting} has no effect: with this `strategy`, all tokens must be JWTs"
        ))
    );
}

#[test]
fn a_rule_picks_among_the_issuers() {
    let rules = and_others(&format!(
        r#"{{"path":{{"prefix":"/a"}},"issuers":["{A}"]}}"#
    ));
    let mut world = World::new(&[("rules", &rules)]);
    let (of_a, of_b) = (
        token(&world.a, A, "service-b"),
        token(&world.b, B, "only-at-b"),
    );
    assert_eq!(world.get_at("/a", &of_a), VERIFIED);
    assert_eq!(world.get_at("/a", &of_b), refused(Reason::WrongIssuer));
    assert_eq!(world.get_at("/", &of_b), VERIFIED);
    // Also where what it says is remembered.
    assert_eq!(world.get_at("/a", &of_b), refused(Reason::WrongIssuer));
}

#[test]
fn the_same_token_has_its_own_facts_at_each_issuer() {
    let mut world = World::new(&[]);
    world.issuer.responds(says(A));
    assert_eq!(world.get("opaque"), MISS);
    // What A says does not count at C, and C's word ends nothing at A.
    world.issuer.responds(inactive());
    assert_eq!(
        world.get_at("/c", "opaque"),
        (Some(Reason::Inactive), Some(CacheStatus::Miss))
    );
    assert_eq!(world.get("opaque"), HIT);
}

#[test]
fn a_token_in_memory_goes_to_the_issuer_that_it_would_be_given_to_again() {
    let rules = and_others(&format!(
        r#"
            {{"path":{{"prefix":"/a"}},"issuers":["{A}"]}},
            {{"path":{{"prefix":"/ba"}},"issuers":["{B}","{A}"]}},
            {{"path":{{"prefix":"/bc"}},"issuers":["{B}","{C}"]}},
            {{"path":{{"exact":"/open"}},"public":true}},
            {{"path":{{"exact":"/closed"}},"deny":true}}
        "#
    ));
    let mut world = World::new(&[("rules", &rules)]);
    let (of_a, of_b, of_c) = (
        token(&world.a, A, "service-b"),
        token(&world.b, B, "only-at-b"),
        token(&world.a, C, "service-b"),
    );
    assert_eq!(world.get(&of_a), VERIFIED);
    assert_eq!(world.get(&of_b), VERIFIED);
    world.issuer.responds(says(C));
    assert_eq!(world.get_at("/bc", &of_c), MISS);
    world.issuer.responds(says(A));
    assert_eq!(world.get("opaque"), MISS);
    let _ = world.calls();
    let foreign = refused(Reason::WrongIssuer);
    for (path, token, expected) in [
        ("/", &*of_a, HIT),
        ("/", &of_b, HIT),
        ("/", &of_c, foreign),
        ("/", "opaque", HIT),
        ("/a", &of_a, HIT),
        ("/a", &of_b, foreign),
        ("/a", &of_c, foreign),
        ("/a", "opaque", HIT),
        ("/ba", &of_a, HIT),
        ("/ba", &of_b, HIT),
        ("/ba", &of_c, foreign),
        ("/bc", &of_a, foreign),
        ("/bc", &of_b, HIT),
        ("/bc", &of_c, HIT),
    ] {
        assert_eq!(world.get_at(path, token), expected, "{path}");
    }
    assert_eq!(world.calls(), Vec::<String>::new());
    // Where opaque tokens go to C, what A said about one counts for nothing.
    world.issuer.responds(inactive());
    let miss = (Some(Reason::Inactive), Some(CacheStatus::Miss));
    assert_eq!(world.get_at("/bc", "opaque"), miss);
    assert_eq!(world.calls(), ["https://c.example/introspect"]);
    assert_eq!(world.get_at("/a", "opaque"), HIT);
    assert_eq!(world.get_at("/", "opaque"), HIT);
    // Facts that are too old are asked for again where they came from.
    world.clock.advance_ms(60_001);
    world.issuer.responds(says(C));
    assert_eq!(world.get_at("/bc", &of_c), MISS);
    assert_eq!(world.calls(), ["https://c.example/introspect"]);
    // What needs no token does not become what is in memory about one.
    assert_eq!(world.get_at("/open", &of_a), (None, None));
    assert_eq!(
        world.get_at("/closed", &of_a),
        refused(Reason::DeniedByRule)
    );
}

#[test]
fn j2_with_the_signature_of_another_token_one_is_not_found_in_memory() {
    let mut world = World::new(&[]);
    let (of_a, of_b) = (
        token(&world.a, A, "service-b"),
        token(&world.b, B, "only-at-b"),
    );
    assert_eq!((world.get(&of_a), world.get(&of_b)), (VERIFIED, VERIFIED));
    let (claims, signature) = (
        of_a.rsplit_once('.').unwrap(),
        of_b.rsplit_once('.').unwrap(),
    );
    for forged in [
        format!("{}.{}", claims.0, signature.1),
        format!("{}.{}", signature.0, claims.1),
    ] {
        for _ in 0..2 {
            assert_eq!(world.get(&forged), refused(Reason::InvalidSignature));
        }
    }
    assert_eq!((world.get(&of_a), world.get(&of_b)), (HIT, HIT));
}

#[test]
fn an_issuer_that_is_down_holds_up_no_other_one() {
    let settings = [
        ("breaker_faults", "1"),
        ("max_calls", "1"),
        ("max_waiting", "1"),
    ];
    let mut world = World::new(&settings);
    // A hangs: its only place for calls and for waiting requests is taken.
    let (_waiting, _call) = world.instance.call("/", "opaque-1");
    let verdict = world.instance.request("/", "opaque-2");
    assert_eq!(reason(&verdict.decision), Some(Reason::TooBusy));
    world.issuer.responds(says(C));
    assert_eq!(world.get_at("/c", "opaque-3"), MISS);
    // A fails, and its circuit is open.
    let mut world = World::new(&settings[..1]);
    world
        .issuer
        .responds(Outcome::Failed(CallFailure::Unreachable));
    for n in 0..5 {
        let _ = world.get(&format!("opaque-{n}"));
        world.clock.advance_ms(100);
    }
    assert_eq!(
        world.get("opaque-9"),
        (Some(Reason::IssuerCircuitOpen), Some(CacheStatus::Miss))
    );
    world.issuer.responds(says(C));
    assert_eq!(world.get_at("/c", "opaque"), MISS);
    let first = &world.instance.host.log[0];
    assert!(first.ends_with("; issuer https://a.example"), "{first}");
}

#[test]
fn instances_share_what_each_issuer_says_apart() {
    let (a, b) = (Key::new("one", 1), Key::new("one", 2));
    let (clock, issuer, store) = (Clock::new(), Issuer::new(says(A)), SharedStore::default());
    let list = issuers(&a, &b);
    let settings = base(&list);
    let instance = || Instance::sharing(&settings, &issuer, &clock, Sharing::Plain, &store);
    let get = |instance: &mut Instance, path| {
        let verdict = instance.drive(path, "opaque");
        (reason(&verdict.decision), verdict.cache)
    };
    assert_eq!(get(&mut instance(), "/"), MISS);
    issuer.responds(says(C));
    assert_eq!(get(&mut instance(), "/c"), MISS);
    let shared = (None, Some(CacheStatus::Shared));
    issuer.responds(inactive());
    assert_eq!(get(&mut instance(), "/"), shared);
    assert_eq!(get(&mut instance(), "/c"), shared);
}

#[test]
fn a_request_without_a_token_is_told_once() {
    let list = issuers(&Key::new("one", 1), &Key::new("one", 2));
    let rules = and_others(&format!(
        r#"{{"path":{{"exact":"/open"}},"public":true}},{{"path":{{"prefix":"/c"}},"issuers":["{C}"]}}"#
    ));
    let settings = base(&list).into_iter().chain([
        ("resource_identifier", "https://service-b.example"),
        ("rules", &rules),
    ]);
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let policy = Policy::new(settings).unwrap();
    let mut check = AuthCheck::<u32>::new(policy, [7; 16]);
    let now = Clock::new().now();
    let mut get = |path: &str, authorization: &[&[u8]]| {
        let request = RequestHead {
            authorization,
            dpop: &[],
            client_certificate: &[],
            method: b"GET",
            authority: Some(b"h"),
            path_and_query: Some(path.as_bytes()),
            traceparent: &[],
        };
        match check.begin(&request, now) {
            token_check::Step::Done(verdict) => verdict.decision,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason(&get("/", &[])), Some(Reason::NoCredentials));
    assert_eq!(
        reason(&get("/", &[b"Basic abc"])),
        Some(Reason::UnsupportedScheme)
    );
    assert!(matches!(get("/open", &[]), Decision::Granted(_)));
    // RFC 9728 section 2: all of them.
    let Decision::Answered(response) = get("/.well-known/oauth-protected-resource", &[]) else {
        panic!("there are metadata");
    };
    let document = response.body;
    let servers = format!(r#""authorization_servers":["{C}","{A}","{B}"]"#);
    assert!(document.contains(&servers), "{document}");
}

#[test]
fn lists_that_cannot_be_used_are_refused_with_the_place() {
    let error = |list: &str, more: &[(&str, &str)]| {
        let settings = [("issuers", list)];
        let settings = settings.iter().chain(more);
        let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Policy::new(settings).unwrap_err().to_string()
    };
    let many = format!("[{}]", vec!["{}"; 17].join(","));
    let good = r#"{"issuer":"https://a.example","introspect_url":"https://a.example/i","resource_client_id":"b","resource_client_secret":"sixteen characters"}"#;
    let whole = "setting `issuers` (WORKOUT18_ISSUERS) must be a JSON list of 1 to 16 objects, each with the settings of one issuer";
    for list in ["{}", "[]", "7", many.as_str()] {
        assert_eq!(error(list, &[]), whole, "{list}");
    }
    assert!(error("[{]", &[]).starts_with(whole));
    let table = [
        (
            "[7]".to_owned(),
            "setting `issuers[0]` (WORKOUT18_ISSUERS) must be an object with the settings of one issuer",
        ),
        (
            format!("[{good},{{}}]"),
            "setting `issuers[1].issuer` (WORKOUT18_ISSUERS) is missing or empty: set it",
        ),
        (
            format!(r#"[{good},{{"issuer":"https://b.example","jwks_uri":"x"}}]"#),
            "setting `issuers[1].jwks_uri` (WORKOUT18_ISSUERS) is no setting of one issuer: set it beside `issuers`, or see docs/several-issuers.md",
        ),
        (
            format!(r#"[{good},{{"issuer":"https://b.example","cache_ttl":"5"}}]"#),
            "setting `issuers[1].cache_ttl` (WORKOUT18_ISSUERS) is no setting of one issuer: set it beside `issuers`, or see docs/several-issuers.md",
        ),
        (
            format!(r#"[{good},{{"issuer":"https://b.example"}}]"#),
            "setting `issuers[1].resource_client_id` (WORKOUT18_ISSUERS) is missing or empty: set it",
        ),
        (
            format!(r#"[{good},{{"issuer":"http://b.example"}}]"#),
            "setting `issuers[1].issuer` (WORKOUT18_ISSUERS) is plain http to another machine, which exposes the secret and every token to the network: use https, or set `allow_http`",
        ),
        (
            format!("[{good},{good}]"),
            "setting `issuers[1].expected_issuer` (WORKOUT18_ISSUERS) is the one of another object too",
        ),
        (
            format!(
                r#"[{good},{{"issuer":"https://b.example","strategy":"jwt","jwks_url":"https://b.example/k"}}]"#
            ),
            "setting `issuers[1].strategy` (WORKOUT18_ISSUERS) has tokens verified here, and no audience is required of them: set `expected_aud`",
        ),
        (
            format!(r#"[{good},{{"issuer":["https://b.example"]}}]"#),
            "setting `issuers[1].issuer` (WORKOUT18_ISSUERS) must be a single value; a list is one string, separated by spaces",
        ),
    ];
    for (list, line) in table {
        assert_eq!(error(&list, &[]), line);
    }
    let list = format!("[{good}]");
    for key in [
        "introspect_url",
        "resource_client_id",
        "resource_client_secret",
        "jwks_url",
        "client_key",
        "expected_issuer",
    ] {
        assert_eq!(
            error(&list, &[(key, "https://a.example/i")]),
            format!(
                "setting `{key}` (WORKOUT18_{}) belongs into the objects of `issuers`: with several issuers, each has its own",
                key.to_uppercase()
            )
        );
    }
    assert_eq!(
        error(
            &list,
            &[(
                "rules",
                r#"[{"name":"orders","issuers":["https://other.example"]}]"#
            )]
        ),
        "setting `issuers` (WORKOUT18_ISSUERS) does not have an issuer that rule 1 (\"orders\") names: no token would do"
    );
    // One object is a list too, and what Spin and Service A read from the same shell is none of this.
    let elsewhere = [
        ("issuers", list.as_str()),
        ("issuer", "https://service-a.example"),
        ("introspect_origin", "https://a.example"),
    ];
    let settings = elsewhere.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let policy = Policy::new(settings).unwrap();
    let line = policy.summary().line;
    assert!(line.starts_with(r#""https://a.example": "#), "{line}");
    assert!(!format!("{policy:?}").contains("sixteen characters"));
}

#[test]
fn an_event_says_which_issuer_it_is_about() {
    let mut world = World::new(&[]);
    world.issuer.responds(Outcome::Failed(CallFailure::Denied));
    let verdict = world.instance.drive("/", "opaque");
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerCallDenied));
    let event = LogEvent::OfIssuer {
        issuer: A.into(),
        event: Box::new(LogEvent::Stale),
    };
    assert!(!event.is_error());
    assert_eq!(
        world.instance.host.errors,
        [
            "issuer_call_denied: no response from the issuer: this host does not allow the call; issuer https://a.example"
        ]
    );
}

/// Two issuers that have to be discovered, and whose tokens are verified.
fn discovered() -> String {
    let one = |issuer: &str| format!(r#"{{"issuer":"{issuer}","strategy":"jwt"}}"#);
    format!("[{},{}]", one(A), one(B))
}

#[test]
fn what_a_request_waits_for_is_fetched_before_what_is_due() {
    let list = discovered();
    let issuer = Issuer::new(inactive());
    issuer.describes("https://none.example/.well-known/x", inactive());
    let clock = Clock::new();
    let settings = [&base(&list)[..], &[("rules", "")]].concat();
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let of_b = token(&Key::new("one", 2), B, "service-b");
    let request = instance.join("/", &of_b);
    assert!(instance.check.park(&request, 1).is_parked());
    // Those of A are due too, but nobody waits for them.
    for (authority, seconds) in [("b.example", 6), ("a.example", 0)] {
        clock.advance_ms(seconds * 1000);
        match instance.check.next_fetch(clock.now()) {
            Some(Action::FetchDocument(_, call)) => {
                assert_eq!(call.authority(), authority);
                // However late the host begins it.
                assert_eq!(call.timeout().as_secs(), 5);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn j15_a_jwt_of_an_issuer_that_the_route_does_not_have_causes_no_call() {
    let rules = and_others(&format!(
        r#"{{"path":{{"prefix":"/a"}},"issuers":["{A}"]}}"#
    ));
    let mut world = World::new(&[("rules", &rules)]);
    let of_c = token(&world.a, C, "service-b");
    assert_eq!(world.get_at("/a", &of_c), refused(Reason::WrongIssuer));
    assert_eq!(world.calls(), Vec::<String>::new());
}

#[test]
fn rfc7523_s3_two_issuers_get_no_equal_jti() {
    let key = r#"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"#;
    let one = |issuer: &str| {
        format!(
            r#"{{"issuer":"{issuer}","introspect_url":"{issuer}/i","resource_client_id":"b","client_auth":"private_key_jwt","client_key":"{key}","assertion_audience":"same"}}"#
        )
    };
    let list = format!("[{},{}]", one(A), one(B));
    let rules =
        format!(r#"[{{"path":{{"prefix":"/b"}},"issuers":["{B}"]}},{{"issuers":["{A}"]}}]"#);
    let settings = [&base(&list)[..], &[("rules", rules.as_str())]].concat();
    let (issuer, clock) = (Issuer::new(inactive()), Clock::new());
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let mut assertion = |path| match instance.begin(path, "opaque") {
        token_check::Step::Lead(_, Action::Introspect(_, call)) => {
            let body = String::from_utf8(call.body().to_vec()).unwrap();
            let (_, assertion) = body.rsplit_once("client_assertion=").unwrap();
            assertion.split('.').nth(1).unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    };
    // The same in all but `jti`.
    let (of_a, of_b) = (assertion("/"), assertion("/b"));
    assert_eq!(of_a.len(), of_b.len());
    assert_ne!(of_a, of_b);
}

#[test]
fn clients_scopes_and_grant_types_may_be_tied_to_an_issuer() {
    let a = Key::new("one", 1);
    let jwks = serde_json::to_string(&set_document(&[&a])).unwrap();
    let one = |issuer: &str, more: &str| {
        format!(r#"{{"issuer":"{issuer}","strategy":"jwt","jwks":{jwks}{more}}}"#)
    };
    let list = format!(
        "[{},{}]",
        one(A, r#","allowed_clients":"service-a""#),
        one(B, r#","required_scope":"admin""#)
    );
    let settings = [
        &base(&list)[..],
        &[("allowed_clients", "none"), ("rules", "")],
    ]
    .concat();
    let (issuer, clock) = (Issuer::new(inactive()), Clock::new());
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let mut get = |token: &str| reason(&instance.drive("/", token).decision);
    assert_eq!(get(&token(&a, A, "service-b")), None);
    assert_eq!(
        get(&token(&a, B, "service-b")),
        Some(Reason::ClientNotAllowed)
    );
}

#[test]
fn what_an_object_requires_a_rule_does_not_take_away() {
    let (a, b) = (Key::new("one", 1), Key::new("one", 2));
    let one = |issuer: &str, key: &Key, more: &str| {
        let jwks = serde_json::to_string(&set_document(&[key])).unwrap();
        format!(r#"{{"issuer":"{issuer}","strategy":"jwt","jwks":{jwks}{more}}}"#)
    };
    let own = r#","allowed_clients":"b-only","expected_aud":"at-b","allowed_grant_types":"code","required_scope":"own""#;
    let list = format!("[{},{}]", one(A, &a, ""), one(B, &b, own));
    let rules = r#"[
        {"path":{"prefix":"/client"},"clients":["shop"]},
        {"path":{"prefix":"/audience"},"audiences":["orders"]},
        {"path":{"prefix":"/grant"},"grant_types":["password"]},
        {"path":{"prefix":"/all"},"scopes":{"all":["read","own"]}},
        {"path":{"prefix":"/any"},"scopes":{"any":["read"]}}
    ]"#;
    let settings = [&base(&list)[..], &[("rules", rules)]].concat();
    let (issuer, clock) = (Issuer::new(inactive()), Clock::new());
    let mut instance = Instance::new(&settings, &issuer, &clock);
    // A token that meets what B requires.
    let good = [
        ("iss", r#""https://b.example""#),
        ("client_id", r#""b-only""#),
        ("aud", r#""at-b""#),
        ("grant_type", r#""code""#),
        ("scope", r#""own""#),
    ];
    let mut check = |path, claims: &[(&str, &str)], expected| {
        let token = b.token(&[&good[..], claims].concat());
        let verdict = instance.drive(path, &token);
        assert_eq!(reason(&verdict.decision), expected, "{path} {claims:?}");
    };
    check("/", &[], None);
    let other = Some(Reason::ClientNotAllowed);
    check("/client", &[("client_id", r#""shop""#)], other);
    check("/client", &[], other);
    let other = Some(Reason::WrongAudience);
    check("/audience", &[("aud", r#""orders""#)], other);
    check("/audience", &[], other);
    check("/audience", &[("aud", r#"["orders","at-b"]"#)], None);
    let other = Some(Reason::GrantTypeNotAllowed);
    check("/grant", &[("grant_type", r#""password""#)], other);
    check("/grant", &[], other);
    let fewer = Some(Reason::InsufficientScope);
    check("/all", &[("scope", r#""read""#)], fewer);
    check("/all", &[], fewer);
    check("/all", &[("scope", r#""read own""#)], None);
    check("/any", &[("scope", r#""read""#)], fewer);
    check("/any", &[("scope", r#""read own""#)], None);
    // The log says which list it was.
    let lists: Vec<_> = (instance.host.log.iter())
        .filter(|line| line.contains("client_id"))
        .collect();
    assert_eq!(
        lists,
        [
            r#"client_not_allowed: the token has client_id "shop"; expected "b-only"; issuer https://b.example"#
        ]
    );
    // It is B's alone, and a rule still replaces what is set for all of them.
    let of_a = |claims: &[(&str, &str)]| {
        let iss = [("iss", r#""https://a.example""#)];
        a.token(&[&iss[..], claims].concat())
    };
    for (path, claims) in [
        ("/client", ("client_id", r#""shop""#)),
        ("/audience", ("aud", r#""orders""#)),
    ] {
        let verdict = instance.drive(path, &of_a(&[claims]));
        assert_eq!(reason(&verdict.decision), None, "{path}");
    }
}

#[test]
fn rfc6750_s3_the_challenge_names_the_scopes_of_the_object_and_of_the_rule() {
    let key = Key::new("one", 1);
    let jwks = serde_json::to_string(&set_document(&[&key])).unwrap();
    let list = format!(
        r#"[{{"issuer":"{A}","strategy":"jwt","jwks":{jwks},"required_scope":"own read"}}]"#
    );
    let rules = r#"[{"scopes":{"all":["read","write"]}}]"#;
    let settings = [&base(&list)[..], &[("rules", rules)]].concat();
    let (issuer, clock) = (Issuer::new(inactive()), Clock::new());
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let verdict = instance.drive("/", &token(&key, A, "service-b"));
    let response = verdict.into_result(instance.check.policy()).unwrap_err();
    assert_eq!(response.status, 403);
    let mut headers = response.headers.iter();
    let challenge = headers.find(|(name, _)| *name == "www-authenticate");
    let (_, challenge) = challenge.unwrap();
    assert!(
        challenge.ends_with(r#"scope="read write own""#),
        "{challenge}"
    );
}

#[test]
fn the_line_at_the_start_says_what_each_issuer_requires() {
    let list = r#"[
        {"issuer":"https://a.example","introspect_url":"https://a.example/i","resource_client_id":"b","resource_client_secret":"sixteen characters","expected_aud":"x"},
        {"issuer":"https://b.example","introspect_url":"https://b.example/i","resource_client_id":"b","resource_client_secret":"sixteen characters","opaque_prefix":"b_"}
    ]"#;
    let policy = Policy::new([("issuers".to_owned(), list.to_owned())]).unwrap();
    let summary = policy.summary();
    assert_eq!(
        summary.line,
        r#""https://a.example": required of a token: audience "x", scope any, client any, issuer "https://a.example", grant type any; rules: none; cache: none. "https://b.example": nothing is required: every active token of this issuer is accepted; rules: none; cache: none"#
    );
    assert!(summary.is_warning);
}

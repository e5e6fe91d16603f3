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
    ]
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
    assert_eq!(world.get(&of_c), MISS);
    assert_eq!(world.calls(), ["https://c.example/introspect"]);
    assert_eq!(world.get(&of_c), HIT);
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
        let line = format!(
            r#"wrong_issuer: the token has iss {stranger:?}; expected "{A}", "{B}", "{C}"; issuer {A}"#
        );
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
    let rules = format!(
        r#"[
            {{"path":{{"prefix":"/c"}},"issuers":["{C}","{A}"]}},
            {{"path":{{"prefix":"/bc"}},"issuers":["{B}","{C}"]}},
            {{"path":{{"prefix":"/b"}},"issuers":["{B}"]}}
        ]"#
    );
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
fn a_rule_picks_among_the_issuers() {
    let rules = format!(r#"[{{"path":{{"prefix":"/a"}},"issuers":["{A}"]}}]"#);
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
    let rules = format!(r#"[{{"path":{{"prefix":"/c"}},"issuers":["{C}"]}}]"#);
    let mut world = World::new(&[("rules", &rules)]);
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
fn an_issuer_that_is_down_holds_up_no_other_one() {
    let settings = [
        ("breaker_faults", "1"),
        ("max_calls", "1"),
        ("max_waiting", "1"),
    ];
    let rules = format!(r#"[{{"path":{{"prefix":"/c"}},"issuers":["{C}"]}}]"#);
    let mut world = World::new(&[settings[0], settings[1], settings[2], ("rules", &rules)]);
    // A hangs: its only place for calls and for waiting requests is taken.
    let (_waiting, _call) = world.instance.call("/", "opaque-1");
    let verdict = world.instance.request("/", "opaque-2");
    assert_eq!(reason(&verdict.decision), Some(Reason::TooBusy));
    world.issuer.responds(says(C));
    assert_eq!(world.get_at("/c", "opaque-3"), MISS);
    // A fails, and its circuit is open.
    let mut world = World::new(&[settings[0], ("rules", &rules)]);
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
    let rules = format!(r#"[{{"path":{{"prefix":"/c"}},"issuers":["{C}"]}}]"#);
    let settings = [&base(&list)[..], &[("rules", rules.as_str())]].concat();
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
    let settings = base(&list).into_iter().chain([
        ("resource_identifier", "https://service-b.example"),
        ("rules", r#"[{"path":{"exact":"/open"},"public":true}]"#),
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
    let servers = format!(r#""authorization_servers":["{A}","{B}","{C}"]"#);
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
    let mut instance = Instance::new(&base(&list), &issuer, &clock);
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
    let rules = format!(r#"[{{"path":{{"prefix":"/a"}},"issuers":["{A}"]}}]"#);
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
    let rules = format!(r#"[{{"path":{{"prefix":"/b"}},"issuers":["{B}"]}}]"#);
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
    let settings = [&base(&list)[..], &[("allowed_clients", "none")]].concat();
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
fn the_line_at_the_start_says_what_each_issuer_requires() {
    let list = r#"[
        {"issuer":"https://a.example","introspect_url":"https://a.example/i","resource_client_id":"b","resource_client_secret":"sixteen characters","expected_aud":"x"},
        {"issuer":"https://b.example","introspect_url":"https://b.example/i","resource_client_id":"b","resource_client_secret":"sixteen characters"}
    ]"#;
    let policy = Policy::new([("issuers".to_owned(), list.to_owned())]).unwrap();
    let summary = policy.summary();
    assert_eq!(
        summary.line,
        r#""https://a.example": required of a token: audience "x", scope any, client any, issuer "https://a.example", grant type any; rules: none; cache: none. "https://b.example": nothing is required: every active token of this issuer is accepted; rules: none; cache: none"#
    );
    assert!(summary.is_warning);
}

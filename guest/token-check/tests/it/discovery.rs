//! With `issuer`, its metadata name the endpoints (RFC 8414, OpenID Connect Discovery 1.0).

use token_check::{
    Action, AwaitingDocument, CacheStatus, Fault, IssuerCall as _, Policy, Reason, Sharing,
};

use crate::fixture::{
    Clock, Instance, Issuer, Outcome, SharedStore, UNREACHABLE, active, finishes, reason,
};
use crate::jwt_fixture::{HIT, Key, VERIFIED, refused, set, set_document, unavailable};

const ISSUER: &str = "https://issuer.example/oauth2";
const OPENID: &str = "https://issuer.example/oauth2/.well-known/openid-configuration";
const OAUTH: &str = "https://issuer.example/.well-known/oauth-authorization-server/oauth2";
const DJANGO: &str = "https://issuer.example/oauth2/.well-known/oauth-authorization-server";
const INTROSPECT: &str = "https://issuer.example/oauth2/introspect";
const JWKS: &str = "https://issuer.example/oauth2/jwks";
const MISS: (Option<Reason>, Option<CacheStatus>) = (None, Some(CacheStatus::Miss));
const CLAIMS: &str = r#","iss":"https://issuer.example/oauth2","aud":"service-b""#;

/// The metadata of the issuer with these members more, or in place of others.
fn metadata(members: &[(&str, &str)]) -> Outcome {
    let good = [
        ("issuer", r#""https://issuer.example/oauth2""#),
        (
            "introspection_endpoint",
            r#""https://issuer.example/oauth2/introspect""#,
        ),
        ("jwks_uri", r#""https://issuer.example/oauth2/jwks""#),
        ("grant_types_supported", r#"["client_credentials"]"#),
    ];
    let is_new = |name: &str| members.iter().all(|(new, _)| *new != name);
    let all = good.iter().filter(|(name, _)| is_new(name)).chain(members);
    let all: Vec<_> = all
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:?}:{value}"))
        .collect();
    Outcome::json(&format!("{{{}}}", all.join(",")))
}

struct World {
    key: Key,
    issuer: Issuer,
    clock: Clock,
    instance: Instance,
}

impl World {
    fn new(settings: &[(&str, &str)]) -> Self {
        Self::sharing(settings, Sharing::None, &SharedStore::default())
    }

    fn sharing(settings: &[(&str, &str)], sharing: Sharing, store: &SharedStore) -> Self {
        let (key, clock, issuer) = (
            Key::new("one", 1),
            Clock::new(),
            Issuer::new(active(CLAIMS)),
        );
        issuer.publishes(set(&[&key]));
        issuer.describes(OPENID, metadata(&[]));
        let instance = Instance::sharing(&all(settings), &issuer, &clock, sharing, store);
        Self {
            key,
            issuer,
            clock,
            instance,
        }
    }

    fn beside(&self, settings: &[(&str, &str)], store: &SharedStore) -> Instance {
        let settings = all(settings);
        Instance::sharing(&settings, &self.issuer, &self.clock, Sharing::Plain, store)
    }

    fn get(&mut self, token: &str) -> (Option<Reason>, Option<CacheStatus>) {
        let verdict = self.instance.drive("/", token);
        (reason(&verdict.decision), verdict.cache)
    }

    fn jwt(&self) -> String {
        let iss = format!("{ISSUER:?}");
        self.key.token(&[("iss", &iss)])
    }

    fn get_jwt(&mut self) -> (Option<Reason>, Option<CacheStatus>) {
        let token = self.jwt();
        self.get(&token)
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance_ms(seconds * 1000);
    }

    fn fetch(&mut self) -> Option<AwaitingDocument> {
        match self.instance.check.next_fetch(self.clock.now())? {
            Action::FetchDocument(ticket, _) => Some(ticket),
            other => panic!("{other:?}"),
        }
    }
}

fn all<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let base = [
        ("introspect_url", ""),
        ("issuer", ISSUER),
        ("expected_aud", "service-b"),
    ];
    [&base, settings].concat()
}

#[test]
fn the_issuer_alone_is_enough_to_introspect() {
    let mut world = World::new(&[]);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.urls(), [OPENID, INTROSPECT]);
    assert_eq!(world.get("another"), MISS);
    assert_eq!(world.issuer.urls(), [INTROSPECT], "once for all");
}

#[test]
fn the_issuer_alone_is_enough_to_verify() {
    let mut world = World::new(&[("strategy", "auto")]);
    assert_eq!(world.get_jwt(), VERIFIED);
    assert_eq!(world.issuer.urls(), [OPENID, JWKS]);
    assert_eq!(world.get_jwt(), HIT);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.urls(), [INTROSPECT]);
    // `expected_issuer` is the issuer.
    let stranger = world.key.token(&[]);
    assert_eq!(world.get(&stranger), refused(Reason::WrongIssuer));
    world.issuer.responds(active(
        r#","iss":"https://issuer.example","aud":"service-b""#,
    ));
    assert_eq!(
        world.get("of-another"),
        (Some(Reason::WrongIssuer), Some(CacheStatus::Miss))
    );
}

#[test]
fn expected_issuer_wins_over_the_issuer() {
    // IBM Verify's older endpoints: tokens may name another issuer than the metadata.
    let settings = [
        ("strategy", "jwt"),
        ("expected_issuer", "https://issuer.example"),
    ];
    let mut world = World::new(&settings);
    let token = world.key.token(&[]);
    assert_eq!(world.get(&token), VERIFIED);
    assert_eq!(world.get_jwt(), refused(Reason::WrongIssuer));
}

#[test]
fn what_is_set_is_not_discovered() {
    let introspect_url = ("introspect_url", "https://issuer.example/by-hand");
    let jwks_url = ("jwks_url", "https://issuer.example/keys-by-hand");
    let mut world = World::new(&[("strategy", "auto"), introspect_url, jwks_url]);
    assert_eq!(world.get_jwt(), VERIFIED);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.urls(), [jwks_url.1, introspect_url.1]);
    let mut world = World::new(&[("strategy", "auto"), introspect_url]);
    assert_eq!(world.get_jwt(), VERIFIED);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.urls(), [OPENID, JWKS, introspect_url.1]);
    let mut world = World::new(&[("strategy", "auto"), jwks_url]);
    assert_eq!(world.get_jwt(), VERIFIED);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.urls(), [jwks_url.1, OPENID, INTROSPECT]);
}

#[test]
fn what_needs_no_metadata_does_not_wait_for_them() {
    let down = |settings: &[(&str, &str)]| {
        let settings = [
            &[("strategy", "auto"), ("expected_issuer", ISSUER)],
            settings,
        ]
        .concat();
        let world = World::new(&settings);
        world.issuer.describes(OPENID, UNREACHABLE);
        world
    };
    let without = unavailable(Reason::IssuerUnreachable);
    // The endpoint is set, the keys are not.
    let mut world = down(&[("introspect_url", INTROSPECT)]);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.get_jwt(), without);
    // Nor does what no key could save.
    let iss = format!("{ISSUER:?}");
    let wrong_algorithm = (world.key).sign(r#"{"alg":"HS256","kid":"one"}"#, "{}");
    let malformed = world.key.sign(r#"{"alg":"EdDSA","kid":"one"}"#, "[]");
    let stranger = world.key.token(&[]);
    for (token, why) in [
        (wrong_algorithm, Reason::AlgorithmNotAllowed),
        (malformed, Reason::MalformedJwt),
        (stranger, Reason::WrongIssuer),
    ] {
        assert_eq!(world.get(&token), refused(why));
    }
    // Responses that must be signed need the keys.
    let mut world = down(&[
        ("introspect_url", INTROSPECT),
        ("signed_introspection", "true"),
    ]);
    assert_eq!(world.get("opaque"), without);
    assert_eq!(world.issuer.calls(), 0);
    // The keys are set, the endpoint is not.
    let jwks = set_document(&[&world.key]);
    let mut world = down(&[("jwks", &jwks)]);
    assert_eq!(world.get_jwt(), VERIFIED);
    assert_eq!(world.get("opaque"), without);
    // Where a good JWT is introspected too, a forged one waits for nothing.
    let mut world = down(&[("strategy", "both"), ("jwks", &jwks)]);
    let forged = Key::new("one", 2).token(&[("iss", &iss)]);
    assert_eq!(world.get(&forged), refused(Reason::InvalidSignature));
    assert_eq!(world.get_jwt(), without);
    assert_eq!(world.issuer.calls(), 0);
    // With them it is as ever.
    world.issuer.describes(OPENID, metadata(&[]));
    world.advance(60);
    assert_eq!(world.get_jwt(), MISS);
}

#[test]
fn with_introspect_url_alone_the_issuer_has_no_effect() {
    // It is Service A's in the same shell.
    let mut world = World::new(&[("introspect_url", INTROSPECT)]);
    world.issuer.responds(active(r#","aud":"service-b""#));
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.urls(), [INTROSPECT]);
    assert!(!world.instance.check.fetches_documents());
}

#[test]
fn rfc8414_s3_each_place_is_tried_in_its_turn() {
    let elsewhere = [
        Outcome::http(404, "text/html", "<p>Not found</p>"),
        Outcome::http(200, "text/html", "<p>Log in</p>"),
        Outcome::http(200, "application/json", "[]"),
        Outcome::http(302, "text/plain", ""),
        Outcome::http(401, "application/json", r#"{"error":"unauthorized"}"#),
        Outcome::http(200, "application/json", b"\xff\xfe"),
        // Twice in one object: two readers would see two issuers.
        Outcome::json(&format!(
            r#"{{"issuer":{ISSUER:?},"issuer":"https://b.example"}}"#
        )),
    ];
    for absent in elsewhere {
        let mut world = World::new(&[]);
        world.issuer.describes(OPENID, absent.clone());
        world.issuer.describes(OAUTH, metadata(&[]));
        assert_eq!(world.get("opaque"), MISS, "{absent:?}");
        assert_eq!(world.issuer.urls(), [OPENID, OAUTH, INTROSPECT]);
        let mut world = World::new(&[]);
        world.issuer.describes(OPENID, absent.clone());
        world.issuer.describes(DJANGO, metadata(&[]));
        assert_eq!(world.get("opaque"), MISS, "{absent:?}");
        assert_eq!(world.issuer.urls(), [OPENID, OAUTH, DJANGO, INTROSPECT]);
    }
}

#[test]
fn metadata_that_cannot_be_used_are_told_apart() {
    let another = "the metadata name another issuer: write `issuer` exactly as they do";
    let malformed = "the metadata have no issuer, or a URL that is not a string";
    let foreign = "the introspection endpoint in the metadata has another origin than `issuer`: set introspect_origin to allow that, or introspect_url";
    let foreign_keys = "the jwks_uri in the metadata has another origin than `issuer`: set jwks_origin to allow that, or jwks_url";
    let table: [(&[(&str, &str)], &str); 20] = [
        (
            &[("issuer", r#""https://issuer.example/oauth2/""#)],
            another,
        ),
        (&[("issuer", r#""https://issuer.example""#)], another),
        (&[("issuer", r#""https://ISSUER.example/oauth2""#)], another),
        (
            &[("issuer", r#""https://issuer.example:443/oauth2""#)],
            another,
        ),
        (
            &[("issuer", r#""https://login.example/{tenantid}/v2.0""#)],
            another,
        ),
        (&[("issuer", "")], malformed),
        (&[("issuer", "null")], malformed),
        (
            &[("issuer", r#"["https://issuer.example/oauth2"]"#)],
            malformed,
        ),
        (&[("introspection_endpoint", "7")], malformed),
        (&[("jwks_uri", "{}")], malformed),
        (
            &[("introspection_endpoint", "")],
            "the metadata name no introspection endpoint: set introspect_url, or strategy = jwt",
        ),
        (
            &[("jwks_uri", "")],
            "the metadata name no jwks_uri: set jwks_url",
        ),
        (
            &[(
                "introspection_endpoint",
                r#""http://issuer.example/oauth2/introspect""#,
            )],
            foreign,
        ),
        (
            &[("introspection_endpoint", r#""http://127.0.0.1/introspect""#)],
            foreign,
        ),
        (
            &[(
                "introspection_endpoint",
                r#""https://169.254.169.254/introspect""#,
            )],
            foreign,
        ),
        (
            &[(
                "introspection_endpoint",
                r#""https://issuer.example:8443/introspect""#,
            )],
            foreign,
        ),
        (
            &[(
                "introspection_endpoint",
                r#""https://a@issuer.example/introspect""#,
            )],
            foreign,
        ),
        (
            &[("introspection_endpoint", r#""/oauth2/introspect""#)],
            foreign,
        ),
        (
            &[("jwks_uri", r#""https://issuer.example.evil.test/jwks""#)],
            foreign_keys,
        ),
        (&[("jwks_uri", r#""file:///etc/passwd""#)], foreign_keys),
    ];
    for (members, fault) in table {
        let mut world = World::new(&[("strategy", "auto")]);
        world.issuer.describes(OPENID, metadata(members));
        for token in ["opaque", &world.jwt()] {
            assert_eq!(
                world.get(token),
                unavailable(Reason::IssuerMetadataUnusable),
                "{members:?}"
            );
        }
        assert_eq!(world.issuer.urls(), [OPENID], "no endpoint is called");
        let line = format!("issuer_metadata_unusable: {fault}");
        assert_eq!(world.instance.host.errors, [line], "{members:?}");
    }
}

#[test]
fn endpoints_of_another_origin_are_called_where_that_is_allowed() {
    let members = [
        (
            "introspection_endpoint",
            r#""https://tokens.example/introspect""#,
        ),
        ("jwks_uri", r#""https://keys.example:8443/jwks""#),
    ];
    let mut world = World::new(&[
        ("strategy", "auto"),
        ("introspect_origin", "https://tokens.example"),
        ("jwks_origin", "https://keys.example:8443"),
    ]);
    world.issuer.describes(OPENID, metadata(&members));
    assert_eq!(world.get_jwt(), VERIFIED);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(
        world.issuer.urls(),
        [
            OPENID,
            "https://keys.example:8443/jwks",
            "https://tokens.example/introspect"
        ]
    );
    // Each for its own: keys from where tokens are sent would be another trust.
    let mut world = World::new(&[
        ("strategy", "auto"),
        ("introspect_origin", "https://keys.example:8443"),
        ("jwks_origin", "https://tokens.example"),
    ]);
    world.issuer.describes(OPENID, metadata(&members));
    assert_eq!(world.get_jwt(), unavailable(Reason::IssuerMetadataUnusable));
}

#[test]
fn what_is_not_needed_may_be_absent_or_foreign() {
    for (strategy, absent) in [
        ("jwt", "introspection_endpoint"),
        ("introspect", "jwks_uri"),
    ] {
        for value in ["", r#""https://other.example/x""#] {
            let mut world = World::new(&[("strategy", strategy)]);
            world.issuer.describes(OPENID, metadata(&[(absent, value)]));
            let is_granted = world.get_jwt();
            assert_eq!(is_granted.0, None, "{strategy} {value}");
        }
    }
}

#[test]
fn an_issuer_that_is_down_at_the_start_is_asked_again_soon() {
    let down = [
        (UNREACHABLE, Reason::IssuerUnreachable),
        (Outcome::status(500, None), Reason::IssuerFailed),
        (Outcome::status(429, None), Reason::IssuerOverloaded),
        (
            Outcome::http(200, "application/json", vec![b' '; 128 * 1024 + 1]),
            Reason::IssuerMetadataUnusable,
        ),
    ];
    for (outcome, why) in down {
        let mut world = World::new(&[("strategy", "auto")]);
        world.issuer.describes(OPENID, outcome);
        assert_eq!(world.get("opaque"), unavailable(why));
        let tries = world.issuer.urls().len();
        // A broken connection is tried again at once.
        assert_eq!(
            tries,
            if why == Reason::IssuerUnreachable {
                2
            } else {
                1
            }
        );
        // Nobody waits, and nobody calls, until the pause is over: 1, 2, 4, 8, 16, then 30 s.
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            world.clock.advance_ms(pause * 1000 - 1);
            assert_eq!(world.get("opaque"), unavailable(why));
            assert_eq!(world.issuer.urls().len(), 0, "{pause}");
            world.clock.advance_ms(1);
            assert_eq!(world.get("opaque"), unavailable(why));
            assert_eq!(world.issuer.urls().len(), tries, "{pause}");
        }
        world.issuer.describes(OPENID, metadata(&[]));
        world.advance(30);
        assert_eq!(world.get("opaque"), MISS);
        assert_eq!(world.get_jwt(), VERIFIED);
    }
}

#[test]
fn a_refusal_says_when_to_try_again() {
    let mut world = World::new(&[]);
    world.issuer.describes(OPENID, Outcome::status(500, None));
    let mut wait = |seconds| {
        world.advance(seconds);
        let verdict = world.instance.drive("/", "opaque");
        let response = verdict
            .into_result(world.instance.check.policy())
            .unwrap_err();
        assert_eq!(response.status, 503);
        let header = (response.headers.iter()).find(|(name, _)| *name == "retry-after");
        header.map(|(_, value)| value.to_string())
    };
    let waits: Vec<_> = [0, 1, 2, 4, 8]
        .map(&mut wait)
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(waits, ["1", "2", "4", "8", "16"]);
}

#[test]
fn a_thousand_cold_callers_cause_one_fetch_of_metadata_and_one_of_keys() {
    let mut world = World::new(&[("strategy", "jwt")]);
    let token = |number: u32| {
        let (iss, jti) = (format!("{ISSUER:?}"), number.to_string());
        world.key.token(&[("iss", &iss), ("jti", &jti)])
    };
    let tokens: Vec<_> = (0..1000).map(token).collect();
    let requests: Vec<_> = (0..)
        .zip(&tokens)
        .map(|(number, token)| {
            let request = world.instance.join("/", token);
            assert!(world.instance.check.park(&request, number).is_parked());
            request
        })
        .collect();
    let ticket = world.fetch().expect("the metadata are fetched");
    assert!(world.fetch().is_none(), "and nothing else");
    let now = world.clock.now();
    let response = metadata(&[]).response();
    let finished = finishes(
        world
            .instance
            .check
            .document_responded(ticket, response, now),
    );
    assert_eq!(finished.woken, Vec::from_iter(0..1000));
    let mut parked = Vec::new();
    for request in requests {
        match world.instance.check.resume(request, now) {
            token_check::Step::Join(request) => {
                let number = u32::try_from(parked.len()).unwrap();
                assert!(world.instance.check.park(&request, number).is_parked());
                parked.push(request);
            }
            other => panic!("{other:?}"),
        }
    }
    let ticket = world.fetch().expect("the keys are fetched");
    assert!(world.fetch().is_none(), "and nothing else");
    let response = set(&[&world.key]).response();
    let finished = finishes(
        world
            .instance
            .check
            .document_responded(ticket, response, now),
    );
    assert_eq!(finished.woken.len(), 1000);
    for request in parked {
        let verdict = world.instance.resume(request);
        assert_eq!((reason(&verdict.decision), verdict.cache), VERIFIED);
    }
}

#[test]
fn metadata_are_read_again_after_an_hour_and_old_ones_stay() {
    let mut world = World::new(&[("strategy", "auto")]);
    assert_eq!(world.get("opaque"), MISS);
    world.issuer.urls();
    world.advance(3599);
    assert!(world.fetch().is_some(), "the keys are due");
    let mut world = World::new(&[]);
    assert_eq!(world.get("opaque"), MISS);
    world.issuer.urls();
    world.advance(3599);
    assert!(world.fetch().is_none());
    world.advance(1);
    // The issuer is down, or somebody else answers there: what is known stays.
    for bad in [
        UNREACHABLE,
        metadata(&[("issuer", r#""https://other.example""#)]),
    ] {
        world.issuer.describes(OPENID, bad);
        assert_eq!(world.get("opaque"), MISS);
        assert_eq!(world.issuer.urls().last().unwrap(), OPENID);
        assert_eq!(world.get("another"), MISS);
        assert_eq!(world.issuer.urls(), [INTROSPECT]);
        world.advance(30);
    }
    // The endpoint has moved.
    let moved = [(
        "introspection_endpoint",
        r#""https://issuer.example/v2/introspect""#,
    )];
    world.issuer.describes(OPENID, metadata(&moved));
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(world.issuer.urls(), [INTROSPECT, OPENID]);
    assert_eq!(world.get("opaque"), MISS);
    assert_eq!(
        world.issuer.urls(),
        ["https://issuer.example/v2/introspect"]
    );
    world.advance(3599);
    assert!(world.fetch().is_none(), "once an hour");
}

#[test]
fn keys_move_with_the_metadata() {
    let mut world = World::new(&[("strategy", "jwt")]);
    assert_eq!(world.get_jwt(), VERIFIED);
    let moved = [("jwks_uri", r#""https://issuer.example/v2/jwks""#)];
    world.issuer.describes(OPENID, metadata(&moved));
    world.advance(3600);
    world.issuer.urls();
    assert_eq!(world.get_jwt(), HIT);
    // The keys are so old that this request waited for those of the old place; then metadata.
    let _ = world.get_jwt();
    world.advance(600);
    world.issuer.urls();
    assert_eq!(world.get_jwt(), HIT);
    assert_eq!(world.issuer.urls(), ["https://issuer.example/v2/jwks"]);
}

#[test]
fn instances_share_metadata() {
    let store = SharedStore::default();
    let settings = [("strategy", "auto")];
    let mut world = World::sharing(&settings, Sharing::Plain, &store);
    assert_eq!(world.get_jwt(), VERIFIED);
    assert_eq!(world.issuer.urls(), [OPENID, JWKS]);
    let mut other = world.beside(&settings, &store);
    let verdict = other.drive("/", &world.jwt());
    assert_eq!((reason(&verdict.decision), verdict.cache), VERIFIED);
    assert_eq!(world.issuer.urls(), Vec::<String>::new());
    // A record that is not ours, or of another issuer, is nothing.
    let (name, record) = {
        let slots = store.slots.borrow();
        let (name, (_, record)) = (slots.iter())
            .find(|(name, _)| name.contains("metadata"))
            .unwrap();
        (name.clone(), record.clone())
    };
    assert!(
        !String::from_utf8_lossy(&record).contains("issuer.example"),
        "sealed"
    );
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 1;
        store.write(&name, &changed);
        let mut other = world.beside(&settings, &store);
        assert_eq!(reason(&other.drive("/", "opaque").decision), None);
        assert_eq!(world.issuer.urls()[0], OPENID, "{at}");
    }
    // An hour later it is too old.
    store.write(&name, &record);
    world.advance(3600);
    let mut other = world.beside(&settings, &store);
    assert_eq!(reason(&other.drive("/", "opaque").decision), None);
    assert_eq!(world.issuer.urls()[0], OPENID);
}

#[test]
fn settings_of_the_issuer_are_checked_at_the_start() {
    let error = |settings: &[(&str, &str)]| {
        let base = [
            ("issuer", ISSUER),
            ("resource_client_id", "service-b"),
            ("resource_client_secret", "a secret of Service B"),
        ];
        let settings = base.iter().chain(settings);
        let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Policy::new(settings)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(error(&[]), Ok(()));
    assert_eq!(error(&[("issuer", "http://127.0.0.1:8080")]), Ok(()));
    assert_eq!(
        error(&[("issuer_origin", "https://issuer.example")]),
        Ok(())
    );
    let table: [(&[(&str, &str)], &str); 6] = [
        (
            &[("issuer", "http://issuer.example")],
            "setting `issuer` (WORKOUT18_ISSUER) is plain http to another machine, which exposes the secret and every token to the network: use https, or set `allow_http`",
        ),
        (
            &[("issuer", "https://issuer.example?tenant=a")],
            "setting `issuer` (WORKOUT18_ISSUER) must not have a query",
        ),
        (
            &[("issuer", "https://issuer.example#a")],
            "setting `issuer` (WORKOUT18_ISSUER) must not have a user, a password or a fragment",
        ),
        (
            &[("issuer_origin", "https://issuer.example/oauth2")],
            "setting `issuer_origin` (WORKOUT18_ISSUER_ORIGIN) must be `https://issuer.example`, the scheme, host and port of `issuer`, and nothing more",
        ),
        (
            &[("introspect_origin", "https://tokens.example/")],
            "setting `introspect_origin` (WORKOUT18_INTROSPECT_ORIGIN) must be `scheme://host[:port]` and nothing more",
        ),
        (
            &[
                ("issuer", ""),
                ("strategy", "auto"),
                ("expected_aud", "b"),
                ("expected_issuer", "i"),
            ],
            "setting `strategy` (WORKOUT18_STRATEGY) needs the keys of the issuer: set one of `issuer`, `jwks_url` and `jwks`",
        ),
    ];
    for (settings, line) in table {
        assert_eq!(error(settings), Err(line.to_owned()));
    }
}

#[test]
fn metadata_faults_are_counted_by_their_reason() {
    let mut world = World::new(&[]);
    world
        .issuer
        .describes(OPENID, metadata(&[("issuer", r#""x""#)]));
    let ticket = world.fetch().unwrap();
    let (now, response) = (
        world.clock.now(),
        metadata(&[("issuer", r#""x""#)]).response(),
    );
    let finished = finishes(
        world
            .instance
            .check
            .document_responded(ticket, response, now),
    );
    assert_eq!(
        finished.fault.map(Fault::reason),
        Some(Reason::IssuerMetadataUnusable)
    );
}

#[test]
fn rfc9701_the_issuer_alone_is_enough_for_signed_responses() {
    // Also where `introspect_url` is set: somebody has to say who signs, and with which keys.
    for introspect_url in ["", INTROSPECT] {
        let settings = [
            ("introspect_url", introspect_url),
            ("signed_introspection", "true"),
        ];
        let mut world = World::new(&settings);
        assert_eq!(
            world.get("opaque"),
            unavailable(Reason::IssuerResponseUnsigned)
        );
        assert_eq!(world.issuer.urls(), [OPENID, JWKS, INTROSPECT]);
    }
}

#[test]
fn keys_from_a_place_that_the_issuer_has_left_are_not_learnt() {
    let store = SharedStore::default();
    let mut world = World::sharing(&[("strategy", "jwt")], Sharing::Plain, &store);
    assert_eq!(world.get_jwt(), VERIFIED);
    world.advance(3600);
    store.slots.borrow_mut().clear();
    let read = |world: &mut World| match world.instance.check.next_fetch(world.clock.now()) {
        Some(Action::ReadDocument(ticket, _)) => {
            let now = world.clock.now();
            let progress = world.instance.check.document_read(ticket, Ok(None), now);
            match crate::fixture::continues(progress) {
                Action::FetchDocument(ticket, call) => (ticket, call.path_and_query().to_owned()),
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    };
    // Both are under way when the metadata name another place.
    let (metadata_ticket, _) = read(&mut world);
    let (keys_ticket, path) = read(&mut world);
    assert_eq!(path, "/oauth2/jwks");
    let moved = [("jwks_uri", r#""https://issuer.example/v2/jwks""#)];
    let now = world.clock.now();
    let check = &mut world.instance.check;
    let progress = check.document_responded(metadata_ticket, metadata(&moved).response(), now);
    assert_eq!(finishes(progress).records.len(), 1);
    let old = set(&[&Key::new("old", 9)]).response();
    let finished = finishes(check.document_responded(keys_ticket, old, now));
    assert!(
        finished.records.is_empty(),
        "nobody else learns them either"
    );
    let (_ticket, path) = read(&mut world);
    assert_eq!(
        path, "/v2/jwks",
        "those of the new place are fetched at once"
    );
}

#[test]
fn metadata_that_are_a_day_old_are_not_taken_from_the_store() {
    let store = SharedStore::default();
    let mut world = World::sharing(&[], Sharing::Plain, &store);
    assert_eq!(world.get("opaque"), MISS);
    world.issuer.describes(OPENID, UNREACHABLE);
    for (hours, expected) in [(23, None), (25, Some(Reason::IssuerUnreachable))] {
        let mut other = world.beside(&[], &store);
        world.clock.advance_ms(hours * 3_600_000);
        assert_eq!(
            reason(&other.drive("/", "opaque").decision),
            expected,
            "{hours}"
        );
        world.clock.advance(core::time::Duration::ZERO);
    }
}

#[test]
fn instances_share_no_facts_of_another_endpoint_or_without_a_signature() {
    let store = SharedStore::default();
    let caches = [("strategy", "auto"), ("cache_ttl", "60")];
    let by_hand = |url| [&caches[..], &[("introspect_url", url)]].concat();
    let mut world = World::sharing(&by_hand("https://issuer.example/a"), Sharing::Plain, &store);
    assert_eq!(world.get("opaque"), MISS);
    let shared = (None, Some(CacheStatus::Shared));
    let get = |settings: &[(&str, &str)]| {
        let verdict = world.beside(settings, &store).drive("/", "opaque");
        (reason(&verdict.decision), verdict.cache)
    };
    assert_eq!(get(&by_hand("https://issuer.example/a")), shared);
    assert_eq!(get(&by_hand("https://issuer.example/b")), MISS);
    let signed = [
        &by_hand("https://issuer.example/a")[..],
        &[("signed_introspection", "true")],
    ]
    .concat();
    assert_eq!(get(&signed), unavailable(Reason::IssuerResponseUnsigned));
}

//! Tokens that are verified with keys which the issuer publishes, rotates, withdraws, or cannot
//! serve: in real Envoy with two workers, in the embedded host, and in Spin itself where there is one.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod host;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::sleep;
use verify_stub::{
    Endpoint, Provider, PublicKeyForm, Reaction, SignatureFault, SignedResponses, SigningAlgorithm,
    StubClient, StubOptions, StubResponse, TokenFormat, TokenSpec,
};

use crate::host::{World, get, granted, refused};

const VERIFIED: [SigningAlgorithm; 9] = [
    SigningAlgorithm::Rs256,
    SigningAlgorithm::Rs384,
    SigningAlgorithm::Rs512,
    SigningAlgorithm::Ps256,
    SigningAlgorithm::Ps384,
    SigningAlgorithm::Ps512,
    SigningAlgorithm::Es256,
    SigningAlgorithm::Es384,
    SigningAlgorithm::EdDsa,
];

const ALL: (&str, &str) = (
    "algorithms",
    "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA",
);

/// With which keys are fetched as often as settings allow.
const OFTEN: [(&str, &str); 2] = [("jwks_ttl", "5"), ("jwks_min_interval", "5")];

/// With which keys end soon if they cannot be fetched.
const SHORT: [(&str, &str); 3] = [OFTEN[0], OFTEN[1], ("jwks_max_age", "10")];

/// Spin ends an instance that is idle, and its memory with it.
const SHARED: [(&str, &str); 3] = [OFTEN[0], OFTEN[1], ("cache_store", "default")];

/// The issuer alone: its metadata name the rest.
const DISCOVERED: [(&str, &str); 5] = [
    ("issuer", "{issuer}"),
    ("introspect_url", ""),
    ("jwks_url", ""),
    ("expected_issuer", ""),
    ("strategy", "auto"),
];

/// The same with instances that share what they know.
const DISCOVERED_AND_SHARED: [(&str, &str); 6] = [
    DISCOVERED[0],
    DISCOVERED[1],
    DISCOVERED[2],
    DISCOVERED[3],
    DISCOVERED[4],
    SHARED[2],
];

/// Two issuers of which each finds its own endpoints: the first with opaque tokens too, the second
/// with JWTs alone.
const SEVERAL: [(&str, &str); 8] = [
    (
        "issuers",
        r#"[
            {"issuer":"{issuer}","strategy":"auto","resource_client_id":"{client_id}","resource_client_secret":"{client_secret}"},
            {"issuer":"{other issuer}","strategy":"jwt","expected_aud":"at-the-other"}
        ]"#,
    ),
    ("introspect_url", ""),
    ("jwks_url", ""),
    ("expected_issuer", ""),
    ("resource_client_id", ""),
    ("resource_client_secret", ""),
    ("cache_key", "0123456789abcdef0123456789abcdef"),
    ("cache_ttl", "60"),
];

/// With which all tokens are introspected, and the responses have to be signed. Many new instances of
/// the component take a moment on a busy machine.
const SIGNED: [(&str, &str); 3] = [
    ("strategy", "introspect"),
    ("signed_introspection", "true"),
    ("timeout", "20"),
];

fn options(algorithms: &[SigningAlgorithm]) -> StubOptions {
    let how = SignedResponses::new(SigningAlgorithm::Es256);
    StubOptions {
        clients: vec![
            StubClient::new("service-a"),
            StubClient::new("service-b").with_signed_responses(how),
        ],
        token_format: TokenFormat::Jwt(SigningAlgorithm::Es256),
        signing_keys: algorithms.to_vec(),
        ..StubOptions::default()
    }
}

fn spec() -> TokenSpec {
    TokenSpec::default().audience(["service-b"])
}

macro_rules! on_every_host {
    ($($test:ident($algorithms:expr, $settings:expr);)*) => {
        mod envoy {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                use super::*;
                if let Some(world) = World::envoy(options(&$algorithms), &$settings).await {
                    super::$test(world).await;
                }
            }
        )*}

        mod component {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                use super::*;
                if let Some(world) = World::component(options(&$algorithms), &$settings).await {
                    super::$test(world).await;
                }
            }
        )*}

        mod spin {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                use super::*;
                if let Some(world) = World::spin(options(&$algorithms), &$settings).await {
                    super::$test(world).await;
                }
            }
        )*}
    };
}

on_every_host! {
    every_algorithm_is_verified_and_its_forgeries_are_refused(VERIFIED, [ALL]);
    a_rotation_costs_nobody_a_refusal([], [("jwks_min_interval", "5")]);
    j5_a_withdrawn_key_takes_along_what_it_signed([], OFTEN);
    j7_keys_outlive_an_outage_of_the_issuer([], SHARED);
    j7_without_keys_every_token_is_a_503_and_it_heals([], SHORT);
    j4_a_key_set_of_10_mb_is_the_issuers_fault_and_it_heals([], SHORT);
    unusable_keys_beside_good_ones_are_left_out([], [ALL]);
    j11_unknown_keys_cause_no_more_fetches_than_documented([], [("timeout", "20")]);
    a_thousand_cold_callers_cause_one_fetch([], [("timeout", "20")]);
    both_introspects_what_was_verified_and_nothing_else([], [("strategy", "both")]);
    rfc8414_the_issuer_alone_is_enough([], DISCOVERED);
    rfc8414_s3_3_metadata_of_another_issuer_are_a_503_and_it_heals([], DISCOVERED);
    rfc8414_metadata_outlive_an_outage_of_the_issuer([], DISCOVERED_AND_SHARED);
    rfc9701_a_rotation_costs_nobody_a_refusal([], SIGNED);
    j6_j15_each_issuer_vouches_for_its_own_tokens([], SEVERAL);
}

/// How often keys had been fetched at a time.
struct Fetches {
    at: Instant,
    fetches: u64,
    instances: Option<u64>,
}

impl Fetches {
    fn of(world: &World) -> Self {
        Self {
            at: Instant::now(),
            fetches: world.stub.counters().jwks,
            instances: world.instances(),
        }
    }

    /// Since then, keys were fetched; by each ring, at most once per
    /// `jwks_min_interval`, which is 30 s, and once more if it is new.
    fn assert_no_more_than_documented(&self, world: &World) {
        let fetches = world.stub.counters().jwks - self.fetches;
        let each = 1 + self.at.elapsed().as_secs() / 30;
        let most = match (&world.host, self.instances, world.instances()) {
            (host::Host::Envoy(_), ..) => world.rings * each,
            (_, Some(before), Some(now)) => now * each + (now - before),
            // Spin does not tell how many instances there were.
            _ => u64::MAX,
        };
        println!("{fetches} fetches, and {most} are documented");
        assert!((1..=most).contains(&fetches), "{fetches} fetches of {most}");
    }
}

async fn every_algorithm_is_verified_and_its_forgeries_are_refused(world: World) {
    let hmac = PublicKeyForm::ALL.map(SignatureFault::Hmac);
    let hmac = hmac.map(|fault| (fault, "algorithm_not_allowed"));
    for algorithm in VERIFIED {
        let jwt = || spec().jwt(algorithm);
        let good = world.stub.issue(jwt());
        assert_eq!(world.get_everywhere(&good).await, granted(), "{algorithm}");
        for (fault, reason) in [
            (SignatureFault::OtherClaims, "invalid_signature"),
            (SignatureFault::OtherKey, "invalid_signature"),
            (SignatureFault::UnknownKey, "unknown_key"),
            (SignatureFault::None, "algorithm_not_allowed"),
        ]
        .into_iter()
        .chain(hmac)
        {
            let bad = world.stub.issue(jwt().signature_fault(fault));
            let got = world.get_everywhere(&bad).await;
            assert_eq!(got, refused(401, reason), "{algorithm} {fault:?}");
        }
    }
    assert_eq!(world.stub.counters().introspect, 0);
    world.finish().await;
}

async fn a_rotation_costs_nobody_a_refusal(world: World) {
    let first = world.stub.issue(spec());
    assert_eq!(world.get_everywhere(&first).await, granted());
    for _ in 0..2 {
        sleep(Duration::from_secs(5)).await;
        world.stub.rotate_key(SigningAlgorithm::Es256);
        let new = world.stub.issue(spec());
        assert_eq!(world.get_everywhere(&new).await, granted());
        assert_eq!(world.get_everywhere(&first).await, granted());
    }
    world.finish().await;
}

async fn j5_a_withdrawn_key_takes_along_what_it_signed(world: World) {
    let old = world.stub.issue(spec());
    assert_eq!(world.get_everywhere(&old).await, granted());
    world.stub.rotate_key(SigningAlgorithm::Es256);
    world.stub.withdraw_old_keys();
    // As long as keys are used, and a second for the hosts.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(
        world.get_everywhere(&old).await,
        refused(401, "unknown_key")
    );
    assert_eq!(
        world.get_everywhere(&world.stub.issue(spec())).await,
        granted()
    );
    world.finish().await;
}

async fn j7_keys_outlive_an_outage_of_the_issuer(world: World) {
    assert_eq!(
        world.get_everywhere(&world.stub.issue(spec())).await,
        granted()
    );
    world.stub.down().await;
    for _ in 0..3 {
        sleep(Duration::from_secs(4)).await;
        assert_eq!(
            world.get_everywhere(&world.stub.issue(spec())).await,
            granted()
        );
    }
    let unknown = world
        .stub
        .issue(spec().signature_fault(SignatureFault::UnknownKey));
    assert_eq!(
        world.get(&unknown).await,
        refused(503, "issuer_unreachable")
    );
    world.finish().await;
}

async fn j7_without_keys_every_token_is_a_503_and_it_heals(world: World) {
    let token = world.stub.issue(spec());
    // It has had time to learn the keys at its start, so what it has learnt has to end.
    let no_keys = Reaction::respond(StubResponse::no_keys());
    world.stub.script_endpoint(Endpoint::Jwks, vec![no_keys]);
    sleep(Duration::from_secs(13)).await;
    assert_eq!(
        world.get_everywhere(&token).await,
        refused(503, "issuer_keys_unusable")
    );
    world.stub.clear_scripts();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.get_everywhere(&token).await, granted());
    world.finish().await;
}

async fn j4_a_key_set_of_10_mb_is_the_issuers_fault_and_it_heals(world: World) {
    let token = world.stub.issue(spec());
    assert_eq!(world.get_everywhere(&token).await, granted());
    // Keys that would do, in a document that is too long.
    let padded = |bytes: usize| {
        let keys = world.stub.key_set();
        let padding = "x".repeat(bytes);
        let document = serde_json::json!({ "keys": keys.get("keys"), "padding": padding });
        let response = Reaction::respond(StubResponse::document(document.to_string()));
        world.stub.script_endpoint(Endpoint::Jwks, vec![response]);
    };
    padded(10 * 1024 * 1024);
    sleep(Duration::from_secs(13)).await;
    let (status, reason) = world.get_everywhere(&token).await;
    // Envoy breaks a call off when the response is over 1 MiB.
    let reasons = ["issuer_keys_unusable", "issuer_unreachable"];
    assert_eq!(status, 503);
    assert!(reasons.contains(&reason.as_str()), "{reason}");
    // Envoy hands this one to the auth check, whose limit is 128 KiB.
    padded(128 * 1024);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(
        world.get_everywhere(&token).await,
        refused(503, "issuer_keys_unusable")
    );
    padded(64 * 1024);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.get_everywhere(&token).await, granted());
    world.finish().await;
}

async fn unusable_keys_beside_good_ones_are_left_out(world: World) {
    world
        .stub
        .publish_also(verify_stub::VerifyStub::unusable_keys());
    world.stub.rotate_key(SigningAlgorithm::Rs256);
    let token = world.stub.issue(spec().jwt(SigningAlgorithm::Rs256));
    assert_eq!(world.get_everywhere(&token).await, granted());
    world.finish().await;
}

async fn j11_unknown_keys_cause_no_more_fetches_than_documented(world: World) {
    const AT_ONCE: usize = 50;
    let good = world.stub.issue(spec());
    assert_eq!(world.get_everywhere(&good).await, granted());
    let start = Fetches::of(&world);
    let address = world.address();
    for round in 0..10_000 / AT_ONCE {
        let unknown = |_| {
            let header = format!("unknown-{round}-{}", fastrand::u64(..));
            world.stub.issue(spec().header("kid", header))
        };
        let tokens: Vec<_> = (0..AT_ONCE).map(unknown).collect();
        let all = join_all(tokens.iter().map(|token| get(address, token))).await;
        for got in all {
            assert_eq!(got, refused(401, "unknown_key"));
        }
        assert_eq!(world.get(&good).await, granted());
    }
    start.assert_no_more_than_documented(&world);
    world.finish().await;
}

async fn a_thousand_cold_callers_cause_one_fetch(world: World) {
    let tokens: Vec<_> = (0..1000).map(|_| world.stub.issue(spec())).collect();
    let slow = Reaction::normal().after(Duration::from_millis(300));
    world.stub.script_endpoint(Endpoint::Jwks, vec![slow]);
    let address = world.address();
    let at_once = match world.host {
        host::Host::Envoy(_) => 1000,
        // Spin may make an instance for each, and has room for 500.
        host::Host::Component(_) | host::Host::Spin(..) => 250,
    };
    for chunk in tokens.chunks(at_once) {
        for got in join_all(chunk.iter().map(|token| get(address, token))).await {
            assert_eq!(got, granted());
        }
    }
    let fetches = world.stub.counters().jwks;
    println!("{fetches} fetches for 1000 tokens");
    match (&world.host, world.instances()) {
        // Its main thread has a ring too.
        (host::Host::Envoy(_), _) => assert!((1..=world.rings + 1).contains(&fetches), "{fetches}"),
        (_, Some(instances)) => {
            assert!(
                (1..=instances).contains(&fetches),
                "{fetches} of {instances} instances"
            );
        }
        // Spin does not tell.
        (_, None) => assert!(fetches >= 1),
    }
    assert_eq!(world.stub.counters().introspect, 0);
    world.finish().await;
}

async fn both_introspects_what_was_verified_and_nothing_else(world: World) {
    let token = world.stub.issue(spec());
    assert_eq!(world.get_everywhere(&token).await, granted());
    assert!(world.stub.introspections_of(&token) >= 1);
    let forged = world
        .stub
        .issue(spec().signature_fault(SignatureFault::OtherClaims));
    assert_eq!(
        world.get_everywhere(&forged).await,
        refused(401, "invalid_signature")
    );
    assert_eq!(world.stub.introspections_of(&forged), 0);
    world.stub.revoke(&token);
    assert_eq!(world.get_everywhere(&token).await, refused(401, "inactive"));
    world.finish().await;
}

async fn rfc8414_the_issuer_alone_is_enough(world: World) {
    let jwt = world.stub.issue(spec());
    assert_eq!(world.get_everywhere(&jwt).await, granted());
    let opaque = world.stub.issue(spec().opaque());
    assert_eq!(world.get_everywhere(&opaque).await, granted());
    let revoked = world.stub.issue(spec().opaque());
    world.stub.revoke(&revoked);
    assert_eq!(
        world.get_everywhere(&revoked).await,
        refused(401, "inactive")
    );
    let counters = world.stub.counters();
    assert_eq!(counters.metadata, 0, "the first place has them");
    match world.host {
        // Envoy's main thread has a ring too.
        host::Host::Envoy(_) => assert!((1..=world.rings + 1).contains(&counters.discovery)),
        // Spin may end an instance between two requests.
        host::Host::Component(_) | host::Host::Spin(..) => assert!(counters.discovery >= 1),
    }
    world.finish().await;
}

async fn rfc8414_s3_3_metadata_of_another_issuer_are_a_503_and_it_heals(world: World) {
    let other = serde_json::json!({
        "issuer": format!("{}/", world.stub.issuer()),
        "introspection_endpoint": "http://127.0.0.1:1/introspect",
        "jwks_uri": "http://127.0.0.1:1/jwks",
    });
    let other = StubResponse::document(other.to_string());
    world
        .stub
        .script_endpoint(Endpoint::Discovery, vec![Reaction::respond(other)]);
    let world = world.restarted(&DISCOVERED).await;
    let (jwt, opaque) = (world.stub.issue(spec()), world.stub.issue(spec().opaque()));
    for token in [&jwt, &opaque] {
        assert_eq!(
            world.get_everywhere(token).await,
            refused(503, "issuer_metadata_unusable")
        );
    }
    assert_eq!(world.stub.counters().introspect, 0);
    world.stub.clear_scripts();
    // At most as long as the pause after two or three attempts.
    sleep(Duration::from_secs(9)).await;
    for token in [&jwt, &opaque] {
        assert_eq!(world.get_everywhere(token).await, granted());
    }
    world.finish().await;
}

async fn rfc8414_metadata_outlive_an_outage_of_the_issuer(world: World) {
    assert_eq!(
        world.get_everywhere(&world.stub.issue(spec())).await,
        granted()
    );
    world.stub.down().await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        world.get_everywhere(&world.stub.issue(spec())).await,
        granted()
    );
    world.finish().await;
}

async fn rfc9701_a_rotation_costs_nobody_a_refusal(world: World) {
    let opaque = || world.stub.issue(spec().opaque());
    let first = opaque();
    assert_eq!(world.get_everywhere(&first).await, granted());
    let (start, before) = (Fetches::of(&world), world.stub.counters().introspect);
    world.stub.rotate_key(SigningAlgorithm::Es256);
    world.stub.withdraw_old_keys();
    let address = world.address();
    let tokens: Vec<_> = (0..1000).map(|_| opaque()).collect();
    for chunk in tokens.chunks(250) {
        for got in join_all(chunk.iter().map(|token| get(address, token))).await {
            assert_eq!(got, granted());
        }
    }
    let calls = world.stub.counters().introspect - before;
    println!("{calls} introspection calls for 1000 tokens");
    start.assert_no_more_than_documented(&world);
    // Only those who asked before the new key was there ask again.
    assert!((1001..=1500).contains(&calls), "{calls} calls");
    world.stub.revoke(&first);
    assert_eq!(world.get_everywhere(&first).await, refused(401, "inactive"));
    world.finish().await;
}

async fn j6_j15_each_issuer_vouches_for_its_own_tokens(world: World) {
    let other = world.stub.urls(Provider::Old).issuer.clone();
    let of_other = |audience: &'static str| {
        let spec = TokenSpec::default().audience([audience]);
        spec.member("iss", other.as_str())
    };
    let jwt = world.stub.issue(spec());
    let of_the_other = world.stub.issue(of_other("at-the-other"));
    // The second issuer first: what a request waits for is fetched before what is only due.
    for token in [&of_the_other, &jwt] {
        assert_eq!(world.get_everywhere(token).await, granted());
    }
    // Each requires its own audience.
    for token in [
        world.stub.issue(of_other("service-b")),
        world
            .stub
            .issue(TokenSpec::default().audience(["at-the-other"])),
    ] {
        assert_eq!(
            world.get_everywhere(&token).await,
            refused(401, "wrong_audience")
        );
    }
    let stranger = world.stub.issue(spec().member("iss", format!("{other}/")));
    assert_eq!(
        world.get_everywhere(&stranger).await,
        refused(401, "wrong_issuer")
    );
    assert_eq!(world.stub.counters().introspect, 0);
    // The first one is asked about what names no issuer, and says only whose it is itself.
    let opaque = world.stub.issue(spec().opaque());
    assert_eq!(world.get_everywhere(&opaque).await, granted());
    let of_nobody = world.stub.issue(of_other("service-b").opaque());
    assert_eq!(
        world.get_everywhere(&of_nobody).await,
        refused(401, "wrong_issuer")
    );
    world.finish().await;
}

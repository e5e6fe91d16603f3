//! Tokens that are verified with keys which the issuer publishes, rotates, withdraws, or cannot
//! serve: in real Envoy with two workers, in the embedded host, and in Spin itself where there is one.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod host;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;
use verify_stub::{
    Endpoint, PublicKeyForm, Reaction, SignatureFault, SigningAlgorithm, StubOptions, StubResponse,
    TokenFormat, TokenSpec,
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

fn options(algorithms: &[SigningAlgorithm]) -> StubOptions {
    StubOptions {
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
    j8_unusable_keys_beside_good_ones_are_left_out([], [ALL]);
    j11_unknown_keys_cause_no_more_fetches_than_documented([], []);
    a_thousand_cold_callers_cause_one_fetch([], []);
    both_introspects_what_was_verified_and_nothing_else([], [("strategy", "both")]);
}

async fn every_algorithm_is_verified_and_its_forgeries_are_refused(world: World) {
    for algorithm in VERIFIED {
        let jwt = || spec().jwt(algorithm);
        let good = world.stub.issue(jwt());
        assert_eq!(world.get_everywhere(&good).await, granted(), "{algorithm}");
        for (fault, reason) in [
            (SignatureFault::OtherClaims, "invalid_signature"),
            (SignatureFault::OtherKey, "invalid_signature"),
            (SignatureFault::UnknownKey, "unknown_key"),
            (SignatureFault::None, "algorithm_not_allowed"),
            (
                SignatureFault::Hmac(PublicKeyForm::SpkiPem),
                "algorithm_not_allowed",
            ),
            (
                SignatureFault::Hmac(PublicKeyForm::SpkiDer),
                "algorithm_not_allowed",
            ),
        ] {
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

async fn j8_unusable_keys_beside_good_ones_are_left_out(world: World) {
    world
        .stub
        .publish_also(verify_stub::VerifyStub::unusable_keys());
    world.stub.rotate_key(SigningAlgorithm::Rs256);
    let token = world.stub.issue(spec().jwt(SigningAlgorithm::Rs256));
    assert_eq!(world.get_everywhere(&token).await, granted());
    world.finish().await;
}

async fn j11_unknown_keys_cause_no_more_fetches_than_documented(world: World) {
    let good = world.stub.issue(spec());
    assert_eq!(world.get_everywhere(&good).await, granted());
    let before = world.stub.counters().jwks;
    let address = world.address();
    for round in 0..20 {
        let unknown = |_| {
            let header = format!("unknown-{round}-{}", fastrand::u64(..));
            world.stub.issue(spec().header("kid", header))
        };
        let tokens: Vec<_> = (0..50).map(unknown).collect();
        let all = join_all(tokens.iter().map(|token| get(address, token))).await;
        for got in all {
            assert_eq!(got, refused(401, "unknown_key"));
        }
        assert_eq!(world.get(&good).await, granted());
    }
    let fetches = world.stub.counters().jwks - before;
    match world.host {
        // Instances come and go, and each fetches at its start.
        host::Host::Spin(..) => println!("{fetches} fetches in Spin"),
        host::Host::Component(_) => println!("{fetches} fetches in the embedded host"),
        host::Host::Envoy(_) => assert!(fetches <= world.rings, "{fetches} fetches"),
    }
    world.finish().await;
}

async fn a_thousand_cold_callers_cause_one_fetch(world: World) {
    let tokens: Vec<_> = (0..1000).map(|_| world.stub.issue(spec())).collect();
    let slow = Reaction::normal().after(Duration::from_millis(300));
    world.stub.script_endpoint(Endpoint::Jwks, vec![slow]);
    let address = world.address();
    for chunk in tokens.chunks(250) {
        for got in join_all(chunk.iter().map(|token| get(address, token))).await {
            assert_eq!(got, granted());
        }
    }
    let fetches = world.stub.counters().jwks;
    match world.host {
        // Envoy's main thread has one too.
        host::Host::Envoy(_) => assert!(fetches <= world.rings + 1, "{fetches}"),
        host::Host::Component(_) | host::Host::Spin(..) => {
            println!("{fetches} fetches for 1000 tokens");
        }
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

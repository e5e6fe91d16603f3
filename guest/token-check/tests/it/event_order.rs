//! Orders of events in which something older must not count any more.

use crate::fixture::{
    Clock, Instance, Issuer, Outcome, SharedStore, TIMED_OUT, active, inactive, introspects,
};
use std::time::Duration;
use token_check::{CacheStatus, CallFailure, IssuerCall as _, Reason, Sharing, Step};

#[test]
fn an_instance_that_saw_a_token_inactive_ignores_older_records() {
    for neg in ["0", "5"] {
        let (clock, issuer, store) = (
            Clock::new(),
            Issuer::new(active("")),
            SharedStore::default(),
        );
        let rules = r#"[{"path":{"exact":"/never"},"ttl":0}]"#;
        let s = [
            ("cache_ttl", "300"),
            ("negative_cache_ttl", neg),
            ("rules", rules),
        ];
        let mk = || Instance::sharing(&s, &issuer, &clock, Sharing::CompareAndSwap, &store);
        let (mut a, mut b) = (mk(), mk());
        let (_w, slow) = a.call("/", "t");
        clock.advance_ms(100);
        issuer.responds(inactive());
        assert_eq!(b.get("/never", "t").0, Some(Reason::Inactive));
        issuer.responds(active(""));
        let _ = a.respond(slow); // the answer to the older question, written over
        clock.advance_ms(6_000);
        issuer.responds(inactive());
        assert_eq!(b.get("/", "t").0, Some(Reason::Inactive), "neg={neg}");
    }
}

#[test]
fn an_instance_that_saw_a_token_inactive_ignores_an_older_record_while_the_issuer_fails() {
    let (clock, issuer, store) = (
        Clock::new(),
        Issuer::new(active("")),
        SharedStore::default(),
    );
    let s = [("cache_ttl", "10"), ("stale_if_error", "3600")];
    let mut b = Instance::sharing(&s, &issuer, &clock, Sharing::Plain, &store);
    assert_eq!(b.get("/", "t").0, None);
    clock.advance_ms(10_000);
    issuer.responds(inactive());
    store.is_broken.set(true);
    assert_eq!(b.get("/", "t").0, Some(Reason::Inactive));
    store.is_broken.set(false);
    clock.advance_ms(1_000);
    issuer.responds(TIMED_OUT);
    assert_eq!(
        b.get("/", "t"),
        (Some(Reason::IssuerTimeout), Some(CacheStatus::Miss))
    );
}

#[test]
fn a_caller_without_time_left_is_no_fault_of_the_issuer() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let s = [
        ("cache_ttl", "10"),
        ("stale_if_error", "60"),
        ("timeout", "5"),
    ];
    let mut i = Instance::new(&s, &issuer, &clock);
    assert_eq!(i.get("/", "revoked").0, None);
    clock.advance_ms(10_000);
    issuer.responds(inactive());
    let (_l, mut flight) = i.call("/", "revoked");
    let mut x = i.join("/", "revoked");
    // Its callers hang up before each answer of an issuer that takes 100 ms.
    for _ in 0..100 {
        clock.advance_ms(50);
        let _ = i.check.abandon(flight, clock.now());
        let (_l, f) = i.call("/", "revoked");
        flight = f;
        match i.check.resume(x, clock.now()) {
            Step::Join(w) => x = w,
            Step::Done(v) => {
                assert_ne!(
                    v.cache,
                    Some(CacheStatus::Stale),
                    "a healthy issuer was never heard"
                );
                return;
            }
            Step::Lead(..) | Step::Finished(..) => panic!(),
        }
    }
}

#[test]
fn calls_without_time_open_no_circuit() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut i = Instance::new(&[("timeout", "5")], &issuer, &clock);
    for n in 0..5 {
        let t = format!("t{n}");
        let (_l, flight) = i.call("/", &t);
        let x = i.join("/", &t);
        clock.advance_ms(4_999);
        let _ = i.check.abandon(flight, clock.now());
        if n > 0 {
            // The issuer is known to take longer.
            let step = i.check.resume(x, clock.now());
            assert!(matches!(step, Step::Done(..)), "{step:?}");
            continue;
        }
        let (w, ticket, call) = introspects(i.check.resume(x, clock.now()));
        assert_eq!(call.timeout(), Duration::from_millis(1));
        clock.advance_ms(1);
        let _ = i
            .check
            .responded(ticket, Err(CallFailure::Timeout), clock.now());
        let _ = i.check.resume(w, clock.now());
    }
    assert_eq!(
        i.get("/", "good").0,
        None,
        "the breaker opened by calls of 1 ms"
    );
}

#[test]
fn newer_facts_too_large_to_cache_evict_older_ones() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active(r#","scope":"write""#)));
    let rules = r#"[{"path":{"exact":"/never"},"ttl":0},{"path":{"exact":"/write"},"scopes":{"all":["write"]}}]"#;
    let mut i = Instance::new(
        &[
            ("cache_ttl", "300"),
            ("cache_entries", "1"),
            ("claims_header", "none"),
            ("rules", rules),
        ],
        &issuer,
        &clock,
    );
    for n in 0..3 {
        let _ = n;
        assert_eq!(i.get("/write", "t").0, None);
    }
    issuer.responds(active(&format!(
        r#","scope":"read","x":"{}""#,
        "y".repeat(9000)
    )));
    clock.advance_ms(1000);
    assert_eq!(i.get("/never", "t").0, None);
    assert_eq!(i.get("/write", "t").0, Some(Reason::InsufficientScope));
}

#[test]
fn a_shorter_retry_after_for_a_token_does_not_end_the_longer_one_for_everybody() {
    let (clock, issuer) = (Clock::new(), Issuer::new(Outcome::status(429, Some("60"))));
    let mut i = Instance::new(&[], &issuer, &clock);
    let (_w, early) = i.call("/", "early");
    for token in ["a", "b", "c"] {
        assert_eq!(i.retry_after("/", token).1, Some(60));
    }
    issuer.responds(Outcome::status(429, Some("1")));
    let _ = i.respond(early); // asked before
    clock.advance_ms(1_000);
    issuer.responds(active(""));
    assert!(i.get("/", "d").0.is_some(), "59 s are left");
}

//! ATTACKS.md, group Cache.

use token_check::{CacheStatus, Reason};

use crate::fixture::{
    Clock, DENIED, Instance, Issuer, Outcome, START, TIMED_OUT, UNREACHABLE, active, inactive,
    reason,
};

const HIT: Option<CacheStatus> = Some(CacheStatus::Hit);
const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);

#[test]
fn with_a_ttl_of_0_every_request_asks() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("negative_cache_ttl", "60")], &issuer, &clock);
    for _ in 0..3 {
        assert_eq!(instance.get("/", "t"), (None, MISS));
    }
    issuer.responds(inactive());
    for _ in 0..3 {
        assert_eq!(instance.get("/", "t"), (Some(Reason::Inactive), MISS));
    }
    assert_eq!(issuer.calls(), 6);
}

#[test]
fn c1_a_hit_is_checked_for_the_scope_of_its_route() {
    let rules = r#"[{"path":{"exact":"/r1"},"scopes":{"all":["read"]}},{"path":{"exact":"/r2"},"scopes":{"all":["write"]}}]"#;
    let (clock, issuer) = (Clock::new(), Issuer::new(active(r#","scope":"read""#)));
    let mut instance = Instance::new(&[("cache_ttl", "60"), ("rules", rules)], &issuer, &clock);
    assert_eq!(instance.get("/r1", "t"), (None, MISS));
    assert_eq!(
        instance.get("/r2", "t"),
        (Some(Reason::InsufficientScope), HIT)
    );
    assert_eq!(instance.get("/r1", "t"), (None, HIT));
    assert_eq!(issuer.calls(), 1);
}

#[test]
fn c3_c5_a_hit_is_checked_for_audience_issuer_client_and_grant_of_its_route() {
    let rules = r#"[
        {"path":{"exact":"/ok"}},
        {"path":{"exact":"/aud"},"audiences":["b"]},
        {"path":{"exact":"/iss"},"issuers":["https://b"]},
        {"path":{"exact":"/client"},"clients":["b"]},
        {"path":{"exact":"/grant"},"grant_types":["b"]}]"#;
    let claims = r#","aud":"a","iss":"https://a","client_id":"a","grant_type":"a""#;
    let (clock, issuer) = (Clock::new(), Issuer::new(active(claims)));
    let mut instance = Instance::new(&[("cache_ttl", "60"), ("rules", rules)], &issuer, &clock);
    assert_eq!(instance.get("/ok", "t"), (None, MISS));
    for (path, reason) in [
        ("/aud", Reason::WrongAudience),
        ("/iss", Reason::WrongIssuer),
        ("/client", Reason::ClientNotAllowed),
        ("/grant", Reason::GrantTypeNotAllowed),
    ] {
        assert_eq!(instance.get(path, "t"), (Some(reason), HIT), "{path}");
    }
    assert_eq!(issuer.calls(), 1);
}

#[test]
fn c4_a_route_with_a_short_ttl_is_not_served_from_one_with_a_long_ttl() {
    let rules = r#"[
        {"path":{"exact":"/long"},"ttl":600},
        {"path":{"exact":"/short"},"ttl":10},
        {"path":{"exact":"/never"},"ttl":0}]"#;
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("rules", rules)], &issuer, &clock);
    assert_eq!(instance.get("/long", "t"), (None, MISS));
    assert_eq!(instance.get("/short", "t"), (None, HIT));
    assert_eq!(instance.get("/never", "t"), (None, MISS));
    assert_eq!(instance.get("/other", "t"), (None, MISS), "cache_ttl is 0");
    clock.advance_ms(11_000);
    assert_eq!(instance.get("/long", "t"), (None, HIT));
    assert_eq!(instance.get("/short", "t"), (None, MISS));
    assert_eq!(instance.get("/short", "t"), (None, HIT));
    assert_eq!(issuer.calls(), 4);
}

#[test]
fn c6_nothing_is_used_past_exp_less_the_leeway() {
    let exp = format!(r#","exp":{}"#, START + 40);
    for (leeway, last_hit_ms, refused_from_ms) in [("0", 39_999, 40_000), ("30", 9_999, 70_000)] {
        let (clock, issuer) = (Clock::new(), Issuer::new(active(&exp)));
        let settings = [("cache_ttl", "300"), ("leeway", leeway)];
        let mut instance = Instance::new(&settings, &issuer, &clock);
        assert_eq!(instance.get("/", "t"), (None, MISS));
        clock.advance_ms(last_hit_ms);
        assert_eq!(instance.get("/", "t"), (None, HIT), "leeway {leeway}");
        clock.advance_ms(1);
        // The issuer is called again; what it says is still checked.
        let expected = (refused_from_ms <= last_hit_ms + 1).then_some(Reason::Expired);
        assert_eq!(instance.get("/", "t"), (expected, MISS), "leeway {leeway}");
        clock.advance_ms(refused_from_ms - last_hit_ms - 1);
        assert_eq!(instance.get("/", "t"), (Some(Reason::Expired), MISS));
    }
}

#[test]
fn c2_c7_another_policy_knows_nothing_of_a_token_that_this_one_knows() {
    let (clock, a, b) = (
        Clock::new(),
        Issuer::new(active("")),
        Issuer::new(inactive()),
    );
    let mut at_a = Instance::new(&[("cache_ttl", "60")], &a, &clock);
    let elsewhere = ("introspect_url", "https://other.verify.ibm.com/introspect");
    let mut at_b = Instance::new(&[("cache_ttl", "60"), elsewhere], &b, &clock);
    assert_eq!(at_a.get("/", "t"), (None, MISS));
    assert_eq!(at_b.get("/", "t"), (Some(Reason::Inactive), MISS));
    assert_eq!((a.calls(), b.calls()), (1, 1));
}

#[test]
fn tokens_that_differ_in_one_byte_or_in_length_are_different_tokens() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("cache_ttl", "60")], &issuer, &clock);
    let long = "a".repeat(8000);
    let tokens = ["a", "aa", "b", "A", &long, &format!("{long}b"), "a="];
    for token in tokens {
        assert_eq!(instance.get("/", token), (None, MISS));
    }
    for token in tokens {
        assert_eq!(instance.get("/", token), (None, HIT));
    }
}

#[test]
fn c9_a_spray_of_tokens_that_are_not_active_drives_out_no_active_one() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let settings = [
        ("cache_ttl", "600"),
        ("negative_cache_ttl", "600"),
        ("cache_entries", "100"),
    ];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let good: Vec<_> = (0..50).map(|n| format!("good{n}")).collect();
    for token in &good {
        assert_eq!(instance.get("/", token), (None, MISS));
    }
    issuer.responds(inactive());
    for n in 0..10_000 {
        let verdict = instance.get("/", &format!("bad{n}"));
        assert_eq!(verdict, (Some(Reason::Inactive), MISS));
    }
    for token in &good {
        assert_eq!(instance.get("/", token), (None, HIT));
    }
    assert_eq!(
        instance.get("/", "bad9999"),
        (Some(Reason::Inactive), HIT),
        "the newest of the others is known too"
    );
    assert_eq!(issuer.calls(), 10_050);
}

#[test]
fn c11_a_fault_of_the_issuer_is_never_kept() {
    let faults = [
        Outcome::status(500, None),
        Outcome::status(429, None),
        Outcome::status(401, None),
        Outcome::json("{}"),
        Outcome::json("nonsense"),
        UNREACHABLE,
        TIMED_OUT,
        DENIED,
    ];
    for fault in faults {
        let (clock, issuer) = (Clock::new(), Issuer::new(fault));
        let settings = [("cache_ttl", "600"), ("negative_cache_ttl", "600")];
        let mut instance = Instance::new(&settings, &issuer, &clock);
        let (refused, cache) = instance.get("/", "t");
        assert_eq!((refused.unwrap().status(), cache), (503, MISS));
        issuer.responds(active(""));
        assert_eq!(instance.get("/", "t"), (None, MISS));
    }
}

#[test]
fn c12_a_revocation_is_seen_when_the_ttl_is_over_and_not_later() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("cache_ttl", "10")], &issuer, &clock);
    // The token is revoked while the answer is on its way: the ttl counts from the introspection call.
    let step = instance.begin("/", "t");
    clock.advance_ms(2_000);
    let verdict = instance.finish(step);
    assert_eq!(verdict.cache, MISS);
    issuer.responds(inactive());
    clock.advance_ms(7_998);
    assert_eq!(instance.get("/", "t"), (None, HIT));
    clock.advance_ms(2);
    assert_eq!(instance.get("/", "t"), (Some(Reason::Inactive), MISS));
    // And the token that was good is forgotten.
    assert_eq!(instance.get("/", "t"), (Some(Reason::Inactive), MISS));
    assert_eq!(issuer.calls(), 3);
}

#[test]
fn that_a_token_is_not_active_is_kept_for_its_own_time_and_never_longer_than_a_route_allows() {
    let rules = r#"[{"path":{"exact":"/short"},"ttl":2},{"path":{"exact":"/never"},"ttl":0}]"#;
    let (clock, issuer) = (Clock::new(), Issuer::new(inactive()));
    let settings = [
        ("cache_ttl", "60"),
        ("negative_cache_ttl", "5"),
        ("rules", rules),
    ];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let refused = Some(Reason::Inactive);
    assert_eq!(instance.get("/", "t"), (refused, MISS));
    assert_eq!(instance.get("/short", "t"), (refused, HIT));
    assert_eq!(instance.get("/never", "t"), (refused, MISS));
    clock.advance_ms(2_000);
    assert_eq!(instance.get("/", "t"), (refused, HIT));
    assert_eq!(instance.get("/short", "t"), (refused, MISS));
    clock.advance_ms(5_000);
    issuer.responds(active(""));
    assert_eq!(instance.get("/", "t"), (None, MISS));
    assert_eq!(instance.get("/", "t"), (None, HIT));
}

#[test]
fn of_two_results_in_the_same_millisecond_the_later_one_counts() {
    let rules = r#"[{"path":{"exact":"/never"},"ttl":0}]"#;
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("cache_ttl", "60"), ("rules", rules)], &issuer, &clock);
    assert_eq!(instance.get("/", "t"), (None, MISS));
    issuer.responds(inactive());
    let revoked = (Some(Reason::Inactive), MISS);
    assert_eq!(instance.get("/never", "t"), revoked);
    assert_eq!(instance.get("/", "t"), revoked);
}

#[test]
fn a_large_result_takes_the_room_of_many() {
    let large = format!(r#","x":"{}""#, "x".repeat(4 * 1024));
    for (claims, least_calls, most_calls) in [(String::new(), 0, 0), (large, 3, 5)] {
        let (clock, issuer) = (Clock::new(), Issuer::new(active(&claims)));
        let settings = [("cache_ttl", "60"), ("cache_entries", "10")];
        let mut instance = Instance::new(&settings, &issuer, &clock);
        for token in ["a", "b", "c", "d", "e"] {
            assert_eq!(instance.get("/", token), (None, MISS));
        }
        issuer.calls();
        for token in ["a", "b", "c", "d", "e"] {
            assert_eq!(instance.get("/", token).0, None);
        }
        let calls = issuer.calls();
        assert!((least_calls..=most_calls).contains(&calls), "{calls} calls");
    }
}

#[test]
fn of_more_tokens_than_entries_those_in_use_stay() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let settings = [("cache_ttl", "600"), ("cache_entries", "1000")];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    for round in 0..20 {
        for n in 0..100 {
            instance.get("/", &format!("hot{n}"));
        }
        for n in 0..500 {
            instance.get("/", &format!("once{}", round * 500 + n));
        }
    }
    issuer.calls();
    for n in 0..100 {
        assert_eq!(instance.get("/", &format!("hot{n}")), (None, HIT), "{n}");
    }
}

#[test]
fn a_request_whose_flight_was_abandoned_takes_what_a_later_one_left_in_the_cache() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("cache_ttl", "60")], &issuer, &clock);
    let (_leader, flight) = instance.call("/", "t");
    let joined = instance.join("/", "t");
    let _ = instance.check.abandon(flight, clock.now());
    assert_eq!(instance.get("/", "t"), (None, MISS));
    assert_eq!(issuer.calls(), 1);
    let verdict = instance.resume(joined);
    assert_eq!((reason(&verdict.decision), verdict.cache), (None, HIT));
    assert_eq!(issuer.calls(), 0);
}

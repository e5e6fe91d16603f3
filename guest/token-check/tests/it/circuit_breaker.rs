//! The issuer fails: one more try, a breaker, and what it said before.

use std::collections::VecDeque;
use std::time::Duration;

use token_check::{
    Action, CacheStatus, CallFailure, Fault, IntrospectionCall, IssuerCall as _, Progress, Reason,
    Sharing, Step,
};

use crate::fixture::{
    Clock, DENIED, Instance, Issuer, Outcome, START, SharedStore, TIMED_OUT, UNREACHABLE, active,
    finishes, inactive, introspects, reason,
};

const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);
const STALE: Option<CacheStatus> = Some(CacheStatus::Stale);
const OPEN: Option<Reason> = Some(Reason::IssuerCircuitOpen);

#[test]
fn a_broken_connection_is_retried_once_and_a_response_never() {
    for (first, second, questions, reason) in [
        (UNREACHABLE, active(""), 2, None),
        (UNREACHABLE, UNREACHABLE, 2, Some(Reason::IssuerUnreachable)),
        (
            UNREACHABLE,
            Outcome::status(500, None),
            2,
            Some(Reason::IssuerFailed),
        ),
        (
            Outcome::status(500, None),
            active(""),
            1,
            Some(Reason::IssuerFailed),
        ),
        (
            Outcome::status(429, None),
            active(""),
            1,
            Some(Reason::IssuerOverloaded),
        ),
        (TIMED_OUT, active(""), 1, Some(Reason::IssuerTimeout)),
        (DENIED, active(""), 1, Some(Reason::IssuerCallDenied)),
        (
            Outcome::json("{"),
            active(""),
            1,
            Some(Reason::IssuerAnswerMalformed),
        ),
        (inactive(), active(""), 1, Some(Reason::Inactive)),
    ] {
        let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
        issuer.responds_in_turn([first, second]);
        let mut instance = Instance::new(&[], &issuer, &clock);
        assert_eq!(instance.get("/", "t"), (reason, MISS));
        assert_eq!(issuer.calls(), questions, "{reason:?}");
    }
}

#[test]
fn the_retry_has_the_rest_of_the_callers_time() {
    let (clock, issuer) = (Clock::new(), Issuer::new(UNREACHABLE));
    let mut instance = Instance::new(&[("timeout", "5")], &issuer, &clock);
    for (spent_ms, left_ms) in [(1_000, Some(4_000)), (5_000, None)] {
        let (waiting, flight) = instance.call("/", "t");
        clock.advance_ms(spent_ms);
        let failed = Err(CallFailure::Unreachable);
        let progress = instance.check.responded(flight, failed, clock.now());
        match (progress, left_ms) {
            (Progress::Continue(Action::Introspect(_, call)), Some(left)) => {
                assert_eq!(call.timeout(), Duration::from_millis(left));
            }
            (Progress::Finished(ended), None) => {
                assert_eq!(
                    ended.fault.map(Fault::reason),
                    Some(Reason::IssuerUnreachable)
                );
            }
            (other, _) => panic!("{other:?}"),
        }
        drop(waiting);
    }
}

/// Breaks the circuit.
fn broken(settings: &[(&str, &str)]) -> (Clock, Issuer, Instance) {
    let (clock, issuer) = (Clock::new(), Issuer::new(Outcome::status(503, None)));
    let mut instance = Instance::new(settings, &issuer, &clock);
    for n in 0..5 {
        let failed = instance.get("/", &format!("t{n}"));
        assert_eq!(failed, (Some(Reason::IssuerFailed), MISS));
    }
    assert_eq!(issuer.calls(), 5);
    // The sixth sends the probe instead.
    assert_eq!(instance.get("/", "t"), (Some(Reason::IssuerFailed), MISS));
    assert_eq!(issuer.calls(), 1);
    (clock, issuer, instance)
}

#[test]
fn after_five_consecutive_faults_and_a_failed_probe_no_call_is_made_until_the_interval_is_over() {
    let (clock, issuer, mut instance) = broken(&[("probe_interval", "3")]);
    assert_eq!(instance.retry_after("/", "t"), (OPEN, Some(3)));
    clock.advance_ms(1_000);
    assert_eq!(instance.retry_after("/", "t"), (OPEN, Some(2)));
    clock.advance_ms(1_999);
    assert_eq!(instance.retry_after("/", "t"), (OPEN, Some(1)));
    assert_eq!(issuer.calls(), 0);
    clock.advance_ms(1);
    issuer.responds(active(""));
    assert_eq!(instance.get("/", "t"), (None, MISS));
    assert_eq!(issuer.calls(), 2, "the probe, and the call about the token");
    for _ in 0..3 {
        assert_eq!(instance.get("/", "t"), (None, MISS), "it is closed");
    }
    assert_eq!(issuer.calls(), 3);
}

/// The token that the next call asks about.
fn asked(call: &IntrospectionCall) -> &'static str {
    let body = String::from_utf8(call.body().to_vec()).unwrap();
    match body.contains("token=trust-triangle-probe") {
        true => "probe",
        false => "token",
    }
}

#[test]
fn five_faults_of_whatever_tokens_open_nothing_if_the_probe_is_answered() {
    for (fault, reason) in [
        (Outcome::status(503, None), Reason::IssuerFailed),
        (UNREACHABLE, Reason::IssuerUnreachable),
        (TIMED_OUT, Reason::IssuerTimeout),
    ] {
        for tokens in [1, 5] {
            let (clock, issuer) = (Clock::new(), Issuer::new(fault.clone()));
            let mut instance = Instance::new(&[], &issuer, &clock);
            for n in 0..5 {
                let failed = instance.get("/", &format!("bad{}", n % tokens));
                assert_eq!(failed, (Some(reason), MISS));
            }
            issuer.calls();
            issuer.responds_in_turn([inactive(), active("")]);
            assert_eq!(instance.get("/", "good"), (None, MISS));
            assert_eq!(issuer.calls(), 2, "the probe, and the call about the token");
            // For an interval nobody doubts the issuer again.
            issuer.responds(fault.clone());
            for n in 0..20 {
                let failed = instance.get("/", &format!("bad{}", n % tokens));
                assert_eq!(failed, (Some(reason), MISS));
            }
            issuer.responds(active(""));
            issuer.calls();
            assert_eq!(instance.get("/", "good"), (None, MISS));
            assert_eq!(issuer.calls(), 1);
        }
    }
}

#[test]
fn the_probe_asks_about_a_token_that_was_never_issued_and_goes_before_the_own_call() {
    let (clock, issuer, mut instance) = broken(&[("timeout", "5")]);
    clock.advance_ms(1_000);
    let (_waiting, flight, call) = introspects(instance.begin("/", "mine"));
    assert_eq!(asked(&call), "probe");
    assert_eq!(call.timeout(), Duration::from_secs(5));
    issuer.responds(inactive());
    clock.advance_ms(1_000);
    match instance
        .check
        .responded(flight, inactive().response(), clock.now())
    {
        Progress::Continue(Action::Introspect(_, call)) => {
            assert_eq!(asked(&call), "token");
            assert_eq!(call.timeout(), Duration::from_secs(4));
        }
        other => panic!("must call: {other:?}"),
    }
}

#[test]
fn what_answers_the_probe_closes_the_circuit_and_what_does_not_keeps_it_open() {
    for (outcome, is_closed) in [
        (inactive(), true),
        (active(""), true),
        (Outcome::status(400, None), true),
        (Outcome::status(401, None), true),
        (Outcome::status(404, None), true),
        (Outcome::json("nonsense"), true),
        // Some issuers send it for a token that they cannot parse.
        (Outcome::status(500, None), true),
        (Outcome::status(429, None), false),
        (Outcome::status(502, None), false),
        (Outcome::status(503, None), false),
        (Outcome::status(504, None), false),
        (Outcome::status(500, Some("3")), true),
        (TIMED_OUT, false),
        (UNREACHABLE, false),
    ] {
        let (clock, issuer, mut instance) = broken(&[]);
        clock.advance_ms(1_000);
        if matches!(outcome, Outcome::Failed(CallFailure::Unreachable)) {
            // It is tried once more.
            issuer.responds_in_turn([outcome.clone(), outcome.clone(), active("")]);
        } else {
            issuer.responds_in_turn([outcome.clone(), active("")]);
        }
        let (refused, _) = instance.get("/", "t");
        assert_eq!(refused.is_none(), is_closed, "{outcome:?}");
        let (refused, _) = instance.get("/", "other");
        assert_eq!(refused.is_none(), is_closed, "{outcome:?}");
    }
}

#[test]
fn an_answered_probe_closes_the_circuit_even_if_the_call_about_the_token_fails() {
    let (clock, issuer, mut instance) = broken(&[]);
    clock.advance_ms(1_000);
    issuer.responds_in_turn([inactive(), Outcome::status(502, None), active("")]);
    let failed = (Some(Reason::IssuerFailed), MISS);
    assert_eq!(instance.get("/", "bad"), failed);
    assert_eq!(instance.get("/", "good"), (None, MISS));
    assert_eq!(issuer.calls(), 3);
}

#[test]
fn one_probe_at_a_time_and_after_a_failed_one_the_next_interval() {
    let (clock, issuer, mut instance) = broken(&[]);
    clock.advance_ms(1_000);
    let (waiting, flight) = instance.call("/", "first");
    for _ in 0..10 {
        assert_eq!(instance.get("/", "other"), (OPEN, MISS));
    }
    // Not even with the same token.
    assert_eq!(
        instance.get("/", "first"),
        (OPEN, Some(CacheStatus::Collapsed))
    );
    let ended = instance.respond(flight);
    assert_eq!(ended.fault.map(Fault::reason), Some(Reason::IssuerFailed));
    let verdict = instance.resume(waiting);
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerFailed));
    assert_eq!(verdict.cache, MISS, "it tells what it met");
    assert_eq!(instance.get("/", "other"), (OPEN, MISS));
    clock.advance_ms(999);
    assert_eq!(instance.get("/", "other"), (OPEN, MISS));
    clock.advance_ms(1);
    issuer.calls();
    issuer.responds(active(""));
    assert_eq!(instance.get("/", "other"), (None, MISS));
    assert_eq!(issuer.calls(), 2);
}

#[test]
fn an_abandoned_or_lost_probe_makes_room_for_the_next() {
    let (clock, issuer, mut instance) = broken(&[("timeout", "5")]);
    clock.advance_ms(1_000);
    issuer.responds(active(""));
    let (_, flight) = instance.call("/", "a");
    let _ = instance.check.abandon(flight, clock.now());
    let (_, flight) = instance.call("/", "b");
    drop(flight);
    // Nobody told the core yet.
    assert_eq!(instance.get("/", "c"), (OPEN, MISS));
    clock.advance_ms(5_000);
    assert_eq!(instance.get("/", "c"), (None, MISS), "its time is over");
}

#[test]
fn a_response_in_between_resets_the_count() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[], &issuer, &clock);
    for _ in 0..10 {
        issuer.responds(Outcome::status(503, None));
        for n in 0..4 {
            let failed = instance.get("/", &format!("t{n}"));
            assert_eq!(failed, (Some(Reason::IssuerFailed), MISS));
        }
        // Not the answer that we wish for; but the issuer is there.
        issuer.responds(Outcome::status(401, None));
        let refused = instance.get("/", "t");
        assert_eq!(refused, (Some(Reason::IssuerRejectedClient), MISS));
    }
    assert_eq!(issuer.calls(), 50);
}

#[test]
fn what_is_not_an_outage_opens_nothing_and_0_never_opens() {
    for says in [
        // Some issuers give it for a token that they cannot read, and any caller can send one.
        Outcome::status(500, None),
        Outcome::status(401, None),
        Outcome::status(302, None),
        Outcome::json("nonsense"),
        DENIED,
    ] {
        let (clock, issuer) = (Clock::new(), Issuer::new(says));
        let mut instance = Instance::new(&[], &issuer, &clock);
        for _ in 0..20 {
            assert_ne!(instance.get("/", "t").0, OPEN);
        }
        assert_eq!(issuer.calls(), 20);
    }
    let (clock, issuer) = (Clock::new(), Issuer::new(Outcome::status(503, None)));
    let mut instance = Instance::new(&[("breaker_faults", "0")], &issuer, &clock);
    for _ in 0..20 {
        assert_eq!(instance.get("/", "t"), (Some(Reason::IssuerFailed), MISS));
    }
    assert_eq!(issuer.calls(), 20);
}

const WAITS: [(u16, &str, Reason, u32); 5] = [
    (429, "7", Reason::IssuerOverloaded, 7),
    (503, "7", Reason::IssuerFailed, 7),
    (429, " 7 ", Reason::IssuerOverloaded, 7),
    // START is Fri, 15 Jan 2027 08:00:00 GMT.
    (
        429,
        "Fri, 15 Jan 2027 08:00:07 GMT",
        Reason::IssuerOverloaded,
        7,
    ),
    (429, "86400", Reason::IssuerOverloaded, 60),
];

#[test]
fn rfc9110_s10_2_3_retry_after_for_a_token_is_obeyed_for_this_token_only() {
    assert_eq!(START, 1_800_000_000);
    for (status, header, reason, seconds) in WAITS {
        let (clock, issuer) = (
            Clock::new(),
            Issuer::new(Outcome::status(status, Some(header))),
        );
        let mut instance = Instance::new(&[], &issuer, &clock);
        let told = (Some(reason), Some(seconds));
        assert_eq!(instance.retry_after("/", "a"), told, "{header}");
        issuer.responds(active(""));
        assert_eq!(instance.retry_after("/", "a"), told, "{header}");
        assert_eq!(issuer.calls(), 1, "{header}");
        assert_eq!(instance.get("/", "b"), (None, MISS));
        assert_eq!(issuer.calls(), 1, "{header}: no probe either");
        clock.advance_ms(u64::from(seconds) * 1000 - 1);
        assert_eq!(instance.get("/", "a"), (Some(reason), MISS));
        assert_eq!(issuer.calls(), 0, "{header}");
        clock.advance_ms(1);
        assert_eq!(instance.get("/", "a"), (None, MISS));
    }
    for header in NO_WAITS {
        let (clock, issuer) = (
            Clock::new(),
            Issuer::new(Outcome::status(429, Some(header))),
        );
        let mut instance = Instance::new(&[], &issuer, &clock);
        let told = (Some(Reason::IssuerOverloaded), Some(1));
        assert_eq!(instance.retry_after("/", "a"), told, "{header}");
        issuer.responds(active(""));
        assert_eq!(instance.get("/", "a"), (None, MISS), "{header}: no pause");
    }
}

const NO_WAITS: [&str; 7] = [
    "0",
    "-1",
    "soon",
    "",
    "1.5",
    "Fri, 15 Jan 2027 07:59:59 GMT",
    "99999999999999999999999",
];

#[test]
fn retry_after_for_the_probe_is_obeyed_for_everybody() {
    for (status, header, reason, seconds) in WAITS {
        let (clock, issuer) = (
            Clock::new(),
            Issuer::new(Outcome::status(status, Some(header))),
        );
        let mut instance = Instance::new(&[], &issuer, &clock);
        let told = (Some(reason), Some(seconds));
        assert_eq!(instance.retry_after("/", "a"), told, "{header}");
        assert_eq!(instance.retry_after("/", "b"), told, "{header}");
        // Two tokens: perhaps it means all of them. The third sends the probe.
        assert_eq!(instance.retry_after("/", "c"), told, "{header}");
        assert_eq!(issuer.calls(), 3);
        issuer.responds(active(""));
        assert_eq!(instance.retry_after("/", "d"), told, "{header}");
        clock.advance_ms(u64::from(seconds) * 1000 - 1);
        assert_eq!(instance.get("/", "d"), (Some(reason), MISS));
        assert_eq!(issuer.calls(), 0, "{header}");
        clock.advance_ms(1);
        assert_eq!(instance.get("/", "d"), (None, MISS));
    }
}

#[test]
fn retry_after_for_two_tokens_holds_nobody_else_if_the_probe_is_answered() {
    let wait = Outcome::status(503, Some("60"));
    let (clock, issuer) = (Clock::new(), Issuer::new(wait.clone()));
    let mut instance = Instance::new(&[], &issuer, &clock);
    let told = (Some(Reason::IssuerFailed), Some(60));
    assert_eq!(instance.retry_after("/", "a"), told);
    assert_eq!(instance.retry_after("/", "b"), told);
    issuer.calls();
    issuer.responds(active(""));
    assert_eq!(instance.get("/", "good"), (None, MISS));
    assert_eq!(issuer.calls(), 2, "the probe, and the call about the token");
    assert_eq!(instance.get("/", "good"), (None, MISS));
    assert_eq!(issuer.calls(), 1);
    assert_eq!(instance.retry_after("/", "a"), told);
    assert_eq!(instance.retry_after("/", "b"), told);
}

#[test]
fn stale_facts_count_while_the_issuer_fails_for_so_long_and_no_longer() {
    for says in [
        UNREACHABLE,
        TIMED_OUT,
        Outcome::status(500, None),
        Outcome::status(429, None),
    ] {
        let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
        let settings = [
            ("cache_ttl", "10"),
            ("stale_if_error", "20"),
            ("breaker_faults", "0"),
        ];
        let mut instance = Instance::new(&settings, &issuer, &clock);
        assert_eq!(instance.get("/", "t"), (None, MISS));
        issuer.responds(says);
        clock.advance_ms(10_000);
        assert_eq!(instance.get("/", "t"), (None, STALE));
        clock.advance_ms(19_999);
        assert_eq!(instance.get("/", "t"), (None, STALE));
        let (refused, cache) = instance.get("/", "never-seen");
        assert_eq!((refused.unwrap().status(), cache), (503, MISS));
        clock.advance_ms(1);
        let (refused, cache) = instance.get("/", "t");
        assert_eq!((refused.unwrap().status(), cache), (503, MISS));
        // It is back: its word counts again, and only that.
        issuer.responds(inactive());
        assert_eq!(instance.get("/", "t"), (Some(Reason::Inactive), MISS));
        issuer.responds(UNREACHABLE);
        let (refused, _) = instance.get("/", "t");
        assert_eq!(refused, Some(Reason::IssuerUnreachable));
    }
}

/// What is cached about this token, of these claims, is 10 s old, and may be used for 60 s more while
/// the issuer fails.
fn outdated(token: &str, claims: &str, settings: &[(&str, &str)]) -> (Clock, Issuer, Instance) {
    let (clock, issuer) = (Clock::new(), Issuer::new(active(claims)));
    let settings = [&[("cache_ttl", "10"), ("stale_if_error", "60")], settings].concat();
    let mut instance = Instance::new(&settings, &issuer, &clock);
    assert_eq!(instance.get("/", token), (None, MISS));
    clock.advance_ms(10_000);
    (clock, issuer, instance)
}

#[test]
fn stale_facts_answer_at_once_while_the_circuit_is_open_and_are_checked_as_all_are() {
    let rules = r#"[{"path":{"exact":"/write"},"scopes":{"all":["write"]}},{"path":{"exact":"/never"},"ttl":0}]"#;
    let (_, issuer, mut instance) = outdated(
        "t",
        r#","scope":"read""#,
        &[("breaker_faults", "1"), ("rules", rules)],
    );
    issuer.responds(Outcome::status(502, None));
    assert_eq!(instance.get("/", "t"), (None, STALE));
    assert_eq!(issuer.calls(), 3, "the token, and the probe");
    assert_eq!(instance.get("/", "t"), (None, STALE));
    assert_eq!(
        instance.get("/write", "t"),
        (Some(Reason::InsufficientScope), STALE)
    );
    assert_eq!(
        instance.get("/never", "t"),
        (OPEN, MISS),
        "a route that allows no age allows this none"
    );
    assert_eq!(issuer.calls(), 0);
}

#[test]
fn stale_facts_never_count_past_exp_nor_when_the_issuer_answers_wrongly_or_refuses_us() {
    let exp = format!(r#","exp":{}"#, START + 15);
    let (clock, issuer) = (Clock::new(), Issuer::new(active(&exp)));
    let settings = [("cache_ttl", "10"), ("stale_if_error", "600")];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    assert_eq!(instance.get("/", "t"), (None, MISS));
    clock.advance_ms(10_000);
    issuer.calls();
    for (says, reason) in [
        (Outcome::status(401, None), Reason::IssuerRejectedClient),
        (Outcome::status(302, None), Reason::IssuerRedirected),
        (Outcome::status(404, None), Reason::IssuerUnexpectedStatus),
        (Outcome::json("nonsense"), Reason::IssuerAnswerMalformed),
        (DENIED, Reason::IssuerCallDenied),
    ] {
        issuer.responds(says);
        assert_eq!(instance.get("/", "t"), (Some(reason), MISS));
        assert_eq!(issuer.calls(), 1, "no probe: this is no outage");
    }
    issuer.responds(TIMED_OUT);
    clock.advance_ms(4_999);
    assert_eq!(instance.get("/", "t"), (None, STALE));
    clock.advance_ms(1);
    assert_eq!(instance.get("/", "t"), (Some(Reason::IssuerTimeout), MISS));
}

#[test]
fn a_call_whose_token_has_stale_facts_has_all_of_the_time_and_the_next_one_probes_first() {
    let (clock, _, mut instance) = outdated("t", "", &[("timeout", "2")]);
    let timed_out = || Err(CallFailure::Timeout);
    let whole = |name| (name, Duration::from_secs(2));
    let (leader, flight, call) = introspects(instance.begin("/", "t"));
    assert_eq!((asked(&call), call.timeout()), whole("token"));
    let joined = instance.join("/", "t");
    clock.advance_ms(1_999);
    let _ = finishes(instance.check.responded(flight, timed_out(), clock.now()));
    let slow = (Some(Reason::IssuerTimeout), MISS);
    for (request, cache) in [(leader, MISS), (joined, Some(CacheStatus::Collapsed))] {
        let verdict = instance.resume(request);
        let context = (reason(&verdict.decision), verdict.cache);
        assert_eq!(context, (slow.0, cache), "it may only be slow");
    }
    let (leader, flight, call) = introspects(instance.begin("/", "t"));
    assert_eq!((asked(&call), call.timeout()), whole("probe"));
    let joined = instance.join("/", "t");
    clock.advance_ms(1_999);
    let _ = finishes(instance.check.responded(flight, timed_out(), clock.now()));
    assert_eq!(instance.resume(leader).cache, STALE);
    assert_eq!(instance.resume(joined).cache, STALE);
    // A token without stale facts is no reason to probe yet.
    let (_leader, _flight, call) = introspects(instance.begin("/", "fresh"));
    assert_eq!(asked(&call), "token");
}

#[test]
fn a_request_whose_flight_began_much_later_gets_no_stale_facts_at_its_deadline() {
    let (clock, _, mut instance) = outdated("t", "", &[("timeout", "2")]);
    let (_leader, _flight) = instance.call("/", "t");
    let waiting = instance.join("/", "t");
    clock.advance_ms(2_000);
    let verdict = instance.resume(waiting);
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerTimeout));
}

#[test]
fn a_request_that_joined_gets_stale_facts_at_its_deadline_if_the_circuit_has_opened_meanwhile() {
    let (clock, issuer, mut instance) =
        outdated("t", "", &[("timeout", "2"), ("breaker_faults", "1")]);
    let (_leader, _flight) = instance.call("/", "t");
    let joined = instance.join("/", "t");
    issuer.responds(Outcome::status(503, None));
    for token in ["x", "y"] {
        assert_eq!(instance.get("/", token), (Some(Reason::IssuerFailed), MISS));
    }
    clock.advance_ms(2_000);
    let verdict = instance.resume(joined);
    assert_eq!((reason(&verdict.decision), verdict.cache), (None, STALE));
}

/// A revoked token, whose caller can make the issuer fail for this token.
#[test]
fn stale_facts_never_count_while_the_issuer_fails_for_one_token_only() {
    for (fault, reason) in [
        (Outcome::status(500, None), Reason::IssuerFailed),
        (Outcome::status(502, None), Reason::IssuerFailed),
        (Outcome::status(503, Some("60")), Reason::IssuerFailed),
        (Outcome::status(429, Some("60")), Reason::IssuerOverloaded),
        (TIMED_OUT, Reason::IssuerTimeout),
        (UNREACHABLE, Reason::IssuerUnreachable),
    ] {
        for probe in [inactive(), Outcome::status(401, None)] {
            let (_, issuer, mut instance) = outdated("revoked", "", &[]);
            let mut script = vec![fault.clone(), probe.clone()];
            if matches!(fault, Outcome::Failed(CallFailure::Unreachable)) {
                script.insert(0, fault.clone());
            }
            issuer.responds_in_turn(script);
            assert_eq!(instance.get("/", "revoked"), (Some(reason), MISS));
            issuer.responds(active(""));
            assert_eq!(instance.get("/", "good"), (None, MISS));
        }
    }
}

/// A revoked token at an issuer that takes 60 % of the timeout for each answer: the issuer is slow,
/// not down, and answers another token while the call about this one is in progress.
#[test]
fn stale_facts_never_count_while_the_issuer_answers_others_in_time() {
    let (clock, _, mut instance) = outdated("revoked", "", &[("timeout", "5")]);
    let takes = Duration::from_secs(3);
    let (leader, flight, own) = introspects(instance.begin("/", "revoked"));
    let (other, other_flight, _) = introspects(instance.begin("/", "other"));
    // Answered as soon as the issuer can, or else at the end of its time.
    let answer = |call: &IntrospectionCall| {
        let in_time = call.timeout() >= takes;
        let outcome = if in_time { inactive() } else { TIMED_OUT };
        (call.timeout().min(takes), outcome)
    };
    let (after, outcome) = answer(&own);
    clock.advance(after);
    let mut progress = (instance.check).responded(flight, outcome.response(), clock.now());
    clock.advance(takes - after);
    let finished = instance
        .check
        .responded(other_flight, active("").response(), clock.now());
    let _ = finishes(finished);
    assert_eq!(reason(&instance.resume(other).decision), None);
    if let Progress::Continue(Action::Introspect(flight, probe)) = progress {
        assert_eq!(asked(&probe), "probe");
        let sent_before = takes - after;
        let (after, outcome) = answer(&probe);
        clock.advance(after - sent_before);
        progress = (instance.check).responded(flight, outcome.response(), clock.now());
    }
    let _ = finishes(progress);
    let verdict = instance.resume(leader);
    assert!(
        reason(&verdict.decision).is_some(),
        "granted: {:?}",
        verdict.cache
    );
}

/// The issuer is there if it answers anybody after the call was sent: with anything but a 5xx.
#[test]
fn a_call_that_fails_is_followed_by_a_probe_unless_the_issuer_answered_another_meanwhile() {
    for (meanwhile, probes) in [
        (inactive(), false),
        (Outcome::status(499, None), false),
        (Outcome::status(500, None), true),
        (Outcome::status(503, None), true),
    ] {
        let (clock, _, mut instance) = outdated("t", "", &[]);
        let (_leader, flight) = instance.call("/", "t");
        let (_other, other) = instance.call("/", "other");
        clock.advance_ms(1);
        let response = meanwhile.response();
        let _ = finishes((instance.check).responded(other, response, clock.now()));
        clock.advance_ms(1);
        let failed = Outcome::status(503, None).response();
        let probed = match instance.check.responded(flight, failed, clock.now()) {
            Progress::Continue(Action::Introspect(_, call)) => asked(&call) == "probe",
            progress => finishes(progress).fault.is_none(),
        };
        assert_eq!(probed, probes, "{meanwhile:?}");
    }
}

#[test]
fn a_probe_that_had_little_time_proves_no_outage() {
    let (clock, _, mut instance) = outdated("t", "", &[("timeout", "4")]);
    let (leader, flight) = instance.call("/", "t");
    clock.advance_ms(2_000);
    let failed = Outcome::status(503, None).response();
    let progress = (instance.check).responded(flight, failed, clock.now());
    let Progress::Continue(Action::Introspect(probe, call)) = progress else {
        panic!("must probe: {progress:?}");
    };
    let expected = ("probe", Duration::from_secs(2));
    assert_eq!((asked(&call), call.timeout()), expected);
    clock.advance_ms(2_000);
    let _ = finishes((instance.check).responded(probe, TIMED_OUT.response(), clock.now()));
    let verdict = instance.resume(leader);
    let context = (reason(&verdict.decision), verdict.cache);
    assert_eq!(context, (Some(Reason::IssuerFailed), MISS));
}

#[test]
fn a_call_that_fails_after_the_circuit_has_opened_needs_no_probe_for_stale_facts() {
    let (clock, issuer, mut instance) = outdated("t", "", &[("breaker_faults", "1")]);
    let (leader, flight) = instance.call("/", "t");
    issuer.responds(Outcome::status(503, None));
    for token in ["x", "y"] {
        assert_eq!(instance.get("/", token), (Some(Reason::IssuerFailed), MISS));
    }
    let failed = Outcome::status(503, None).response();
    let _ = finishes((instance.check).responded(flight, failed, clock.now()));
    assert_eq!(instance.resume(leader).cache, STALE);
}

/// The shared store took the rest of its time.
#[test]
fn a_request_with_little_time_left_probes_no_open_circuit() {
    let (clock, issuer) = (Clock::new(), Issuer::new(Outcome::status(503, None)));
    let settings = [
        ("cache_ttl", "10"),
        ("timeout", "4"),
        ("breaker_faults", "1"),
    ];
    let store = SharedStore::default();
    let mut instance = Instance::sharing(&settings, &issuer, &clock, Sharing::Plain, &store);
    for _ in 0..2 {
        let failed = (Some(Reason::IssuerFailed), MISS);
        assert_eq!(instance.get("/", "bad"), failed);
    }
    clock.advance_ms(1_000);
    let (late, action) = instance.lead("/", "t");
    let Action::StoreGet(ticket, _) = action else {
        panic!("must read: {action:?}");
    };
    clock.advance_ms(2_300);
    let _ = finishes((instance.check).store_read(ticket, Ok(None), clock.now()));
    assert_eq!(reason(&instance.resume(late).decision), OPEN);
}

/// A 500 about the token is no such answer: the probe decides.
#[test]
fn stale_facts_count_if_the_issuer_answers_500_for_the_token_and_for_the_probe() {
    let (_, issuer, mut instance) = outdated("t", "", &[]);
    issuer.responds(Outcome::status(500, None));
    assert_eq!(instance.get("/", "t"), (None, STALE));
    assert_eq!(issuer.calls(), 3, "before, the token, and the probe");
}

/// At the same issuer, a caller whose cached result is over must not open the circuit for all.
#[test]
fn a_token_with_stale_facts_opens_no_circuit_while_the_issuer_is_only_slow() {
    let (clock, _, mut instance) =
        outdated("t", "", &[("timeout", "5"), ("stale_if_error", "600")]);
    let takes = Duration::from_secs(3);
    for _ in 0..3 {
        let (leader, flight, call) = introspects(instance.begin("/", "t"));
        let (mut flight, mut call) = (flight, call);
        loop {
            let in_time = call.timeout() >= takes;
            let outcome = if in_time { active("") } else { TIMED_OUT };
            clock.advance(call.timeout().min(takes));
            match (instance.check).responded(flight, outcome.response(), clock.now()) {
                Progress::Continue(Action::Introspect(next, next_call)) => {
                    (flight, call) = (next, next_call);
                }
                progress => {
                    let _ = finishes(progress);
                    break;
                }
            }
        }
        assert_eq!(reason(&instance.resume(leader).decision), None);
        clock.advance_ms(10_000);
    }
    // Nothing was ever wrong with the issuer.
    assert_ne!(instance.get("/", "good").0, OPEN);
}

/// A caller left when the time of its request was nearly over. The issuer answers in 300 ms, and the
/// same token comes every 100 ms.
#[test]
fn a_call_with_little_time_left_is_not_what_every_later_request_waits_for() {
    const EVERY: Duration = Duration::from_millis(100);
    let takes = 3 * EVERY;
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[("timeout", "5")], &issuer, &clock);
    let (_left, flight) = instance.call("/", "t");
    let mut waiting = VecDeque::new();
    let arrive = |instance: &mut Instance, waiting: &mut VecDeque<_>| {
        clock.advance(EVERY);
        waiting.push_back(instance.join("/", "t"));
    };
    for _ in 0..49 {
        arrive(&mut instance, &mut waiting);
    }
    let _ = instance.check.abandon(flight, clock.now());
    let mut refused = 0;
    let granted = loop {
        let next = waiting
            .pop_front()
            .expect("a request arrives with each call");
        let (leader, flight, call) = match instance.check.resume(next, clock.now()) {
            Step::Done(_) => {
                refused += 1;
                continue;
            }
            step => introspects(step),
        };
        waiting = (waiting.into_iter())
            .map(
                |request| match instance.check.resume(request, clock.now()) {
                    Step::Join(request) => request,
                    step => panic!("must join: {step:?}"),
                },
            )
            .collect();
        let in_time = call.timeout() >= takes;
        let mut left = call.timeout().min(takes);
        while left >= EVERY {
            arrive(&mut instance, &mut waiting);
            left -= EVERY;
        }
        clock.advance(left);
        let outcome = if in_time { active("") } else { TIMED_OUT };
        let _ = finishes((instance.check).responded(flight, outcome.response(), clock.now()));
        let verdict = instance.resume(leader);
        if reason(&verdict.decision).is_none() {
            break true;
        }
        refused += 1;
        if refused > 500 {
            break false;
        }
    };
    assert!(
        granted,
        "{refused} requests refused, in {:?}",
        refused * EVERY
    );
}

#[test]
fn a_held_or_queued_token_gets_no_stale_facts() {
    let (clock, issuer, mut instance) = outdated("t", "", &[("max_calls", "1")]);
    issuer.responds_in_turn([Outcome::status(503, Some("30")), inactive()]);
    for _ in 0..2 {
        let held = (Some(Reason::IssuerFailed), MISS);
        assert_eq!(instance.get("/", "t"), held);
    }
    clock.advance_ms(30_000);
    let (_other, _flight) = instance.call("/", "other");
    let queued = instance.join("/", "t");
    clock.advance_ms(10_000);
    let verdict = instance.resume(queued);
    assert_eq!(reason(&verdict.decision), Some(Reason::TooBusy));
}

#[test]
fn one_token_that_makes_the_issuer_fail_does_not_affect_others() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[], &issuer, &clock);
    for _ in 0..20 {
        for _ in 0..5 {
            let (_waiting, flight, call) = introspects(instance.begin("/", "poison"));
            let outcome = match asked(&call) {
                "probe" => inactive(),
                _ => Outcome::status(502, None),
            };
            let mut progress = instance
                .check
                .responded(flight, outcome.response(), clock.now());
            if let Progress::Continue(Action::Introspect(flight, call)) = progress {
                assert_eq!(asked(&call), "token");
                let failed = Outcome::status(502, None).response();
                progress = instance.check.responded(flight, failed, clock.now());
            }
            let ended = finishes(progress);
            assert_eq!(ended.fault.map(Fault::reason), Some(Reason::IssuerFailed));
        }
        assert_eq!(instance.get("/", "good"), (None, MISS));
        clock.advance_ms(1_000);
    }
}

/// Opens the circuit for 9 s.
fn told_to_wait(instance: &mut Instance, issuer: &Issuer) {
    issuer.responds(Outcome::status(429, Some("9")));
    let told = (Some(Reason::IssuerOverloaded), Some(9));
    for token in ["a", "b", "c"] {
        assert_eq!(instance.retry_after("/", token), told);
    }
}

#[test]
fn a_response_to_an_older_call_does_not_end_a_retry_after() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let mut instance = Instance::new(&[], &issuer, &clock);
    let (_waiting, early) = instance.call("/", "early");
    clock.advance_ms(10);
    told_to_wait(&mut instance, &issuer);
    issuer.responds(active(""));
    let _ended = instance.respond(early);
    let told = (Some(Reason::IssuerOverloaded), Some(9));
    assert_eq!(instance.retry_after("/", "d"), told);
}

#[test]
fn a_response_to_a_call_that_was_repeated_later_ends_a_retry_after() {
    for (later_ms, ends) in [(0, false), (1, true)] {
        let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
        let mut instance = Instance::new(&[], &issuer, &clock);
        let (_waiting, early) = instance.call("/", "early");
        told_to_wait(&mut instance, &issuer);
        clock.advance_ms(later_ms);
        let failed = Err(CallFailure::Unreachable);
        let progress = instance.check.responded(early, failed, clock.now());
        let Progress::Continue(Action::Introspect(repeated, _)) = progress else {
            panic!("must call again: {progress:?}");
        };
        issuer.responds(active(""));
        let _ended = instance.respond(repeated);
        let refused = (!ends).then_some(Reason::IssuerOverloaded);
        assert_eq!(instance.get("/", "d"), (refused, MISS), "{later_ms} ms");
    }
}

#[test]
fn a_retry_after_that_is_over_makes_no_other_one_suspicious() {
    let (clock, issuer) = (Clock::new(), Issuer::new(Outcome::status(503, Some("1"))));
    let mut instance = Instance::new(&[], &issuer, &clock);
    for token in ["a", "b", "b"] {
        let failed = (Some(Reason::IssuerFailed), MISS);
        assert_eq!(instance.get("/", token), failed);
        clock.advance_ms(1_000);
    }
    assert_eq!(issuer.calls(), 3);
    let (_request, _flight, call) = introspects(instance.begin("/", "c"));
    assert_eq!(asked(&call), "token");
}

#[test]
fn one_token_suffices_to_open_and_close_the_circuit() {
    for says in [UNREACHABLE, TIMED_OUT] {
        let (clock, issuer) = (Clock::new(), Issuer::new(says));
        let mut instance = Instance::new(&[], &issuer, &clock);
        for _ in 0..6 {
            assert_ne!(instance.get("/", "only").0, OPEN);
        }
        assert_eq!(instance.get("/", "only"), (OPEN, MISS));
        clock.advance_ms(1_000);
        issuer.responds(active(""));
        assert_eq!(instance.get("/", "only"), (None, MISS));
    }
}

/// An instance that probes: nobody else waits for that.
#[test]
fn with_the_circuit_open_only_the_probing_request_waits_for_the_issuer() {
    let (clock, issuer, mut instance) = outdated("t", "", &[("breaker_faults", "1")]);
    issuer.responds(TIMED_OUT);
    assert_eq!(instance.get("/", "t"), (None, STALE));
    clock.advance_ms(1_000);
    let (_, probe) = instance.call("/", "t");
    assert_eq!(instance.get("/", "t"), (None, STALE));
    assert_eq!(instance.get("/", "other"), (OPEN, MISS));
    drop(probe);
}

#[test]
fn with_the_circuit_open_no_request_waits_for_another_instances_probe() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let store = SharedStore::default();
    let settings = [
        ("cache_ttl", "10"),
        ("stale_if_error", "60"),
        ("breaker_faults", "1"),
    ];
    let instance =
        || Instance::sharing(&settings, &issuer, &clock, Sharing::CompareAndSwap, &store);
    let (mut one, mut other) = (instance(), instance());
    assert_eq!(one.get("/", "t"), (None, MISS));
    clock.advance_ms(10_000);
    issuer.responds(TIMED_OUT);
    for instance in [&mut one, &mut other] {
        for _ in 0..2 {
            assert_eq!(instance.get("/", "x"), (Some(Reason::IssuerTimeout), MISS));
        }
    }
    // One's breaker lets a probe through, the other's was opened a little later.
    clock.advance_ms(1_000);
    let (_, _probe) = one.call("/", "t");
    assert_eq!(other.get("/", "t"), (None, STALE));
}

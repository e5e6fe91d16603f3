//! `max_calls` and `max_waiting`: what callers can make one instance do at once.

use core::time::Duration;

use token_check::{
    Action, AwaitingResponse, CacheStatus, Parked, PendingRequest, Progress, Reason, Step,
};

use crate::fixture::{
    Clock, Instance, Issuer, Outcome, TIMED_OUT, active, finishes, inactive, introspects, reason,
};

const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);
const TOO_BUSY: Option<Reason> = Some(Reason::TooBusy);

struct World {
    clock: Clock,
    issuer: Issuer,
    instance: Instance,
}

impl World {
    fn new(settings: &[(&str, &str)]) -> Self {
        let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
        let instance = Instance::new(settings, &issuer, &clock);
        Self {
            clock,
            issuer,
            instance,
        }
    }

    /// A request that waits for its turn.
    fn queue(&mut self, token: &str, waker: u32) -> PendingRequest {
        let step = self.instance.begin("/", token);
        let request = self.joins(step);
        assert!(self.instance.check.is_queued(&request), "{token}");
        assert_eq!(self.instance.check.park(&request, waker), Parked::Yes);
        request
    }

    fn joins(&mut self, step: Step<u32>) -> PendingRequest {
        match step {
            Step::Join(request) => request,
            Step::Finished(request, finished) => {
                assert_eq!(finished.woken, [0_u32; 0]);
                let step = self.instance.check.resume(request, self.clock.now());
                self.joins(step)
            }
            other => panic!("must join: {other:?}"),
        }
    }

    /// The turn of this request has come: it calls the issuer.
    fn turn(&mut self, request: PendingRequest) -> (PendingRequest, AwaitingResponse) {
        let step = self.instance.check.resume(request, self.clock.now());
        let (request, ticket, _) = introspects(step);
        (request, ticket)
    }

    /// Responds, and returns who is woken.
    fn respond(&mut self, ticket: AwaitingResponse) -> Vec<u32> {
        self.instance.respond(ticket).woken
    }
}

#[test]
fn max_calls_are_in_progress_and_the_others_wait_for_their_turn_in_order() {
    let mut world = World::new(&[("max_calls", "2")]);
    let (first, a) = world.instance.call("/", "a");
    let (_second, b) = world.instance.call("/", "b");
    let c = world.queue("c", 3);
    let d = world.queue("d", 4);
    let e = world.queue("e", 5);
    assert_eq!(world.respond(a), [3]);
    assert_eq!(reason(&world.instance.resume(first).decision), None);
    assert_eq!(world.respond(b), [4]);
    // Resumed in whatever order.
    let (d, d_call) = world.turn(d);
    let (c, c_call) = world.turn(c);
    assert_eq!(world.respond(c_call), [5]);
    assert_eq!(world.respond(d_call), [0_u32; 0]);
    let (e, e_call) = world.turn(e);
    assert_eq!(world.respond(e_call), [0_u32; 0]);
    for request in [c, d, e] {
        let verdict = world.instance.resume(request);
        assert_eq!((reason(&verdict.decision), verdict.cache), (None, MISS));
    }
    assert_eq!(world.issuer.calls(), 5);
}

#[test]
fn requests_for_one_queued_token_share_its_turn() {
    let mut world = World::new(&[("max_calls", "1")]);
    let (_first, a) = world.instance.call("/", "a");
    let one = world.queue("b", 1);
    let two = world.queue("b", 2);
    // The last to arrive has the most time for the call.
    assert_eq!(world.respond(a), [2, 1]);
    let (two, call) = world.turn(two);
    let Step::Join(one) = world.instance.check.resume(one, world.clock.now()) else {
        panic!("must join");
    };
    assert_eq!(world.instance.check.park(&one, 1), Parked::Yes);
    assert_eq!(world.respond(call), [1]);
    assert_eq!(world.instance.resume(two).cache, MISS);
    assert_eq!(
        world.instance.resume(one).cache,
        Some(CacheStatus::Collapsed)
    );
    assert_eq!(world.issuer.calls(), 2);
}

#[test]
fn a_new_request_for_a_token_whose_turn_has_come_takes_it() {
    let mut world = World::new(&[("max_calls", "1")]);
    let (_first, a) = world.instance.call("/", "a");
    let slow = world.queue("b", 1);
    assert_eq!(world.respond(a), [1]);
    let (quick, call, _) = introspects(world.instance.begin("/", "b"));
    let Step::Join(slow) = world.instance.check.resume(slow, world.clock.now()) else {
        panic!("must join");
    };
    assert_eq!(world.instance.check.park(&slow, 1), Parked::Yes);
    assert_eq!(world.respond(call), [1]);
    assert_eq!(reason(&world.instance.resume(quick).decision), None);
    assert_eq!(reason(&world.instance.resume(slow).decision), None);
}

#[test]
fn past_max_waiting_a_request_is_refused_at_once() {
    let mut world = World::new(&[("max_calls", "1"), ("max_waiting", "4")]);
    // Strangers may take three of four places.
    let (_first, _a) = world.instance.call("/", "a");
    let _b = world.queue("b", 1);
    let c = world.queue("c", 2);
    let verdict = world.instance.request("/", "d");
    let context = (reason(&verdict.decision), verdict.cache);
    assert_eq!(context, (TOO_BUSY, MISS));
    assert_eq!(world.instance.retry_after("/", "d"), (TOO_BUSY, Some(1)));
    // One more that waits for a call in progress is one more that waits.
    assert_eq!(world.instance.get("/", "a"), (TOO_BUSY, MISS));
    // One leaves, so there is a place.
    let _ = world.instance.check.leave(c, world.clock.now());
    let _d = world.queue("d", 3);
    assert_eq!(world.instance.get("/", "e").0, TOO_BUSY);
    assert_eq!(world.issuer.calls(), 0);
}

#[test]
fn a_hit_needs_no_place() {
    let mut world = World::new(&[("max_waiting", "1"), ("cache_ttl", "60")]);
    assert_eq!(world.instance.get("/", "cached"), (None, MISS));
    let (_first, _a) = world.instance.call("/", "a");
    assert_eq!(world.instance.get("/", "b").0, TOO_BUSY);
    let hit = Some(CacheStatus::Hit);
    assert_eq!(world.instance.get("/", "cached"), (None, hit));
}

#[test]
fn tokens_that_were_active_lately_go_first_and_have_a_quarter_of_the_places() {
    let mut world = World::new(&[("max_calls", "4"), ("max_waiting", "8")]);
    for known in ["known1", "known2"] {
        assert_eq!(world.instance.get("/", known), (None, MISS));
    }
    let [a, b, c] = ["a", "b", "c"].map(|token| world.instance.call("/", token));
    // The fourth place among the calls, and two of the eight among those who wait, are kept free.
    let (_d, _e, _f) = (
        world.queue("d", 4),
        world.queue("e", 5),
        world.queue("f", 6),
    );
    assert_eq!(world.instance.get("/", "g").0, TOO_BUSY);
    let (_first, _call) = world.instance.call("/", "known1");
    let _second = world.queue("known2", 9);
    assert_eq!(
        world.instance.get("/", "known1").0,
        TOO_BUSY,
        "all are taken"
    );
    let responds = |world: &mut World, (_request, call): (PendingRequest, AwaitingResponse)| {
        world.respond(call)
    };
    assert_eq!(responds(&mut world, a), [9], "it came last");
    assert_eq!(responds(&mut world, b), [4]);
    assert_eq!(responds(&mut world, c), [5]);
}

#[test]
fn a_token_that_is_not_active_any_more_goes_last() {
    let mut world = World::new(&[("max_calls", "1")]);
    assert_eq!(world.instance.get("/", "revoked"), (None, MISS));
    world.issuer.responds(inactive());
    let refused = (Some(Reason::Inactive), MISS);
    assert_eq!(world.instance.get("/", "revoked"), refused);
    let (_first, a) = world.instance.call("/", "a");
    let _b = world.queue("b", 1);
    let _revoked = world.queue("revoked", 2);
    assert_eq!(world.respond(a), [1]);
}

#[test]
fn the_requests_of_one_token_wait_in_half_of_the_places() {
    let mut world = World::new(&[("max_waiting", "8")]);
    let (_first, _call) = world.instance.call("/", "a");
    let _joined: Vec<_> = (1..4).map(|_| world.instance.join("/", "a")).collect();
    assert_eq!(world.instance.get("/", "a").0, TOO_BUSY);
    assert_eq!(world.instance.get("/", "b"), (None, MISS));
}

/// What the threat model says is left: nothing tells that both tokens are of one caller.
#[test]
fn two_known_tokens_can_take_all_places() {
    let mut world = World::new(&[("max_waiting", "16")]);
    for known in ["good", "bad1", "bad2"] {
        assert_eq!(world.instance.get("/", known), (None, MISS));
    }
    let (mut taken, mut calls) = (Vec::new(), Vec::new());
    for bad in ["bad1", "bad2"] {
        let (leader, call) = world.instance.call("/", bad);
        calls.push(call);
        taken.push(leader);
        taken.extend((1..8).map(|_| world.instance.join("/", bad)));
        assert_eq!(world.instance.get("/", bad).0, TOO_BUSY);
    }
    assert_eq!(world.instance.get("/", "good").0, TOO_BUSY);
    taken.pop();
    assert_eq!(world.instance.get("/", "good"), (None, MISS));
}

#[test]
fn a_flight_whose_callers_left_gets_no_turn() {
    let mut world = World::new(&[("max_calls", "1")]);
    let (_first, a) = world.instance.call("/", "a");
    let left = [("b", 1), ("c", 2)].map(|(token, waker)| world.queue(token, waker));
    let stays = world.queue("d", 3);
    for request in left {
        let finished = world.instance.check.leave(request, world.clock.now());
        assert_eq!(finished.woken, [0_u32; 0]);
    }
    assert_eq!(world.respond(a), [3]);
    let (_stays, d) = world.turn(stays);
    let _ = world.respond(d);
    assert_eq!(world.issuer.calls(), 2);
    // A new request for a token whose callers left starts anew.
    assert_eq!(world.instance.get("/", "b"), (None, MISS));
}

#[test]
fn a_caller_that_leaves_when_its_turn_has_come_gives_it_to_the_next() {
    let mut world = World::new(&[("max_calls", "1")]);
    let (_first, a) = world.instance.call("/", "a");
    let leaves = world.queue("b", 1);
    let stays = world.queue("c", 2);
    assert_eq!(world.respond(a), [1]);
    let finished = world.instance.check.leave(leaves, world.clock.now());
    assert_eq!(finished.woken, [2]);
    let (stays, c) = world.turn(stays);
    let _ = world.respond(c);
    assert_eq!(reason(&world.instance.resume(stays).decision), None);
}

#[test]
fn a_turn_that_is_taken_leaves_the_others_as_they_are() {
    let mut world = World::new(&[("max_calls", "2")]);
    let (_a, a) = world.instance.call("/", "a");
    let (_b, b) = world.instance.call("/", "b");
    let (taken, leaves) = (world.queue("c", 3), world.queue("d", 4));
    let _next = world.queue("e", 5);
    assert_eq!(world.respond(a), [3]);
    assert_eq!(world.respond(b), [4]);
    let (_taken, _c) = world.turn(taken);
    let finished = world.instance.check.leave(leaves, world.clock.now());
    assert_eq!(finished.woken, [5]);
}

#[test]
fn a_request_whose_flight_is_over_is_not_parked() {
    let mut world = World::new(&[]);
    let (leader, call) = world.instance.call("/", "dropped");
    let joined = world.instance.join("/", "dropped");
    drop((leader, call));
    let parked = world.instance.check.park(&joined, 1);
    assert_eq!(parked, Parked::FlightOver(1));

    let (_leader, call) = world.instance.call("/", "ended");
    let joined = world.instance.join("/", "ended");
    assert_eq!(world.respond(call), [0_u32; 0]);
    // Nor on the next flight for its token.
    let (_next, _call) = world.instance.call("/", "ended");
    let parked = world.instance.check.park(&joined, 2);
    assert_eq!(parked, Parked::FlightOver(2));
}

#[test]
fn what_waits_shows_neither_its_token_nor_who_sent_it() {
    let mut world = World::new(&[("timeout", "4")]);
    let start = world.clock.now().monotonic;
    let (request, call) = world.instance.call("/", "secret");
    let deadline = start + Duration::from_secs(4);
    let shown = format!("PendingRequest {{ deadline: {deadline:?}, .. }}");
    assert_eq!(format!("{request:?}"), shown);
    assert_eq!(format!("{call:?}"), "AwaitingResponse(Flight { .. })");
}

#[test]
fn a_call_that_nobody_waits_for_is_known() {
    let mut world = World::new(&[]);
    let (first, call) = world.instance.call("/", "a");
    assert!(world.instance.check.is_awaited(&call));
    let joined = world.instance.join("/", "a");
    let _ = world.instance.check.leave(first, world.clock.now());
    assert!(world.instance.check.is_awaited(&call));
    let _ = world.instance.check.leave(joined, world.clock.now());
    assert!(!world.instance.check.is_awaited(&call));
    let _ = world.instance.check.abandon(call, world.clock.now());
    assert_eq!(world.instance.get("/", "a"), (None, MISS));
}

#[test]
fn an_abandoned_call_gives_its_place_to_the_next() {
    let mut world = World::new(&[("max_calls", "1")]);
    let (first, a) = world.instance.call("/", "a");
    let next = world.queue("b", 1);
    drop(first);
    let finished = world.instance.check.abandon(a, world.clock.now());
    assert_eq!(finished.woken, [1]);
    let (_next, b) = world.turn(next);
    assert_eq!(world.respond(b), [0_u32; 0]);
}

#[test]
fn a_call_that_the_host_dropped_frees_its_place() {
    let mut world = World::new(&[("max_calls", "1")]);
    let (first, a) = world.instance.call("/", "a");
    drop((first, a));
    assert_eq!(world.instance.get("/", "b"), (None, MISS));
}

#[test]
fn a_place_that_the_host_dropped_goes_to_the_next_request_for_a_queued_token() {
    let mut world = World::new(&[("max_calls", "1")]);
    let (first, a) = world.instance.call("/", "a");
    let waits = world.queue("b", 1);
    drop((first, a));
    let Step::Finished(next, finished) = world.instance.begin("/", "b") else {
        panic!("somebody is to be woken");
    };
    assert_eq!(finished.woken, [1]);
    let (next, call) = world.turn(next);
    let _ = world.respond(call);
    assert_eq!(reason(&world.instance.resume(next).decision), None);
    assert_eq!(reason(&world.instance.resume(waits).decision), None);
}

#[test]
fn a_queued_request_is_refused_at_its_deadline_and_nobody_calls_for_it() {
    let mut world = World::new(&[("max_calls", "1"), ("timeout", "2")]);
    let (_first, a) = world.instance.call("/", "a");
    let queued = world.queue("b", 1);
    world.clock.advance_ms(2_000);
    let verdict = world.instance.resume(queued);
    let context = (reason(&verdict.decision), verdict.cache);
    assert_eq!(context, (TOO_BUSY, MISS));
    assert_eq!(world.respond(a), [0_u32; 0]);
    assert_eq!(world.issuer.calls(), 1);
}

#[test]
fn a_queued_flight_is_not_called_when_the_circuit_has_opened_meanwhile() {
    let mut world = World::new(&[("max_calls", "1"), ("breaker_faults", "1")]);
    let (_first, a) = world.instance.call("/", "a");
    let (b, c) = (world.queue("b", 1), world.queue("c", 2));
    world.issuer.responds(TIMED_OUT);
    assert_eq!(world.respond(a), [1]);
    // The probe of b fails.
    let (b, call) = world.turn(b);
    assert_eq!(world.respond(call), [2]);
    let verdict = world.instance.resume(b);
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerTimeout));
    let step = world.instance.check.resume(c, world.clock.now());
    let Step::Finished(c, finished) = step else {
        panic!("must finish: {step:?}");
    };
    assert_eq!(finished.woken, [0_u32; 0]);
    let verdict = world.instance.resume(c);
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerCircuitOpen));
    assert_eq!(world.issuer.calls(), 2);
}

/// What waits for its turn is no outage, and opens nothing.
#[test]
fn a_call_that_had_little_time_is_no_fault_and_sends_no_probe() {
    let settings = [
        ("max_calls", "1"),
        ("timeout", "4"),
        ("breaker_faults", "1"),
        ("cache_ttl", "1"),
        ("stale_if_error", "60"),
    ];
    let mut world = World::new(&settings);
    assert_eq!(world.instance.get("/", "stale"), (None, MISS));
    world.clock.advance_ms(1_000);
    for token in ["b", "stale"] {
        let (first, a) = world.instance.call("/", "a");
        let late = world.queue(token, 1);
        // An issuer that takes its time.
        world.clock.advance_ms(2_300);
        assert_eq!(world.respond(a), [1]);
        drop(first);
        let (late, call) = world.turn(late);
        world.clock.advance_ms(1_700);
        let now = world.clock.now();
        let progress = (world.instance.check).responded(call, TIMED_OUT.response(), now);
        let _ = finishes(progress);
        let verdict = world.instance.resume(late);
        let context = (reason(&verdict.decision), verdict.cache);
        assert_eq!(context, (Some(Reason::IssuerTimeout), MISS), "{token}");
    }
    world.issuer.calls();
    assert_eq!(world.instance.get("/", "other"), (None, MISS));
    assert_eq!(world.issuer.calls(), 1, "no probe");
}

#[test]
fn a_call_that_had_little_time_is_repeated_for_who_has_time_left() {
    let mut world = World::new(&[("max_calls", "1"), ("timeout", "4")]);
    assert_eq!(world.instance.get("/", "quick"), (None, MISS));
    let (first, a) = world.instance.call("/", "a");
    let late = world.queue("b", 1);
    world.clock.advance_ms(2_300);
    assert_eq!(world.respond(a), [1]);
    drop(first);
    let (_late, call) = world.turn(late);
    let step = world.instance.begin("/", "b");
    let younger = world.joins(step);
    assert_eq!(world.instance.check.park(&younger, 2), Parked::Yes);
    world.clock.advance_ms(1_700);
    let now = world.clock.now();
    let progress = (world.instance.check).responded(call, TIMED_OUT.response(), now);
    assert_eq!(finishes(progress).woken, [2]);
    let (younger, call) = world.turn(younger);
    let _ = world.respond(call);
    let verdict = world.instance.resume(younger);
    assert_eq!(reason(&verdict.decision), None);
}

#[test]
fn a_turn_that_comes_later_than_the_issuer_takes_is_given_to_the_next() {
    let mut world = World::new(&[("max_calls", "1"), ("timeout", "4")]);
    let (first, a) = world.instance.call("/", "a");
    let late = world.queue("b", 1);
    let joined = world.instance.begin("/", "b");
    let joined = world.joins(joined);
    assert_eq!(world.instance.check.park(&joined, 2), Parked::Yes);
    world.clock.advance_ms(1_500);
    let in_time = world.queue("c", 3);
    world.clock.advance_ms(1_400);
    // The issuer took 2.9 s, of which half of the timeout counts. `b` has 1.1 s, `c` has 2.6 s.
    assert_eq!(world.respond(a), [1, 2, 3]);
    drop(first);
    for request in [late, joined] {
        let verdict = world.instance.resume(request);
        let context = (reason(&verdict.decision), verdict.cache);
        assert_eq!(context, (Some(Reason::TooBusy), MISS), "nobody called");
    }
    let (in_time, call) = world.turn(in_time);
    let _ = world.respond(call);
    assert_eq!(reason(&world.instance.resume(in_time).decision), None);
}

#[test]
fn a_turn_that_leaves_exactly_the_time_that_the_issuer_takes_is_in_time() {
    let mut world = World::new(&[("max_calls", "1"), ("timeout", "4")]);
    let (_first, a) = world.instance.call("/", "a");
    world.clock.advance_ms(1_000);
    let just_in_time = world.queue("b", 1);
    world.clock.advance_ms(2_000);
    // Half of the timeout, which `b` has.
    assert_eq!(world.respond(a), [1]);
    let _ = world.turn(just_in_time);
}

#[test]
fn a_turn_that_would_be_too_late_is_in_time_for_a_request_that_joins_now() {
    let mut world = World::new(&[("max_calls", "1"), ("timeout", "4")]);
    let (first, a) = world.instance.call("/", "slow");
    world.clock.advance_ms(1_500);
    assert_eq!(world.respond(a), [0_u32; 0]);
    drop(first);
    let (_first, a) = world.instance.call("/", "a");
    let old = world.queue("b", 1);
    world.clock.advance_ms(3_000);
    // Its host dropped the call, and nobody was told.
    drop(a);
    let step = world.instance.begin("/", "b");
    let Step::Finished(young, finished) = step else {
        panic!("must look for turns: {step:?}");
    };
    assert_eq!(finished.woken, [1], "it is the turn of `b`");
    let (young, call) = world.turn(young);
    let _ = world.respond(call);
    for request in [young, old] {
        assert_eq!(reason(&world.instance.resume(request).decision), None);
    }
}

#[test]
fn who_has_less_time_than_the_issuer_takes_leads_no_flight_that_others_would_wait_for() {
    let mut world = World::new(&[("timeout", "4")]);
    let (first, a) = world.instance.call("/", "slow");
    world.clock.advance_ms(1_000);
    assert_eq!(world.respond(a), [0_u32; 0]);
    drop(first);
    let (_left, flight) = world.instance.call("/", "b");
    let old = world.instance.join("/", "b");
    world.clock.advance_ms(3_001);
    let young = world.instance.join("/", "b");
    let _ = (world.instance.check).abandon(flight, world.clock.now());
    // Whoever is resumed first: the issuer takes 1 s, and `old` has 999 ms.
    let verdict = world.instance.resume(old);
    let timeout = Some(Reason::IssuerTimeout);
    assert_eq!(reason(&verdict.decision), timeout);
    let (young, call) = world.turn(young);
    let _ = world.respond(call);
    assert_eq!(reason(&world.instance.resume(young).decision), None);
}

#[test]
fn a_request_with_little_time_left_sends_no_probe_first() {
    let mut world = World::new(&[
        ("max_calls", "1"),
        ("timeout", "4"),
        ("breaker_faults", "1"),
    ]);
    world.issuer.responds(Outcome::status(503, None));
    let failed = (Some(Reason::IssuerFailed), MISS);
    assert_eq!(world.instance.get("/", "bad"), failed);
    // Now somebody has to send the probe.
    let (_first, probe) = world.instance.call("/", "a");
    let late = world.queue("b", 1);
    world.clock.advance_ms(2_300);
    drop(world.instance.check.abandon(probe, world.clock.now()));
    world.issuer.responds(active(""));
    world.issuer.calls();
    let (late, call) = world.turn(late);
    let _ = world.respond(call);
    assert_eq!(reason(&world.instance.resume(late).decision), None);
    assert_eq!(world.issuer.calls(), 1, "no probe");
}

#[test]
fn a_flight_keeps_its_place_for_the_retry_and_the_probe() {
    let mut world = World::new(&[
        ("max_calls", "1"),
        ("cache_ttl", "1"),
        ("stale_if_error", "9"),
    ]);
    assert_eq!(world.instance.get("/", "a"), (None, MISS));
    world.clock.advance_ms(1_000);
    let (_first, call) = world.instance.call("/", "a");
    let _next = world.queue("b", 1);
    let (failed, now) = (|| Outcome::status(503, None).response(), world.clock.now());
    match world.instance.check.responded(call, failed(), now) {
        Progress::Continue(Action::Introspect(probe, _)) => {
            let finished = finishes(world.instance.check.responded(probe, failed(), now));
            assert_eq!(finished.woken, [1]);
        }
        other => panic!("must probe: {other:?}"),
    }
}

#[test]
fn a_spray_of_tokens_whose_callers_leave_keeps_no_memory() {
    let mut world = World::new(&[("max_calls", "1"), ("max_waiting", "100")]);
    let (_first, call) = world.instance.call("/", "a");
    // One that stays in front of them.
    let _front = world.queue("front", u32::MAX);
    let info = allocation_counter::measure(|| {
        for n in 0..100_000 {
            let request = world.queue(&format!("spray{n}"), n);
            let _ = world.instance.check.leave(request, world.clock.now());
        }
    });
    let kept = info.bytes_current;
    println!("{kept} bytes");
    assert!(kept < 64 * 1024, "{kept} bytes");
    assert_eq!(world.respond(call), [u32::MAX]);
}

#[test]
fn a_waiting_request_takes_less_than_4_kb_besides_its_token() {
    const WAITING: u32 = 1000;
    let mut world = World::new(&[("max_calls", "1"), ("max_waiting", "4096")]);
    let (_first, _call) = world.instance.call("/", "a");
    let mut requests = Vec::new();
    let info = allocation_counter::measure(|| {
        for n in 0..WAITING {
            requests.push(world.queue(&format!("token{n}"), n));
        }
    });
    let each = info.bytes_current / i64::from(WAITING);
    println!("{each} bytes each");
    assert!(each < 1280, "{each} bytes each");
}

/// More tokens cost a call for each request, as if the issuer had not asked to wait. The number bounds
/// memory.
#[test]
fn b1_at_most_1024_tokens_are_held_at_once() {
    const HELD: usize = 1024;
    let mut world = World::new(&[("breaker_faults", "0")]);
    let waits = || Outcome::status(503, Some("60"));
    let failed = (Some(Reason::IssuerFailed), MISS);
    // The third one is about the issuer itself, which two tokens made suspect.
    (world.issuer).responds_in_turn([waits(), waits(), inactive(), waits()]);
    let tokens: Vec<_> = (0..HELD + 100).map(|n| format!("t{n}")).collect();
    for token in &tokens {
        assert_eq!(world.instance.get("/", token), failed);
    }
    assert_eq!(world.issuer.calls(), tokens.len() + 1);
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(world.instance.get("/", token), failed);
        assert_eq!(world.issuer.calls(), usize::from(n >= HELD), "{token}");
    }
    // Their time is over, so that there is room again.
    world.clock.advance_ms(60_000);
    world.issuer.responds_in_turn([inactive(), waits()]);
    let last = tokens.last().unwrap();
    for calls in [2, 0] {
        assert_eq!(world.instance.get("/", last), failed);
        assert_eq!(world.issuer.calls(), calls);
    }
}

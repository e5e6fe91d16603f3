//! How the root context is called back: bounded work per callback, and a timer if the queue fails.

use core::time::Duration;

use envoy_filter_core::host::DispatchError;
use serde_json::json;

use crate::fake::{Configuration, Worker, active, inactive, ms, request};

/// What the filter wakes in one callback.
const MAX_WAKES_PER_CALLBACK: usize = 8;

#[test]
fn a_thousand_waiting_requests_are_woken_eight_per_callback() {
    let mut worker = Worker::new(&Configuration::default());
    let streams: Vec<_> = (0..1000).map(|_| worker.request(request("a"))).collect();
    assert_eq!(worker.run_posted(), 0);
    worker.respond_to_only(inactive());
    let refused = |worker: &Worker| worker.metric("decisions.reason.inactive").len();
    for woken in (1..=125).map(|callbacks| callbacks * MAX_WAKES_PER_CALLBACK) {
        assert_eq!(refused(&worker), woken);
        worker.run_one_posted();
    }
    assert_eq!(worker.run_posted(), 0);
    // The callback itself, and one inside another for each local reply.
    assert_eq!(worker.max_depth(), 1 + MAX_WAKES_PER_CALLBACK);
    let refusal = Some((401, "inactive".to_owned()));
    assert!((streams.iter()).all(|stream| worker.stream(*stream).refusal() == refusal));
    assert_eq!(worker.metric("introspections.outcome.answered"), [1]);
}

#[test]
fn a_thousand_overdue_requests_are_woken_eight_per_callback() {
    let mut worker = Worker::new(&Configuration::default());
    let begun = worker.now();
    let streams: Vec<_> = (0..1000).map(|_| worker.request(request("a"))).collect();
    worker.run_posted();
    worker.lose(worker.only_call().id);
    worker.advance(ms(1000));
    worker.run_posted();
    for stream in streams {
        let stream = worker.stream(stream);
        assert_eq!(stream.ended(), Some(begun + ms(1000)));
        assert_eq!(stream.refusal(), Some((503, "issuer_timeout".to_owned())));
    }
    assert_eq!(worker.max_depth(), 1 + MAX_WAKES_PER_CALLBACK);
}

#[test]
fn streams_that_are_gone_do_not_count_as_woken() {
    let mut worker = Worker::new(&Configuration::default());
    let streams: Vec<_> = (0..100).map(|_| worker.request(request("a"))).collect();
    worker.run_posted();
    for stream in &streams[..92] {
        worker.leave(*stream);
    }
    worker.respond_to_only(active("client"));
    for stream in &streams[92..] {
        assert!(worker.stream(*stream).is_forwarded());
    }
    assert_eq!(worker.run_posted(), 0);
}

#[test]
fn one_callback_is_scheduled_for_many_requests() {
    let mut worker = Worker::new(&Configuration::default());
    for token in ["a", "b", "c", "d"] {
        let _stream = worker.request(request(token));
    }
    assert_eq!(worker.run_posted(), 1);
    let calls = worker.calls();
    let tokens: Vec<_> = calls.iter().filter_map(|call| call.token()).collect();
    assert_eq!(tokens, ["a", "b", "c", "d"]);
}

#[test]
fn without_a_queue_the_tick_does_the_work() {
    for is_random in [true, false] {
        let mut worker = Worker::new(&Configuration::default());
        worker.faults().no_queue = true;
        worker.faults().no_random = !is_random;
        let begun = worker.now();
        let streams: Vec<_> = (0..20).map(|_| worker.request(request("a"))).collect();
        assert_eq!(worker.run_posted(), 0);
        worker.advance(ms(50));
        assert_eq!(worker.only_call().sent, begun);
        worker.respond_to_only(active("client"));
        worker.advance(ms(100));
        // Eight per callback: that of the call, and two ticks.
        let ended: Vec<_> = (streams.iter())
            .map(|stream| worker.stream(*stream).ended().unwrap() - begun)
            .collect();
        let expected = [[ms(50); 8].as_slice(), &[ms(100); 8], &[ms(150); 4]].concat();
        let mut sorted = ended;
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
    }
}

#[test]
fn a_queue_that_could_not_be_registered_is_registered_later() {
    let mut worker = Worker::new(&Configuration::default());
    worker.faults().no_queue = true;
    let _first = worker.request(request("a"));
    worker.advance(ms(50));
    worker.faults().no_queue = false;
    let _second = worker.request(request("b"));
    assert_eq!(worker.run_posted(), 1);
    assert_eq!(worker.calls().len(), 2);
}

#[test]
fn without_a_queue_a_retry_is_sent_as_long_as_its_caller_is_there() {
    for leaves in [false, true] {
        let mut worker = Worker::new(&Configuration::default());
        worker.faults().no_queue = true;
        // While a call is under way, others wait for the queue.
        let _other = worker.request(request("b"));
        worker
            .faults()
            .dispatch
            .push_back(DispatchError::InternalFailure);
        let stream = worker.request(request("a"));
        worker.advance(ms(50));
        assert_eq!(worker.calls().len(), 1, "the call was refused");
        if leaves {
            worker.leave(stream);
        }
        worker.advance(ms(50));
        let methods: Vec<_> = (worker.calls().iter())
            .filter_map(|call| call.header(":method").map(str::to_owned))
            .collect();
        assert_eq!(
            methods,
            if leaves {
                vec!["POST"]
            } else {
                vec!["POST", "HEAD"]
            }
        );
    }
}

#[test]
fn the_timer_stops_when_nothing_is_pending() {
    let mut worker = Worker::new(&Configuration::default());
    assert_eq!(worker.tick_period(), Duration::ZERO);
    let stream = worker.request(request("a"));
    assert_eq!(worker.tick_period(), ms(50));
    worker.run_posted();
    worker.leave(stream);
    worker.advance(ms(50));
    assert_eq!(worker.tick_period(), ms(50), "the call is still on its way");
    worker.respond_to_only(active("client"));
    worker.advance(ms(50));
    assert_eq!(worker.tick_period(), Duration::ZERO);
}

#[test]
fn a_request_that_waits_for_several_ticks_is_left_alone() {
    let mut worker = Worker::new(&Configuration::default());
    for _ in 0..2 {
        worker.request(request("a"));
    }
    worker.run_posted();
    worker.advance(ms(500));
    assert_eq!(worker.metric("flights_joined"), [1]);
}

#[test]
fn a_call_whose_queue_callback_is_lost_and_whose_caller_leaves_is_dropped_by_the_tick() {
    let mut worker = Worker::new(&Configuration::new(json!({ "max_calls": 2 })));
    let _first = worker.request(request("first"));
    let stream = worker.request(request("a"));
    assert!(worker.lose_posted());
    worker.leave(stream);
    assert_eq!(worker.tick_period(), ms(50));
    worker.advance(ms(50));
    assert_eq!(worker.only_call().token(), Some("first"));
    // Its place is free.
    let other = worker.request(request("b"));
    worker.run_posted();
    let call = worker
        .calls()
        .into_iter()
        .find(|call| call.token() == Some("b"));
    worker.respond(call.unwrap().id, active("client"));
    assert!(worker.stream(other).is_forwarded());
}

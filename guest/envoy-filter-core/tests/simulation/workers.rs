//! Workers that share data: one of them at a time introspects a token.

use core::time::Duration;

use envoy_filter_core::host::LogLevel;
use serde_json::json;

use crate::fake::{Configuration, Response, SharedStore, Worker, active, ms, request};

fn two_workers() -> [Worker; 2] {
    let configuration = Configuration::new(json!({"cache_ttl": 60, "cache_entries": 16}));
    let store = SharedStore::default();
    [(); 2].map(|()| Worker::sharing(&configuration, &store))
}

#[test]
fn a_token_that_another_worker_introspects_is_read_from_the_shared_data() {
    let [mut one, mut other] = two_workers();
    let leader = one.request(request("a"));
    one.run_posted();
    let begun = other.now();
    let follower = other.request(request("a"));
    assert_eq!(other.tick_period(), ms(2));
    other.advance(ms(100));
    assert_eq!(other.calls().len(), 0, "the other worker holds the lease");
    one.advance(ms(100));
    one.respond_to_only(active("client"));
    assert!(one.stream(leader).is_forwarded());
    // It sleeps 2, 4, 8 and then 16 ms at a time, on ticks of 2 ms.
    other.advance(ms(16));
    let stream = other.stream(follower);
    assert!(stream.is_forwarded());
    assert_eq!(stream.ended(), Some(begun + ms(110)));
    assert_eq!(stream.values("x-auth-client-id"), ["client"]);
    assert_eq!(stream.filter_state["auth_cache"], "shared");
    assert_eq!(other.tick_period(), Duration::ZERO);
    assert_eq!(other.metric("introspections.outcome.answered"), [0; 0]);
}

#[test]
fn a_worker_makes_its_own_call_when_half_of_its_time_is_over() {
    let [mut one, mut other] = two_workers();
    let _leader = one.request(request("a"));
    one.run_posted();
    let begun = other.now();
    let follower = other.request(request("a"));
    other.advance(ms(600));
    let call = other.only_call();
    assert_eq!(call.sent, begun + ms(510));
    assert_eq!(call.timeout, ms(490));
    assert_eq!(other.tick_period(), ms(50));
    other.respond_to_only(active("client"));
    assert!(other.stream(follower).is_forwarded());
}

#[test]
fn a_worker_that_loses_the_race_for_the_lease_waits() {
    let store = SharedStore::default();
    let configuration = Configuration::new(json!({"cache_ttl": 60}));
    let mut worker = Worker::sharing(&configuration, &store);
    store.contend();
    let _stream = worker.request(request("a"));
    assert_eq!(worker.run_posted(), 0);
    assert_eq!(worker.tick_period(), ms(2));
    assert_eq!(worker.calls().len(), 0);
}

#[test]
fn the_lease_is_given_back_with_the_result() {
    let store = SharedStore::default();
    let configuration = Configuration::new(json!({"cache_ttl": 60}));
    let mut one = Worker::sharing(&configuration, &store);
    let mut other = Worker::sharing(&configuration, &store);
    let _stream = one.request(request("a"));
    one.run_posted();
    one.respond_to_only(Response::new(500, ""));
    assert!(
        store
            .keys()
            .iter()
            .any(|key| key.starts_with("trust-triangle.lease."))
    );
    let _stream = other.request(request("a"));
    assert_eq!(other.calls().len(), 1, "it has the lease at once");
}

#[test]
fn a_token_is_introspected_in_every_worker_if_nothing_is_cached() {
    let store = SharedStore::default();
    let mut workers = [(); 2].map(|()| Worker::sharing(&Configuration::default(), &store));
    for worker in &mut workers {
        let _stream = worker.request(request("a"));
        worker.run_posted();
        assert_eq!(worker.calls().len(), 1);
    }
    assert_eq!(
        store.keys(),
        ["trust-triangle.summary", "trust-triangle.workers"]
    );
}

#[test]
fn one_worker_logs_what_is_required_of_tokens() {
    let store = SharedStore::default();
    let [one, other] = [(); 2].map(|()| Worker::sharing(&Configuration::default(), &store));
    let line = "nothing is required: every active token of this issuer is accepted; rules: none; cache: none";
    assert_eq!(one.log(), [(LogLevel::Warn, line.to_owned())]);
    assert_eq!(other.log(), []);
}

#[test]
fn a_changed_requirement_is_logged_again() {
    let store = SharedStore::default();
    let mut worker = Worker::sharing(&Configuration::default(), &store);
    worker.log();
    assert!(worker.configure(&Configuration::new(json!({"expected_aud": "service-b"}))));
    let [(level, line)] = &worker.log()[..] else {
        panic!("one line");
    };
    assert_eq!(*level, LogLevel::Info);
    assert!(line.contains(r#"audience "service-b""#), "{line}");
}

/// How many keys of results and leases there are.
fn shared(store: &SharedStore) -> usize {
    let keys = store.keys();
    let is_shared = |key: &&String| key.contains(".facts.") || key.contains(".lease.");
    keys.iter().filter(is_shared).count()
}

#[test]
fn the_only_worker_beside_the_main_thread_shares_nothing_after_its_first_second() {
    let configuration = Configuration::new(json!({"cache_ttl": 60, "cache_entries": 100_000}));
    let store = SharedStore::default();
    let mut main_thread = Worker::sharing(&configuration, &store);
    let mut worker = Worker::sharing(&configuration, &store);
    let introspect = |worker: &mut Worker, token| {
        let stream = worker.request(request(token));
        worker.advance(ms(50));
        worker.respond_to_only(active("client"));
        assert!(worker.stream(stream).is_forwarded());
    };
    introspect(&mut worker, "a");
    assert_eq!(shared(&store), 2, "a result and a lease");
    worker.advance(ms(1000));
    // The tick of this one finds out.
    introspect(&mut worker, "b");
    assert_eq!(shared(&store), 4);
    introspect(&mut worker, "c");
    assert_eq!(shared(&store), 4);
    // The main thread turns out to be a worker, which a tick half a second later tells.
    introspect(&mut main_thread, "d");
    worker.advance(ms(500));
    introspect(&mut worker, "e");
    let before = shared(&store);
    introspect(&mut worker, "f");
    assert_eq!(shared(&store), before + 2);
}

#[test]
fn a_worker_that_cannot_be_counted_shares() {
    let configuration = Configuration::new(json!({"cache_ttl": 60, "cache_entries": 100_000}));
    let store = SharedStore::default();
    store.write("trust-triangle.workers", b"not two numbers");
    let mut worker = Worker::sharing(&configuration, &store);
    for (token, expected) in [("a", 2), ("b", 4), ("c", 6)] {
        let _stream = worker.request(request(token));
        worker.advance(ms(50));
        worker.respond_to_only(active("client"));
        assert_eq!(shared(&store), expected);
        worker.advance(ms(2000));
    }
}

/// What the floor `asks-calls` of the benchmarks makes, with four identity headers.
#[test]
fn a_miss_of_the_only_worker_makes_these_host_calls_and_no_other() {
    let configuration = Configuration::new(json!({"cache_ttl": 60, "cache_entries": 100_000}));
    let store = SharedStore::default();
    let _main_thread = Worker::sharing(&configuration, &store);
    let mut worker = Worker::sharing(&configuration, &store);
    let introspect = |worker: &mut Worker, token| {
        let stream = worker.request(request(token));
        worker.respond_to_only(active("client"));
        assert!(worker.stream(stream).is_forwarded());
    };
    worker.advance(ms(1000));
    introspect(&mut worker, "a");
    worker.advance(ms(500));
    // Starts the timer.
    introspect(&mut worker, "b");
    worker.host_calls();
    introspect(&mut worker, "c");
    assert_eq!(
        worker.host_calls(),
        [
            "request_headers",
            "now",
            "dispatch_call",
            "now",
            "call_response_headers",
            "call_response_body",
            "record_metric",
            "set_effective_context",
            "set_filter_state",
            "add_request_header",
            "add_request_header",
            "remove_request_header",
            "resume_request",
        ]
    );
}

//! Requests that wait: held, answered by somebody else, overdue, or in front of a new
//! configuration.

use core::time::Duration;

use envoy_filter_core::host::Action;
use serde_json::json;

use crate::fake::{Configuration, StreamEnd, Worker, active, inactive, lines, ms, request};

#[test]
fn body_and_trailers_are_held_while_the_request_waits() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    assert_eq!(worker.body(stream), Action::Pause);
    let trailers = lines(&[("x-auth-subject", "forged"), ("x-checksum", "1")]);
    assert_eq!(worker.trailers(stream, trailers), Action::Pause);
    let held = worker.stream(stream);
    assert!(held.trailer_values("x-auth-subject").is_empty());
    assert_eq!(held.trailer_values("x-checksum"), ["1"]);
    worker.run_posted();
    assert_eq!(worker.body(stream), Action::Pause);
    worker.respond_to_only(active("client"));
    assert_eq!(worker.body(stream), Action::Continue);
    assert_eq!(worker.trailers(stream, Vec::new()), Action::Continue);
}

#[test]
fn nothing_of_a_request_passes_whose_refusal_envoy_does_not_take() {
    let mut worker = Worker::new(&Configuration::default());
    worker.faults().no_local_reply = true;
    let at_once = worker.request(lines(&[(":path", "/"), (":method", "GET")]));
    let later = worker.request(request("a"));
    worker.run_posted();
    worker.respond_to_only(inactive());
    worker.faults().no_local_reply = false;
    for stream in [at_once, later] {
        assert_eq!(worker.body(stream), Action::Pause);
        assert_eq!(worker.trailers(stream, Vec::new()), Action::Pause);
        assert_eq!(worker.stream(stream).end, None);
    }
}

#[test]
fn nothing_of_a_stream_passes_whose_configuration_is_unknown() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request_of_no_configuration(request("a"));
    let misconfigured = Some((503, "misconfigured".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), misconfigured);
    assert_eq!(worker.calls().len(), 0);
}

#[test]
fn nothing_of_a_request_passes_whose_verdict_envoy_did_not_let_the_filter_apply() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.faults().no_stream_context = true;
    worker.respond_to_only(inactive());
    worker.faults().no_stream_context = false;
    assert_eq!(worker.body(stream), Action::Pause);
    assert_eq!(worker.trailers(stream, Vec::new()), Action::Pause);
    assert_eq!(worker.stream(stream).end, None);
}

#[test]
fn a_deadline_passes_by_a_tick_if_envoy_never_calls_back() {
    let mut worker = Worker::new(&Configuration::default());
    worker.advance(ms(7));
    let begun = worker.now();
    let leader = worker.request(request("a"));
    worker.run_posted();
    worker.lose(worker.only_call().id);
    worker.advance(ms(120));
    let follower = worker.request(request("a"));
    assert_eq!(worker.tick_period(), ms(50));
    worker.advance(ms(2000));
    for (stream, ended) in [(leader, 1000), (follower, 1150)] {
        let stream = worker.stream(stream);
        assert_eq!(stream.ended(), Some(begun + ms(ended)));
        assert_eq!(stream.refusal(), Some((503, "issuer_timeout".to_owned())));
    }
}

#[test]
fn a_deadline_is_kept_in_the_tick_that_gives_another_call_up() {
    let mut worker = Worker::new(&Configuration::default());
    let begun = worker.now();
    let _stream = worker.request(request("a"));
    worker.run_posted();
    worker.lose(worker.only_call().id);
    worker.advance(ms(1001));
    let stream = worker.request(request("b"));
    worker.run_posted();
    worker.lose(worker.calls()[1].id);
    worker.advance(ms(2000));
    assert_eq!(worker.metric("introspections.outcome.timeout"), [1]);
    assert_eq!(worker.stream(stream).ended(), Some(begun + ms(2050)));
}

#[test]
fn a_request_that_envoy_answered_is_forgotten() {
    let mut worker = Worker::new(&Configuration::default());
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.answer_by_envoy(stream);
    worker.host_calls();
    worker.respond_to_only(active("client"));
    // Its stream still exists, and nothing more is done to it.
    let host_calls = worker.host_calls();
    assert!(!host_calls.contains(&"resume_request"), "{host_calls:?}");
    assert!(!host_calls.contains(&"set_filter_state"), "{host_calls:?}");
    let (end, _) = worker.stream(stream).end.unwrap();
    assert_eq!(end, StreamEnd::AnsweredByEnvoy);
    worker.end_stream(stream);
    worker.advance(ms(50));
    assert_eq!(worker.tick_period(), Duration::ZERO);
}

#[test]
fn a_refused_request_whose_caller_does_not_read_is_not_answered_again() {
    let mut worker = Worker::new(&Configuration::default());
    worker.callers_read = false;
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.respond_to_only(inactive());
    let refusal = Some((401, "inactive".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), refusal);
    worker.advance(ms(5000));
    worker.end_stream(stream);
    assert_eq!(worker.metric("decisions.reason.inactive"), [1]);
}

#[test]
fn requests_that_wait_while_the_configuration_is_replaced_are_decided_by_the_old_one() {
    let mut worker = Worker::new(&Configuration::default());
    let old: Vec<_> = (0..20).map(|_| worker.request(request("a"))).collect();
    worker.run_posted();
    let old_call = worker.only_call();

    let stricter = Configuration::new(json!({"allowed_clients": "another"}));
    assert!(worker.configure(&stricter));
    assert_eq!(worker.root_contexts(), 2);
    let new = worker.request(request("a"));
    worker.run_posted();
    let [.., new_call] = &worker.calls()[..] else {
        panic!("a call of its own");
    };
    let new_call = new_call.clone();
    assert_ne!(new_call.owner, old_call.owner);

    worker.respond(old_call.id, active("client"));
    worker.run_posted();
    for stream in &old {
        assert!(worker.stream(*stream).is_forwarded());
    }
    worker.respond(new_call.id, active("client"));
    let refusal = Some((403, "client_not_allowed".to_owned()));
    assert_eq!(worker.stream(new).refusal(), refusal);

    for stream in old {
        worker.end_stream(stream);
    }
    assert_eq!(worker.root_contexts(), 1);
}

#[test]
fn the_deadline_of_a_request_holds_while_the_configuration_is_replaced() {
    let mut worker = Worker::new(&Configuration::default());
    let begun = worker.now();
    let stream = worker.request(request("a"));
    worker.run_posted();
    worker.lose(worker.only_call().id);
    assert!(worker.configure(&Configuration::default()));
    worker.advance(ms(5000));
    let stream = worker.stream(stream);
    assert_eq!(stream.ended(), Some(begun + ms(1000)));
    assert_eq!(stream.refusal(), Some((503, "issuer_timeout".to_owned())));
    assert_eq!(worker.root_contexts(), 1);
}

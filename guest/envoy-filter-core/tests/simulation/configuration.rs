//! A configuration that is wrong lets nobody in.

use envoy_filter_core::host::{Action, LogLevel};
use serde_json::json;

use crate::fake::{Configuration, SharedStore, Worker, ms, request};

#[test]
fn a_wrong_configuration_is_rejected_and_lets_nobody_in() {
    let mut worker = Worker::starting(&SharedStore::default());
    assert!(!worker.configure(&Configuration::new(json!({"timeout": 0}))));
    let line = "setting `timeout` (in the plugin's configuration) must be a whole number of seconds from 1 to 60";
    assert_eq!(worker.log(), [(LogLevel::Error, line.to_owned())]);
    let stream = worker.request(request("a"));
    let misconfigured = Some((503, "misconfigured".to_owned()));
    assert_eq!(worker.stream(stream).refusal(), misconfigured);
    let shown = &worker.stream(stream).filter_state;
    assert_eq!(shown["auth_decision"], "refused");
    assert_eq!(shown["auth_reason"], "misconfigured");
    worker.advance(ms(5000));
    assert_eq!(worker.calls().len(), 0);
}

#[test]
fn body_and_trailers_of_a_request_stop_as_well_if_the_configuration_is_wrong() {
    let mut worker = Worker::starting(&SharedStore::default());
    worker.callers_read = false;
    assert!(!worker.configure(&Configuration::new(json!({"timeout": 0}))));
    let stream = worker.request(request("a"));
    assert_eq!(worker.body(stream), Action::Pause);
    assert_eq!(worker.trailers(stream, Vec::new()), Action::Pause);
}

#[test]
fn without_random_bytes_the_configuration_is_rejected() {
    let mut worker = Worker::starting(&SharedStore::default());
    worker.faults().no_random = true;
    assert!(!worker.configure(&Configuration::default()));
    let line = "the host provides no random bytes";
    assert_eq!(
        worker.log().last(),
        Some(&(LogLevel::Error, line.to_owned()))
    );
}

//! The driver with a fake host and a clock that stands still unless a test moves it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use futures::executor::LocalPool;
use futures::future::{AbortHandle, Abortable};
use futures::task::LocalSpawnExt as _;
use token_check::{
    AuthCheck, BodyCollector, CacheStatus, CallFailure, Decision, IssuerResponse, Policy, Reason,
    RequestHead, Sharing, StoreFailed, Verdict,
};

use super::decide;
use crate::host::Host;
use crate::host::fake::FakeHost;

/// What a request got: the reason of a refusal, and the cache status.
type Outcome = (Option<Reason>, Option<CacheStatus>);

struct Fixture {
    pool: LocalPool,
    host: Rc<FakeHost>,
    check: Rc<RefCell<AuthCheck<<FakeHost as Host>::Waker>>>,
    outcomes: Rc<RefCell<Vec<Outcome>>>,
}

impl Fixture {
    fn new(settings: &[(&str, &str)], sharing: Sharing) -> Self {
        let base = [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "service-b"),
            ("resource_client_secret", "secret"),
            ("cache_key", "0123456789abcdef0123456789abcdef"),
            ("timeout", "5"),
        ];
        let settings = base.iter().chain(settings);
        let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let check = AuthCheck::new(Policy::new(settings).unwrap(), [7; 16]).sharing(sharing);
        Self {
            pool: LocalPool::new(),
            host: Rc::default(),
            check: Rc::new(RefCell::new(check)),
            outcomes: Rc::default(),
        }
    }

    /// Starts a request. The handle cancels it.
    fn request(&mut self, token: &str) -> AbortHandle {
        let (host, check) = (Rc::clone(&self.host), Rc::clone(&self.check));
        let outcomes = Rc::clone(&self.outcomes);
        let authorization = format!("Bearer {token}");
        let request = async move {
            let head = RequestHead {
                authorization: &[authorization.as_bytes()],
                method: b"GET",
                authority: None,
                path_and_query: Some(b"/data"),
                dpop: &[],
                client_certificate: &[],
                traceparent: &[],
            };
            let verdict = decide(&*host, &check, &head).await;
            outcomes.borrow_mut().push(outcome(&verdict));
        };
        let (handle, registration) = AbortHandle::new_pair();
        let request = Abortable::new(request, registration);
        let spawned = self.pool.spawner().spawn_local(async move {
            let _aborted = request.await;
        });
        spawned.unwrap();
        self.run();
        handle
    }

    fn run(&mut self) {
        self.pool.run_until_stalled();
    }

    fn respond(&mut self, body: &str) {
        self.respond_later(body);
        self.run();
    }

    /// The response is there, and no request has run since.
    fn respond_later(&mut self, body: &str) {
        let mut collected = BodyCollector::default();
        assert!(collected.push(body.as_bytes()));
        self.host.respond(Ok(IssuerResponse {
            status: 200,
            content_type: Some(b"application/json".to_vec()),
            body: collected,
            ..IssuerResponse::default()
        }));
    }

    fn advance(&mut self, time: Duration) {
        self.host.advance(time);
        self.run();
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.take()
    }
}

fn outcome(verdict: &Verdict) -> Outcome {
    let reason = match &verdict.decision {
        Decision::Granted(_) => None,
        Decision::Refused(refusal) => Some(refusal.reason()),
        Decision::Answered(response) => panic!("{response:?}"),
    };
    (reason, verdict.cache)
}

const ACTIVE: &str = r#"{"active":true}"#;
const MISS: Outcome = (None, Some(CacheStatus::Miss));
const COLLAPSED: Outcome = (None, Some(CacheStatus::Collapsed));

#[test]
fn a_thousand_requests_with_one_token_make_one_call() {
    let mut fixture = Fixture::new(&[], Sharing::None);
    for _ in 0..1000 {
        fixture.request("t");
    }
    assert_eq!(fixture.outcomes(), []);
    fixture.respond(ACTIVE);
    let outcomes = fixture.outcomes();
    assert_eq!((outcomes.len(), fixture.host.calls_sent.get()), (1000, 1));
    let collapsed = outcomes.iter().filter(|outcome| **outcome == COLLAPSED);
    assert_eq!(collapsed.count(), 999);
    assert!(outcomes.contains(&MISS));
}

#[test]
fn when_the_leader_is_cancelled_one_follower_leads_and_the_others_wait_for_it() {
    let mut fixture = Fixture::new(&[], Sharing::None);
    let leader = fixture.request("t");
    for _ in 0..3 {
        fixture.request("t");
    }
    leader.abort();
    fixture.run();
    assert_eq!(fixture.host.calls_sent.get(), 2);
    // The call of the leader that is gone.
    fixture.host.respond(Err(CallFailure::Unreachable));
    fixture.respond(ACTIVE);
    let mut outcomes = fixture.outcomes();
    outcomes.sort_by_key(|outcome| *outcome != MISS);
    assert_eq!(outcomes, [MISS, COLLAPSED, COLLAPSED]);
}

#[test]
fn a_follower_that_is_cancelled_changes_nothing_for_the_others() {
    let mut fixture = Fixture::new(&[], Sharing::None);
    fixture.request("t");
    let follower = fixture.request("t");
    fixture.request("t");
    follower.abort();
    fixture.run();
    fixture.respond(ACTIVE);
    assert_eq!(fixture.outcomes().len(), 2);
    assert_eq!(fixture.host.calls_sent.get(), 1);
}

#[test]
fn each_request_is_answered_at_its_own_deadline() {
    let mut fixture = Fixture::new(&[], Sharing::None);
    fixture.request("t");
    fixture.advance(Duration::from_secs(1));
    fixture.request("t");
    fixture.advance(Duration::from_millis(3_999));
    assert_eq!(fixture.outcomes(), []);
    fixture.advance(Duration::from_millis(1));
    let timed_out = |cache| (Some(Reason::IssuerTimeout), Some(cache));
    let both = [
        timed_out(CacheStatus::Miss),
        timed_out(CacheStatus::Collapsed),
    ];
    assert_eq!(fixture.outcomes(), both);
}

#[test]
fn a_follower_whose_leader_is_cancelled_keeps_its_own_deadline() {
    let mut fixture = Fixture::new(&[], Sharing::None);
    let leader = fixture.request("t");
    fixture.advance(Duration::from_secs(1));
    fixture.request("t");
    leader.abort();
    fixture.run();
    fixture.advance(Duration::from_millis(4_999));
    assert_eq!(fixture.outcomes(), []);
    fixture.advance(Duration::from_millis(1));
    let refused = (Some(Reason::IssuerTimeout), Some(CacheStatus::Miss));
    assert_eq!(fixture.outcomes(), [refused]);
}

#[test]
fn a_connection_that_breaks_is_retried_once() {
    let mut fixture = Fixture::new(&[], Sharing::None);
    fixture.request("t");
    fixture.host.respond(Err(CallFailure::BrokenOff));
    fixture.run();
    assert_eq!(fixture.host.calls_sent.get(), 2);
    fixture.host.respond(Err(CallFailure::BrokenOff));
    fixture.run();
    let refused = (Some(Reason::IssuerUnreachable), Some(CacheStatus::Miss));
    assert_eq!(fixture.outcomes(), [refused]);
}

#[test]
fn a_store_that_fails_costs_a_call_and_one_that_works_gets_the_record() {
    for (stored, calls) in [(Err(StoreFailed), 1), (Ok(None), 1)] {
        let mut fixture = Fixture::new(&[("cache_ttl", "60")], Sharing::Plain);
        *fixture.host.stored.borrow_mut() = Some(stored);
        fixture.request("t");
        assert_eq!(fixture.host.calls_sent.get(), calls);
        fixture.respond(ACTIVE);
        assert_eq!(fixture.outcomes(), [MISS]);
        assert_eq!(fixture.host.records_written.get(), 1);
        fixture.request("t");
        assert_eq!(fixture.outcomes(), [(None, Some(CacheStatus::Hit))]);
    }
}

#[test]
fn past_max_calls_requests_wait_for_their_turn() {
    let mut fixture = Fixture::new(&[("max_calls", "1")], Sharing::None);
    for token in ["a", "b", "b", "c"] {
        fixture.request(token);
    }
    for calls in 1..=3 {
        assert_eq!(fixture.host.calls_sent.get(), calls);
        fixture.respond(ACTIVE);
    }
    assert_eq!(fixture.host.calls_sent.get(), 3);
    let mut outcomes = fixture.outcomes();
    outcomes.sort_by_key(|outcome| *outcome != MISS);
    assert_eq!(outcomes, [MISS, MISS, MISS, COLLAPSED]);
}

#[test]
fn a_request_that_is_cancelled_while_it_waits_for_its_turn_is_skipped() {
    let mut fixture = Fixture::new(&[("max_calls", "1")], Sharing::None);
    fixture.request("a");
    let cancelled = fixture.request("b");
    fixture.request("c");
    cancelled.abort();
    fixture.run();
    fixture.respond(ACTIVE);
    fixture.respond(ACTIVE);
    assert_eq!(fixture.outcomes(), [MISS, MISS]);
    assert_eq!(fixture.host.calls_sent.get(), 2);
}

#[test]
fn a_request_that_is_cancelled_when_its_turn_has_come_gives_it_to_the_next() {
    let mut fixture = Fixture::new(&[("max_calls", "1")], Sharing::None);
    fixture.request("a");
    let cancelled = fixture.request("b");
    fixture.request("c");
    // Both happen before any request runs.
    fixture.respond_later(ACTIVE);
    cancelled.abort();
    fixture.run();
    fixture.respond(ACTIVE);
    assert_eq!(fixture.outcomes(), [MISS, MISS]);
    assert_eq!(fixture.host.calls_sent.get(), 2);
}

#[test]
fn a_cancelled_leader_gives_its_place_to_the_next() {
    let mut fixture = Fixture::new(&[("max_calls", "1")], Sharing::None);
    let leader = fixture.request("a");
    fixture.request("b");
    leader.abort();
    fixture.run();
    assert_eq!(fixture.host.calls_sent.get(), 2);
    fixture.host.respond(Err(CallFailure::Unreachable));
    fixture.respond(ACTIVE);
    assert_eq!(fixture.outcomes(), [MISS]);
}

#[test]
fn a_request_is_refused_at_its_deadline_if_its_turn_never_came() {
    let mut fixture = Fixture::new(&[("max_calls", "1")], Sharing::None);
    fixture.request("a");
    fixture.request("b");
    fixture.advance(Duration::from_secs(5));
    let mut outcomes = fixture.outcomes();
    outcomes.sort_by_key(|(reason, _)| *reason == Some(Reason::TooBusy));
    let refused = [
        (Some(Reason::IssuerTimeout), Some(CacheStatus::Miss)),
        (Some(Reason::TooBusy), Some(CacheStatus::Miss)),
    ];
    assert_eq!(outcomes, refused);
    assert_eq!(fixture.host.calls_sent.get(), 1);
}

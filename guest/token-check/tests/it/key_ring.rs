//! When the keys of the issuer are fetched, and what happens while they cannot be.

use token_check::{
    Action, AwaitingDocument, CallFailure, IssuerCall as _, Parked, PendingRequest, Progress,
    Reason, Sharing, Step,
};

use crate::fixture::{Instance, Outcome, SharedStore, UNREACHABLE, finishes, reason};
use crate::jwt_fixture::{HIT, Key, VERIFIED, World, refused, set, set_document, unavailable};

fn fetch(instance: &mut Instance) -> AwaitingDocument {
    match instance.check.next_fetch(now(instance)) {
        Some(Action::FetchDocument(ticket, call)) => {
            assert_eq!((call.method(), call.body()), ("GET", &b""[..]));
            assert_eq!(call.authority(), "issuer.example");
            assert_eq!(call.path_and_query(), "/jwks");
            assert!(call.headers().all(|(name, _)| name != "authorization"));
            ticket
        }
        other => panic!("{other:?}"),
    }
}

fn now(instance: &Instance) -> token_check::Now {
    use token_check::test_util::Host as _;
    instance.host.now()
}

fn join(instance: &mut Instance, token: &str, waker: u32) -> PendingRequest {
    let request = instance.join("/", token);
    assert_eq!(instance.check.park(&request, waker), Parked::Yes);
    request
}

#[test]
fn a_thousand_cold_callers_with_tokens_of_their_own_cause_one_fetch() {
    let mut world = World::new("jwt", &[]);
    let instance = &mut world.instance;
    let key = world.key.clone();
    let token = |number: u32| key.token(&[("jti", &number.to_string())]);
    let requests: Vec<_> = (0..1000)
        .map(|number| join(instance, &token(number), number))
        .collect();
    let ticket = fetch(instance);
    assert!(
        instance.check.next_fetch(now(instance)).is_none(),
        "one is under way"
    );
    let finished = finishes(instance.check.document_responded(
        ticket,
        set(&[&key]).response(),
        now(instance),
    ));
    assert_eq!(finished.woken, Vec::from_iter(0..1000));
    for request in requests {
        let verdict = instance.resume(request);
        assert_eq!((reason(&verdict.decision), verdict.cache), VERIFIED);
    }
    assert!(instance.check.next_fetch(now(instance)).is_none());
}

#[test]
fn j5_a_removed_key_takes_along_what_it_signed() {
    let mut world = World::new("jwt", &[]);
    let (old, new) = (world.key.clone(), Key::new("two", 2));
    assert_eq!(world.get_good(), VERIFIED);
    world.publish(&[&new]);
    world.advance(599);
    // The fetch that is due does not hold this request up.
    assert_eq!(world.get_good(), HIT);
    assert_eq!(world.issuer.key_fetches(), 2);
    assert_eq!(world.get_good(), refused(Reason::UnknownKey));
    // Back again: it vouches as before.
    world.publish(&[&new, &old]);
    world.advance(600);
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.get(&new.token(&[])), VERIFIED);
}

#[test]
fn j5_after_a_pause_no_request_gets_in_by_a_key_that_is_gone() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    world.publish(&[&Key::new("two", 2)]);
    world.advance(3600);
    assert_eq!(world.get_good(), refused(Reason::UnknownKey));
    assert_eq!(world.issuer.key_fetches(), 2);
}

#[test]
fn an_unchanged_key_keeps_what_it_signed() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    for _ in 0..5 {
        world.publish(&[&Key::new("more", 9), &world.key]);
        world.advance(3600);
        // The first one waits for the keys; nothing is verified again.
        assert_eq!(world.get_good(), HIT);
    }
    assert_eq!(world.issuer.key_fetches(), 6);
}

#[test]
fn a_rotation_costs_nobody_a_refusal() {
    let mut world = World::new("jwt", &[]);
    let mut keys = vec![world.key.clone()];
    assert_eq!(world.get_good(), VERIFIED);
    for number in 2..10 {
        world.advance(30);
        let key = Key::new(&format!("key-{number}"), number);
        keys.push(key.clone());
        world.publish(&keys.iter().collect::<Vec<_>>());
        assert_eq!(world.get(&key.token(&[])), VERIFIED, "{number}");
        assert_eq!(world.get_good(), HIT, "{number}");
    }
    assert_eq!(world.issuer.key_fetches(), 9);
}

#[test]
fn a_new_key_under_an_old_name_is_fetched_soon_and_once() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    let new = Key::new("one", 2);
    world.publish(&[&new]);
    world.advance(30);
    // Nobody waits for it: a bad signature is mostly a bad signature.
    assert_eq!(
        world.get(&new.token(&[])),
        refused(Reason::InvalidSignature)
    );
    assert_eq!(world.issuer.key_fetches(), 2);
    assert_eq!(world.get(&new.token(&[])), VERIFIED);
    assert_eq!(world.get_good(), refused(Reason::InvalidSignature));
    for number in 3..250 {
        let forged = Key::new("one", number).token(&[]);
        assert_eq!(world.get(&forged), refused(Reason::InvalidSignature));
    }
    assert_eq!(world.issuer.key_fetches(), 0, "within jwks_min_interval");
}

#[test]
fn forged_signatures_use_up_nothing_of_what_is_for_new_keys() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    world.advance(30);
    for number in 3..20 {
        let forged = Key::new("one", number).token(&[]);
        assert_eq!(world.get(&forged), refused(Reason::InvalidSignature));
    }
    let new = Key::new("two", 2);
    world.publish(&[&world.key, &new]);
    world.clock.advance_ms(1);
    assert_eq!(world.get(&new.token(&[])), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 3);
}

#[test]
fn j11_ten_thousand_unknown_keys_cause_one_fetch_per_interval() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    let _ = world.issuer.key_fetches();
    for number in 0..10_000_u32 {
        let token = Key::new(&format!("{number}"), 9).token(&[]);
        assert_eq!(world.get(&token), refused(Reason::UnknownKey));
        if number % 100 == 0 {
            assert_eq!(world.get_good(), HIT);
        }
        world.clock.advance_ms(6);
    }
    // One minute: at its beginning, and after 30 s.
    assert_eq!(world.issuer.key_fetches(), 2);
}

#[test]
fn j11_the_limit_holds_while_the_endpoint_fails_and_while_there_are_no_keys() {
    for (keys, expected) in [
        (UNREACHABLE, Reason::IssuerUnreachable),
        (
            Outcome::http(200, "application/json", r#"{"keys":[]}"#),
            Reason::IssuerKeysUnusable,
        ),
    ] {
        let mut world = World::new("jwt", &[]);
        world.issuer.publishes(keys);
        for number in 0..6000_u32 {
            let token = Key::new(&format!("{number}"), 9).token(&[]);
            assert_eq!(world.get(&token), unavailable(expected));
            world.clock.advance_ms(10);
        }
        // After 0, 1, 3, 7, 15, 31 s; an unreachable issuer is called twice each time.
        let attempts = world.issuer.key_fetches();
        assert_eq!(
            attempts,
            if expected == Reason::IssuerUnreachable {
                12
            } else {
                6
            }
        );
    }
}

#[test]
fn j7_without_keys_every_token_is_a_503_and_it_heals() {
    for (keys, expected) in [
        (UNREACHABLE, Reason::IssuerUnreachable),
        (Outcome::Failed(CallFailure::Timeout), Reason::IssuerTimeout),
        (
            Outcome::Failed(CallFailure::Denied),
            Reason::IssuerCallDenied,
        ),
        (
            Outcome::http(302, "text/html", ""),
            Reason::IssuerRedirected,
        ),
        (
            Outcome::http(404, "text/html", ""),
            Reason::IssuerUnexpectedStatus,
        ),
        (
            Outcome::http(401, "application/json", "{}"),
            Reason::IssuerUnexpectedStatus,
        ),
        (
            Outcome::http(403, "application/json", ""),
            Reason::IssuerUnexpectedStatus,
        ),
        (
            Outcome::http(429, "text/plain", ""),
            Reason::IssuerOverloaded,
        ),
        (Outcome::http(500, "text/plain", ""), Reason::IssuerFailed),
        (
            Outcome::http(200, "text/html", "<html>"),
            Reason::IssuerKeysUnusable,
        ),
        (
            Outcome::http(200, "application/json", "{}"),
            Reason::IssuerKeysUnusable,
        ),
        (
            Outcome::http(200, "application/json", r#"{"keys":{}}"#),
            Reason::IssuerKeysUnusable,
        ),
        (
            Outcome::http(200, "application/json", "x".repeat(200_000)),
            Reason::IssuerKeysUnusable,
        ),
    ] {
        let mut world = World::new("auto", &[("stale_if_error", "60"), ("cache_ttl", "60")]);
        let good = set(&[&world.key]);
        world.issuer.publishes(keys);
        assert_eq!(world.get_good(), unavailable(expected));
        assert_eq!(world.get_good(), unavailable(expected));
        world.issuer.publishes(good);
        world.advance(1);
        assert_eq!(world.get_good(), VERIFIED, "{expected:?}");
    }
}

#[test]
fn j7_known_keys_outlive_an_outage_of_the_issuer_up_to_their_greatest_age() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    world.issuer.publishes(UNREACHABLE);
    for number in 0..118_u32 {
        world.advance(60);
        let fresh = world.key.token(&[("jti", &number.to_string())]);
        assert_eq!(world.get(&fresh), VERIFIED, "{number}");
        assert_eq!(world.get_good(), HIT, "{number}");
    }
    // A key that is not known may be a new one: the truth is that the issuer is down.
    let unknown = Key::new("two", 2).token(&[]);
    assert_eq!(world.get(&unknown), unavailable(Reason::IssuerUnreachable));
    world.advance(120);
    for _ in 0..2 {
        assert_eq!(world.get_good(), unavailable(Reason::IssuerUnreachable));
    }
    world.publish(&[&world.key]);
    world.advance(30);
    assert_eq!(world.get_good(), HIT);
}

#[test]
fn j7_what_is_no_key_set_leaves_the_old_one() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    let page = Outcome::http(200, "text/html", "<html>");
    world.issuer.publishes(page);
    world.advance(500);
    assert_eq!(world.get_good(), HIT);
    world.advance(200);
    assert_eq!(world.get_good(), HIT);
    let line = "issuer_keys_unusable: what jwks_url serves is no JWK set";
    assert_eq!(world.instance.host.errors, [line, line]);
}

#[test]
fn j5_a_set_without_keys_withdraws_the_old_ones_in_their_time() {
    let mut world = World::new("jwt", &[]);
    assert_eq!(world.get_good(), VERIFIED);
    let empty = Outcome::http(200, "application/json", r#"{"keys":[]}"#);
    world.issuer.publishes(empty);
    world.advance(500);
    assert_eq!(world.get_good(), HIT);
    world.advance(100);
    for _ in 0..3 {
        let unusable = unavailable(Reason::IssuerKeysUnusable);
        assert_eq!(world.get_good(), unusable);
        world.advance(30);
    }
    // Also where the issuer is down afterwards.
    world.issuer.publishes(UNREACHABLE);
    assert_eq!(world.get_good(), unavailable(Reason::IssuerUnreachable));
    world.publish(&[&world.key]);
    world.advance(30);
    assert_eq!(world.get_good(), HIT);
}

#[test]
fn tokens_with_a_known_key_need_no_place_among_those_that_wait() {
    let mut world = World::new("jwt", &[("max_waiting", "4")]);
    assert_eq!(world.get_good(), VERIFIED);
    world.advance(31);
    let mut parked = Vec::new();
    for number in 0..10 {
        let unknown = Key::new(&format!("{number}"), 9).token(&[]);
        if let Step::Join(request) = world.instance.begin("/", &unknown) {
            parked.push(request);
        }
    }
    assert_eq!(parked.len(), 3, "a quarter is for known tokens");
    let fresh = world.key.token(&[("jti", "1")]);
    match world.instance.begin("/", &fresh) {
        Step::Done(verdict) => assert_eq!(reason(&verdict.decision), None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_idle_connection_that_the_issuer_has_closed_costs_a_second_call_and_no_refusal() {
    let mut world = World::new("jwt", &[]);
    let instance = &mut world.instance;
    let token = world.key.token(&[]);
    let request = join(instance, &token, 7);
    let ticket = fetch(instance);
    let broken = Err(CallFailure::BrokenOff);
    let again = match instance
        .check
        .document_responded(ticket, broken, now(instance))
    {
        Progress::Continue(Action::FetchDocument(ticket, _)) => ticket,
        other => panic!("{other:?}"),
    };
    let keys = set(&[&world.key]).response();
    let finished = finishes(
        instance
            .check
            .document_responded(again, keys, now(instance)),
    );
    assert_eq!((finished.woken, finished.fault), (vec![7], None));
    let verdict = instance.resume(request);
    assert_eq!((reason(&verdict.decision), verdict.cache), VERIFIED);
}

#[test]
fn a_fetch_that_the_host_drops_is_made_again_for_the_next_caller() {
    let mut world = World::new("jwt", &[]);
    let instance = &mut world.instance;
    let token = world.key.token(&[]);
    let first = join(instance, &token, 1);
    drop(fetch(instance));
    let second = join(instance, &token, 2);
    let ticket = fetch(instance);
    let keys = set(&[&world.key]).response();
    let finished = finishes(
        instance
            .check
            .document_responded(ticket, keys, now(instance)),
    );
    assert_eq!(finished.woken, [1, 2]);
    for request in [first, second] {
        assert_eq!(reason(&instance.resume(request).decision), None);
    }
}

#[test]
fn callers_that_leave_do_not_end_a_fetch() {
    let mut world = World::new("jwt", &[]);
    let instance = &mut world.instance;
    let token = world.key.token(&[]);
    let request = join(instance, &token, 1);
    let ticket = fetch(instance);
    let finished = instance.check.leave(request, now(instance));
    assert!(finished.woken.is_empty());
    let request = join(instance, &token, 2);
    assert!(instance.check.next_fetch(now(instance)).is_none());
    let keys = set(&[&world.key]).response();
    let finished = finishes(
        instance
            .check
            .document_responded(ticket, keys, now(instance)),
    );
    assert_eq!(finished.woken, [1, 2]);
    assert_eq!(reason(&instance.resume(request).decision), None);
}

#[test]
fn a_request_whose_fetch_takes_too_long_is_refused_at_its_deadline() {
    let mut world = World::new("jwt", &[]);
    let token = world.key.token(&[]);
    let request = join(&mut world.instance, &token, 1);
    let _ticket = fetch(&mut world.instance);
    world.advance(5);
    let verdict = world.instance.resume(request);
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerTimeout));
}

#[test]
fn a_request_that_its_host_resumes_late_is_verified_all_the_same() {
    let mut world = World::new("jwt", &[]);
    let token = world.key.token(&[]);
    let request = join(&mut world.instance, &token, 1);
    let ticket = fetch(&mut world.instance);
    let keys = set(&[&world.key]).response();
    let now_ = now(&world.instance);
    let _ = finishes(world.instance.check.document_responded(ticket, keys, now_));
    world.advance(6);
    assert_eq!(reason(&world.instance.resume(request).decision), None);
    // With a key that would have to be fetched, it is too late.
    let unknown = Key::new("two", 2).token(&[]);
    let request = join(&mut world.instance, &unknown, 2);
    drop(fetch(&mut world.instance));
    world.advance(6);
    let verdict = world.instance.resume(request);
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerTimeout));
}

#[test]
fn keys_are_fetched_at_the_start_and_before_they_are_too_old_if_the_host_has_a_timer() {
    let mut world = World::new("jwt", &[]);
    assert!(world.instance.check.fetches_documents());
    let ticket = fetch(&mut world.instance);
    let keys = set(&[&world.key]);
    let _ = finishes(world.instance.check.document_responded(
        ticket,
        keys.response(),
        now(&world.instance),
    ));
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 0);
    world.advance(479);
    assert!(
        world
            .instance
            .check
            .next_fetch(now(&world.instance))
            .is_none()
    );
    world.advance(1);
    let ticket = fetch(&mut world.instance);
    // Meanwhile nobody waits.
    let token = world.key.token(&[("jti", "1")]);
    match world.instance.begin("/", &token) {
        Step::Done(verdict) => assert_eq!(reason(&verdict.decision), None),
        other => panic!("{other:?}"),
    }
    let _ = finishes(world.instance.check.document_responded(
        ticket,
        keys.response(),
        now(&world.instance),
    ));
    assert!(
        !World::new("introspect", &[])
            .instance
            .check
            .fetches_documents()
    );
}

/// The reason of a refusal.
fn get(instance: &mut Instance, token: &str) -> Option<Reason> {
    reason(&instance.drive("/", token).decision)
}

#[test]
fn instances_share_the_keys_through_the_store() {
    let store = SharedStore::default();
    let mut world = World::sharing("jwt", &[], Sharing::Plain, &store);
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 1);
    let token = world.key.token(&[]);
    for _ in 0..3 {
        let mut other = world.beside(&[], &store);
        assert_eq!(get(&mut other, &token), None);
    }
    assert_eq!(world.issuer.key_fetches(), 0);
    // A new one in an outage, with keys that are too old to be used without asking the issuer.
    world.issuer.publishes(UNREACHABLE);
    world.advance(3600);
    let mut other = world.beside(&[], &store);
    assert_eq!(get(&mut other, &token), None);
    assert_eq!(world.issuer.key_fetches(), 2);
    world.advance(3600);
    let mut other = world.beside(&[], &store);
    assert_eq!(get(&mut other, &token), Some(Reason::IssuerUnreachable));
}

#[test]
fn j5_a_shared_key_ends_when_the_issuer_was_asked_so_long_ago_by_whomever() {
    let store = SharedStore::default();
    let mut world = World::sharing("jwt", &[], Sharing::Plain, &store);
    assert_eq!(world.get_good(), VERIFIED);
    let token = world.key.token(&[]);
    world.publish(&[&Key::new("two", 2)]);
    world.advance(400);
    let mut other = world.beside(&[], &store);
    assert_eq!(get(&mut other, &token), None);
    world.advance(201);
    assert_eq!(get(&mut other, &token), Some(Reason::UnknownKey));
}

#[test]
fn an_unknown_key_is_looked_for_at_the_issuer_and_not_in_the_store() {
    let store = SharedStore::default();
    let mut world = World::sharing("jwt", &[], Sharing::Plain, &store);
    assert_eq!(world.get_good(), VERIFIED);
    let new = Key::new("two", 2);
    world.publish(&[&new]);
    world.advance(30);
    assert_eq!(world.get(&new.token(&[])), VERIFIED);
    let mut other = world.beside(&[], &store);
    assert_eq!(get(&mut other, &new.token(&[])), None);
    assert_eq!(world.issuer.key_fetches(), 2);
}

#[test]
fn keys_in_the_store_count_only_if_they_are_sealed_and_of_the_same_url() {
    let store = SharedStore::default();
    let mut world = World::sharing("jwt", &[], Sharing::Plain, &store);
    let forger = Key::new("one", 9);
    assert_eq!(world.get_good(), VERIFIED);
    assert_eq!(world.issuer.key_fetches(), 1);
    let forged = forger.token(&[]);
    let (name, sealed) = {
        let slots = store.slots.borrow();
        let (name, (_, value)) = slots
            .iter()
            .find(|(name, _)| name.contains("keys"))
            .unwrap();
        (name.clone(), value.clone())
    };
    let plain = format!("ttk1{}", set_document(&[&forger]));
    let mut flipped = sealed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for value in [plain.as_bytes(), &flipped, &sealed[..40], b"", b"ttk1"] {
        store.write(&name, value);
        let mut other = world.beside(&[], &store);
        assert_eq!(get(&mut other, &forged), Some(Reason::InvalidSignature));
        assert_eq!(
            world.issuer.key_fetches(),
            2,
            "the issuer was asked, and again because of the signature"
        );
    }
    store.write(&name, &sealed);
    for settings in [
        ("jwks_url", "https://issuer.example/other"),
        ("cache_key", "another key of thirty-two characters"),
    ] {
        let mut other = world.beside(&[settings], &store);
        let token = world.key.token(&[]);
        assert_eq!(get(&mut other, &token), None);
        assert_eq!(world.issuer.key_fetches(), 1, "{settings:?}");
        store.write(&name, &sealed);
    }
    // Nor if the store fails.
    store.is_broken.set(true);
    let mut other = world.beside(&[], &store);
    assert_eq!(get(&mut other, &world.key.token(&[])), None);
    assert_eq!(world.issuer.key_fetches(), 1);
}

/// Random histories of an issuer's keys, against a model that only knows when which key was
/// published.
mod model {
    use std::time::Duration;

    use proptest::prelude::*;
    use token_check::Reason;

    use super::{Key, UNREACHABLE, World};

    const TTL: u64 = 60_000;
    const MIN_INTERVAL: u64 = 10_000;
    const MAX_AGE: u64 = 300_000;
    const KEYS: u8 = 4;

    #[derive(Clone, Debug)]
    enum Event {
        /// These keys, as bits. None: the endpoint fails.
        Publishes(u8),
        /// A token of this key; a new one, or one that was there before.
        Request(u8, bool),
        /// In milliseconds.
        Wait(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            1 => (0..1_u8 << KEYS).prop_map(Event::Publishes),
            8 => (0..KEYS, any::<bool>()).prop_map(|(key, is_new)| Event::Request(key, is_new)),
            4 => prop_oneof![1..50_u64, 1000..20_000_u64, 40_000..400_000_u64].prop_map(Event::Wait),
        ];
        prop::collection::vec(event, 1..120)
    }

    /// What was published from when on, in milliseconds.
    struct History(Vec<(u64, u8)>);

    impl History {
        /// What was published at any time since then.
        fn since(&self, start: u64) -> impl Iterator<Item = u8> {
            let begins = self.0.iter().rposition(|(at, _)| *at < start);
            self.0
                .iter()
                .skip(begins.unwrap_or(0))
                .map(|(_, keys)| *keys)
        }

        fn had(&self, key: u8, start: u64) -> bool {
            self.since(start).any(|keys| keys & (1 << key) != 0)
        }

        fn failed(&self, start: u64) -> bool {
            self.since(start).any(|keys| keys == 0)
        }

        /// Whether it was there all the time since then.
        fn kept(&self, key: u8, start: u64) -> bool {
            self.since(start).all(|keys| keys & (1 << key) != 0)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn a_key_counts_as_long_as_the_issuer_publishes_it_and_not_much_longer(events in events()) {
            let settings = [("jwks_ttl", "60"), ("jwks_min_interval", "10"), ("jwks_max_age", "300")];
            let mut world = World::new("jwt", &settings);
            let keys: Vec<_> = (0..KEYS).map(|key| Key::new(&key.to_string(), key + 1)).collect();
            let publish = |world: &World, published: u8| {
                let keys: Vec<_> = (keys.iter().zip(0_u8..))
                    .filter(|(_, key)| published & (1 << key) != 0)
                    .map(|(key, _)| key)
                    .collect();
                match published {
                    0 => world.issuer.publishes(UNREACHABLE),
                    _ => world.publish(&keys),
                }
            };
            publish(&world, 1);
            let (mut now, mut history, mut number) = (0, History(vec![(0, 1)]), 0_u32);
            let mut fetches = 0_usize;
            for event in events {
                match event {
                    Event::Publishes(published) => {
                        publish(&world, published);
                        history.0.push((now, published));
                    }
                    Event::Wait(time) => {
                        world.clock.advance(Duration::from_millis(time));
                        now += time;
                    }
                    Event::Request(key, is_new) => {
                        number += u32::from(is_new);
                        let number = if is_new { number } else { 0 };
                        let token = keys[usize::from(key)].token(&[
                            ("jti", &number.to_string()),
                            ("exp", "1900000000"),
                        ]);
                        let (reason, _) = world.get(&token);
                        let ago = |age| now.saturating_sub(age);
                        match reason {
                            None => prop_assert!(
                                history.had(key, ago(TTL))
                                    || (history.failed(ago(TTL)) && history.had(key, ago(MAX_AGE))),
                                "{key} at {now}: {:?}", history.0
                            ),
                            // A moment in which nothing new may be fetched, or an answer from before.
                            Some(Reason::UnknownKey) => prop_assert!(
                                !history.kept(key, ago(MIN_INTERVAL)), "{key} at {now}: {:?}", history.0
                            ),
                            Some(Reason::IssuerUnreachable) => prop_assert!(
                                history.failed(ago(MIN_INTERVAL)), "{key} at {now}: {:?}", history.0
                            ),
                            Some(other) => prop_assert!(false, "{other:?}"),
                        }
                        fetches += world.issuer.key_fetches();
                    }
                }
            }
            // For age, for unknown keys, and after failures, each at most once per interval; a call
            // that fails is made twice.
            let intervals = usize::try_from(now / MIN_INTERVAL).unwrap() + 5;
            prop_assert!(fetches <= 4 * intervals, "{fetches} in {now} ms");
        }
    }
}

//! What instances share, and what somebody who can write into the store can do with it: nothing.

use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use token_check::{Action, CacheStatus, Decision, Reason, Sharing};

use crate::fixture::{
    Clock, Instance, Issuer, Ran, SECRET, SharedStore, TIMED_OUT, UNREACHABLE, active, continues,
    inactive, reason,
};

const HIT: Option<CacheStatus> = Some(CacheStatus::Hit);
const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);
const SHARED: Option<CacheStatus> = Some(CacheStatus::Shared);
const TOKEN: &str = "cace6X_XtokenQyXzUw";
const CLAIMS: &str = r#","sub":"s","scope":"read""#;

struct Shared {
    clock: Clock,
    issuer: Issuer,
    store: SharedStore,
    settings: Vec<(&'static str, &'static str)>,
    sharing: Sharing,
}

impl Shared {
    fn new(sharing: Sharing) -> Self {
        Self {
            clock: Clock::new(),
            issuer: Issuer::new(active(CLAIMS)),
            store: SharedStore::default(),
            settings: vec![("cache_ttl", "60")],
            sharing,
        }
    }

    fn instance(&self) -> Instance {
        self.instance_with(&[])
    }

    fn instance_with(&self, more: &[(&'static str, &'static str)]) -> Instance {
        let settings = [&self.settings, more].concat();
        self.sharing(&settings, &self.clock)
    }

    /// One whose clock is ahead of the others'.
    fn instance_ahead_ms(&self, milliseconds: u64) -> Instance {
        let ahead = Clock::new();
        ahead.advance_ms(milliseconds);
        self.sharing(&self.settings, &ahead)
    }

    fn sharing(&self, settings: &[(&str, &str)], clock: &Clock) -> Instance {
        Instance::sharing(settings, &self.issuer, clock, self.sharing, &self.store)
    }
}

#[test]
fn a_result_of_one_instance_saves_the_next_one_a_call() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let shared = Shared::new(sharing);
        assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
        let mut second = shared.instance();
        assert_eq!(second.get("/", TOKEN), (None, SHARED));
        assert_eq!(second.get("/", TOKEN), (None, HIT));
        assert_eq!(shared.issuer.calls(), 1);
    }
}

#[test]
fn c1_c4_what_comes_from_the_store_is_checked_as_all_is() {
    let rules = r#"[{"path":{"exact":"/write"},"scopes":{"all":["write"]}},{"path":{"exact":"/short"},"ttl":10},{"path":{"exact":"/never"},"ttl":0}]"#;
    let mut shared = Shared::new(Sharing::Plain);
    shared.settings.push(("rules", rules));
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    shared.clock.advance_ms(10_000);
    assert_eq!(
        shared.instance().get("/write", TOKEN),
        (Some(Reason::InsufficientScope), SHARED)
    );
    assert_eq!(shared.issuer.calls(), 1);
    assert_eq!(shared.instance().get("/never", TOKEN), (None, MISS));
    shared.clock.advance_ms(10_000);
    assert_eq!(shared.instance().get("/short", TOKEN), (None, MISS));
    assert_eq!(shared.issuer.calls(), 2);
}

#[test]
fn instances_with_different_settings_select_claims_from_the_same_record() {
    let shared = Shared::new(Sharing::Plain);
    let claims = |claims_header: &'static str| {
        let mut instance = shared.instance_with(&[("claims_header", claims_header)]);
        let verdict = instance.request("/", TOKEN);
        let Decision::Granted(grant) = &verdict.decision else {
            panic!("{:?}", verdict.decision)
        };
        let mut headers = grant.headers();
        let claims = headers.find(|(name, _)| *name == "x-auth-claims");
        claims.map(|(_, value)| URL_SAFE_NO_PAD.decode_to_vec(value).unwrap())
    };
    assert_eq!(claims("sub").unwrap(), br#"{"sub":"s"}"#);
    assert_eq!(claims("none"), None);
    assert_eq!(claims("scope").unwrap(), br#"{"scope":"read"}"#);
    let all = br#"{"active":true,"sub":"s","scope":"read"}"#;
    assert_eq!(claims("all").unwrap(), all);
    assert_eq!(shared.issuer.calls(), 1);
}

#[test]
fn the_age_of_facts_counts_from_the_call_in_memory_and_in_the_store() {
    let shared = Shared::new(Sharing::Plain);
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    shared.clock.advance_ms(59_000);
    let mut second = shared.instance();
    assert_eq!(second.get("/", TOKEN), (None, SHARED));
    shared.clock.advance_ms(990);
    assert_eq!(second.get("/", TOKEN), (None, HIT));
    shared.clock.advance_ms(10);
    assert_eq!(second.get("/", TOKEN), (None, MISS));
}

#[test]
fn a_record_with_any_bit_changed_or_cut_anywhere_is_nothing() {
    let shared = Shared::new(Sharing::Plain);
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    let (key, record) = shared.store.facts();
    shared.issuer.responds(inactive());
    let refused = (Some(Reason::Inactive), MISS);
    for bit in 0..record.len() * 8 {
        let mut poisoned = record.clone();
        poisoned[bit / 8] ^= 1 << (bit % 8);
        shared.store.write(&key, &poisoned);
        assert_eq!(shared.instance().get("/", TOKEN), refused, "bit {bit}");
    }
    for length in 0..record.len() {
        shared.store.write(&key, &record[..length]);
        assert_eq!(shared.instance().get("/", TOKEN), refused, "{length} bytes");
        shared.store.write(&key, &record[record.len() - length..]);
        assert_eq!(shared.instance().get("/", TOKEN), refused, "{length} bytes");
    }
    for poison in [
        br#"{"active":true}"#.to_vec(),
        [record.clone(), record.clone()].concat(),
        [&record[..], b"\0"].concat(),
        vec![0; 1 << 20],
    ] {
        shared.store.write(&key, &poison);
        assert_eq!(shared.instance().get("/", TOKEN), refused);
    }
    shared.store.write(&key, &record);
    assert_eq!(
        shared.instance().get("/", TOKEN),
        (None, SHARED),
        "it is good"
    );
}

#[test]
fn a_record_put_back_when_its_time_is_over_is_nothing() {
    let shared = Shared::new(Sharing::Plain);
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    let (key, record) = shared.store.facts();
    shared.issuer.responds(inactive());
    shared.clock.advance_ms(60_000);
    shared.store.write(&key, &record);
    assert_eq!(
        shared.instance().get("/", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
}

#[test]
fn a_record_of_another_token_or_another_policy_is_nothing() {
    let mut shared = Shared::new(Sharing::Plain);
    // One slot: every token has the same key.
    shared.settings.push(("cache_entries", "1"));
    shared.settings.push(("cache_key", ""));
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    let (key, record) = shared.store.facts();
    shared.issuer.responds(inactive());
    let refused = (Some(Reason::Inactive), MISS);
    assert_eq!(shared.instance().get("/", "another"), refused);
    for other in [
        (
            "introspect_url",
            "https://other.verify.ibm.com/oauth2/introspect",
        ),
        ("resource_client_id", "service-c"),
        ("resource_client_secret", "another"),
        ("cache_key", "another-key-another-key-another-key"),
    ] {
        shared.store.write(&key, &record);
        let mut instance = shared.instance_with(&[other]);
        assert_eq!(instance.get("/", TOKEN), refused, "{other:?}");
    }
    shared.store.write(&key, &record);
    assert_eq!(
        shared.instance().get("/", TOKEN),
        (None, SHARED),
        "it is good"
    );
}

#[test]
fn a_record_from_the_future_is_nothing() {
    let shared = Shared::new(Sharing::Plain);
    let mut fast = shared.instance_ahead_ms(1_500);
    assert_eq!(fast.get("/", TOKEN), (None, MISS));
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    assert_eq!(shared.issuer.calls(), 2);
}

/// A record's age is rounded up by a millisecond, so that much of a difference is none.
#[test]
fn a_record_is_from_the_future_from_two_milliseconds_on() {
    for (milliseconds, cache) in [(1, SHARED), (2, MISS)] {
        let shared = Shared::new(Sharing::Plain);
        let mut fast = shared.instance_ahead_ms(milliseconds);
        assert_eq!(fast.get("/", TOKEN), (None, MISS));
        assert_eq!(shared.instance().get("/", TOKEN), (None, cache));
    }
}

#[test]
fn neither_token_nor_secret_nor_claims_are_in_the_store() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    let printed: Vec<u8> = (shared.store.slots.borrow().iter())
        .flat_map(|(key, (_, bytes))| [key.as_bytes(), bytes].concat())
        .collect();
    for secret in [TOKEN, SECRET, "active", "scope", "shop"] {
        let found = printed
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[test]
fn without_a_secret_nothing_is_shared_since_anybody_could_derive_its_key() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let no_secret = [
        ("client_auth", "none"),
        ("resource_client_secret", ""),
        ("cache_key", ""),
    ];
    for _ in 0..2 {
        let mut instance = shared.instance_with(&no_secret);
        assert_eq!(instance.get("/", TOKEN), (None, MISS));
        assert_eq!(instance.get("/", TOKEN), (None, HIT));
    }
    assert!(shared.store.slots.borrow().is_empty());
}

#[test]
fn c12_a_revocation_that_one_instance_sees_ends_the_record() {
    let shared = Shared::new(Sharing::Plain);
    let rules = ("rules", r#"[{"path":{"exact":"/short"},"ttl":5}]"#);
    assert_eq!(shared.instance_with(&[rules]).get("/", TOKEN), (None, MISS));
    shared.issuer.responds(inactive());
    shared.clock.advance_ms(5_000);
    assert_eq!(
        shared.instance_with(&[rules]).get("/short", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
    assert_eq!(
        shared.instance_with(&[rules]).get("/", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
}

#[test]
fn c9_a_spray_of_tokens_that_are_not_active_drives_out_no_record_and_the_keys_are_bounded() {
    let mut shared = Shared::new(Sharing::CompareAndSwap);
    shared
        .settings
        .extend([("cache_entries", "10"), ("negative_cache_ttl", "60")]);
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    shared.issuer.responds(inactive());
    let mut instance = shared.instance();
    for n in 0..1000 {
        instance.get("/", &format!("spray{n}"));
    }
    assert_eq!(shared.instance().get("/", TOKEN), (None, SHARED));
    assert!(shared.store.slots.borrow().len() <= 20);
}

#[test]
fn that_a_token_is_not_active_is_shared_for_its_time() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let mut shared = Shared::new(sharing);
        shared.settings.push(("negative_cache_ttl", "10"));
        shared.issuer.responds(inactive());
        let refused = |cache| (Some(Reason::Inactive), cache);
        assert_eq!(shared.instance().get("/", TOKEN), refused(MISS));
        assert_eq!(shared.instance().get("/", TOKEN), refused(SHARED));
        shared.clock.advance_ms(9_990);
        let mut late = shared.instance();
        assert_eq!(late.get("/", TOKEN), refused(SHARED));
        assert_eq!(late.get("/", TOKEN), refused(HIT));
        assert_eq!(shared.issuer.calls(), 1);
        shared.clock.advance_ms(10);
        assert_eq!(late.get("/", TOKEN), refused(MISS));
    }
}

#[test]
fn without_negative_cache_ttl_only_active_tokens_are_shared() {
    let shared = Shared::new(Sharing::Plain);
    shared.issuer.responds(inactive());
    assert_eq!(
        shared.instance().get("/", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
    assert!(shared.store.slots.borrow().is_empty());
}

#[test]
fn an_active_token_takes_the_place_of_one_that_is_not() {
    let mut shared = Shared::new(Sharing::Plain);
    shared
        .settings
        .extend([("cache_entries", "1"), ("negative_cache_ttl", "60")]);
    shared.issuer.responds(inactive());
    assert_eq!(
        shared.instance().get("/", "other"),
        (Some(Reason::Inactive), MISS)
    );
    shared.issuer.responds(active(CLAIMS));
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    assert_eq!(shared.instance().get("/", TOKEN), (None, SHARED));
}

#[test]
fn a_record_past_its_time_gives_way_to_a_token_that_is_not_active() {
    let mut shared = Shared::new(Sharing::Plain);
    shared
        .settings
        .extend([("cache_entries", "1"), ("negative_cache_ttl", "60")]);
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    shared.issuer.responds(inactive());
    let refused = |cache| (Some(Reason::Inactive), cache);
    assert_eq!(shared.instance().get("/", "other"), refused(MISS));
    // With the millisecond by which its age is rounded up.
    shared.clock.advance_ms(59_999);
    for _ in 0..2 {
        let other = shared.instance().get("/", "other");
        assert_eq!(other, refused(MISS), "its place is taken");
    }
    shared.clock.advance_ms(1);
    assert_eq!(shared.instance().get("/", "other"), refused(MISS));
    assert_eq!(shared.instance().get("/", "other"), refused(SHARED));
}

#[test]
fn expired_records_are_recognized_and_foreign_values_are_not() {
    let mut shared = Shared::new(Sharing::Plain);
    shared
        .settings
        .extend([("cache_entries", "5"), ("leeway", "30")]);
    let mut instance = shared.instance();
    let expires = shared.clock.now().unix.as_secs() + 20;
    shared
        .issuer
        .responds(active(&format!(r#","exp":{expires}"#)));
    assert_eq!(instance.get("/", TOKEN), (None, MISS));
    let (key, record) = shared.store.facts();
    let has_expired = |bytes: &[u8]| instance.check.has_expired(bytes, shared.clock.now());
    assert!(!has_expired(&record));
    // exp and the leeway.
    shared.clock.advance_ms(50_000);
    assert!(!has_expired(&record));
    shared.clock.advance_ms(1_000);
    assert!(has_expired(&record), "its token has expired");
    for other in [&b""[..], b"somebody else's", &record[1..]] {
        assert!(!has_expired(other));
    }
    let mut swept = Vec::new();
    for n in 0..20 {
        let (waiting, flight) = instance.call("/", &format!("t{n}"));
        let ended = instance.respond(flight);
        let own: Vec<_> = ended
            .records
            .iter()
            .map(|record| record.key.as_str())
            .collect();
        assert_eq!((own.len(), ended.sweep.len()), (1, 4));
        assert!(ended.sweep.iter().all(|key| key.as_str() != own[0]));
        swept.extend(ended.sweep);
        drop(instance.resume(waiting));
    }
    assert!(swept.iter().any(|swept| swept.as_str() == key));
}

#[test]
fn a_broken_store_costs_one_attempt_a_second_and_the_issuer_is_called() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let shared = Shared::new(sharing);
        shared.store.is_broken.set(true);
        let mut instance = shared.instance();
        for n in 0..10 {
            assert_eq!(instance.get("/", &format!("t{n}")), (None, MISS));
        }
        assert_eq!((shared.store.reads.take(), shared.issuer.calls()), (1, 10));
        shared.store.is_broken.set(false);
        assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
        shared.clock.advance_ms(1_000);
        assert_eq!(instance.get("/", TOKEN), (None, SHARED));
    }
}

#[test]
fn while_one_instance_introspects_the_others_wait_for_its_result() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let (mut first, mut second) = (shared.instance(), shared.instance());
    let (leader, asking) = first.call("/", TOKEN);
    let (follower, action) = second.lead("/", TOKEN);
    let (mut ticket, mut sleep) = second.run_to_sleep(action);
    for expected in [2, 4, 8, 16, 16] {
        assert_eq!(sleep, Duration::from_millis(expected));
        shared.clock.advance(sleep);
        let action = second.wake(ticket);
        (ticket, sleep) = second.run_to_sleep(action);
    }
    let _finished = first.respond(asking);
    assert_eq!(first.resume(leader).cache, MISS);
    let action = second.wake(ticket);
    assert!(matches!(second.run(action), Ran::Finished));
    assert_eq!(second.resume(follower).cache, SHARED);
    assert_eq!(shared.issuer.calls(), 1);
}

#[test]
fn a_route_without_ttl_waits_for_no_other_instance() {
    let mut shared = Shared::new(Sharing::CompareAndSwap);
    let rules = r#"[{"path":{"exact":"/never"},"ttl":0}]"#;
    shared.settings.push(("rules", rules));
    let (mut first, mut second) = (shared.instance(), shared.instance());
    let (_leader, _asking) = first.call("/", TOKEN);
    let (_other, action) = second.lead("/never", TOKEN);
    assert!(matches!(second.run(action), Ran::Introspects(_)));
}

#[test]
fn a_lease_ends_with_its_call() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let mut first = shared.instance();
    // This worker dies here.
    let (_lost, _calling) = first.call("/", TOKEN);
    let mut second = shared.instance();
    let (_, action) = second.lead("/", TOKEN);
    assert!(matches!(second.run(action), Ran::Sleeps(..)));
    shared.clock.advance_ms(6_000);
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
}

/// It was made for a longer `timeout`, or by somebody who wants us to wait.
#[test]
fn a_lease_that_ends_later_than_any_call_is_nothing() {
    for (timeout, holds) in [("6", true), ("7", false)] {
        let shared = Shared::new(Sharing::CompareAndSwap);
        let mut slow = shared.instance_with(&[("timeout", timeout)]);
        let (_leader, _calling) = slow.call("/", TOKEN);
        let mut instance = shared.instance();
        let (_, action) = instance.lead("/", TOKEN);
        let ran = instance.run(action);
        assert_eq!(matches!(ran, Ran::Sleeps(..)), holds, "{timeout} s");
        assert_eq!(matches!(ran, Ran::Introspects(..)), !holds, "{timeout} s");
    }
}

/// Whether another instance that is asked about this token now waits for the holder of its lease.
/// Otherwise it takes the lease.
fn waits(shared: &Shared, token: &str) -> bool {
    let mut instance = shared.instance();
    let (_, action) = instance.lead("/", token);
    match instance.run(action) {
        Ran::Sleeps(..) => true,
        Ran::Introspects(..) => false,
        other => panic!("must wait or introspect: {other:?}"),
    }
}

#[test]
fn a_lease_that_was_moved_to_another_token_or_forged_is_nothing() {
    let mut shared = Shared::new(Sharing::CompareAndSwap);
    let mut holder = shared.instance();
    let (_leader, _calling) = holder.call("/", TOKEN);
    let (key, lease) = {
        let slots = shared.store.slots.borrow();
        let mut leases = slots.iter().filter(|(key, _)| key.contains("lease"));
        let (key, (_, lease)) = leases.next().unwrap();
        (key.clone(), lease.clone())
    };
    assert!(waits(&shared, TOKEN));
    for forged in [vec![0; 40], vec![0; lease.len()], lease[4..].to_vec()] {
        shared.store.write(&key, &forged);
        assert!(!waits(&shared, TOKEN));
    }
    // One slot, so that the other token has the same key.
    shared.store = SharedStore::default();
    shared.settings.push(("cache_entries", "1"));
    let mut holder = shared.instance();
    let (_leader, _calling) = holder.call("/", TOKEN);
    assert!(!waits(&shared, "another"));
}

#[test]
fn a_foreign_value_is_kept_by_inactive_tokens_and_gives_way_to_an_active_one() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let mut shared = Shared::new(sharing);
        shared
            .settings
            .extend([("cache_entries", "1"), ("negative_cache_ttl", "60")]);
        assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
        let (key, _) = shared.store.facts();
        let foreign = b"somebody else's";
        shared.store.write(&key, foreign);
        shared.issuer.responds(inactive());
        let refused = (Some(Reason::Inactive), MISS);
        assert_eq!(shared.instance().get("/", TOKEN), refused);
        assert_eq!(shared.store.facts().1, foreign);
        shared.issuer.responds(active(CLAIMS));
        assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
        assert_eq!(shared.instance().get("/", TOKEN), (None, SHARED));
    }
}

#[test]
fn a_call_that_fails_or_is_abandoned_releases_its_lease() {
    for given_up in [true, false] {
        let shared = Shared::new(Sharing::CompareAndSwap);
        shared.issuer.responds(TIMED_OUT);
        let mut first = shared.instance();
        let (_, flight) = first.call("/", TOKEN);
        if given_up {
            let ended = first.check.abandon(flight, shared.clock.now());
            for record in &ended.records {
                shared.store.write(record.key.as_str(), &record.bytes);
            }
        } else {
            let _ended = first.respond(flight);
        }
        shared.issuer.responds(active(""));
        assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    }
}

#[test]
fn of_two_instances_that_take_a_lease_at_once_one_introspects() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let mut instances = [shared.instance(), shared.instance()];
    let mut claims = Vec::new();
    for instance in &mut instances {
        let (_request, mut action) = instance.lead("/", TOKEN);
        // Neither a record nor a lease.
        for _ in 0..2 {
            let Action::StoreGet(ticket, _) = action else {
                panic!("must read: {action:?}")
            };
            let read = instance
                .check
                .store_read(ticket, Ok(None), shared.clock.now());
            action = continues(read);
        }
        claims.push(action);
    }
    let asks = instances
        .iter_mut()
        .zip(claims)
        .map(|(instance, action)| instance.run(action))
        .filter(|ran| matches!(ran, Ran::Introspects(..)))
        .count();
    assert_eq!(asks, 1);
}

#[test]
fn a_response_too_large_to_share_stays_in_its_instance() {
    const EMPTY: &str = r#"{"active":true,"x":""}"#;
    for (length, other) in [(4096, SHARED), (4097, MISS)] {
        let shared = Shared::new(Sharing::Plain);
        let long = "y".repeat(length - EMPTY.len());
        shared.issuer.responds(active(&format!(r#","x":"{long}""#)));
        let mut first = shared.instance();
        assert_eq!(first.get("/", TOKEN), (None, MISS));
        assert_eq!(first.get("/", TOKEN), (None, HIT));
        assert_eq!(shared.instance().get("/", TOKEN), (None, other), "{length}");
    }
}

#[test]
fn without_a_ttl_nothing_is_shared() {
    let mut shared = Shared::new(Sharing::CompareAndSwap);
    shared.settings = vec![("cache_ttl", "0")];
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
    assert!(shared.store.slots.borrow().is_empty());
    assert_eq!(shared.store.reads.take(), 0);
}

#[test]
fn an_inactive_result_on_a_route_without_ttl_erases_the_record() {
    let mut shared = Shared::new(Sharing::CompareAndSwap);
    let rules = r#"[{"path":{"exact":"/never"},"ttl":0}]"#;
    shared.settings.push(("rules", rules));
    let mut instance = shared.instance();
    assert_eq!(instance.get("/", TOKEN), (None, MISS));
    shared.issuer.responds(inactive());
    shared.clock.advance_ms(1_000);
    let refused = (Some(Reason::Inactive), MISS);
    assert_eq!(instance.get("/never", TOKEN), refused);
    assert_eq!(instance.get("/", TOKEN), refused);
    assert_eq!(shared.instance().get("/", TOKEN), refused);
}

#[test]
fn stale_facts_of_the_store_are_used_by_an_instance_without_any() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let mut shared = Shared::new(sharing);
        shared.settings = vec![("cache_ttl", "10"), ("stale_if_error", "60")];
        assert_eq!(shared.instance().get("/", TOKEN), (None, MISS));
        shared.clock.advance_ms(69_998);
        shared.issuer.responds(UNREACHABLE);
        let stale = (None, Some(CacheStatus::Stale));
        assert_eq!(shared.instance().get("/", TOKEN), stale);
        shared.clock.advance_ms(1);
        let refused = (Some(Reason::IssuerUnreachable), MISS);
        assert_eq!(shared.instance().get("/", TOKEN), refused);
    }
}

#[test]
fn a_request_that_waits_for_a_dead_worker_introspects_in_time() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let mut dead = shared.instance();
    let (_waiting, _asking) = dead.call("/", TOKEN);
    let mut live = shared.instance();
    let begun = shared.clock.now().monotonic;
    let (waiting, action) = live.lead("/", TOKEN);
    let mut ran = live.run(action);
    while let Ran::Sleeps(ticket, time) = ran {
        shared.clock.advance(time);
        let action = live.wake(ticket);
        ran = live.run(action);
    }
    let Ran::Introspects(flight) = ran else {
        panic!("must introspect: {ran:?}")
    };
    let waited = shared.clock.now().monotonic - begun;
    let half = Duration::from_millis(2_500)..Duration::from_millis(2_520);
    assert!(half.contains(&waited), "{waited:?}");
    let _ended = live.respond(flight);
    assert_eq!(live.resume(waiting).cache, MISS);
}

/// Its own call would have half of the timeout, in which such an issuer does not respond.
#[test]
fn a_request_waits_for_the_holder_of_the_lease_as_long_as_the_issuer_lately_took() {
    for (took, is_shared) in [(2_400, false), (2_600, true), (4_000, true)] {
        let shared = Shared::new(Sharing::CompareAndSwap);
        let (mut first, mut second) = (shared.instance(), shared.instance());
        let (before, calling) = second.call("/", "another");
        shared.clock.advance_ms(took);
        let _ended = second.respond(calling);
        assert_eq!(second.resume(before).cache, MISS);
        let (_leader, calling) = first.call("/", TOKEN);
        let (follower, action) = second.lead("/", TOKEN);
        let begun = shared.clock.now().monotonic;
        let mut ran = second.run(action);
        while shared.clock.now().monotonic - begun < Duration::from_millis(took.max(2_500) + 50)
            && let Ran::Sleeps(ticket, time) = ran
        {
            shared.clock.advance(time);
            let action = second.wake(ticket);
            ran = second.run(action);
        }
        assert_eq!(matches!(ran, Ran::Sleeps(..)), is_shared, "{took} ms");
        let _finished = first.respond(calling);
        if let Ran::Sleeps(ticket, _) = ran {
            let action = second.wake(ticket);
            assert!(matches!(second.run(action), Ran::Finished));
            assert_eq!(second.resume(follower).cache, SHARED);
        }
    }
}

/// The holder is gone, and the issuer is too slow for what time is left.
#[test]
fn a_request_that_waits_for_a_lease_waits_no_longer_than_its_deadline() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let (mut dead, mut live) = (shared.instance(), shared.instance());
    let (before, calling) = live.call("/", "another");
    shared.clock.advance_ms(4_000);
    let _ended = live.respond(calling);
    assert_eq!(live.resume(before).cache, MISS);
    let (_waiting, _asking) = dead.call("/", TOKEN);
    let begun = shared.clock.now().monotonic;
    let (waiting, action) = live.lead("/", TOKEN);
    let mut ran = live.run(action);
    while let Ran::Sleeps(ticket, time) = ran {
        shared.clock.advance(time);
        let action = live.wake(ticket);
        ran = live.run(action);
    }
    assert!(matches!(ran, Ran::Finished), "{ran:?}");
    let waited = shared.clock.now().monotonic - begun;
    let timeout = Duration::from_millis(5_000)..Duration::from_millis(5_020);
    assert!(timeout.contains(&waited), "{waited:?}");
    let verdict = live.resume(waiting);
    assert_eq!(reason(&verdict.decision), Some(Reason::IssuerTimeout));
}

/// Both clocks agree; the second one was read a moment before the first one.
#[test]
fn a_lease_taken_a_millisecond_later_holds() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let mut first = shared.instance();
    shared.clock.advance_ms(1);
    let (_leader, _calling) = first.call("/", TOKEN);
    // Its clock is behind.
    let behind = Clock::new();
    let mut second = Instance::sharing(
        &shared.settings,
        &shared.issuer,
        &behind,
        shared.sharing,
        &shared.store,
    );
    let (_, action) = second.lead("/", TOKEN);
    assert!(matches!(second.run(action), Ran::Sleeps(..)));
}

/// The first one finishes after the second one has read the facts, and before it reads the lease.
#[test]
fn facts_written_between_two_reads_are_found() {
    let shared = Shared::new(Sharing::CompareAndSwap);
    let (mut first, mut second) = (shared.instance(), shared.instance());
    let (_leader, calling) = first.call("/", TOKEN);
    let (follower, action) = second.lead("/", TOKEN);
    let Action::StoreGet(ticket, _) = action else {
        panic!("must read: {action:?}")
    };
    let read = second
        .check
        .store_read(ticket, Ok(None), shared.clock.now());
    let action = continues(read);
    let _finished = first.respond(calling);
    assert!(matches!(second.run(action), Ran::Finished));
    assert_eq!(second.resume(follower).cache, SHARED);
    assert_eq!(shared.issuer.calls(), 1);
}

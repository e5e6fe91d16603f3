//! What instances share, and what somebody who can write into the store can do with it: nothing.

use std::time::Duration;

use token_check::{CacheUse, Errand, Outcome, Progress, Reason, Sharing, Step};

use crate::world::{Clock, Instance, Issuer, Ran, SECRET, Says, SharedStore, active, inactive};

const HIT: Option<CacheUse> = Some(CacheUse::Hit);
const MISS: Option<CacheUse> = Some(CacheUse::Miss);
const STORE: Option<CacheUse> = Some(CacheUse::Store);
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
        Instance::sharing(
            &settings,
            &self.issuer,
            &self.clock,
            self.sharing,
            &self.store,
        )
    }
}

#[test]
fn what_one_instance_was_told_the_next_one_need_not_ask() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let world = Shared::new(sharing);
        assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
        let mut second = world.instance();
        assert_eq!(second.get("/", TOKEN), (None, STORE));
        assert_eq!(second.get("/", TOKEN), (None, HIT));
        assert_eq!(world.issuer.asked(), 1);
    }
}

#[test]
fn c1_c4_what_comes_from_the_store_is_checked_as_all_is() {
    let rules = r#"[{"path":{"exact":"/write"},"scopes":{"all":["write"]}},{"path":{"exact":"/short"},"ttl":10},{"path":{"exact":"/never"},"ttl":0}]"#;
    let mut world = Shared::new(Sharing::Plain);
    world.settings.push(("rules", rules));
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    world.clock.forward_ms(10_000);
    assert_eq!(
        world.instance().get("/write", TOKEN),
        (Some(Reason::InsufficientScope), STORE)
    );
    assert_eq!(world.issuer.asked(), 1);
    assert_eq!(world.instance().get("/never", TOKEN), (None, MISS));
    world.clock.forward_ms(10_000);
    assert_eq!(world.instance().get("/short", TOKEN), (None, MISS));
    assert_eq!(world.issuer.asked(), 2);
}

#[test]
fn the_time_of_the_question_counts_wherever_the_facts_are() {
    let world = Shared::new(Sharing::Plain);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    world.clock.forward_ms(59_000);
    let mut second = world.instance();
    assert_eq!(second.get("/", TOKEN), (None, STORE));
    world.clock.forward_ms(990);
    assert_eq!(second.get("/", TOKEN), (None, HIT));
    world.clock.forward_ms(10);
    assert_eq!(second.get("/", TOKEN), (None, MISS));
}

#[test]
fn a_record_with_any_bit_changed_or_cut_anywhere_is_nothing() {
    let world = Shared::new(Sharing::Plain);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    let (key, record) = world.store.facts();
    world.issuer.says(inactive());
    let refused = (Some(Reason::Inactive), MISS);
    for bit in 0..record.len() * 8 {
        let mut poisoned = record.clone();
        poisoned[bit / 8] ^= 1 << (bit % 8);
        world.store.write(&key, &poisoned);
        assert_eq!(world.instance().get("/", TOKEN), refused, "bit {bit}");
    }
    for length in 0..record.len() {
        world.store.write(&key, &record[..length]);
        assert_eq!(world.instance().get("/", TOKEN), refused, "{length} bytes");
        world.store.write(&key, &record[record.len() - length..]);
        assert_eq!(world.instance().get("/", TOKEN), refused, "{length} bytes");
    }
    for poison in [
        br#"{"active":true}"#.to_vec(),
        [record.clone(), record.clone()].concat(),
        [&record[..], b"\0"].concat(),
        vec![0; 1 << 20],
    ] {
        world.store.write(&key, &poison);
        assert_eq!(world.instance().get("/", TOKEN), refused);
    }
    world.store.write(&key, &record);
    assert_eq!(
        world.instance().get("/", TOKEN),
        (None, STORE),
        "it is good"
    );
}

#[test]
fn a_record_put_back_when_its_time_is_over_is_nothing() {
    let world = Shared::new(Sharing::Plain);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    let (key, record) = world.store.facts();
    world.issuer.says(inactive());
    world.clock.forward_ms(60_000);
    world.store.write(&key, &record);
    assert_eq!(
        world.instance().get("/", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
}

#[test]
fn a_record_of_another_token_or_another_policy_is_nothing() {
    let mut world = Shared::new(Sharing::Plain);
    // One slot: every token has the same key.
    world.settings.push(("cache_entries", "1"));
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    let (key, record) = world.store.facts();
    world.issuer.says(inactive());
    let refused = (Some(Reason::Inactive), MISS);
    assert_eq!(world.instance().get("/", "another"), refused);
    for other in [
        (
            "introspect_url",
            "https://other.verify.ibm.com/oauth2/introspect",
        ),
        ("resource_client_id", "service-c"),
        ("resource_client_secret", "another"),
    ] {
        world.store.write(&key, &record);
        let mut instance = world.instance_with(&[other]);
        assert_eq!(instance.get("/", TOKEN), refused, "{other:?}");
    }
    world.store.write(&key, &record);
    assert_eq!(
        world.instance().get("/", TOKEN),
        (None, STORE),
        "it is good"
    );
}

#[test]
fn a_record_from_the_future_is_nothing() {
    let world = Shared::new(Sharing::Plain);
    let ahead = Clock::new();
    ahead.forward_ms(1_500);
    let mut fast = Instance::sharing(
        &world.settings,
        &world.issuer,
        &ahead,
        world.sharing,
        &world.store,
    );
    assert_eq!(fast.get("/", TOKEN), (None, MISS));
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    assert_eq!(world.issuer.asked(), 2);
}

#[test]
fn neither_token_nor_secret_is_in_the_store() {
    let world = Shared::new(Sharing::CompareAndSwap);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    let printed: Vec<u8> = (world.store.slots.borrow().iter())
        .flat_map(|(key, (_, bytes))| [key.as_bytes(), bytes].concat())
        .collect();
    assert!(printed.windows(6).any(|window| window == b"\"scope"));
    for secret in [TOKEN, SECRET] {
        let found = printed
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[test]
fn c12_a_revocation_that_one_instance_sees_ends_the_record() {
    let world = Shared::new(Sharing::Plain);
    let rules = ("rules", r#"[{"path":{"exact":"/short"},"ttl":5}]"#);
    assert_eq!(world.instance_with(&[rules]).get("/", TOKEN), (None, MISS));
    world.issuer.says(inactive());
    world.clock.forward_ms(5_000);
    assert_eq!(
        world.instance_with(&[rules]).get("/short", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
    assert_eq!(
        world.instance_with(&[rules]).get("/", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
}

#[test]
fn c9_a_spray_of_tokens_that_are_not_active_drives_out_no_record_and_the_keys_are_bounded() {
    let mut world = Shared::new(Sharing::CompareAndSwap);
    world
        .settings
        .extend([("cache_entries", "10"), ("negative_cache_ttl", "60")]);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    world.issuer.says(inactive());
    let mut instance = world.instance();
    for n in 0..1000 {
        instance.get("/", &format!("spray{n}"));
    }
    assert_eq!(world.instance().get("/", TOKEN), (None, STORE));
    assert!(world.store.slots.borrow().len() <= 20);
}

#[test]
fn that_a_token_is_not_active_is_shared_for_its_time() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let mut world = Shared::new(sharing);
        world.settings.push(("negative_cache_ttl", "10"));
        world.issuer.says(inactive());
        let refused = |cache| (Some(Reason::Inactive), cache);
        assert_eq!(world.instance().get("/", TOKEN), refused(MISS));
        assert_eq!(world.instance().get("/", TOKEN), refused(STORE));
        world.clock.forward_ms(9_990);
        let mut late = world.instance();
        assert_eq!(late.get("/", TOKEN), refused(STORE));
        assert_eq!(late.get("/", TOKEN), refused(HIT));
        assert_eq!(world.issuer.asked(), 1);
        world.clock.forward_ms(10);
        assert_eq!(late.get("/", TOKEN), refused(MISS));
    }
}

#[test]
fn without_negative_cache_ttl_only_active_tokens_are_shared() {
    let world = Shared::new(Sharing::Plain);
    world.issuer.says(inactive());
    assert_eq!(
        world.instance().get("/", TOKEN),
        (Some(Reason::Inactive), MISS)
    );
    assert!(world.store.slots.borrow().is_empty());
}

#[test]
fn an_active_token_takes_the_place_of_one_that_is_not() {
    let mut world = Shared::new(Sharing::Plain);
    world
        .settings
        .extend([("cache_entries", "1"), ("negative_cache_ttl", "60")]);
    world.issuer.says(inactive());
    assert_eq!(
        world.instance().get("/", "other"),
        (Some(Reason::Inactive), MISS)
    );
    world.issuer.says(active(CLAIMS));
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    assert_eq!(world.instance().get("/", TOKEN), (None, STORE));
}

#[test]
fn a_record_past_its_time_gives_way_to_a_token_that_is_not_active() {
    let mut world = Shared::new(Sharing::Plain);
    world
        .settings
        .extend([("cache_entries", "1"), ("negative_cache_ttl", "60")]);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    world.issuer.says(inactive());
    let refused = |cache| (Some(Reason::Inactive), cache);
    assert_eq!(world.instance().get("/", "other"), refused(MISS));
    assert_eq!(
        world.instance().get("/", "other"),
        refused(MISS),
        "its place is taken"
    );
    world.clock.forward_ms(60_001);
    assert_eq!(world.instance().get("/", "other"), refused(MISS));
    assert_eq!(world.instance().get("/", "other"), refused(STORE));
}

#[test]
fn a_host_is_told_which_records_have_expired_and_never_what_others_wrote() {
    let mut world = Shared::new(Sharing::Plain);
    world
        .settings
        .extend([("cache_entries", "5"), ("leeway", "30")]);
    let mut instance = world.instance();
    let expires = world.clock.now().unix.as_secs() + 20;
    world.issuer.says(active(&format!(r#","exp":{expires}"#)));
    assert_eq!(instance.get("/", TOKEN), (None, MISS));
    let (key, record) = world.store.facts();
    let has_expired = |bytes: &[u8]| instance.check.has_expired(bytes, world.clock.now());
    assert!(!has_expired(&record));
    // exp and the leeway.
    world.clock.forward_ms(50_000);
    assert!(!has_expired(&record));
    world.clock.forward_ms(1_000);
    assert!(has_expired(&record), "its token has expired");
    for other in [&b""[..], b"somebody else's", &record[1..]] {
        assert!(!has_expired(other));
    }
    let mut swept = Vec::new();
    for n in 0..20 {
        let Step::Lead(waiting, flight, errand) = instance.begin("/", &format!("t{n}")) else {
            panic!("must lead")
        };
        let Ran::Asks(flight) = instance.run(flight, errand) else {
            panic!("must ask")
        };
        let ended = instance.ask(flight);
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
fn a_broken_store_costs_one_attempt_a_second_and_the_issuer_is_asked() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let world = Shared::new(sharing);
        world.store.is_broken.set(true);
        let mut instance = world.instance();
        for n in 0..10 {
            assert_eq!(instance.get("/", &format!("t{n}")), (None, MISS));
        }
        assert_eq!((world.store.calls.take(), world.issuer.asked()), (1, 10));
        world.store.is_broken.set(false);
        assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
        world.clock.forward_ms(1_000);
        assert_eq!(instance.get("/", TOKEN), (None, STORE));
    }
}

#[test]
fn while_one_instance_asks_the_others_wait_for_what_it_hears() {
    let world = Shared::new(Sharing::CompareAndSwap);
    let (mut first, mut second) = (world.instance(), world.instance());
    let Step::Lead(leader, flight, errand) = first.begin("/", TOKEN) else {
        panic!("must lead")
    };
    let Ran::Asks(asking) = first.run(flight, errand) else {
        panic!("must ask")
    };
    let Step::Lead(follower, flight, errand) = second.begin("/", TOKEN) else {
        panic!("must lead here")
    };
    let Ran::Pauses(mut flight, mut pause) = second.run(flight, errand) else {
        panic!("must wait")
    };
    for expected in [2, 4, 8, 16, 16] {
        assert_eq!(pause, Duration::from_millis(expected));
        world.clock.forward(pause);
        let progress = second
            .check
            .settle(flight, Outcome::Paused, world.clock.now());
        let Progress::More(next, errand) = progress else {
            panic!("must look again")
        };
        let Ran::Pauses(same, longer) = second.run(next, errand) else {
            panic!("must wait on")
        };
        (flight, pause) = (same, longer);
    }
    let _ended = first.ask(asking);
    assert_eq!(first.resume(leader).cache, MISS);
    let Progress::More(flight, errand) =
        second
            .check
            .settle(flight, Outcome::Paused, world.clock.now())
    else {
        panic!("must look again")
    };
    assert!(matches!(second.run(flight, errand), Ran::Ended(_)));
    assert_eq!(second.resume(follower).cache, STORE);
    assert_eq!(world.issuer.asked(), 1);
}

#[test]
fn a_lease_ends_with_its_question_and_one_that_never_ends_is_none() {
    let world = Shared::new(Sharing::CompareAndSwap);
    let mut first = world.instance();
    let Step::Lead(_lost, flight, errand) = first.begin("/", TOKEN) else {
        panic!("must lead")
    };
    // This worker dies here.
    let Ran::Asks(_asking) = first.run(flight, errand) else {
        panic!("must ask")
    };
    let mut second = world.instance();
    let Step::Lead(_, flight, errand) = second.begin("/", TOKEN) else {
        panic!("must lead")
    };
    assert!(matches!(second.run(flight, errand), Ran::Pauses(..)));
    world.clock.forward_ms(6_000);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));

    let (key, lease) = {
        let slots = world.store.slots.borrow();
        let mut leases = slots.iter().filter(|(key, _)| key.contains("lease"));
        let (key, _) = leases.next().unwrap();
        (
            key.clone(),
            [b"ttl1".to_vec(), vec![0; 32], vec![0x7f; 8]].concat(),
        )
    };
    world.store.write(&key, &lease);
    world.clock.forward_ms(60_000);
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
}

#[test]
fn a_question_that_fails_or_is_given_up_gives_its_lease_back() {
    for given_up in [true, false] {
        let world = Shared::new(Sharing::CompareAndSwap);
        world.issuer.says(Says::TimesOut);
        let mut first = world.instance();
        let Step::Lead(_, flight, errand) = first.begin("/", TOKEN) else {
            panic!("must lead")
        };
        let Ran::Asks(flight) = first.run(flight, errand) else {
            panic!("must ask")
        };
        if given_up {
            let progress = first
                .check
                .settle(flight, Outcome::Abandoned, world.clock.now());
            let Progress::Ended(ended) = progress else {
                panic!("it is over")
            };
            for record in &ended.records {
                world.store.write(record.key.as_str(), &record.bytes);
            }
        } else {
            let _ended = first.ask(flight);
        }
        world.issuer.says(active(""));
        assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    }
}

#[test]
fn of_two_that_claim_at_once_one_asks() {
    let world = Shared::new(Sharing::CompareAndSwap);
    let mut instances = [world.instance(), world.instance()];
    let mut claims = Vec::new();
    for instance in &mut instances {
        let Step::Lead(_waiting, flight, Errand::Look(_)) = instance.begin("/", TOKEN) else {
            panic!("must look")
        };
        let now = world.clock.now();
        let Progress::More(flight, Errand::Look(_)) =
            instance.check.settle(flight, Outcome::Found(None), now)
        else {
            panic!("must look for a lease")
        };
        let Progress::More(flight, errand) =
            instance.check.settle(flight, Outcome::Found(None), now)
        else {
            panic!("must claim")
        };
        claims.push((flight, errand));
    }
    let asks = instances
        .iter_mut()
        .zip(claims)
        .map(|(instance, (flight, errand))| instance.run(flight, errand))
        .filter(|ran| matches!(ran, Ran::Asks(_)))
        .count();
    assert_eq!(asks, 1);
}

#[test]
fn an_answer_too_large_to_share_stays_where_it_is() {
    let world = Shared::new(Sharing::Plain);
    let long = format!(r#","x":"{}""#, "y".repeat(4096));
    world.issuer.says(active(&long));
    let mut first = world.instance();
    assert_eq!(first.get("/", TOKEN), (None, MISS));
    assert_eq!(first.get("/", TOKEN), (None, HIT));
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    assert!(world.store.slots.borrow().is_empty());
}

#[test]
fn without_a_ttl_nothing_is_shared() {
    let mut world = Shared::new(Sharing::CompareAndSwap);
    world.settings = vec![("cache_ttl", "0")];
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
    assert!(world.store.slots.borrow().is_empty());
    assert_eq!(world.store.calls.take(), 0);
}

#[test]
fn a_revocation_heard_on_a_route_that_always_asks_ends_the_record() {
    let mut world = Shared::new(Sharing::CompareAndSwap);
    let rules = r#"[{"path":{"exact":"/never"},"ttl":0}]"#;
    world.settings.push(("rules", rules));
    let mut instance = world.instance();
    assert_eq!(instance.get("/", TOKEN), (None, MISS));
    world.issuer.says(inactive());
    world.clock.forward_ms(1_000);
    let refused = (Some(Reason::Inactive), MISS);
    assert_eq!(instance.get("/never", TOKEN), refused);
    assert_eq!(instance.get("/", TOKEN), refused);
    assert_eq!(world.instance().get("/", TOKEN), refused);
}

#[test]
fn stale_facts_of_the_store_count_in_an_instance_that_has_none() {
    for sharing in [Sharing::Plain, Sharing::CompareAndSwap] {
        let mut world = Shared::new(sharing);
        world.settings = vec![("cache_ttl", "10"), ("stale_if_error", "60")];
        assert_eq!(world.instance().get("/", TOKEN), (None, MISS));
        world.clock.forward_ms(69_998);
        world.issuer.says(Says::Unreachable);
        let stale = (None, Some(CacheUse::Stale));
        assert_eq!(world.instance().get("/", TOKEN), stale);
        world.clock.forward_ms(1);
        let refused = (Some(Reason::IssuerUnreachable), MISS);
        assert_eq!(world.instance().get("/", TOKEN), refused);
    }
}

#[test]
fn whoever_waits_for_a_worker_that_is_dead_asks_itself_in_time() {
    let world = Shared::new(Sharing::CompareAndSwap);
    let mut dead = world.instance();
    let Step::Lead(_waiting, flight, errand) = dead.begin("/", TOKEN) else {
        panic!("must lead")
    };
    let Ran::Asks(_asking) = dead.run(flight, errand) else {
        panic!("must ask")
    };
    let mut live = world.instance();
    let begun = world.clock.now().monotonic;
    let Step::Lead(waiting, flight, errand) = live.begin("/", TOKEN) else {
        panic!("must lead")
    };
    let mut ran = live.run(flight, errand);
    while let Ran::Pauses(flight, time) = ran {
        world.clock.forward(time);
        let progress = live
            .check
            .settle(flight, Outcome::Paused, world.clock.now());
        let Progress::More(flight, errand) = progress else {
            panic!("must go on")
        };
        ran = live.run(flight, errand);
    }
    let Ran::Asks(flight) = ran else {
        panic!("must ask")
    };
    let waited = world.clock.now().monotonic - begun;
    let half = Duration::from_millis(2_500)..Duration::from_millis(2_520);
    assert!(half.contains(&waited), "{waited:?}");
    let _ended = live.ask(flight);
    assert_eq!(live.resume(waiting).cache, MISS);
}

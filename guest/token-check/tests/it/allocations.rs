//! What is kept, in bytes, and what a hit allocates.

use allocation_counter::{AllocationInfo, measure};
use token_check::test_util::Host as _;
use token_check::{CacheStatus, Decision, Reason, RequestHead, Step, Verdict};

use crate::fixture::{Clock, Instance, Issuer, START, active, inactive, reason};
use crate::jwt_fixture::{Key, set_document};

/// As IBM Verify answers for a client-credentials token.
fn ibm() -> String {
    let id = "7f3a9d52-4b1e-4c8a-9c55-0d2f6e1b7a90";
    let (iat, exp) = (START - 10, START + 7189);
    format!(
        r#","aud":["{id}"],"client_id":"{id}","exp":{exp},"grant_id":"{id}","grant_type":"client_credentials","iat":{iat},"iss":"https://tenant.verify.ibm.com/oauth2","sub":"{id}","token_type":"bearer""#
    )
}

/// 100 bytes, in three segments as IBM's.
fn token(n: usize) -> String {
    format!("cace6X_X{n:030}.{:030}.{:030}", n * 7, n * 13)
}

/// Decides about a token that is known.
fn hit(instance: &mut Instance, token: &str) -> (Verdict, AllocationInfo) {
    let line = format!("Bearer {token}");
    let head = RequestHead {
        authorization: &[line.as_bytes()],
        method: b"GET",
        authority: Some(b"service-b.example"),
        path_and_query: Some(b"/data"),
        dpop: &[],
        client_certificate: &[],
        traceparent: &[],
    };
    let now = instance.host.now();
    let mut step = None;
    let allocated = measure(|| step = Some(instance.check.begin(&head, now)));
    let Some(Step::Done(verdict)) = step else {
        panic!("must be a hit")
    };
    (verdict, allocated)
}

#[test]
fn a_hit_allocates_what_it_forwards_and_nothing_else() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active(&ibm())));
    let mut instance = Instance::new(&[("cache_ttl", "60")], &issuer, &clock);
    assert_eq!(
        instance.get("/data", &token(1)),
        (None, Some(CacheStatus::Miss))
    );
    let (verdict, allocated) = hit(&mut instance, &token(1));
    assert_eq!(verdict.cache, Some(CacheStatus::Hit));
    let Decision::Granted(grant) = verdict.decision else {
        panic!("must be granted")
    };
    let forwarded: usize = grant.headers().map(|(_, value)| value.len()).sum();
    assert_eq!(allocated.count_total, 1, "one piece of memory");
    let spare = usize::try_from(allocated.bytes_total).unwrap() - forwarded;
    assert!(spare < 512, "{spare} bytes more than {forwarded}");
}

/// Its claims are not read again to find out which issuer it is for.
#[test]
fn a_jwt_of_one_of_several_issuers_allocates_no_more_on_a_hit() {
    let (clock, issuer) = (Clock::new(), Issuer::new(active("")));
    let keys = [Key::new("one", 1), Key::new("two", 2)];
    let names = ["https://a.example", "https://b.example"];
    let list = keys.iter().zip(names).map(|(key, name)| {
        let jwks = serde_json::to_string(&set_document(&[key])).unwrap();
        format!(r#"{{"issuer":"{name}","strategy":"jwt","jwks":{jwks}}}"#)
    });
    let list = format!("[{}]", list.collect::<Vec<_>>().join(","));
    let settings = [
        ("introspect_url", ""),
        ("resource_client_id", ""),
        ("resource_client_secret", ""),
        ("issuers", &list),
        ("expected_aud", "service-b"),
    ];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    for (key, name) in keys.iter().zip(names) {
        let token = key.token(&[("iss", &format!("{name:?}"))]);
        let (verdict, first) = hit(&mut instance, &token);
        assert_eq!(verdict.cache, Some(CacheStatus::Verified));
        assert!(first.count_total > 1, "{first:?}");
        let (verdict, allocated) = hit(&mut instance, &token);
        assert_eq!(verdict.cache, Some(CacheStatus::Hit));
        assert_eq!(reason(&verdict.decision), None);
        assert_eq!(allocated.count_total, 1, "one piece of memory");
    }
}

#[test]
fn a_refusal_on_a_hit_allocates_nothing() {
    let (clock, issuer) = (Clock::new(), Issuer::new(inactive()));
    let settings = [("cache_ttl", "60"), ("negative_cache_ttl", "60")];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let refused = (Some(Reason::Inactive), Some(CacheStatus::Miss));
    assert_eq!(instance.get("/data", &token(1)), refused);
    let (verdict, allocated) = hit(&mut instance, &token(1));
    assert_eq!(reason(&verdict.decision), Some(Reason::Inactive));
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn a_typical_entry_has_at_most_576_bytes_all_in() {
    const ENTRIES: usize = 16_000;
    let (clock, issuer) = (Clock::new(), Issuer::new(active(&ibm())));
    let settings = [("cache_ttl", "60"), ("cache_entries", "16384")];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let kept = fill(&mut instance, ENTRIES);
    let each = kept.bytes_current / i64::try_from(ENTRIES).unwrap();
    println!("{each} bytes each");
    assert!(each <= 576, "{each} bytes each");
}

fn fill(instance: &mut Instance, entries: usize) -> AllocationInfo {
    measure(|| {
        for n in 0..entries {
            assert_eq!(instance.get("/", &token(n)).0, None);
        }
    })
}

#[test]
fn c9_a_million_random_tokens_stay_under_the_cap_and_the_good_ones_are_still_hits() {
    const GOOD: usize = 5_000;
    /// Entries, both areas full, at 1 KiB at most each.
    const CAP_BYTES: u64 = 2 * 10_000 * 1024;
    let (clock, issuer) = (Clock::new(), Issuer::new(active(&ibm())));
    let settings = [
        ("cache_ttl", "600"),
        ("negative_cache_ttl", "600"),
        ("cache_entries", "10000"),
    ];
    let mut instance = Instance::new(&settings, &issuer, &clock);
    let kept = measure(|| {
        let _filled = fill(&mut instance, GOOD);
        issuer.responds(inactive());
        for n in 0..1_000_000_usize {
            let random = format!("{:x}.{n}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15_usize));
            assert_eq!(instance.get("/", &random).0, Some(Reason::Inactive));
        }
    });
    println!(
        "{} bytes kept, {} at most",
        kept.bytes_current, kept.bytes_max
    );
    assert!(kept.bytes_max < CAP_BYTES, "{} bytes", kept.bytes_max);
    for n in 0..GOOD {
        assert_eq!(instance.get("/", &token(n)), (None, Some(CacheStatus::Hit)));
    }
}

/// What follows the document counts too: selected claims, unescaped strings, and where each scope is.
#[test]
fn c9_entries_of_every_kind_take_at_most_1_kib_times_cache_entries() {
    let scopes = format!(r#","scope":"{}""#, vec!["s"; 490].join(" "));
    let long = format!(r#","sub":"{}""#, "s".repeat(900));
    let escaped = format!(r#","aud":"\u0041{}""#, "s".repeat(900));
    let full = format!(r#","sub":"{}""#, "s".repeat(1_000));
    let rows = [
        ("all", ""),
        ("all", &*ibm()),
        ("all", &full),
        ("sub", &long),
        ("all", &escaped),
        ("all", &scopes),
        ("scope", &scopes),
    ];
    // Full tables, and one that has just grown.
    for entries in [1_000, 1_800] {
        for (claims_header, members) in rows {
            let (clock, issuer) = (Clock::new(), Issuer::new(active(members)));
            let limit = entries.to_string();
            let settings = [
                ("cache_ttl", "60"),
                ("cache_entries", &limit),
                ("claims_header", claims_header),
            ];
            let mut instance = Instance::new(&settings, &issuer, &clock);
            let kept = fill(&mut instance, entries * 2).bytes_current;
            let each = kept / i64::try_from(entries).unwrap();
            let bytes = members.len();
            println!("{entries} entries, {claims_header}, {bytes} bytes: {each} bytes each");
            assert!(each <= 1024, "{claims_header}, {bytes} bytes: {each}");
        }
    }
}

//! Any bytes as a value of the shared store. The issuer says that no token is active, so a request
//! is granted only by a record that an instance wrote about this very token a moment ago.

use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::Unstructured;
use token_check::test_util::{self, Host};
use token_check::{
    AuthCheck, CacheStatus, CallFailure, Finished, IntrospectionCall, IssuerResponse, Now, Sharing,
    StoreFailed, StoreKey,
};

use crate::support::{at, below, bytes, flag, head, is_granted, json, pick, try_policy};

const TTL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(1);
const TOKENS: [&[u8]; 2] = [b"Bearer token-a", b"Bearer token-b"];

/// A host with one instance's view of the store.
struct Instance {
    time: Duration,
    is_active: bool,
    /// What each read of the store returns.
    value: Option<Vec<u8>>,
    written: Vec<Vec<u8>>,
}

impl Host for Instance {
    fn now(&self) -> Now {
        at(self.time)
    }

    fn introspect(&mut self, _: &IntrospectionCall) -> Result<IssuerResponse, CallFailure> {
        let active = self.is_active;
        Ok(json(&format!(r#"{{"active":{active},"exp":1800003600}}"#)))
    }

    fn store_get(&mut self, _: &StoreKey) -> Result<Option<Vec<u8>>, StoreFailed> {
        Ok(self.value.clone())
    }

    fn store_compare_and_swap(&mut self, _: &StoreKey, value: &[u8]) -> Result<bool, StoreFailed> {
        self.written.push(value.to_vec());
        Ok(true)
    }

    fn sleep(&mut self, time: Duration) {
        assert!(!time.is_zero(), "a sleep that does not end");
        self.time += time;
    }

    fn finished<W>(&mut self, finished: &Finished<W>) {
        (self.written).extend(finished.records.iter().map(|record| record.bytes.clone()));
    }
}

/// Reads a value.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let sharing = pick(&mut input, &[Sharing::Plain, Sharing::CompareAndSwap]);
    let sources = sources(sharing);
    let genuine = &sources[0];
    let value = mutated(&mut input, sources);
    let time = Duration::from_millis(u64::from(
        input.arbitrary::<u32>().unwrap_or_default() % 130_000,
    ));

    let mut check = check("service-b", sharing);
    let mut host = Instance {
        time,
        is_active: false,
        value: Some(value.clone()),
        written: Vec::new(),
    };
    let verdict = test_util::drive(&mut check, &head(&[TOKENS[0]], b"/"), &mut host);
    let is_own = genuine.contains(&value);
    if is_granted(&verdict) {
        assert_eq!(verdict.cache, Some(CacheStatus::Shared));
        assert!(
            is_own,
            "a record that nobody wrote about this token was believed"
        );
        assert!(time < TTL, "a record was believed past its time");
    }
    assert!(host.time < time + TIMEOUT, "the store held a request up");
    if check.has_expired(&value, at(time)) {
        let is_known = sources.iter().flatten().any(|known| *known == value);
        assert!(
            is_known && time >= TTL,
            "a value of somebody else was called expired"
        );
    }
}

fn check(client: &str, sharing: Sharing) -> AuthCheck<u32> {
    let settings = [
        ("resource_client_id", client),
        ("cache_ttl", "60"),
        ("timeout", "1"),
    ];
    let policy = try_policy(&settings).expect("these settings are valid");
    AuthCheck::new(policy, [7; 16]).sharing(sharing)
}

/// What is written about the first token, by this policy and by one with another client, and about
/// the second token. Made once, because it is always the same.
fn sources(sharing: Sharing) -> &'static [Vec<Vec<u8>>] {
    static PLAIN: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    static LEASED: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    let made = if sharing == Sharing::Plain {
        &PLAIN
    } else {
        &LEASED
    };
    made.get_or_init(|| {
        let by = [(0, "service-b"), (0, "other"), (1, "service-b")];
        by.map(|(token, client)| written(token, client, sharing))
            .into()
    })
}

/// What an instance writes for an active token, leases included.
fn written(token: usize, client: &str, sharing: Sharing) -> Vec<Vec<u8>> {
    let mut host = Instance {
        time: Duration::ZERO,
        is_active: true,
        value: None,
        written: Vec::new(),
    };
    let verdict = test_util::drive(
        &mut check(client, sharing),
        &head(&[TOKENS[token]], b"/"),
        &mut host,
    );
    assert!(is_granted(&verdict));
    host.written.retain(|value| !value.is_empty());
    host.written
}

fn mutated(input: &mut Unstructured<'_>, sources: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let source = &sources[below(input, sources.len())];
    let mut value = source[below(input, source.len())].clone();
    for _ in 0..below(input, 4) {
        let at = below(input, value.len() + 1);
        match below(input, 6) {
            0 => value.truncate(at),
            1 => value = bytes(input, 200),
            2 => value.extend(bytes(input, 8)),
            3 => {
                let other = &sources[below(input, sources.len())];
                let other = &other[below(input, other.len())];
                let rest = other.get(at..).unwrap_or_default().to_vec();
                value.truncate(at);
                value.extend(rest);
            }
            4 => value.splice(at..at, bytes(input, 8)).for_each(drop),
            _ => {
                if let Some(byte) = value.get_mut(at) {
                    *byte ^= 1 << below(input, 8);
                }
            }
        }
    }
    if flag(input) {
        value
    } else {
        bytes(input, 200)
    }
}

//! Introspection results in the memory of this instance. Facts only: each decision is made anew.

use core::time::Duration;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::token_key::{BuildPassThroughHasher, TokenKey};
use super::voucher::{Voucher, Vouchers};
use crate::introspection::Facts;
use crate::policy::{Policy, Requirements};
use crate::time::{Now, milliseconds};

/// A token counts as one entry more per this many bytes, so that `cache_entries` bounds the memory
/// too. A typical one takes 600.
const BYTES_PER_ENTRY: usize = 1024;
/// What a token takes besides its facts, in bytes, at most: here, and among the known tokens.
const BYTES_BESIDES_FACTS: usize = 256;

/// Facts, and when the introspection call for them was sent, in milliseconds of the host's
/// monotonic clock. Not when the response came: the token may have been revoked in between.
#[derive(Clone)]
pub(crate) struct CachedFacts {
    pub(crate) facts: Facts,
    /// Facts that a key vouches for end with it.
    pub(crate) voucher: Voucher,
    /// [`AGELESS`] for facts that only a key vouches for.
    pub(crate) called: i64,
}

/// In place of the time of a call: facts do not age.
pub(crate) const AGELESS: i64 = i64::MAX;

impl CachedFacts {
    /// In milliseconds, rounded up, so that nothing is ever treated as fresher than it is.
    fn age(&self, now: Now) -> i64 {
        let now = now.monotonic.saturating_add(Duration::from_micros(999));
        milliseconds(now).saturating_sub(self.called)
    }

    fn is_younger(&self, seconds: u32, now: Now) -> bool {
        self.age(now) < i64::from(seconds).saturating_mul(1000)
    }

    /// Whether a route with these requirements may use the facts without an introspection call.
    pub(crate) fn is_fresh(&self, requirements: &Requirements, policy: &Policy, now: Now) -> bool {
        match self.facts.claims() {
            Some(_) => {
                self.is_younger(policy.ttl_seconds(requirements), now)
                    && self.is_unexpired(policy, now)
            }
            None => self.is_younger(policy.negative_ttl_seconds(requirements), now),
        }
    }

    /// The same for facts that a key may vouch for, whose age means nothing.
    fn is_vouched(
        &self,
        requirements: &Requirements,
        keys: &Vouchers,
        policy: &Policy,
        now: Now,
    ) -> bool {
        // Whether ageless facts have expired is decided for each request.
        let is_young = self.called == AGELESS || self.is_fresh(requirements, policy, now);
        is_young && self.has_voucher(keys, now)
    }

    fn has_voucher(&self, keys: &Vouchers, now: Now) -> bool {
        !self.voucher.is_key() || keys.has(self.voucher, now.monotonic)
    }

    /// Whether the route may use them past their time while the issuer is unavailable.
    fn is_usable_if_stale(&self, requirements: &Requirements, policy: &Policy, now: Now) -> bool {
        let ttl = policy.ttl_seconds(requirements);
        let extra = policy.stale_if_error_seconds();
        self.called != AGELESS
            && ttl > 0
            && extra > 0
            && self.is_younger(ttl.saturating_add(extra), now)
            && self.is_unexpired(policy, now)
    }

    /// Stops using cached facts `leeway` *before* `exp`: our clock may be behind the issuer's.
    fn is_unexpired(&self, policy: &Policy, now: Now) -> bool {
        self.facts.claims().is_some_and(|claims| {
            now.unix_seconds() < claims.expires().saturating_sub(policy.leeway_seconds())
        })
    }
}

#[derive(Clone)]
struct EntryWeight;

impl Weighter<TokenKey, CachedFacts> for EntryWeight {
    fn weight(&self, _: &TokenKey, cached: &CachedFacts) -> u64 {
        let bytes = (cached.facts.heap_bytes()).saturating_add(BYTES_BESIDES_FACTS);
        u64::try_from(bytes / BYTES_PER_ENTRY)
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

type Segment = Cache<
    TokenKey,
    CachedFacts,
    EntryWeight,
    BuildPassThroughHasher,
    DefaultLifecycle<TokenKey, CachedFacts>,
>;

/// A bounded cache with two segments, so that a spray of inactive tokens cannot evict active ones.
pub(crate) struct FactsCache {
    /// Whether results of introspection are kept, and not only what keys vouch for.
    keeps_results: bool,
    active: Option<Segment>,
    inactive: Option<Segment>,
}

impl FactsCache {
    pub(crate) fn new(policy: &Policy) -> Self {
        let segment = || {
            let is_on = policy.caches_facts() || policy.verifies_tokens();
            is_on.then(|| segment(policy.cache_entries())).flatten()
        };
        Self {
            keeps_results: policy.caches_facts(),
            active: segment(),
            // Needed even with `negative_cache_ttl = 0`: an inactive result must supersede an older
            // active one.
            inactive: segment(),
        }
    }

    /// At most one of the two segments holds the key.
    #[inline]
    fn get(&self, key: TokenKey) -> Option<&CachedFacts> {
        let segments = [&self.active, &self.inactive].into_iter().flatten();
        segments.filter_map(|segment| segment.get(&key)).next()
    }

    /// Who vouches for what is known about a token, however old that is. Does not count as a use.
    #[cfg(feature = "jwt")]
    pub(crate) fn voucher(&self, key: TokenKey) -> Option<Voucher> {
        let segments = [&self.active, &self.inactive].into_iter().flatten();
        let mut known = segments.filter_map(|segment| segment.peek(&key));
        Some(known.next()?.voucher)
    }

    #[inline]
    pub(crate) fn fresh(
        &self,
        key: TokenKey,
        requirements: &Requirements,
        keys: &Vouchers,
        policy: &Policy,
        now: Now,
    ) -> Option<&Facts> {
        self.get(key)
            .filter(|cached| cached.is_vouched(requirements, keys, policy, now))
            .map(|cached| &cached.facts)
    }

    pub(crate) fn stale(
        &self,
        key: TokenKey,
        requirements: &Requirements,
        keys: &Vouchers,
        policy: &Policy,
        now: Now,
    ) -> Option<Facts> {
        let cached = self.active.as_ref()?.get(&key)?;
        (cached.has_voucher(keys, now) && cached.is_usable_if_stale(requirements, policy, now))
            .then(|| cached.facts.clone())
    }

    /// Whether there are such facts, if their key still vouches for them.
    pub(crate) fn has_stale(
        &self,
        key: TokenKey,
        requirements: &Requirements,
        policy: &Policy,
        now: Now,
    ) -> bool {
        let cached = self.active.as_ref().and_then(|active| active.get(&key));
        cached.is_some_and(|cached| cached.is_usable_if_stale(requirements, policy, now))
    }

    /// Whether the cache holds a newer result.
    pub(crate) fn has_newer(&self, key: TokenKey, other: &CachedFacts) -> bool {
        // Nothing is newer than what does not age.
        let cached = (other.called != AGELESS).then(|| self.get(key)).flatten();
        cached.is_some_and(|cached| cached.called > other.called)
    }

    /// Stores the newest result for a token and drops older ones.
    #[inline]
    pub(crate) fn insert(&mut self, key: TokenKey, facts: CachedFacts) {
        if self.has_newer(key, &facts) || !(self.keeps_results || facts.called == AGELESS) {
            return;
        }
        let (this, other) = if facts.facts.claims().is_some() {
            (&mut self.active, &mut self.inactive)
        } else {
            (&mut self.inactive, &mut self.active)
        };
        if let Some(other) = other {
            other.remove(&key);
        }
        if let Some(this) = this {
            this.insert(key, facts);
        }
    }
}

/// Evicts by CLOCK-Pro: entries used once go before entries used repeatedly.
fn segment(entries: u32) -> Option<Segment> {
    let options = OptionsBuilder::new()
        .estimated_items_capacity(usize::try_from(entries).ok()?)
        .weight_capacity(entries.into())
        .build()
        .ok()?;
    Some(Cache::with_options(
        options,
        EntryWeight,
        BuildPassThroughHasher,
        DefaultLifecycle::default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspection::ClaimsHeader;

    /// Nanoseconds in a millisecond and in a second.
    const MS: i128 = 1_000_000;
    const SECOND: i128 = 1_000_000_000;
    /// The last time that fits into the milliseconds of [`CachedFacts::called`]; any later one
    /// counts as it.
    const LAST_MS: i128 = i64::MAX as i128;

    fn policy(leeway: u32, stale_if_error: u32) -> Policy {
        let settings = [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "service-b"),
            ("resource_client_secret", "a secret of some length"),
            ("leeway", &leeway.to_string()),
            ("cache_ttl", "1"),
            ("stale_if_error", &stale_if_error.to_string()),
        ];
        Policy::new(settings.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap()
    }

    fn route(ttl: u32) -> Requirements {
        Requirements {
            ttl_seconds: Some(ttl),
            ..Requirements::default()
        }
    }

    /// `None`: the token has no `exp`.
    fn active(exp: Option<i64>) -> Facts {
        let exp = exp.map_or(String::new(), |exp| format!(r#","exp":{exp}"#));
        Facts::parse(&format!(r#"{{"active":true{exp}}}"#), &ClaimsHeader::All)
            .ok()
            .unwrap()
    }

    fn duration(nanoseconds: i128) -> Option<Duration> {
        let seconds = u64::try_from(nanoseconds.checked_div_euclid(SECOND)?).ok()?;
        let rest = u32::try_from(nanoseconds.rem_euclid(SECOND)).ok()?;
        Some(Duration::new(seconds, rest))
    }

    /// Every point of the monotonic clock at which an age could be taken for another one.
    fn moments(called: i64, ttl: u32) -> impl Iterator<Item = Duration> {
        let end = i128::from(called) * MS + i128::from(ttl) * SECOND;
        let near = [0, 1, 999, 1000, 1001, MS - 1, MS, MS + 1, 2 * MS];
        let near = near.into_iter().flat_map(move |by| [end - by, end + by]);
        let far = [0, 1, LAST_MS * MS, (LAST_MS + 1) * MS];
        near.chain(far).filter_map(duration).chain([Duration::MAX])
    }

    #[test]
    fn facts_are_never_used_past_their_time_and_at_most_a_millisecond_less() {
        let policy_without_stale = policy(0, 0);
        let mut counts = [0_u32; 2];
        for ttl in [0, 1, 2, 30, 86_399, 86_400, 2 * 86_400, u32::MAX] {
            // A record of another instance may be from before our clock began.
            for called in [
                i64::MIN,
                -86_400_000,
                -1,
                0,
                1,
                999,
                1000,
                5_000_001,
                i64::MAX - 1,
            ] {
                let cached = CachedFacts {
                    facts: active(None),
                    voucher: Voucher::ISSUER,
                    called,
                };
                for monotonic in moments(called, ttl) {
                    let now = Now {
                        unix: Duration::ZERO,
                        monotonic,
                    };
                    let nanoseconds = i128::try_from(monotonic.as_nanos()).unwrap();
                    let age = nanoseconds.min(LAST_MS * MS) - i128::from(called) * MS;
                    let left = i128::from(ttl) * SECOND - age;
                    let is_fresh = cached.is_fresh(&route(ttl), &policy_without_stale, now);
                    let case = format!("{ttl} s, called at {called} ms, at {monotonic:?}");
                    assert!(!is_fresh || left > 0, "used past its time: {case}");
                    assert!(is_fresh || left < MS, "not used in its time: {case}");
                    counts[usize::from(is_fresh)] += 1;
                }
            }
        }
        assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    }

    #[test]
    fn stale_facts_are_used_for_the_sum_of_both_times_and_not_without_either() {
        for (ttl, extra) in [(0, 60), (60, 0), (1, 1), (60, 86_400), (86_400, 86_400)] {
            let policy = policy(0, extra);
            let cached = CachedFacts {
                facts: active(None),
                voucher: Voucher::ISSUER,
                called: 1000,
            };
            let both = ttl > 0 && extra > 0;
            for monotonic in moments(cached.called, ttl + extra) {
                let now = Now {
                    unix: Duration::ZERO,
                    monotonic,
                };
                let age = i128::try_from(monotonic.as_nanos()).unwrap() - 1000 * MS;
                let left = i128::from(ttl + extra) * SECOND - age;
                let is_usable = cached.is_usable_if_stale(&route(ttl), &policy, now);
                let case = format!("{ttl} + {extra} s, at {monotonic:?}");
                assert!(!is_usable || both && left > 0, "{case}");
                assert!(is_usable || !both || left < MS, "{case}");
            }
        }
        let (longest, now) = (policy(0, 86_400), Duration::from_secs(u64::from(u32::MAX)));
        let cached = CachedFacts {
            facts: active(None),
            voucher: Voucher::ISSUER,
            called: 1000,
        };
        let now = Now {
            unix: Duration::ZERO,
            monotonic: now,
        };
        // A sum that no setting can reach must not wrap around either.
        assert!(cached.is_usable_if_stale(&route(u32::MAX), &longest, now));
    }

    #[test]
    fn c6_cached_facts_end_the_leeway_before_exp_to_the_second() {
        /// The last second of the year 9999, the latest `exp` that is accepted.
        const LAST: i64 = 253_402_300_799;
        for leeway in [0, 1, 30, 299, 300] {
            let policy = policy(leeway, 1);
            for exp in [
                i64::MIN,
                i64::MIN + 300,
                -1,
                0,
                1,
                300,
                301,
                1_800_000_000,
                LAST,
            ] {
                let cached = CachedFacts {
                    facts: active(Some(exp)),
                    voucher: Voucher::ISSUER,
                    called: 0,
                };
                let end = i128::from(exp) - i128::from(leeway);
                let near = [end * SECOND - 1, end * SECOND, (end + 1) * SECOND, 0, 1];
                let ever = [Duration::from_secs(i64::MAX.cast_unsigned()), Duration::MAX];
                for unix in near.into_iter().filter_map(duration).chain(ever) {
                    let now = Now {
                        unix,
                        monotonic: Duration::ZERO,
                    };
                    let is_before = i128::from(unix.as_secs()) < end;
                    let case = format!("exp {exp}, leeway {leeway}, at {unix:?}");
                    assert_eq!(
                        cached.is_fresh(&route(1), &policy, now),
                        is_before,
                        "{case}"
                    );
                    let is_usable = cached.is_usable_if_stale(&route(1), &policy, now);
                    assert_eq!(is_usable, is_before, "{case}");
                }
            }
        }
    }
}

//! Introspection results in the memory of this instance. Facts only: each decision is made anew.

use core::time::Duration;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::token_key::{BuildPassThroughHasher, TokenKey};
use crate::introspection::Facts;
use crate::policy::{Policy, Requirements};
use crate::time::{Now, milliseconds};

/// A response counts as one entry more per this many bytes, so that `cache_entries` bounds the
/// memory too. A typical response has 400.
const BYTES_PER_ENTRY: usize = 1024;

/// Facts, and when the introspection call for them was sent, in milliseconds of the host's
/// monotonic clock. Not when the response came: the token may have been revoked in between.
#[derive(Clone)]
pub(crate) struct CachedFacts {
    pub(crate) facts: Facts,
    pub(crate) called: i64,
}

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

    /// Whether the route may use them past their time while the issuer is unavailable.
    fn is_usable_if_stale(&self, requirements: &Requirements, policy: &Policy, now: Now) -> bool {
        let ttl = policy.ttl_seconds(requirements);
        let extra = policy.stale_if_error_seconds();
        ttl > 0
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
        let bytes = (cached.facts.claims()).map_or(0, |claims| claims.document().len());
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
    active: Option<Segment>,
    inactive: Option<Segment>,
}

impl FactsCache {
    pub(crate) fn new(policy: &Policy) -> Self {
        let segment = || {
            let is_on = policy.caches_facts();
            is_on.then(|| segment(policy.cache_entries())).flatten()
        };
        Self {
            active: segment(),
            // Needed even with `negative_cache_ttl = 0`: an inactive result must supersede an older
            // active one.
            inactive: segment(),
        }
    }

    /// At most one of the two segments holds the key.
    fn get(&self, key: TokenKey) -> Option<&CachedFacts> {
        let segments = [&self.active, &self.inactive].into_iter().flatten();
        segments.filter_map(|segment| segment.get(&key)).next()
    }

    pub(crate) fn fresh(
        &self,
        key: TokenKey,
        requirements: &Requirements,
        policy: &Policy,
        now: Now,
    ) -> Option<&Facts> {
        self.get(key)
            .filter(|cached| cached.is_fresh(requirements, policy, now))
            .map(|cached| &cached.facts)
    }

    pub(crate) fn stale(
        &self,
        key: TokenKey,
        requirements: &Requirements,
        policy: &Policy,
        now: Now,
    ) -> Option<Facts> {
        let cached = self.active.as_ref()?.get(&key)?;
        cached
            .is_usable_if_stale(requirements, policy, now)
            .then(|| cached.facts.clone())
    }

    /// Whether the cache holds a newer result.
    pub(crate) fn has_newer(&self, key: TokenKey, other: &CachedFacts) -> bool {
        self.get(key)
            .is_some_and(|cached| cached.called > other.called)
    }

    /// Stores the newest result for a token and drops older ones.
    pub(crate) fn insert(&mut self, key: TokenKey, facts: CachedFacts) {
        if self.has_newer(key, &facts) {
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

//! What the issuer said, kept for a while in this instance's memory. Facts only: every decision is made from them again.

use core::time::Duration;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::token_key::{AsItIs, TokenKey};
use crate::introspection::Facts;
use crate::policy::Policy;
use crate::policy::Requirements;
use crate::time::{Now, milliseconds};

/// An answer over so many bytes counts as several entries, so that `cache_entries` bounds the memory too. A typical one
/// has 400.
const BYTES_PER_ENTRY: usize = 1024;

/// Facts, and when the issuer was asked for them, in milliseconds of the host's monotonic clock. The time of the
/// question and not of the answer: a token may be revoked in between.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) facts: Facts,
    pub(crate) asked: i64,
}

impl Known {
    /// No younger than it is: both ends are rounded away from each other.
    fn age(&self, now: Now) -> i64 {
        let now = now.monotonic.saturating_add(Duration::from_micros(999));
        milliseconds(now).saturating_sub(self.asked)
    }

    fn is_younger(&self, seconds: u32, now: Now) -> bool {
        self.age(now) < i64::from(seconds).saturating_mul(1000)
    }

    /// Whether these may still be used on a route with these requirements, without asking the issuer again.
    pub(crate) fn is_fresh(&self, requirements: &Requirements, policy: &Policy, now: Now) -> bool {
        match self.facts.claims() {
            Some(_) => {
                self.is_younger(policy.ttl_seconds(requirements), now)
                    && self.is_unexpired(policy, now)
            }
            None => self.is_younger(policy.negative_ttl_seconds(requirements), now),
        }
    }

    /// Whether these may be used past their time, because the issuer fails.
    fn is_stale(&self, requirements: &Requirements, policy: &Policy, now: Now) -> bool {
        let ttl = policy.ttl_seconds(requirements);
        let extra = policy.stale_if_error_seconds();
        ttl > 0
            && extra > 0
            && self.is_younger(ttl.saturating_add(extra), now)
            && self.is_unexpired(policy, now)
    }

    /// `exp` without the leeway: that is for the clocks of others, not for what we keep.
    fn is_unexpired(&self, policy: &Policy, now: Now) -> bool {
        self.facts.claims().is_some_and(|claims| {
            now.unix_seconds() < claims.expires().saturating_sub(policy.leeway_seconds())
        })
    }
}

#[derive(Clone)]
struct BySize;

impl Weighter<TokenKey, Known> for BySize {
    fn weight(&self, _: &TokenKey, known: &Known) -> u64 {
        let bytes = (known.facts.claims()).map_or(0, |claims| claims.document().len());
        u64::try_from(bytes / BYTES_PER_ENTRY)
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

type Area = Cache<TokenKey, Known, BySize, AsItIs, DefaultLifecycle<TokenKey, Known>>;

/// Bounded, and in two areas, so that a spray of tokens that are not active cannot drive out those that are.
pub(crate) struct FactsCache {
    active: Option<Area>,
    inactive: Option<Area>,
}

impl FactsCache {
    pub(crate) fn new(policy: &Policy) -> Self {
        let area = || {
            let is_on = policy.keeps_facts();
            is_on.then(|| area(policy.cache_entries())).flatten()
        };
        Self {
            active: area(),
            // Also where none is used again: what was said before must not count any more.
            inactive: area(),
        }
    }

    /// What is known of a token: one of the two areas has it, if any.
    fn known(&self, key: TokenKey) -> Option<&Known> {
        let areas = [&self.active, &self.inactive].into_iter().flatten();
        areas.filter_map(|area| area.get(&key)).next()
    }

    pub(crate) fn fresh(
        &self,
        key: TokenKey,
        requirements: &Requirements,
        policy: &Policy,
        now: Now,
    ) -> Option<&Facts> {
        self.known(key)
            .filter(|known| known.is_fresh(requirements, policy, now))
            .map(|known| &known.facts)
    }

    pub(crate) fn stale(
        &self,
        key: TokenKey,
        requirements: &Requirements,
        policy: &Policy,
        now: Now,
    ) -> Option<Facts> {
        let known = self.active.as_ref()?.get(&key)?;
        known
            .is_stale(requirements, policy, now)
            .then(|| known.facts.clone())
    }

    /// Whether something newer is known here.
    pub(crate) fn is_outdated(&self, key: TokenKey, known: &Known) -> bool {
        self.known(key)
            .is_some_and(|newer| newer.asked > known.asked)
    }

    /// The newest word on a token: what was said before does not count any more.
    pub(crate) fn put(&mut self, key: TokenKey, known: Known) {
        if self.is_outdated(key, &known) {
            return;
        }
        let (this, other) = if known.facts.claims().is_some() {
            (&mut self.active, &mut self.inactive)
        } else {
            (&mut self.inactive, &mut self.active)
        };
        if let Some(other) = other {
            other.remove(&key);
        }
        if let Some(this) = this {
            this.insert(key, known);
        }
    }
}

/// Evicts by CLOCK-Pro: what was used once goes before what is used again and again.
fn area(entries: u32) -> Option<Area> {
    let options = OptionsBuilder::new()
        .estimated_items_capacity(usize::try_from(entries).ok()?)
        .weight_capacity(entries.into())
        .build()
        .ok()?;
    Some(Cache::with_options(
        options,
        BySize,
        AsItIs,
        DefaultLifecycle::default(),
    ))
}

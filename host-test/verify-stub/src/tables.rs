//! Tables with a limit, so that no number of callers and tokens exhausts the memory.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

/// How many `jti` are remembered, so that none is used twice.
const MAX_USED_IDS: usize = 10_000;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn put<K: Hash + Eq, V>(cache: &mut LruCache<K, V>, key: K, value: V, limit: usize) {
    cache.put(key, value);
    if cache.len() > limit {
        cache.pop_lru();
    }
}

/// The JWTs that were used, by who signed them and `jti`.
pub(super) struct UsedIds(Mutex<LruCache<(String, String), ()>>);

impl Default for UsedIds {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl UsedIds {
    pub(super) fn is_first_use(&self, signer: &str, id: &str) -> bool {
        let mut used = lock(&self.0);
        let key = (signer.to_owned(), id.to_owned());
        let first = !used.contains(&key);
        put(&mut used, key, (), MAX_USED_IDS);
        first
    }
}

//! Key-value stores of guests, which tests can read, change and break.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::redis_store::RedisStore;

/// Bytes one store may hold, keys and bookkeeping included. Far above what the apps of this
/// repository keep, far below the 128 MiB that Spin hands over in one answer, so that limit needs
/// no check here.
pub const STORE_BYTES: usize = 32 * 1024 * 1024;

/// What an entry costs beside the bytes of its key and value: without it, empty values would cost
/// nothing.
const ENTRY_BYTES: usize = size_of::<(String, Vec<u8>)>();

/// A store in memory, shared by all instances that were granted its label. Clones are handles of
/// the same store.
///
/// Values are never printed: a guest may keep secrets here.
#[derive(Clone, Debug, Default)]
pub struct KeyValueStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Mutex<Entries>,
    fault: watch::Sender<Option<StoreFault>>,
}

#[derive(Default)]
struct Entries {
    values: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} entries>", self.values.len())
    }
}

/// A fault of a store. It affects every call of guests, but not [`KeyValueStore`]'s own methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Every call fails.
    Fail,
    /// Every call waits until [`KeyValueStore::mend`].
    Hang,
}

/// The store has no room for the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFull;

impl fmt::Display for StoreFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store is full: it may hold {STORE_BYTES} bytes")
    }
}

impl std::error::Error for StoreFull {}

/// Why a guest's call failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoreFailed(pub(crate) String);

impl From<StoreFull> for StoreFailed {
    fn from(error: StoreFull) -> Self {
        Self(error.to_string())
    }
}

/// A store as guests use it.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// `type = "spin"`, in memory here.
    Memory(KeyValueStore),
    /// `type = "redis"`.
    Redis(RedisStore),
}

impl Store {
    pub(crate) async fn open(&self) -> Result<(), StoreFailed> {
        match self {
            Self::Memory(store) => store.reach().await,
            Self::Redis(store) => store.open().await,
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreFailed> {
        match self {
            Self::Memory(store) => {
                store.reach().await?;
                Ok(store.get(key))
            }
            Self::Redis(store) => store.get(key).await,
        }
    }

    pub(crate) async fn set(&self, key: &str, value: Vec<u8>) -> Result<(), StoreFailed> {
        match self {
            Self::Memory(store) => {
                store.reach().await?;
                Ok(store.set(key, value)?)
            }
            Self::Redis(store) => store.set(key, &value).await,
        }
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), StoreFailed> {
        match self {
            Self::Memory(store) => {
                store.reach().await?;
                store.delete(key);
                Ok(())
            }
            Self::Redis(store) => store.delete(key).await,
        }
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool, StoreFailed> {
        match self {
            Self::Memory(store) => {
                store.reach().await?;
                Ok(store.get(key).is_some())
            }
            Self::Redis(store) => store.exists(key).await,
        }
    }

    pub(crate) async fn keys(&self) -> Result<Vec<String>, StoreFailed> {
        match self {
            Self::Memory(store) => {
                store.reach().await?;
                Ok(store.keys())
            }
            Self::Redis(store) => store.keys().await,
        }
    }
}

impl KeyValueStore {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.entries().values.get(key).cloned()
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// The store has no room for it and is unchanged.
    pub fn set(&self, key: &str, value: Vec<u8>) -> Result<(), StoreFull> {
        let mut entries = self.entries();
        let old = entries.values.get(key).map_or(0, |old| cost(key, old));
        let bytes = entries
            .bytes
            .saturating_sub(old)
            .saturating_add(cost(key, &value));
        if bytes > STORE_BYTES {
            return Err(StoreFull);
        }
        entries.bytes = bytes;
        entries.values.insert(key.to_owned(), value);
        Ok(())
    }

    /// Removes a key.
    pub fn delete(&self, key: &str) {
        let mut entries = self.entries();
        if let Some(value) = entries.values.remove(key) {
            entries.bytes = entries.bytes.saturating_sub(cost(key, &value));
        }
    }

    /// All keys, in their order.
    pub fn keys(&self) -> Vec<String> {
        self.entries().values.keys().cloned().collect()
    }

    /// Removes all keys.
    pub fn clear(&self) {
        *self.entries() = Entries::default();
    }

    /// Breaks the store for guests, until [`KeyValueStore::mend`].
    pub fn break_with(&self, fault: StoreFault) {
        self.0.fault.send_replace(Some(fault));
    }

    /// Repairs the store for guests; waiting calls continue.
    pub fn mend(&self) {
        self.0.fault.send_replace(None);
    }

    /// What a guest's call has to get past.
    async fn reach(&self) -> Result<(), StoreFailed> {
        let mut fault = self.0.fault.subscribe();
        // An error would mean that nobody can mend the store any more, and this handle can.
        match fault
            .wait_for(|fault| *fault != Some(StoreFault::Hang))
            .await
            .as_deref()
        {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(StoreFailed("the store is broken".to_owned())),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    ENTRY_BYTES
        .saturating_add(key.len())
        .saturating_add(value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_holds_so_many_bytes_and_no_more() {
        let store = KeyValueStore::default();
        let room = STORE_BYTES - 2 * (ENTRY_BYTES + 1);
        assert_eq!(store.set("a", vec![0; room]), Ok(()));
        assert_eq!(store.set("b", vec![1]), Err(StoreFull));
        assert_eq!(store.get("b"), None);
        assert_eq!(store.set("b", Vec::new()), Ok(()));
        // What is replaced or forgotten makes room.
        assert_eq!(store.set("a", vec![0; room + 1]), Err(StoreFull));
        assert_eq!(store.get("a").map(|value| value.len()), Some(room));
        assert_eq!(store.set("a", vec![0; room - 1]), Ok(()));
        assert_eq!(store.set("b", vec![1]), Ok(()));
        store.delete("a");
        store.delete("a");
        assert_eq!(store.set("c", vec![0; room]), Err(StoreFull));
        assert_eq!(store.set("c", vec![0; room - 1]), Ok(()));
        assert_eq!(store.keys(), ["b", "c"]);
        store.clear();
        assert_eq!(
            store.set("a", vec![0; STORE_BYTES - ENTRY_BYTES - 1]),
            Ok(())
        );
        assert_eq!(
            StoreFull.to_string(),
            "the store is full: it may hold 33554432 bytes"
        );
    }

    #[test]
    fn values_are_never_printed() {
        let store = KeyValueStore::default();
        store.set("key", b"s3cret".to_vec()).unwrap();
        let printed = format!("{store:?}");
        assert!(printed.contains("<1 entries>"), "{printed}");
        assert!(!printed.contains("115"), "{printed}");
    }
}

//! What instances share: records in a store of the host, under keys that tell nothing.

/// A key of the shared store. There is a fixed number of them, so that no store grows without end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreKey(String);

impl StoreKey {
    /// The key, in letters, digits, `-` and `.`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value for the shared store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it belongs.
    pub key: StoreKey,
    /// What to write there; empty: whatever is there is over.
    pub bytes: Vec<u8>,
}

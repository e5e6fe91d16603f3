//! The store that instances share: it works, fails, forgets, and repeats old values.

use std::collections::BTreeMap;

use token_check::StoreFailed;

use super::event::{StoreOutcome, Tamper};

/// A store with versions, so that it can compare and swap.
#[derive(Default)]
pub(super) struct Store {
    slots: BTreeMap<String, (u64, Vec<u8>)>,
    history: Vec<Vec<u8>>,
    versions: u64,
    /// Records do not arrive.
    pub(super) refuses_records: bool,
}

impl Store {
    pub(super) fn write(&mut self, key: &str, value: &[u8]) {
        self.versions += 1;
        let slot = (self.versions, value.to_vec());
        self.slots.insert(key.to_owned(), slot);
        if !value.is_empty() {
            self.history.push(value.to_vec());
        }
    }

    pub(super) fn version(&self, key: &str) -> Option<u64> {
        self.slots.get(key).map(|(version, _)| *version)
    }

    pub(super) fn read(
        &self,
        key: &str,
        outcome: StoreOutcome,
    ) -> Result<Option<Vec<u8>>, StoreFailed> {
        match outcome {
            StoreOutcome::Works => Ok(self.slots.get(key).map(|(_, value)| value.clone())),
            StoreOutcome::Fails => Err(StoreFailed),
            StoreOutcome::Nothing => Ok(None),
            StoreOutcome::Bytes(bytes) => Ok(Some(bytes)),
            StoreOutcome::Replay(place) => Ok(self.old(place)),
        }
    }

    pub(super) fn swap(
        &mut self,
        key: &str,
        version: Option<u64>,
        value: &[u8],
        outcome: &StoreOutcome,
    ) -> Result<bool, StoreFailed> {
        match outcome {
            StoreOutcome::Works if self.version(key) == version => {
                self.write(key, value);
                Ok(true)
            }
            StoreOutcome::Works | StoreOutcome::Nothing => Ok(false),
            StoreOutcome::Fails => Err(StoreFailed),
            StoreOutcome::Bytes(_) | StoreOutcome::Replay(_) => Ok(true),
        }
    }

    pub(super) fn tamper(&mut self, tamper: Tamper) {
        match tamper {
            Tamper::Clear => self.slots.clear(),
            Tamper::Replay(old, place) => {
                if let (Some(key), Some(value)) = (self.key(place), self.old(old)) {
                    self.write(&key, &value);
                }
            }
            Tamper::FlipBit(place, bit) => {
                if let Some(key) = self.key(place) {
                    let mut value = self.slots[&key].1.clone();
                    if let Some(at) = (bit / 8).checked_rem(value.len()) {
                        value[at] ^= 1 << (bit % 8);
                        self.write(&key, &value);
                    }
                }
            }
        }
    }

    fn key(&self, place: usize) -> Option<String> {
        let place = place.checked_rem(self.slots.len())?;
        self.slots.keys().nth(place).cloned()
    }

    fn old(&self, place: usize) -> Option<Vec<u8>> {
        let place = place.checked_rem(self.history.len())?;
        self.history.get(place).cloned()
    }
}

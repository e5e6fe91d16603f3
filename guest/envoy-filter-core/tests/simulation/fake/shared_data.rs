//! Data that Envoy's workers share.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use envoy_filter_core::host::SharedData;

/// A clone is another handle to the same data.
#[derive(Clone, Default)]
pub(crate) struct SharedStore(Rc<RefCell<Data>>);

#[derive(Default)]
struct Data {
    values: BTreeMap<String, (Vec<u8>, u32)>,
    last_version: u32,
    is_contended: bool,
}

impl Data {
    fn set(&mut self, key: &str, value: &[u8]) {
        self.last_version += 1;
        (self.values).insert(key.to_owned(), (value.to_vec(), self.last_version));
    }
}

impl SharedStore {
    /// The next compare-and-swap finds that another worker has just written the same.
    pub(crate) fn contend(&self) {
        self.0.borrow_mut().is_contended = true;
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.borrow().values.keys().cloned().collect()
    }

    pub(super) fn get(&self, key: &str) -> SharedData {
        let data = self.0.borrow();
        let Some((value, version)) = data.values.get(key) else {
            return SharedData::default();
        };
        SharedData {
            value: (!value.is_empty()).then(|| value.clone()),
            version: Some(*version),
        }
    }

    /// What another plugin writes.
    pub(crate) fn write(&self, key: &str, value: &[u8]) {
        self.set(key, value);
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) {
        self.0.borrow_mut().set(key, value);
    }

    pub(super) fn compare_and_swap(&self, key: &str, version: Option<u32>, value: &[u8]) -> bool {
        let mut data = self.0.borrow_mut();
        if core::mem::take(&mut data.is_contended) {
            data.set(key, value);
        }
        let is_same = data.values.get(key).map(|(_, version)| *version) == version;
        if is_same {
            data.set(key, value);
        }
        is_same
    }
}

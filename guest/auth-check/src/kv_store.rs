//! The key-value store that instances share, named by `cache_store`. It never delays a caller for
//! long, and only the core decides what to believe of its content.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::lock::Mutex;
use spin_sdk::key_value::{Error, Store};
use spin_sdk::wasip3::spawn;
use token_check::{Record, StoreFailed, StoreKey};

use crate::clock::sleep;
use crate::log;

/// Longest wait for the store: beyond it, an introspection call is faster.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// The store of this instance, opened by the first request that needs it.
pub(crate) struct KvStore {
    label: String,
    store: Mutex<Option<Rc<Store>>>,
}

impl KvStore {
    pub(crate) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            store: Mutex::new(None),
        }
    }

    async fn open(&self) -> Option<Rc<Store>> {
        let mut store = self.store.lock().await;
        if store.is_none() {
            match Store::open(&self.label).await {
                Ok(opened) => *store = Some(Rc::new(opened)),
                Err(error) => {
                    let why = match error {
                        Error::AccessDenied => "is not in key_value_stores of spin.toml",
                        Error::NoSuchStore => "is not in the runtime configuration",
                        Error::StoreTableFull => "exceeds the number of open stores",
                        Error::Other(_) => "cannot be opened",
                    };
                    log::line(format_args!("the store `{}` {why}", self.label));
                }
            }
        }
        store.clone()
    }

    /// The value of the key.
    pub(crate) async fn get(&self, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreFailed> {
        let read = async { self.open().await?.get(key.as_str()).await.ok() };
        in_time(read).await.ok_or(StoreFailed)
    }

    /// Writes the records in the background, then erases expired ones under the keys of `sweep`,
    /// since the store itself has no expiry. A failed write only costs an introspection call.
    pub(crate) fn write(
        self: &Rc<Self>,
        records: Vec<Record>,
        sweep: Vec<StoreKey>,
        has_expired: fn(&[u8]) -> bool,
    ) {
        if records.is_empty() {
            return;
        }
        let shared = Rc::clone(self);
        spawn(async move {
            let write = async {
                let store = shared.open().await?;
                for Record { key, bytes } in &records {
                    if bytes.is_empty() {
                        store.delete(key.as_str()).await.ok()?;
                    } else {
                        store.set(key.as_str(), bytes).await.ok()?;
                    }
                }
                Some(store)
            };
            let Some(store) = in_time(write).await else {
                log::line(format_args!(
                    "the store `{}` accepts no writes",
                    shared.label
                ));
                return;
            };
            let erase = async {
                for key in &sweep {
                    let found = store.get(key.as_str()).await.ok()?;
                    if found.is_some_and(|bytes| has_expired(&bytes)) {
                        store.delete(key.as_str()).await.ok()?;
                    }
                }
                Some(())
            };
            // A later sweep finds the rest.
            let _swept = in_time(erase).await;
        });
    }
}

async fn in_time<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    match select(pin!(work), pin!(sleep(LONGEST_WAIT))).await {
        Either::Left((done, _)) => done,
        Either::Right(_) => None,
    }
}

//! The key-value store that instances share, where `cache_store` names one. Nothing that it does or fails to do delays a
//! caller for long, and nothing in it is believed but by the core.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::lock::Mutex;
use spin_sdk::key_value::{Error, Store};
use spin_sdk::wasip3::spawn;
use token_check::{Outcome, Record, StoreKey};

use crate::flights::{now, until};
use crate::gate;
use crate::log;

/// Longest wait for the store: past this the issuer itself is the faster one to ask.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// The store of this instance, opened by the first request that needs it.
pub(crate) struct Shared {
    label: String,
    store: Mutex<Option<Rc<Store>>>,
}

impl Shared {
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
                        Error::StoreTableFull => "is one too many",
                        Error::Other(_) => "cannot be opened",
                    };
                    log::tell(format_args!("the store `{}` {why}", self.label));
                }
            }
        }
        store.clone()
    }

    /// What stands under the key.
    pub(crate) async fn look(&self, key: &StoreKey) -> Outcome {
        let read = async { self.open().await?.get(key.as_str()).await.ok() };
        in_time(read)
            .await
            .map_or(Outcome::StoreFailed, Outcome::Found)
    }

    /// Writes while the caller goes on: what is not written is asked again. Then erases what has expired under the keys of
    /// `sweep`, which the store itself would keep for ever.
    pub(crate) fn write(self: &Rc<Self>, records: Vec<Record>, sweep: Vec<StoreKey>) {
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
                log::tell(format_args!("the store `{}` takes nothing", shared.label));
                return;
            };
            let erase = async {
                for key in &sweep {
                    let found = store.get(key.as_str()).await.ok()?;
                    if found.is_some_and(|bytes| gate::has_expired(&bytes)) {
                        store.delete(key.as_str()).await.ok()?;
                    }
                }
                Some(())
            };
            // What is left is found another time.
            let _swept = in_time(erase).await;
        });
    }
}

async fn in_time<T>(work: impl Future<Output = Option<T>>) -> Option<T> {
    let end = now().monotonic.saturating_add(LONGEST_WAIT);
    match select(pin!(work), pin!(until(end))).await {
        Either::Left((done, _)) => done,
        Either::Right(_) => None,
    }
}

//! The host that WASI and Spin provide.

use core::future::Future;
use core::time::Duration;
use std::rc::Rc;

use spin_sdk::wasip3::wit_bindgen::StreamWriter;
use spin_sdk::wasip3::wit_stream;
use token_check::{
    Action, BodyCollector, CallFailure, Finished, IssuerCall, IssuerResponse, Now, StoreFailed,
    StoreKey,
};

use super::Host;
use crate::clock;
use crate::issuer::send;
use crate::kv_store::KvStore;
use crate::log;

pub(crate) struct Wasi {
    pub(crate) store: Option<Rc<KvStore>>,
    /// Whether a value of the store is an expired record.
    pub(crate) has_expired: fn(&[u8]) -> bool,
    /// Starts a fetch of this instance.
    pub(crate) start_fetch: fn(Action),
}

impl Host for Wasi {
    /// A stream of the component model, because a waker of Rust does not wake another task of the
    /// instance.
    type Waker = StreamWriter<u8>;

    fn now(&self) -> Now {
        clock::now()
    }

    async fn sleep_until(&self, deadline: Duration) {
        clock::sleep_until(deadline).await;
    }

    fn waker(&self) -> (StreamWriter<u8>, impl Future<Output = ()>) {
        let (writer, mut reader) = wit_stream::new();
        (writer, async move {
            let _ended: Option<u8> = reader.next().await;
        })
    }

    async fn send(
        &self,
        call: &impl IssuerCall,
        max_answer_bytes: usize,
        deadline: Duration,
    ) -> Result<IssuerResponse, CallFailure> {
        send(call, BodyCollector::new(max_answer_bytes), deadline).await
    }

    async fn store_get(&self, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreFailed> {
        match &self.store {
            Some(store) => store.get(key).await,
            None => Err(StoreFailed),
        }
    }

    fn run_fetch(&self, fetch: Action) {
        (self.start_fetch)(fetch);
    }

    fn finished(&self, finished: Finished<StreamWriter<u8>>) {
        if let Some(store) = &self.store {
            store.write(finished.records, finished.sweep, self.has_expired);
        }
        if let Some(event) = finished.event {
            log::line(event);
        }
    }
}

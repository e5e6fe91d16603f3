//! What the driver needs of its host.

#[cfg(test)]
pub(crate) mod fake;
#[cfg(target_family = "wasm")]
pub(crate) mod wasi;

use core::future::Future;
use core::time::Duration;

use token_check::{
    Action, CallFailure, Finished, IssuerCall, IssuerResponse, Now, StoreFailed, StoreKey,
};

pub(crate) trait Host {
    /// Dropping it wakes the request that waits for it.
    type Waker;

    fn now(&self) -> Now;

    /// Waits until `deadline` on the monotonic clock.
    fn sleep_until(&self, deadline: Duration) -> impl Future<Output = ()>;

    /// A waker, and a future that ends when the waker is dropped.
    fn waker(&self) -> (Self::Waker, impl Future<Output = ()>);

    /// Sends the call, and ends at `deadline` whatever the issuer does.
    fn send(
        &self,
        call: &impl IssuerCall,
        max_answer_bytes: usize,
        deadline: Duration,
    ) -> impl Future<Output = Result<IssuerResponse, CallFailure>>;

    fn store_get(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreFailed>>;

    /// Runs a fetch of the core beside the requests, whoever leaves.
    fn run_fetch(&self, fetch: Action);

    /// Writes the records and logs the event of a finished flight.
    fn finished(&self, finished: Finished<Self::Waker>);
}

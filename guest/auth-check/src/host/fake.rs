//! A host whose clock, issuer and store are played by a test.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::time::Duration;

use futures::channel::oneshot;
use token_check::{
    Action, CallFailure, Finished, IssuerCall, IssuerResponse, Now, StoreFailed, StoreKey,
};

use super::Host;

/// Since 1970.
const START: Duration = Duration::from_secs(1_800_000_000);

type Response = Result<IssuerResponse, CallFailure>;

#[derive(Default)]
pub(crate) struct FakeHost {
    clock: Cell<Duration>,
    timers: RefCell<Vec<(Duration, oneshot::Sender<()>)>>,
    /// Calls that wait for their response, the oldest first.
    calls: RefCell<Vec<oneshot::Sender<Response>>>,
    pub(crate) calls_sent: Cell<usize>,
    /// What the store returns.
    pub(crate) stored: RefCell<Option<Result<Option<Vec<u8>>, StoreFailed>>>,
    pub(crate) records_written: Cell<usize>,
    /// Errands that the test runs.
    pub(crate) fetches: RefCell<Vec<Action>>,
}

impl FakeHost {
    pub(crate) fn advance(&self, time: Duration) {
        self.clock.set(self.clock.get() + time);
        let now = self.clock.get();
        let mut timers = self.timers.borrow_mut();
        let due: Vec<_> = timers.extract_if(.., |(end, _)| *end <= now).collect();
        drop(timers);
        for (_, timer) in due {
            let _ = timer.send(());
        }
    }

    /// The issuer responds to the oldest call.
    pub(crate) fn respond(&self, response: Response) {
        let call = self.calls.borrow_mut().remove(0);
        let _ = call.send(response);
    }
}

impl Host for FakeHost {
    type Waker = oneshot::Sender<()>;

    fn now(&self) -> Now {
        Now {
            unix: START + self.clock.get(),
            monotonic: self.clock.get(),
        }
    }

    async fn sleep_until(&self, deadline: Duration) {
        let (timer, over) = oneshot::channel();
        self.timers.borrow_mut().push((deadline, timer));
        let _ = over.await;
    }

    fn waker(&self) -> (oneshot::Sender<()>, impl Future<Output = ()>) {
        let (waker, dropped) = oneshot::channel();
        (waker, async move {
            let _ = dropped.await;
        })
    }

    async fn send(&self, _: &impl IssuerCall, _: usize, deadline: Duration) -> Response {
        let (call, response) = oneshot::channel();
        self.calls.borrow_mut().push(call);
        self.calls_sent.set(self.calls_sent.get() + 1);
        let timeout = core::pin::pin!(self.sleep_until(deadline));
        match futures::future::select(response, timeout).await {
            futures::future::Either::Left((Ok(response), _)) => response,
            _ => Err(CallFailure::Timeout),
        }
    }

    async fn store_get(&self, _: &StoreKey) -> Result<Option<Vec<u8>>, StoreFailed> {
        self.stored.borrow().clone().unwrap_or(Ok(None))
    }

    fn run_fetch(&self, fetch: Action) {
        self.fetches.borrow_mut().push(fetch);
    }

    fn finished(&self, finished: Finished<oneshot::Sender<()>>) {
        let written = self.records_written.get() + finished.records.len();
        self.records_written.set(written);
    }
}

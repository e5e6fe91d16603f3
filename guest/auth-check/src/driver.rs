//! Takes one request through the core: runs the actions of its flight, or waits for another
//! request's.

use core::cell::RefCell;
use std::pin::pin;

use futures::future::{Either, select};
use scopeguard::{ScopeGuard, guard};
#[cfg(feature = "jwt")]
use token_check::DocumentCall;
use token_check::{
    Action, AuthCheck, Flight, IssuerCall as _, Now, Parked, PendingRequest, Progress, RequestHead,
    Step, StoreFailed, Verdict,
};

use crate::host::Host;

pub(crate) async fn decide<H: Host>(
    host: &H,
    check: &RefCell<AuthCheck<H::Waker>>,
    request: &RequestHead<'_>,
) -> Verdict {
    let mut now = host.now();
    let mut step = check.borrow_mut().begin(request, now);
    loop {
        let request = match step {
            Step::Done(verdict) => {
                run_fetch(host, check, now);
                return verdict;
            }
            Step::Lead(request, action) => {
                run_flight(host, check, action).await;
                request
            }
            Step::Finished(request, finished) => {
                host.finished(finished);
                request
            }
            Step::Join(request) => {
                run_fetch(host, check, now);
                wait(host, check, request).await
            }
        };
        now = host.now();
        step = check.borrow_mut().resume(request, now);
    }
}

/// Does what is to be done for the instance's own sake.
fn run_fetch<H: Host>(host: &H, check: &RefCell<AuthCheck<H::Waker>>, now: Now) {
    let fetch = check.borrow_mut().next_fetch(now);
    if let Some(fetch) = fetch {
        host.run_fetch(fetch);
    }
}

/// Waits until the request is woken or its deadline has come.
async fn wait<H: Host>(
    host: &H,
    check: &RefCell<AuthCheck<H::Waker>>,
    request: PendingRequest,
) -> PendingRequest {
    let (waker, woken) = host.waker();
    let parked = check.borrow_mut().park(&request, waker);
    // If the caller leaves meanwhile, it may be the turn of others.
    let request = guard(request, |request| {
        let finished = check.borrow_mut().leave(request, host.now());
        host.finished(finished);
    });
    if matches!(parked, Parked::Yes) {
        let deadline = host.sleep_until(request.deadline());
        match select(pin!(woken), pin!(deadline)).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }
    ScopeGuard::into_inner(request)
}

/// Runs the actions of a flight until it has finished, or waits for its turn.
pub(crate) async fn run_flight<H: Host>(
    host: &H,
    check: &RefCell<AuthCheck<H::Waker>>,
    first: Action,
) {
    let mut next = Some(first);
    while let Some(action) = next {
        let progress = match action {
            Action::Introspect(ticket, call) => {
                let guard = FlightGuard::new(host, check, ticket);
                let limit = check.borrow().policy().max_answer_bytes();
                let ends = host.now().monotonic.saturating_add(call.timeout());
                let response = host.send(&call, limit, ends).await;
                guard.report(|check, ticket| check.responded(ticket, response, host.now()))
            }
            Action::StoreGet(ticket, key) => {
                let guard = FlightGuard::new(host, check, ticket);
                let value = host.store_get(&key).await;
                guard.report(|check, ticket| check.store_read(ticket, value, host.now()))
            }
            // Spin's stores cannot compare and swap, and the core was told so.
            Action::StoreCompareAndSwap(ticket, ..) => FlightGuard::new(host, check, ticket)
                .report(|check, ticket| check.store_swapped(ticket, Err(StoreFailed), host.now())),
            #[cfg(feature = "jwt")]
            Action::ReadDocument(ticket, key) => {
                let value = host.store_get(&key).await;
                let now = host.now();
                Some(check.borrow_mut().document_read(ticket, value, now))
            }
            // Its ticket needs no guard: whoever waits for it fetches again at the deadline, and the
            // task that runs it ends with the instance only.
            #[cfg(feature = "jwt")]
            Action::FetchDocument(ticket, call) => {
                let ends = host.now().monotonic.saturating_add(call.timeout());
                let response = host.send(&call, DocumentCall::MAX_BYTES, ends).await;
                let now = host.now();
                Some(check.borrow_mut().document_responded(ticket, response, now))
            }
            Action::Sleep(ticket, time) => {
                let guard = FlightGuard::new(host, check, ticket);
                host.sleep_until(host.now().monotonic.saturating_add(time))
                    .await;
                guard.report(|check, ticket| check.woke(ticket, host.now()))
            }
        };
        next = match progress {
            Some(Progress::Continue(action)) => Some(action),
            Some(Progress::Finished(finished)) => {
                host.finished(finished);
                None
            }
            Some(Progress::Queued) | None => None,
        };
    }
}

/// Abandons the flight when it is dropped, so that a request that is cancelled while it leads does
/// not strand those that wait for it.
struct FlightGuard<'a, H: Host, T: Into<Flight>> {
    host: &'a H,
    check: &'a RefCell<AuthCheck<H::Waker>>,
    ticket: Option<T>,
}

impl<'a, H: Host, T: Into<Flight>> FlightGuard<'a, H, T> {
    const fn new(host: &'a H, check: &'a RefCell<AuthCheck<H::Waker>>, ticket: T) -> Self {
        Self {
            host,
            check,
            ticket: Some(ticket),
        }
    }

    /// Reports the outcome of the action.
    fn report(
        mut self,
        report: impl FnOnce(&mut AuthCheck<H::Waker>, T) -> Progress<H::Waker>,
    ) -> Option<Progress<H::Waker>> {
        let ticket = self.ticket.take()?;
        // The borrow ends here: dropping the wakers of the result runs other requests.
        Some(report(&mut self.check.borrow_mut(), ticket))
    }
}

impl<H: Host, T: Into<Flight>> Drop for FlightGuard<'_, H, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let finished = self.check.borrow_mut().abandon(ticket, self.host.now());
            self.host.finished(finished);
        }
    }
}

#[cfg(test)]
mod tests;

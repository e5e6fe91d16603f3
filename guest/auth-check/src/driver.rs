//! Takes one request through the core: runs the actions of its flight, or waits for another
//! request's.

use std::pin::pin;

use futures::future::{Either, select};
use spin_sdk::wasip3::http::types::Method;
use spin_sdk::wasip3::wit_stream;
use token_check::{
    Action, BodyCollector, Finished, Flight, Parked, Progress, RequestHead, Step, StoreFailed,
    Verdict,
};

use crate::clock::{now, sleep, sleep_until};
use crate::http::Head;
use crate::instance::{self, Instance};
use crate::introspect::introspect;

pub(crate) async fn decide(instance: &Instance, head: &Head) -> Verdict {
    let authorization: Vec<&[u8]> = head.lines("authorization").collect();
    let traceparent: Vec<&[u8]> = head.lines("traceparent").collect();
    // Spin routes by the first Host field, and shows the app all of them.
    let has_several = head.lines("host").nth(1).is_some();
    let several = has_several.then(|| head.lines("host").collect::<Vec<_>>().join(&b", "[..]));
    let authority = several
        .as_deref()
        .or_else(|| head.authority.as_deref().map(str::as_bytes));
    let head = RequestHead {
        authorization: &authorization,
        method: name(&head.method).as_bytes(),
        authority,
        path_and_query: head.target.as_deref().map(str::as_bytes),
        traceparent: &traceparent,
    };
    let mut step = instance.check.borrow_mut().begin(&head, now());
    loop {
        step = match step {
            Step::Done(verdict) => return verdict,
            Step::Lead(request, action) => {
                lead(instance, action, request.deadline()).await;
                instance.check.borrow_mut().resume(request, now())
            }
            Step::Join(request) => {
                let (waker, mut woken) = wit_stream::new();
                let parked = instance.check.borrow_mut().park(&request, waker);
                if matches!(parked, Parked::Yes) {
                    match select(pin!(woken.next()), pin!(sleep_until(request.deadline()))).await {
                        Either::Left(_) | Either::Right(_) => {}
                    }
                }
                instance.check.borrow_mut().resume(request, now())
            }
        };
    }
}

/// The method as the request spells it.
fn name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

/// Runs the actions of a flight until it has finished.
async fn lead(instance: &Instance, first: Action, deadline: core::time::Duration) {
    let mut next = Some(first);
    while let Some(action) = next {
        let progress = match action {
            Action::Introspect(ticket, call) => {
                let ticket = FlightGuard::new(instance, ticket);
                let limit = instance.check.borrow().policy().max_answer_bytes();
                let response = introspect(&call, BodyCollector::new(limit), deadline).await;
                ticket.report(|check, ticket| check.responded(ticket, response, now()))
            }
            Action::StoreGet(ticket, key) => {
                let ticket = FlightGuard::new(instance, ticket);
                let value = match &instance.store {
                    Some(store) => store.get(&key).await,
                    None => Err(StoreFailed),
                };
                ticket.report(|check, ticket| check.store_read(ticket, value, now()))
            }
            // Spin's stores cannot compare and swap, and the core was told so.
            Action::StoreCompareAndSwap(ticket, ..) => FlightGuard::new(instance, ticket)
                .report(|check, ticket| check.store_swapped(ticket, Err(StoreFailed), now())),
            Action::Sleep(ticket, time) => {
                let ticket = FlightGuard::new(instance, ticket);
                sleep(time).await;
                ticket.report(|check, ticket| check.woke(ticket, now()))
            }
        };
        next = match progress {
            Some(Progress::Continue(action)) => Some(action),
            Some(Progress::Finished(finished)) => {
                finish(instance, finished);
                None
            }
            None => None,
        };
    }
}

fn finish<W>(instance: &Instance, finished: Finished<W>) {
    if let Some(store) = &instance.store {
        store.write(finished.records, finished.sweep, instance::has_expired);
    }
    instance::log_event(finished.event.as_ref());
}

/// Abandons the flight when it is dropped, so that a request that is cancelled while it leads does
/// not strand those that wait for it.
struct FlightGuard<'a, T: Into<Flight>> {
    instance: &'a Instance,
    ticket: Option<T>,
}

impl<'a, T: Into<Flight>> FlightGuard<'a, T> {
    const fn new(instance: &'a Instance, ticket: T) -> Self {
        Self {
            instance,
            ticket: Some(ticket),
        }
    }

    /// Reports the outcome of the action.
    fn report<R>(mut self, report: impl FnOnce(&mut instance::Check, T) -> R) -> Option<R> {
        let ticket = self.ticket.take()?;
        // The borrow ends here: `R` holds wakers, and dropping those runs other requests.
        Some(report(&mut self.instance.check.borrow_mut(), ticket))
    }
}

impl<T: Into<Flight>> Drop for FlightGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let finished = self.instance.check.borrow_mut().abandon(ticket, now());
            finish(self.instance, finished);
        }
    }
}

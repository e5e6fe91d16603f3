//! Runs one request through the core: asks, or waits for whoever asks already.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};
use spin_sdk::wasip3::http::types::{Method, Request};
use spin_sdk::wasip3::wit_stream;
use token_check::{Decision, Flight, Now, Outcome, RequestHead, Step};

use crate::gate::Gate;
use crate::issuer;

pub(crate) fn now() -> Now {
    Now {
        unix_seconds: system_clock::now().seconds,
        monotonic: Duration::from_nanos(monotonic_clock::now()),
    }
}

/// Waits until `deadline` on the monotonic clock.
pub(crate) async fn until(deadline: Duration) {
    monotonic_clock::wait_until(u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX)).await;
}

pub(crate) async fn decide(gate: &Gate, request: &Request) -> Decision {
    let lines = request.get_headers().get("authorization");
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let method = request.get_method();
    let authority = request.get_authority();
    let target = request.get_path_with_query();
    let head = RequestHead {
        authorization: &lines,
        method: name(&method).as_bytes(),
        authority: authority.as_deref().map(str::as_bytes),
        path_and_query: target.as_deref().map(str::as_bytes),
    };
    let mut step = gate.borrow_mut().begin(&head, now());
    loop {
        step = match step {
            Step::Done(decision) => return decision,
            Step::Ask(waiting, flight, call) => {
                let duty = Duty {
                    gate,
                    flight: Some(flight),
                };
                duty.done(issuer::ask(&call, waiting.deadline()).await);
                gate.borrow_mut().resume(waiting, now())
            }
            Step::Join(waiting) => {
                let (waker, mut woken) = wit_stream::new();
                let come_back = gate.borrow_mut().park(&waiting, waker);
                if come_back.is_none() {
                    match select(pin!(woken.next()), pin!(until(waiting.deadline()))).await {
                        Either::Left(_) | Either::Right(_) => {}
                    }
                }
                gate.borrow_mut().resume(waiting, now())
            }
        };
    }
}

/// The method as it stands in the request.
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

/// Settles the flight whatever happens: a request that is cancelled while it asks must not strand those who wait for it.
struct Duty<'a> {
    gate: &'a Gate,
    flight: Option<Flight>,
}

impl Duty<'_> {
    fn done(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(flight) = self.flight.take() {
            let woken = self.gate.borrow_mut().settle(flight, outcome);
            // Dropped after the borrow has ended: that is what wakes them.
            drop(woken);
        }
    }
}

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}

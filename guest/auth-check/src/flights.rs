//! Runs one request through the core: runs its errands, or waits for whoever does already.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};
use spin_sdk::wasip3::http::types::Method;
use spin_sdk::wasip3::wit_stream;
use token_check::{
    AnswerBody, Ended, Errand, Flight, Now, Outcome, Progress, RequestHead, Step, Verdict,
};

use crate::gate::{self, Gate};
use crate::issuer;
use crate::messages::Head;

pub(crate) fn now() -> Now {
    let unix = system_clock::now();
    Now {
        // A clock before 1970 is as good as one at 1970: every token is from the future.
        unix: Duration::new(
            unix.seconds.try_into().unwrap_or_default(),
            unix.nanoseconds,
        ),
        monotonic: Duration::from_nanos(monotonic_clock::now()),
    }
}

/// Waits until `deadline` on the monotonic clock.
pub(crate) async fn until(deadline: Duration) {
    monotonic_clock::wait_until(u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX)).await;
}

pub(crate) async fn decide(gate: &Gate, head: &Head) -> Verdict {
    let authorization: Vec<&[u8]> = head.lines("authorization").collect();
    let traceparent: Vec<&[u8]> = head.lines("traceparent").collect();
    // Spin routes by the first one, and shows the app all of them.
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
    let mut step = gate.check.borrow_mut().begin(&head, now());
    loop {
        step = match step {
            Step::Done(verdict) => return verdict,
            Step::Lead(waiting, flight, errand) => {
                lead(gate, flight, errand, waiting.deadline()).await;
                gate.check.borrow_mut().resume(waiting, now())
            }
            Step::Join(waiting) => {
                let (waker, mut woken) = wit_stream::new();
                let come_back = gate.check.borrow_mut().park(&waiting, waker);
                if come_back.is_none() {
                    match select(pin!(woken.next()), pin!(until(waiting.deadline()))).await {
                        Either::Left(_) | Either::Right(_) => {}
                    }
                }
                gate.check.borrow_mut().resume(waiting, now())
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

/// Runs errands until the flight has ended.
async fn lead(gate: &Gate, flight: Flight, errand: Errand, deadline: Duration) {
    let mut duty = Duty {
        gate,
        flight: Some(flight),
    };
    let mut next = Some(errand);
    while let Some(errand) = next {
        let outcome = match errand {
            Errand::Ask(call) => {
                let limit = gate.check.borrow().policy().max_answer_bytes();
                issuer::ask(&call, AnswerBody::new(limit), deadline).await
            }
            Errand::Look(key) => match &gate.store {
                Some(store) => store.look(&key).await,
                None => Outcome::StoreFailed,
            },
            // Spin's stores cannot tell whether somebody else has written meanwhile, and the core was told so.
            Errand::Claim(..) => Outcome::StoreFailed,
            Errand::Pause(time) => {
                until(now().monotonic.saturating_add(time)).await;
                Outcome::Paused
            }
        };
        next = duty.settle(outcome);
    }
}

/// Settles the flight whatever happens: a request that is cancelled while it leads must not strand those who wait for it.
struct Duty<'a> {
    gate: &'a Gate,
    flight: Option<Flight>,
}

impl Duty<'_> {
    /// What to do next; `None` when the flight has ended.
    fn settle(&mut self, outcome: Outcome) -> Option<Errand> {
        let flight = self.flight.take()?;
        // The borrow ends with this statement: what wakes the others is dropped after it.
        let progress = self.gate.check.borrow_mut().settle(flight, outcome, now());
        match progress {
            Progress::More(flight, errand) => {
                self.flight = Some(flight);
                Some(errand)
            }
            Progress::Ended(Ended {
                note,
                records,
                sweep,
                ..
            }) => {
                if let Some(store) = &self.gate.store {
                    store.write(records, sweep);
                }
                gate::tell(note.as_ref());
                None
            }
        }
    }
}

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        let _ended = self.settle(Outcome::Abandoned);
    }
}

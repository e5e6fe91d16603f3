//! Introspection calls: queued, sent, answered, lost.

use core::time::Duration;

use token_check::{AwaitingResponse, CallFailure, IntrospectionCall, IssuerResponse};

use crate::host::Host;
use crate::id_map::IdMap;
use crate::upstream::{CallOutcome, EndedCall, Upstream};

/// Give up a call whose callback has not come this long after its timeout.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// The longest wait for the first connection to the issuer.
const FIRST_WARM_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// An introspection call of a flight.
pub(crate) struct FlightCall {
    /// The stream that leads the flight.
    pub(crate) leader: u32,
    pub(crate) ticket: AwaitingResponse,
    pub(crate) call: IntrospectionCall,
    pub(crate) deadline: Duration,
    /// The attempt before found no connection, for this reason: Envoy may not know the issuer's
    /// address yet.
    pub(crate) warm_up_first: Option<CallFailure>,
}

/// An introspection call that has ended.
pub(crate) struct CompletedCall {
    pub(crate) leader: u32,
    pub(crate) ticket: AwaitingResponse,
    pub(crate) result: Result<IssuerResponse, CallFailure>,
    pub(crate) took: Duration,
    /// There was no connection: the next attempt needs a warm-up first.
    pub(crate) no_connection: Option<CallFailure>,
}

struct SentCall {
    /// `None`: a warm-up that no flight waits for. A warm-up for a flight has
    /// [`FlightCall::warm_up_first`].
    flight: Option<FlightCall>,
    sent_at: Duration,
    timeout: Duration,
}

pub(crate) struct Calls<H> {
    upstream: Upstream<H>,
    /// To be sent in a callback of the root context.
    queued: Vec<FlightCall>,
    /// By Envoy's id of the call.
    sent: IdMap<SentCall>,
}

impl<H: Host> Calls<H> {
    pub(crate) fn new(upstream: Upstream<H>) -> Self {
        Self {
            upstream,
            queued: Vec::new(),
            sent: IdMap::default(),
        }
    }

    pub(crate) fn cluster(&self) -> &str {
        self.upstream.cluster()
    }

    pub(crate) fn queue(&mut self, call: FlightCall) {
        self.queued.push(call);
    }

    pub(crate) fn take_queued(&mut self) -> Vec<FlightCall> {
        core::mem::take(&mut self.queued)
    }

    pub(crate) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Warms the path to the issuer up, so that Envoy knows its address when the first
    /// introspection call comes.
    pub(crate) fn warm_up(&mut self, now: Duration) {
        let timeout = FIRST_WARM_UP_TIMEOUT;
        if let Ok(id) = self.upstream.warm_up(timeout) {
            let sent = SentCall {
                flight: None,
                sent_at: now,
                timeout,
            };
            self.sent.insert(id, sent);
        }
    }

    /// Sends a call. `Some`: it has ended at once.
    pub(crate) fn send(&mut self, call: FlightCall, now: Duration) -> Option<CompletedCall> {
        let timeout = call.deadline.saturating_sub(now);
        if timeout.is_zero() {
            let outcome = CallOutcome::Failed(CallFailure::Timeout);
            return self.complete(call, outcome, Duration::ZERO, now);
        }
        let sent = if call.warm_up_first.is_some() {
            self.upstream.warm_up(timeout)
        } else {
            self.upstream.introspect(&call.call, timeout)
        };
        match sent {
            Ok(id) => {
                let sent = SentCall {
                    flight: Some(call),
                    sent_at: now,
                    timeout,
                };
                self.sent.insert(id, sent);
                None
            }
            Err(error) => self.complete(call, error.into(), Duration::ZERO, now),
        }
    }

    /// The callback of a call. One that was given up does nothing any more.
    pub(crate) fn on_response(
        &mut self,
        id: u32,
        headers: usize,
        body_size: usize,
        max_answer_bytes: usize,
        now: Duration,
    ) -> Option<CompletedCall> {
        let sent = self.sent.remove(&id)?;
        let took = now.saturating_sub(sent.sent_at);
        let ended = EndedCall {
            headers,
            body_size,
            took,
            timeout: sent.timeout,
        };
        let outcome = self.upstream.read_response(ended, max_answer_bytes);
        self.complete(sent.flight?, outcome, took, now)
    }

    /// Calls whose callback should have come long ago.
    pub(crate) fn lost(&self, now: Duration) -> Vec<u32> {
        (self.sent.iter())
            .filter(|(_, sent)| now > sent.sent_at + sent.timeout + LOST_AFTER)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn give_up(&mut self, id: u32, now: Duration) -> Option<CompletedCall> {
        let sent = self.sent.remove(&id)?;
        let took = now.saturating_sub(sent.sent_at);
        let outcome = CallOutcome::Failed(CallFailure::Timeout);
        self.complete(sent.flight?, outcome, took, now)
    }

    /// `None`: a warm-up has ended well, and the call itself is on its way.
    fn complete(
        &mut self,
        mut call: FlightCall,
        outcome: CallOutcome,
        took: Duration,
        now: Duration,
    ) -> Option<CompletedCall> {
        let (result, no_connection) = match outcome {
            CallOutcome::Response(_) if call.warm_up_first.is_some() => {
                call.warm_up_first = None;
                return self.send(call, now);
            }
            CallOutcome::Response(response) => (Ok(response), None),
            CallOutcome::Failed(failure) => (Err(failure), None),
            CallOutcome::NoConnection(failure) => {
                // A response to HEAD has no body that could say why: the attempt before failed for
                // the same reason.
                let failure = call.warm_up_first.unwrap_or(failure);
                (Err(failure), Some(failure))
            }
        };
        Some(CompletedCall {
            leader: call.leader,
            ticket: call.ticket,
            result,
            took,
            no_connection,
        })
    }
}

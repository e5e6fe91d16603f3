//! Calls to the issuer: queued, sent, answered, lost.

use core::time::Duration;

#[cfg(feature = "jwt")]
use token_check::{AwaitingDocument, DocumentCall};
use token_check::{AwaitingResponse, CallFailure, IntrospectionCall, IssuerResponse};

use crate::host::{DispatchError, Host};
use crate::id_map::IdMap;
use crate::upstream::{CallOutcome, EndedCall, Upstream};

/// Give up a call whose callback has not come this long after its timeout.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// The longest wait for the first connection to the issuer.
const FIRST_WARM_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// A call to the issuer, and the ticket that its outcome is reported with.
pub(crate) enum Call {
    Introspect(AwaitingResponse, IntrospectionCall),
    #[cfg(feature = "jwt")]
    FetchDocument(AwaitingDocument, DocumentCall),
}

impl Call {
    fn send<H: Host>(
        &self,
        upstream: &mut Upstream<H>,
        is_warm_up: bool,
        timeout: Duration,
    ) -> Result<u32, DispatchError> {
        match self {
            Self::Introspect(_, call) => upstream.send_or_warm_up(call, is_warm_up, timeout),
            #[cfg(feature = "jwt")]
            Self::FetchDocument(_, call) => upstream.send_or_warm_up(call, is_warm_up, timeout),
        }
    }

    fn cluster<'u, H: Host>(&self, upstream: &'u Upstream<H>) -> &'u str {
        match self {
            Self::Introspect(_, call) => upstream.cluster_of(call),
            #[cfg(feature = "jwt")]
            Self::FetchDocument(_, call) => upstream.cluster_of(call),
        }
    }

    /// The longest response accepted, in bytes. `for_introspection`: by the settings.
    const fn max_answer_bytes(&self, for_introspection: usize) -> usize {
        match self {
            Self::Introspect(..) => for_introspection,
            #[cfg(feature = "jwt")]
            Self::FetchDocument(..) => DocumentCall::MAX_BYTES,
        }
    }
}

/// A call of a flight.
pub(crate) struct FlightCall {
    /// The stream that leads the flight.
    pub(crate) leader: u32,
    pub(crate) call: Call,
    pub(crate) deadline: Duration,
    /// The attempt before found no connection, for this reason: Envoy may not know the issuer's
    /// address yet.
    pub(crate) warm_up_first: Option<CallFailure>,
}

/// A call that has ended.
pub(crate) struct CompletedCall {
    pub(crate) leader: u32,
    pub(crate) call: Call,
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
    /// The cluster that the latest denied call would have gone through.
    denied: String,
    /// To be sent in a callback of the root context.
    queued: Vec<FlightCall>,
    /// By Envoy's id of the call.
    sent: IdMap<SentCall>,
}

impl<H: Host> Calls<H> {
    pub(crate) fn new(upstream: Upstream<H>) -> Self {
        Self {
            upstream,
            denied: String::new(),
            queued: Vec::new(),
            sent: IdMap::default(),
        }
    }

    /// The cluster that Envoy does not have, for the log.
    pub(crate) fn denied_cluster(&self) -> &str {
        &self.denied
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
        if let Ok(id) = self.upstream.warm_up_issuer(timeout) {
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
        let is_warm_up = call.warm_up_first.is_some();
        match call.call.send(&mut self.upstream, is_warm_up, timeout) {
            Ok(id) => {
                let sent = SentCall {
                    flight: Some(call),
                    sent_at: now,
                    timeout,
                };
                self.sent.insert(id, sent);
                None
            }
            Err(error) => {
                if matches!(error, DispatchError::BadArgument) {
                    call.call
                        .cluster(&self.upstream)
                        .clone_into(&mut self.denied);
                }
                self.complete(call, error.into(), Duration::ZERO, now)
            }
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
        let limit = (sent.flight.as_ref())
            .map_or(0, |flight| flight.call.max_answer_bytes(max_answer_bytes));
        let outcome = self.upstream.read_response(ended, limit);
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
            call: call.call,
            result,
            took,
            no_connection,
        })
    }
}

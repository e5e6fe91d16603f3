//! What the core asks of a host, and how the host reports back.

use core::time::Duration;

#[cfg(feature = "jwt")]
use super::documents::DocumentFlight;
use super::flight::{Flight, PendingRequest};
use super::log_event::LogEvent;
use super::verdict::Verdict;
#[cfg(feature = "jwt")]
use crate::introspection::DocumentCall;
use crate::introspection::{Fault, IntrospectionCall};
use crate::memory::{Record, StoreKey};

/// What to do with a request next.
#[must_use]
#[derive(Debug)]
pub enum Step<W> {
    /// The verdict is in.
    Done(Verdict),
    /// This request leads a flight: run the action, report its outcome, run the next action, and
    /// when the flight has finished, call [`AuthCheck::resume`](crate::AuthCheck::resume).
    Lead(PendingRequest, Action),
    /// This request led a flight that finished without an action: take what it leaves, and call
    /// [`AuthCheck::resume`](crate::AuthCheck::resume).
    Finished(PendingRequest, Finished<W>),
    /// Another request leads a flight for the same token, or there are too many calls now:
    /// [`AuthCheck::park`](crate::AuthCheck::park) this one, and
    /// [`AuthCheck::resume`](crate::AuthCheck::resume) it when it is woken or when its
    /// [`PendingRequest::deadline`] has come. If its caller leaves before,
    /// [`AuthCheck::leave`](crate::AuthCheck::leave).
    Join(PendingRequest),
}

/// What the host does for a flight, before the leader's [`PendingRequest::deadline`].
///
/// Each action carries the ticket that its outcome is reported with, so an outcome that does not
/// belong to the action does not compile. A host that drops a ticket must pass it to
/// [`AuthCheck::abandon`](crate::AuthCheck::abandon) first.
#[must_use]
#[derive(Debug)]
pub enum Action {
    /// Send this call; report to [`AuthCheck::responded`](crate::AuthCheck::responded).
    Introspect(AwaitingResponse, IntrospectionCall),
    /// Read this key of the shared store; report to
    /// [`AuthCheck::store_read`](crate::AuthCheck::store_read).
    StoreGet(AwaitingValue, StoreKey),
    /// Write these bytes if the key still holds what the last [`Action::StoreGet`] read; report to
    /// [`AuthCheck::store_swapped`](crate::AuthCheck::store_swapped). Only hosts that declare
    /// [`Sharing::CompareAndSwap`](crate::Sharing::CompareAndSwap) get this action.
    StoreCompareAndSwap(AwaitingSwap, StoreKey, Vec<u8>),
    /// Read this key of the shared store; report to
    /// [`AuthCheck::document_read`](crate::AuthCheck::document_read). Only
    /// [`AuthCheck::next_fetch`](crate::AuthCheck::next_fetch) returns this action.
    #[cfg(feature = "jwt")]
    ReadDocument(AwaitingDocument, StoreKey),
    /// Send this call; report to [`AuthCheck::document_responded`](crate::AuthCheck::document_responded).
    /// Only [`AuthCheck::next_fetch`](crate::AuthCheck::next_fetch) returns this action.
    #[cfg(feature = "jwt")]
    FetchDocument(AwaitingDocument, DocumentCall),
    /// Wait this long; report to [`AuthCheck::woke`](crate::AuthCheck::woke).
    Sleep(AwaitingWake, Duration),
}

macro_rules! tickets {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        #[derive(Debug)]
        pub struct $name(pub(super) Flight);

        impl From<$name> for Flight {
            fn from(ticket: $name) -> Self {
                ticket.0
            }
        }
    )*};
}

tickets! {
    /// A flight that waits for the issuer's response.
    AwaitingResponse;
    /// A flight that waits for a value of the shared store.
    AwaitingValue;
    /// A flight that waits for a compare-and-swap of the shared store.
    AwaitingSwap;
    /// A flight that waits for a timer.
    AwaitingWake;
}

/// A fetch of a document that waits for its response. Dropping it ends the fetch, and wakes nobody.
#[cfg(feature = "jwt")]
#[must_use]
#[derive(Debug)]
pub struct AwaitingDocument(pub(super) DocumentFlight);

/// The shared store failed or timed out. The core does not use it again for a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFailed;

/// How a flight continues.
#[must_use]
#[derive(Debug)]
pub enum Progress<W> {
    /// With another action.
    Continue(Action),
    /// It waits for its turn to call the issuer: [`AuthCheck::resume`](crate::AuthCheck::resume) its
    /// request, which then waits like one that joined.
    Queued,
    /// It has finished.
    Finished(Finished<W>),
}

/// What a finished flight leaves to the host.
#[must_use]
#[derive(Debug)]
pub struct Finished<W> {
    /// The wakers of requests to resume: those that waited for this flight, and those whose turn it
    /// is now.
    pub woken: Vec<W>,
    /// Values to write to the shared store. Best effort: a failed write only costs other instances
    /// an introspection call.
    pub records: Vec<Record>,
    /// Keys of the shared store to check with
    /// [`AuthCheck::has_expired`](crate::AuthCheck::has_expired) and erase, in a host whose store
    /// has no expiry. No request waits for it.
    pub sweep: Vec<StoreKey>,
    /// What was wrong with the issuer, for metrics. Once per introspection call.
    pub fault: Option<Fault>,
    /// What to log, at most once per interval and kind.
    pub event: Option<LogEvent>,
}

impl<W> Default for Finished<W> {
    fn default() -> Self {
        Self {
            woken: Vec::new(),
            records: Vec::new(),
            sweep: Vec::new(),
            fault: None,
            event: None,
        }
    }
}

//! The auth check of all issuers of a policy: chooses the one that a token is for.
//!
//! Each issuer has facts, flights, keys and a circuit breaker of its own, so that none can vouch for
//! the token of another one, and none that hangs holds up the callers of another one.

#[cfg(feature = "jwt")]
use std::rc::Rc;

use super::flight::{Flight, Parked, PendingRequest};
use super::issuer_check::IssuerCheck;
#[cfg(feature = "jwt")]
use super::protocol::AwaitingDocument;
use super::protocol::{
    Action, AwaitingResponse, AwaitingSwap, AwaitingValue, AwaitingWake, Finished, Progress, Step,
    StoreFailed,
};
use crate::introspection::{CallFailure, IssuerResponse};
#[cfg(feature = "jwt")]
use crate::jose::SignatureHost;
use crate::memory::Sharing;
use crate::policy::Policy;
use crate::request::RequestHead;
use crate::time::Now;

/// The auth check of one policy. `W` is what the host wakes a parked request with.
pub struct AuthCheck<W> {
    /// Of the only issuer, or of the first one. It also decides about requests without a token.
    first: IssuerCheck<W>,
    others: Vec<IssuerCheck<W>>,
}

impl<W> AuthCheck<W> {
    /// `seed`: random bytes for the keyed hash that identifies tokens in memory, and for the
    /// identifiers of client assertions.
    #[must_use]
    pub fn new(policy: Policy, seed: [u8; 16]) -> Self {
        let others = policy.others().iter().zip(1..);
        Self {
            others: others
                .map(|(policy, number)| IssuerCheck::new(policy.clone(), number, seed))
                .collect(),
            first: IssuerCheck::new(policy.into(), 0, seed),
        }
    }

    /// Has the host verify signatures where it can, since it is faster than WebAssembly.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn verifying_with(mut self, host: Box<dyn SignatureHost>) -> Self {
        let host: Rc<dyn SignatureHost> = host.into();
        for check in self.all() {
            check.lookup.signature_host = Rc::clone(&host);
        }
        self
    }

    /// Shares facts with other instances through the host's store, if the policy caches any.
    #[must_use]
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        for check in self.all() {
            check.share(sharing);
        }
        self
    }

    /// While sharing is paused, new flights neither read nor write the shared store.
    pub fn pause_sharing(&mut self, is_paused: bool) {
        for check in self.all() {
            check.pause_sharing(is_paused);
        }
    }

    /// The policy in force: what does not depend on the issuer is the same for all of them.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.first.policy
    }

    /// Whether documents are fetched from time to time, so that a host that has a timer keeps it
    /// running.
    #[must_use]
    pub fn fetches_documents(&self) -> bool {
        self.each().any(|check| check.policy.fetches_documents())
    }

    /// What is to be fetched for the host's own sake: the metadata of an issuer, or its keys. To be
    /// asked for after each [`begin`](Self::begin) and [`resume`](Self::resume), and by a timer if
    /// there is one. No request leads it: run it whoever leaves.
    #[cfg(feature = "jwt")]
    pub fn next_fetch(&mut self, now: Now) -> Option<Action> {
        // What requests wait for goes first: a host without a timer asks once per request.
        let wanted = self.all().find_map(|check| check.wanted_fetch(now));
        wanted.or_else(|| self.all().find_map(|check| check.due_fetch(now)))
    }

    /// There is nothing to fetch.
    #[cfg(not(feature = "jwt"))]
    pub const fn next_fetch(&mut self, _: Now) -> Option<Action> {
        None
    }

    /// A request has arrived.
    pub fn begin(&mut self, request: &RequestHead<'_>, now: Now) -> Step<W> {
        #[cfg(feature = "jwt")]
        if !self.others.is_empty() || self.first.policy.opaque_prefix().is_some() {
            return self.begin_at_one(request, now);
        }
        self.first.begin(request, now)
    }

    /// Parks a request until its flight finishes; `waker` is then in [`Finished::woken`].
    pub fn park(&mut self, request: &PendingRequest, waker: W) -> Parked<W> {
        self.of(request.issuer()).park(request, waker)
    }

    /// The issuer responded, with any status, or the call failed.
    pub fn responded(
        &mut self,
        ticket: AwaitingResponse,
        response: Result<IssuerResponse, CallFailure>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingResponse(flight) = ticket;
        self.of(flight.issuer()).responded(flight, response, now)
    }

    /// The shared store returned the value of the key, if there is one.
    pub fn store_read(
        &mut self,
        ticket: AwaitingValue,
        value: Result<Option<Vec<u8>>, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingValue(flight) = ticket;
        self.of(flight.issuer()).store_read(flight, value, now)
    }

    /// The shared store wrote the value (`true`), or found that the key had changed.
    pub fn store_swapped(
        &mut self,
        ticket: AwaitingSwap,
        swapped: Result<bool, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingSwap(flight) = ticket;
        self.of(flight.issuer()).store_swapped(flight, swapped, now)
    }

    /// The time of an [`Action::Sleep`] is over.
    pub fn woke(&mut self, ticket: AwaitingWake, now: Now) -> Progress<W> {
        let AwaitingWake(flight) = ticket;
        self.of(flight.issuer()).woke(flight, now)
    }

    /// The shared store returned the value of a document's key, if there is one.
    #[cfg(feature = "jwt")]
    pub fn document_read(
        &mut self,
        ticket: AwaitingDocument,
        value: Result<Option<Vec<u8>>, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingDocument(flight) = ticket;
        self.of(flight.issuer).document_read(flight, value, now)
    }

    /// The issuer responded to a fetch, with any status, or the call failed.
    #[cfg(feature = "jwt")]
    pub fn document_responded(
        &mut self,
        ticket: AwaitingDocument,
        response: Result<IssuerResponse, CallFailure>,
        now: Now,
    ) -> Progress<W> {
        let AwaitingDocument(flight) = ticket;
        (self.of(flight.issuer)).document_responded(flight, response, now)
    }

    /// The host gives a flight up, because its request was cancelled. The parked requests start
    /// over when they are resumed.
    pub fn abandon(&mut self, flight: impl Into<Flight>, now: Now) -> Finished<W> {
        let flight = flight.into();
        self.of(flight.issuer()).abandon(flight, now)
    }

    /// The caller of a waiting request has left. Returns the wakers of requests to resume.
    #[must_use = "these requests would wait until their deadline"]
    pub fn leave(&mut self, request: PendingRequest, now: Now) -> Finished<W> {
        self.of(request.issuer()).leave(request, now)
    }

    /// Whether this request waits because there are too many calls.
    #[must_use]
    pub fn is_queued(&self, request: &PendingRequest) -> bool {
        self.at(request.issuer()).is_queued(request)
    }

    /// Whether any request waits for this call. One that nobody waits for need not be sent:
    /// [`abandon`](Self::abandon) its flight.
    #[must_use]
    pub fn is_awaited(&self, ticket: &AwaitingResponse) -> bool {
        self.at(ticket.0.issuer()).is_awaited(&ticket.0)
    }

    /// Continues a request whose flight has finished, whose turn to call has come, or whose deadline
    /// has come. Too early, it is returned to be parked again.
    pub fn resume(&mut self, request: PendingRequest, now: Now) -> Step<W> {
        self.of(request.issuer()).resume(request, now)
    }

    /// Whether these bytes of the shared store are an expired record of ours, which the host may
    /// erase.
    #[must_use]
    pub fn has_expired(&self, bytes: &[u8], now: Now) -> bool {
        self.each().any(|check| check.has_expired(bytes, now))
    }

    /// In the order of their numbers.
    pub(super) fn each(&self) -> impl Iterator<Item = &IssuerCheck<W>> {
        core::iter::once(&self.first).chain(&self.others)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut IssuerCheck<W>> {
        core::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// A number that no issuer has does not occur: tickets have those of their issuers.
    pub(super) fn of(&mut self, number: usize) -> &mut IssuerCheck<W> {
        let other = number.checked_sub(1).and_then(|at| self.others.get_mut(at));
        other.unwrap_or(&mut self.first)
    }

    pub(super) fn at(&self, number: usize) -> &IssuerCheck<W> {
        let other = number.checked_sub(1).and_then(|at| self.others.get(at));
        other.unwrap_or(&self.first)
    }
}

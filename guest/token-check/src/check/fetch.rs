//! How the documents of the issuer are fetched, in the background: no request leads a fetch.

use core::time::Duration;
use std::sync::Arc;

use super::documents::{Document, DocumentFlight, Documents};
use super::flight::{About, FlightResult};
use super::issuer_check::IssuerCheck;
use super::protocol::{Action, AwaitingDocument, Finished, Progress, StoreFailed};
use crate::introspection::{CallFailure, DocumentCall, Fault, IssuerResponse};
use crate::memory::{Fetch, SharedDocument};
use crate::reason::Reason;
use crate::time::{Now, milliseconds};

impl<W> IssuerCheck<W> {
    /// What requests wait for: the metadata of the issuer, or its keys.
    pub(super) fn wanted_fetch(&mut self, now: Now) -> Option<Action> {
        let flight = self.documents.wanted.take()?;
        self.begin_fetch(flight, now)
    }

    /// What is to be fetched although no request waits for it.
    pub(super) fn due_fetch(&mut self, now: Now) -> Option<Action> {
        let metadata = self.due_metadata(now);
        let flight = metadata.or_else(|| self.due_keys(now))?;
        self.begin_fetch(flight, now)
    }

    fn begin_fetch(&mut self, mut flight: DocumentFlight, now: Now) -> Option<Action> {
        flight.called = now.monotonic;
        // It has the whole time however late the host begins it.
        flight.ends = now.monotonic.saturating_add(self.policy.timeout());
        let store = self.lookup.store.as_ref();
        match store.filter(|store| flight.may_share && store.is_in_use(now)) {
            Some(store) => {
                let key = store.document_key(shared(flight.document));
                Some(Action::ReadDocument(AwaitingDocument(flight), key))
            }
            None => self.fetch(flight, now),
        }
    }

    /// The metadata, if they are to be fetched although no request waits for them.
    fn due_metadata(&mut self, now: Now) -> Option<DocumentFlight> {
        let metadata = self.documents.metadata.as_ref()?;
        let is_due =
            metadata.is_due(now.monotonic) && self.flights.in_progress(About::Metadata).is_none();
        is_due.then(|| self.start_metadata(now))
    }

    pub(super) fn start_metadata(&mut self, now: Now) -> DocumentFlight {
        let ends = now.monotonic.saturating_add(self.policy.timeout());
        let result = self.flights.start_fetch(About::Metadata, ends);
        DocumentFlight::new(
            self.number,
            Document::Metadata { place: 0 },
            result,
            ends,
            true,
        )
    }

    /// The keys, if they are to be fetched although no request waits for them.
    fn due_keys(&mut self, now: Now) -> Option<DocumentFlight> {
        let verification = self.policy.verification()?;
        let ring = self.documents.ring.as_ref()?;
        let why = ring.is_due(verification, now.monotonic)?;
        let may_start =
            self.documents.keys_url.is_some() && self.flights.in_progress(About::Keys).is_none();
        if may_start {
            self.start_keys(why, now)
        } else {
            None
        }
    }

    pub(super) fn start_keys(&mut self, why: Fetch, now: Now) -> Option<DocumentFlight> {
        let verification = self.policy.verification()?;
        let ends = now.monotonic.saturating_add(self.policy.timeout());
        (self.documents.ring.as_mut()?).starts(why, verification, now.monotonic, ends);
        let result = self.flights.start_fetch(About::Keys, ends);
        // For another reason, what another instance has fetched may not do.
        let may_share = why == Fetch::Due;
        Some(DocumentFlight::new(
            self.number,
            Document::Keys,
            result,
            ends,
            may_share,
        ))
    }

    /// The shared store returned the value of the key, if there is one.
    pub(super) fn document_read(
        &mut self,
        flight: DocumentFlight,
        value: Result<Option<Vec<u8>>, StoreFailed>,
        now: Now,
    ) -> Progress<W> {
        match (value, &mut self.lookup.store) {
            (Ok(Some(value)), Some(_)) => {
                let is_enough = match flight.document {
                    Document::Keys => self.read_keys(&value, now),
                    Document::Metadata { .. } => self.read_metadata(&value, now),
                };
                if is_enough {
                    return self.end_fetch(&flight, Finished::default());
                }
            }
            (Err(StoreFailed), Some(store)) => store.cool_down(now),
            _ => {}
        }
        self.continue_fetch(flight, now)
    }

    /// The issuer responded, with any status, or the call failed.
    pub(super) fn document_responded(
        &mut self,
        mut flight: DocumentFlight,
        response: Result<IssuerResponse, CallFailure>,
        now: Now,
    ) -> Progress<W> {
        let mut finished = Finished::default();
        let fault = match response {
            Ok(response) => match flight.document {
                // They are not there any more.
                Document::Keys if flight.keys_url != self.documents.keys_url => None,
                Document::Keys => self.keys_responded(&response, flight.called, &mut finished, now),
                Document::Metadata { place } => {
                    let asked = flight.called;
                    match self.metadata_responded(&response, place, asked, &mut finished, now) {
                        Ok(()) => None,
                        Err(None) => {
                            let place = place.saturating_add(1);
                            flight.document = Document::Metadata { place };
                            flight.is_retry = false;
                            return self.continue_fetch(flight, now);
                        }
                        Err(Some(fault)) => Some(fault),
                    }
                }
            },
            // The issuer may have closed an idle connection just as the call went out on it.
            Err(failure)
                if failure.reason() == Reason::IssuerUnreachable
                    && !flight.is_retry
                    && now.monotonic < flight.ends =>
            {
                flight.is_retry = true;
                return self.continue_fetch(flight, now);
            }
            Err(failure) => Some(Fault::from_call(failure)),
        };
        if let Some(fault) = fault {
            self.note_fault(flight.document, fault, now);
        }
        finished.fault = fault;
        let event = fault.and_then(|fault| self.lookup.log.fault(fault, now));
        finished.event = event.map(|event| self.lookup.log.named(event));
        self.end_fetch(&flight, finished)
    }

    fn note_fault(&mut self, document: Document, fault: Fault, now: Now) {
        match (document, &mut self.documents) {
            (
                Document::Metadata { .. },
                Documents {
                    metadata: Some(metadata),
                    ..
                },
            ) => metadata.fail(fault, &self.policy, now.monotonic),
            (
                Document::Keys,
                Documents {
                    ring: Some(ring), ..
                },
            ) if fault.is_without_keys() => ring.end(fault, &self.policy, now.monotonic),
            (
                Document::Keys,
                Documents {
                    ring: Some(ring), ..
                },
            ) => ring.fail(fault, &self.policy, now.monotonic),
            _ => {}
        }
    }

    /// Whoever waits looks again at what is known.
    fn end_fetch(&mut self, flight: &DocumentFlight, finished: Finished<W>) -> Progress<W> {
        flight.result.set(FlightResult::Abandoned);
        if matches!(flight.document, Document::Keys) {
            self.documents.is_rotating = false;
        }
        Progress::Finished(Finished {
            woken: self.flights.finish(&flight.result),
            ..finished
        })
    }

    /// With the next call, or to its end if there is none.
    fn continue_fetch(&mut self, flight: DocumentFlight, now: Now) -> Progress<W> {
        let result = Arc::clone(&flight.result);
        match self.fetch(flight, now) {
            Some(action) => Progress::Continue(action),
            None => Progress::Finished(Finished {
                woken: self.flights.finish(&result),
                ..Finished::default()
            }),
        }
    }

    fn fetch(&self, mut flight: DocumentFlight, now: Now) -> Option<Action> {
        flight.called = now.monotonic;
        let timeouts = (self.policy).timeouts(flight.ends.saturating_sub(now.monotonic));
        let call = match flight.document {
            Document::Keys => {
                flight.keys_url.clone_from(&self.documents.keys_url);
                DocumentCall::keys(flight.keys_url.clone()?, timeouts)
            }
            Document::Metadata { place } => {
                let places = self.policy.discovery()?.metadata_urls();
                DocumentCall::metadata(Arc::new(places.into_iter().nth(place)?), timeouts)
            }
        };
        flight.result.note_call(now.monotonic);
        Some(Action::FetchDocument(AwaitingDocument(flight), call))
    }

    /// Adds the record with which other instances need not fetch the document.
    pub(super) fn share_document(
        &self,
        document: SharedDocument,
        source: &str,
        bytes: &[u8],
        asked: Duration,
        finished: &mut Finished<W>,
        now: Now,
    ) {
        let store = self.lookup.store.as_ref();
        let record = store
            .filter(|store| store.is_in_use(now))
            .and_then(|store| {
                store.document_record(document, source, bytes, milliseconds(asked), now)
            });
        finished.records.extend(record);
    }
}

const fn shared(document: Document) -> SharedDocument {
    match document {
        Document::Keys => SharedDocument::Keys,
        Document::Metadata { .. } => SharedDocument::Metadata,
    }
}

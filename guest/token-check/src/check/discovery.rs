//! The metadata of the issuer: what to do before they are known, and what they change.

use core::time::Duration;
use std::sync::Arc;

use super::documents::Need;
use super::flight::About;
use super::issuer_check::IssuerCheck;
use super::protocol::Finished;
use super::unavailable::Unavailable;
use crate::introspection::{
    Detail, Fault, IssuerResponse, Metadata, MetadataFault, unexpected_status,
};
use crate::memory::SharedDocument;
use crate::policy::{Discovered, KeySource};
use crate::reason::Reason;
use crate::time::{Now, milliseconds};

/// How old metadata may be that another instance has fetched: who can write to the store may put an old
/// record back.
const MAX_SHARED_AGE: Duration = Duration::from_secs(24 * 3600);

impl<W> IssuerCheck<W> {
    /// What a request needs before what only the metadata name. `None`: they are known, or nobody
    /// needs any.
    pub(super) fn needs_metadata(&mut self, now: Now) -> Option<Need> {
        let metadata = self.documents.metadata.as_ref()?;
        if metadata.is_known() {
            return None;
        }
        Some(if self.flights.in_progress(About::Metadata).is_some() {
            Need::Flight(About::Metadata)
        } else if metadata.may_fetch(now.monotonic) {
            self.documents.wanted = Some(self.start_metadata(now));
            Need::Flight(About::Metadata)
        } else {
            let reason = metadata.fault().map(Fault::reason);
            let unavailable = Unavailable::because(reason.unwrap_or(Reason::IssuerUnreachable));
            Need::Unavailable(unavailable.until(metadata.retry_at(), now))
        })
    }

    /// The same before keys can be fetched.
    pub(super) fn needs_place_of_keys(&mut self, now: Now) -> Option<Need> {
        let is_discovered = (self.policy.verification())
            .is_some_and(|how| matches!(how.keys(), KeySource::Discovered));
        match is_discovered && self.documents.keys_url.is_none() {
            true => self.needs_metadata(now),
            false => None,
        }
    }

    /// Takes metadata that another instance has fetched. Whether they are as new as they must be.
    pub(super) fn read_metadata(&mut self, value: &[u8], now: Now) -> bool {
        let (Some(store), Some(schedule), Some(discovery)) = (
            &self.lookup.store,
            &self.documents.metadata,
            self.policy.discovery(),
        ) else {
            return false;
        };
        let source = discovery.issuer();
        let Some((document, asked)) =
            store.read_document(SharedDocument::Metadata, source, value, now)
        else {
            return false;
        };
        // Our clock may have begun after the call.
        let age = milliseconds(now.monotonic).saturating_sub(asked);
        let is_too_old = age > milliseconds(MAX_SHARED_AGE);
        if is_too_old || !schedule.is_newer(asked) {
            return false;
        }
        let Some(Ok(metadata)) = Metadata::parse(&document) else {
            return false;
        };
        let Ok(discovered) = discovery.accept(&metadata) else {
            return false;
        };
        self.learn_metadata(discovered, asked);
        let schedule = self.documents.metadata.as_ref();
        schedule.is_some_and(|schedule| !schedule.is_due(now.monotonic))
    }

    /// # Errors
    /// The fault; `None`: there are no metadata in this place, and there is another one.
    pub(super) fn metadata_responded(
        &mut self,
        response: &IssuerResponse,
        place: usize,
        asked: Duration,
        finished: &mut Finished<W>,
        now: Now,
    ) -> Result<(), Option<Fault>> {
        let Some(discovery) = self.policy.discovery() else {
            return Ok(());
        };
        let is_last = place.saturating_add(1) >= discovery.metadata_urls().len();
        let (metadata, document) = metadata(response, is_last)?;
        let discovered = (discovery.accept(&metadata)).map_err(|fault| Some(unusable(fault)))?;
        let source = discovery.issuer();
        self.share_document(
            SharedDocument::Metadata,
            source,
            document,
            asked,
            finished,
            now,
        );
        self.learn_metadata(discovered, milliseconds(asked));
        Ok(())
    }

    fn learn_metadata(&mut self, discovered: Discovered, asked: i64) {
        if let Some(url) = discovered.introspection_endpoint {
            self.lookup.endpoint = self.policy.endpoint_at(url).map(Arc::new);
        }
        if let Some(url) = discovered.keys {
            let known = self.documents.keys_url.as_deref();
            if known.is_some_and(|known| *known != url)
                && let Some(ring) = &mut self.documents.ring
            {
                ring.move_away();
            }
            self.documents.keys_url = Some(Arc::new(url));
        }
        if let Some(schedule) = &mut self.documents.metadata {
            schedule.learn(asked);
        }
    }
}

const fn unusable(fault: MetadataFault) -> Fault {
    Fault::new(Reason::IssuerMetadataUnusable, Detail::Metadata(fault))
}

/// Reads the response. Its media type does not matter: issuers disagree about it.
fn metadata(response: &IssuerResponse, is_last: bool) -> Result<(Metadata, &[u8]), Option<Fault>> {
    let status = response.status;
    if status == 429 || status >= 500 {
        let detail = Detail::Metadata(MetadataFault::Status(status));
        return Err(Some(Fault::new(unexpected_status(status), detail)));
    }
    let document = match response.body.bytes() {
        Some(document) if status == 200 && response.coding().is_none() => document,
        None if status == 200 => return Err(Some(unusable(MetadataFault::TooLarge))),
        _ => b"",
    };
    match Metadata::parse(document) {
        Some(Ok(metadata)) => Ok((metadata, document)),
        Some(Err(fault)) => Err(Some(unusable(fault))),
        // A page, a redirect or an error: such issuers have their metadata elsewhere.
        None if is_last => Err(Some(unusable(MetadataFault::NotThere(status)))),
        None => Err(None),
    }
}

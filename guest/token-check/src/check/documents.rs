//! What is known of what the issuer publishes: its metadata and its keys.

use core::time::Duration;
use std::sync::Arc;

use url::Url;

use super::flight::{About, FlightResult, SharedResult};
use super::log_event::LogEvent;
use super::unavailable::Unavailable;
use crate::introspection::Facts;
use crate::jose::KnownHeader;
use crate::memory::{KeyRing, MetadataSchedule, Voucher, Vouchers};
use crate::policy::{KeySource, Policy};
use crate::reason::Reason;

/// How to learn about the token of a request.
pub(super) enum Need {
    /// By this flight.
    Flight(About),
    /// It is known: its signature was verified.
    Facts(Facts),
    /// By a flight for the token: its signature was verified, and the issuer is to confirm it.
    Confirm(Facts, Voucher),
    /// Not at all: it is refused.
    Refuse(Reason, Option<LogEvent>),
    /// Not now.
    Unavailable(Unavailable),
}

/// What is known of what the issuer publishes.
pub(super) struct Documents {
    /// `None`: no metadata are needed.
    pub(super) metadata: Option<MetadataSchedule>,
    /// Where the keys are; `None`: not known, or nowhere.
    pub(super) keys_url: Option<Arc<Url>>,
    /// `None`: all tokens are introspected.
    pub(super) ring: Option<KeyRing>,
    /// Of the token that was verified last.
    pub(super) header: Option<KnownHeader>,
    none: Vouchers,
    /// A fetch for which requests wait, and that the host has not begun.
    pub(super) wanted: Option<DocumentFlight>,
    /// The issuer has signed a response with a key that is being fetched.
    pub(super) is_rotating: bool,
}

/// A document that the issuer publishes.
#[derive(Clone, Copy)]
pub(super) enum Document {
    Keys,
    Metadata {
        /// The position of the URL: metadata may be in one of several places.
        place: usize,
    },
}

/// A fetch of a document. When it is dropped, those that wait for it fetch again.
pub(super) struct DocumentFlight {
    /// The number of the issuer.
    pub(super) issuer: usize,
    pub(super) document: Document,
    /// Where the keys are fetched; `None` before the call.
    pub(super) keys_url: Option<Arc<Url>>,
    pub(super) result: Arc<SharedResult>,
    /// When the current call was sent.
    pub(super) called: Duration,
    pub(super) ends: Duration,
    pub(super) is_retry: bool,
    /// Another instance may have fetched what is needed.
    pub(super) may_share: bool,
}

impl DocumentFlight {
    pub(super) const fn new(
        issuer: usize,
        document: Document,
        result: Arc<SharedResult>,
        ends: Duration,
        may_share: bool,
    ) -> Self {
        Self {
            issuer,
            document,
            keys_url: None,
            result,
            called: Duration::ZERO,
            ends,
            is_retry: false,
            may_share,
        }
    }
}

impl Drop for DocumentFlight {
    fn drop(&mut self) {
        // Whoever waits looks again at what is known.
        self.result.set(FlightResult::Abandoned);
    }
}

impl core::fmt::Debug for DocumentFlight {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DocumentFlight").finish_non_exhaustive()
    }
}

impl Documents {
    pub(super) fn new(policy: &Policy) -> Self {
        let keys = policy.verification().map(|how| how.keys());
        Self {
            metadata: policy.discovery().map(|_| MetadataSchedule::default()),
            keys_url: match keys {
                Some(KeySource::Url(url)) => Some(Arc::clone(url)),
                Some(KeySource::Discovered | KeySource::Set(_)) | None => None,
            },
            ring: policy.verification().map(KeyRing::new),
            header: None,
            none: Vouchers::default(),
            wanted: None,
            is_rotating: false,
        }
    }

    /// The keys that vouch for facts.
    pub(super) fn vouchers(&self) -> &Vouchers {
        self.ring.as_ref().map_or(&self.none, KeyRing::vouchers)
    }
}

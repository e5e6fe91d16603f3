//! The keys of the issuer, and who waits for them.

use core::time::Duration;
use std::sync::Arc;

use super::flight::{About, FlightResult, SharedResult};
use super::log_event::LogEvent;
use super::unavailable::Unavailable;
use crate::introspection::Facts;
use crate::memory::{Fetch, KeyRing, Vouchers};
use crate::policy::Policy;
use crate::reason::Reason;

/// How to learn about the token of a request.
pub(super) enum Need {
    /// By this flight.
    Flight(About),
    /// It is known: its signature was verified.
    Facts(Facts),
    /// Not at all: it is refused.
    Refuse(Reason, Option<LogEvent>),
    /// Not now.
    Unavailable(Unavailable),
}

/// What verifies tokens here.
pub(super) struct Keys {
    /// `None`: all tokens are introspected.
    pub(super) ring: Option<KeyRing>,
    none: Vouchers,
    /// A fetch for which requests wait, and that the host has not begun, and why.
    pub(super) wanted: Option<(Arc<SharedResult>, Fetch)>,
    /// The issuer has signed a response with a key that is being fetched.
    pub(super) is_rotating: bool,
}

/// A fetch of keys. When it is dropped, those that wait for it fetch again.
pub(super) struct KeysFlight {
    pub(super) result: Arc<SharedResult>,
    /// When the current call was sent.
    pub(super) called: Duration,
    pub(super) ends: Duration,
    pub(super) is_retry: bool,
    /// Another instance may have fetched what is needed.
    pub(super) may_share: bool,
}

impl Drop for KeysFlight {
    fn drop(&mut self) {
        // Whoever waits looks again at what is known.
        self.result.set(FlightResult::Abandoned);
    }
}

impl core::fmt::Debug for KeysFlight {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeysFlight").finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            ring: policy.verification().map(KeyRing::new),
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

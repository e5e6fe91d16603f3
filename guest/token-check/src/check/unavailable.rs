//! Why a request cannot be decided now.

use core::time::Duration;

use super::flight::FlightFault;
use crate::memory::Rejected;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
#[cfg(feature = "jwt")]
use crate::time::Now;

/// The issuer is unavailable for a request.
#[derive(Clone, Copy)]
pub(super) struct Unavailable {
    pub(super) reason: Reason,
    /// In seconds.
    pub(super) retry_after: u32,
    pub(super) latency: Option<Duration>,
    /// Whether the issuer is known to be down, so that `stale_if_error` applies.
    pub(super) is_outage: bool,
}

impl From<&FlightFault> for Unavailable {
    fn from(fault: &FlightFault) -> Self {
        Self {
            reason: fault.fault.reason(),
            retry_after: fault.retry_after,
            latency: fault.latency,
            is_outage: fault.is_outage,
        }
    }
}

impl From<Rejected> for Unavailable {
    fn from(rejected: Rejected) -> Self {
        Self {
            reason: rejected.reason,
            retry_after: rejected.retry_after,
            latency: None,
            is_outage: rejected.is_outage,
        }
    }
}

impl Unavailable {
    /// Until this time on the monotonic clock.
    #[cfg(feature = "jwt")]
    pub(super) fn until(self, time: Duration, now: Now) -> Self {
        let pause = time
            .saturating_sub(now.monotonic)
            .as_millis()
            .div_ceil(1000);
        let seconds = u32::try_from(pause).unwrap_or(u32::MAX);
        Self {
            retry_after: seconds.max(RETRY_AFTER_SECONDS),
            ..self
        }
    }

    /// Not in an outage that `stale_if_error` is for.
    pub(super) const fn because(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: RETRY_AFTER_SECONDS,
            latency: None,
            is_outage: false,
        }
    }
}

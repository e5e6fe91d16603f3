//! Points in time, which hosts pass in: nothing in the core reads a clock.

use core::time::Duration;

/// The time, as the host reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since 1970, for the times in the issuer's response.
    pub unix: Duration,
    /// A clock that never goes back, for deadlines and ages. Any starting point.
    pub monotonic: Duration,
}

impl Now {
    pub(crate) fn unix_seconds(self) -> i64 {
        self.unix.as_secs().try_into().unwrap_or(i64::MAX)
    }
}

/// Whole milliseconds.
pub(crate) fn milliseconds(time: Duration) -> i64 {
    time.as_millis().try_into().unwrap_or(i64::MAX)
}

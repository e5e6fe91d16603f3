//! Timeouts of outbound calls, and deadlines computed from them.

use std::time::Duration;

use tokio::time::Instant;

/// Each timeout of an outbound call for which the guest sets none, as in Spin.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// About thirty years: a longer timeout never elapses.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1 << 30);

/// The deadline that ends `timeout` from now; never overflows.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout.min(LONGEST_TIMEOUT)).unwrap_or(now)
}

//! The clocks of WASI.

use std::cell::Cell;
use std::time::Duration;

use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};
use token_check::Now;

/// How long the system clock is assumed to run as fast as the monotonic one, so that a request reads
/// one clock: a step of the system clock counts this much late. In nanoseconds.
const SYSTEM_CLOCK_INTERVAL: u64 = 100_000_000;

thread_local! {
    /// The last time at which both clocks were read: the monotonic one in nanoseconds, and the
    /// other.
    static BOTH: Cell<Option<(u64, Duration)>> = const { Cell::new(None) };
}

pub(crate) fn now() -> Now {
    let monotonic = monotonic_clock::now();
    let (at, unix) = match BOTH.get() {
        Some(both) if monotonic.saturating_sub(both.0) < SYSTEM_CLOCK_INTERVAL => both,
        _ => {
            let unix = system_clock::now();
            // Clocks before 1970 are clamped to 0, where every token is not yet valid.
            let seconds = unix.seconds.try_into().unwrap_or_default();
            let both = (monotonic, Duration::new(seconds, unix.nanoseconds));
            BOTH.set(Some(both));
            both
        }
    };
    Now {
        unix: unix.saturating_add(Duration::from_nanos(monotonic.saturating_sub(at))),
        monotonic: Duration::from_nanos(monotonic),
    }
}

/// Waits until `deadline` on the monotonic clock.
pub(crate) async fn sleep_until(deadline: Duration) {
    monotonic_clock::wait_until(u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX)).await;
}

/// Waits this long.
pub(crate) async fn sleep(time: Duration) {
    sleep_until(now().monotonic.saturating_add(time)).await;
}

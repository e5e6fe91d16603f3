//! The clocks of WASI.

use std::cell::Cell;
use std::time::Duration;

use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};
use token_check::{Now, WallClock};

thread_local! {
    static CLOCK: Cell<WallClock> = Cell::default();
}

pub(crate) fn now() -> Now {
    let mut clock = CLOCK.get();
    let now = clock.now(Duration::from_nanos(monotonic_clock::now()), || {
        let unix = system_clock::now();
        // Clocks before 1970 are clamped to 0, where every token is not yet valid.
        let seconds = unix.seconds.try_into().unwrap_or_default();
        Duration::new(seconds, unix.nanoseconds)
    });
    CLOCK.set(clock);
    now
}

/// Waits until `deadline` on the monotonic clock.
pub(crate) async fn sleep_until(deadline: Duration) {
    monotonic_clock::wait_until(u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX)).await;
}

/// Waits this long.
pub(crate) async fn sleep(time: Duration) {
    sleep_until(now().monotonic.saturating_add(time)).await;
}

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

/// The wall clock, as it follows the monotonic one between two readings: a request then costs one
/// reading of a clock. If the wall clock is set, that counts up to [`WallClock::INTERVAL`] late.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    /// The last reading: the monotonic clock, and the wall clock since 1970.
    read: Option<(Duration, Duration)>,
}

impl WallClock {
    /// How long the two are taken to run equally fast.
    pub const INTERVAL: Duration = Duration::from_millis(100);

    /// The time. `read`: reads the wall clock, since 1970.
    pub fn now(&mut self, monotonic: Duration, read: impl FnOnce() -> Duration) -> Now {
        let (at, unix) = match self.read {
            Some(read) if monotonic.saturating_sub(read.0) < Self::INTERVAL => read,
            _ => *self.read.insert((monotonic, read())),
        };
        Now {
            unix: unix.saturating_add(monotonic.saturating_sub(at)),
            monotonic,
        }
    }
}

/// Whole milliseconds.
pub(crate) fn milliseconds(time: Duration) -> i64 {
    time.as_millis().try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_read_once_per_interval_and_follows_the_monotonic_one_between() {
        let mut clock = WallClock::default();
        let seconds = Duration::from_secs;
        let nanosecond = Duration::from_nanos(1);
        let late = WallClock::INTERVAL - nanosecond;
        let mut unix = |monotonic, read: Option<Duration>| {
            let now = clock.now(monotonic, || read.unwrap());
            assert_eq!(now.monotonic, monotonic);
            now.unix
        };
        assert_eq!(unix(seconds(5), Some(seconds(1000))), seconds(1000));
        assert_eq!(unix(seconds(5) + late, None), seconds(1000) + late);
        let next = seconds(5) + WallClock::INTERVAL;
        assert_eq!(unix(next, Some(seconds(400))), seconds(400), "it was set");
        assert_eq!(unix(next + nanosecond, None), seconds(400) + nanosecond);
        // A monotonic clock that goes back is broken; the wall clock does not follow it.
        assert_eq!(unix(seconds(1), None), seconds(400));
        assert_eq!(unix(Duration::MAX, Some(Duration::MAX)), Duration::MAX);
    }
}

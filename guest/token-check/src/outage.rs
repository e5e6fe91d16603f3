//! What to do while the issuer fails: leave it alone, and say so at once.

use core::time::Duration;

use crate::answer::IssuerAnswer;
use crate::cache::TokenKey;
use crate::check::Now;
use crate::reason::{RETRY_AFTER_SECONDS, Reason};

/// The longest `Retry-After` obeyed, in seconds: nobody gets in meanwhile, and a question a minute is no burden.
const MAX_HOLD_SECONDS: u64 = 60;

/// Why nobody is asked now, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) reason: Reason,
    /// Seconds, at least 1.
    pub(crate) retry_after: u32,
}

/// A circuit breaker: after so many faults in a row the issuer is left alone, but for one question per interval.
///
/// What a caller can do to it is kept small: bad answers about one token in a row count as one, and a token that had one is
/// not the next probe while others could be.
pub(crate) struct Breaker {
    /// 0: never opens by faults.
    limit: u32,
    interval: Duration,
    faults: u32,
    /// The token about which the last fault was an answer.
    suspect: Option<TokenKey>,
    open: Option<Open>,
}

struct Open {
    reason: Reason,
    since: Duration,
    until: Duration,
    /// When the question that probes must have its answer, if there is one on its way.
    probe_ends: Option<Duration>,
}

impl Breaker {
    pub(crate) const fn new(limit: u32, interval: Duration) -> Self {
        Self {
            limit,
            interval,
            faults: 0,
            suspect: None,
            open: None,
        }
    }

    /// May the issuer be asked about this token? `Ok(true)`: as a probe, which ends at `deadline`.
    pub(crate) fn admit(
        &mut self,
        token: TokenKey,
        deadline: Duration,
        now: Now,
    ) -> Result<bool, Held> {
        if let Some(held) = self.held(token, now) {
            return Err(held);
        }
        let is_probe = self.open.as_mut().map(|open| {
            open.probe_ends = Some(deadline);
        });
        Ok(is_probe.is_some())
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Why the issuer must not be asked about this token now.
    pub(crate) fn held(&self, token: TokenKey, now: Now) -> Option<Held> {
        let open = self.open.as_ref()?;
        let busy = open
            .probe_ends
            .filter(|ends| now.monotonic < *ends)
            // Nobody knows how long a probe takes; often not long.
            .map(|_| now.monotonic.saturating_add(self.interval));
        let until = if self.suspect == Some(token) {
            open.until.saturating_add(self.interval)
        } else {
            open.until
        };
        let until = busy.or_else(|| Some(until).filter(|until| now.monotonic < *until))?;
        Some(Held {
            reason: open.reason,
            retry_after: whole_seconds(until.saturating_sub(now.monotonic)),
        })
    }

    /// The issuer gave an answer, whatever it says, to a question asked at `asked`.
    pub(crate) fn answered(&mut self, asked: Duration) {
        self.faults = 0;
        self.suspect = None;
        // What was asked before the issuer wanted to be left alone does not say that it wants it no more.
        self.open
            .take_if(|open| open.reason == Reason::IssuerCircuitOpen || asked > open.since);
    }

    /// The issuer failed. `suspect`: it gave an answer, which may be for the sake of this token.
    pub(crate) fn failed(&mut self, suspect: Option<TokenKey>, was_probe: bool, now: Now) {
        if suspect.is_none() || self.suspect != suspect {
            self.faults = self.faults.saturating_add(1);
        }
        self.suspect = suspect;
        let is_over = self.limit > 0 && self.faults >= self.limit;
        // Calls that were on their way when it opened do not put the next probe off.
        if is_over && (was_probe || self.open.is_none()) {
            self.hold(Reason::IssuerCircuitOpen, self.interval, now);
        } else if was_probe {
            self.open.take_if(|open| now.monotonic >= open.until);
        }
    }

    /// The issuer asks to be left alone.
    pub(crate) fn hold(&mut self, reason: Reason, time: Duration, now: Now) {
        let until = now.monotonic.saturating_add(time);
        self.open = Some(Open {
            reason,
            since: now.monotonic,
            // A pause that the issuer asked for is not made shorter by an answer to an older question.
            until: self
                .open
                .as_ref()
                .map_or(until, |open| open.until.max(until)),
            probe_ends: None,
        });
    }

    /// The probe was given up without an outcome: the next request may be one.
    pub(crate) fn gave_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe_ends = None;
        }
    }
}

/// Whether an answer with this status says that the issuer is down or drowning. A 500 does not: some issuers give it for
/// a token they cannot read, and then any caller could have everybody shut out.
pub(crate) const fn is_overwhelmed(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// The `Retry-After` of an answer that says 429 or 503 (RFC 9110 section 10.2.3): seconds, or a date.
pub(crate) fn wanted_pause(answer: &IssuerAnswer, now: Now) -> Option<Duration> {
    if !matches!(answer.status, 429 | 503) {
        return None;
    }
    let text = core::str::from_utf8(answer.retry_after.as_deref()?)
        .ok()?
        .trim_ascii();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => imf_fixdate(text)?.checked_sub(now.unix)?,
    };
    Some(pause.min(Duration::from_secs(MAX_HOLD_SECONDS))).filter(|pause| !pause.is_zero())
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// RFC 9110 section 5.6.7, the one format that may still be sent: `Fri, 15 Jan 2027 08:00:07 GMT`. Since 1970. By hand, as
/// a crate for it brings 11 KB of the standard library's clock into the component.
fn imf_fixdate(text: &str) -> Option<Duration> {
    let (_, date) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let mut parts = date.splitn(4, ' ');
    let day = number(parts.next()?, 2, 1, 31)?;
    let month = parts.next()?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let year = number(parts.next()?, 4, 1970, 9999)?;
    let mut time = parts.next()?.splitn(3, ':');
    let hour = number(time.next()?, 2, 0, 23)?;
    let minute = number(time.next()?, 2, 0, 59)?;
    // A leap second is the next one.
    let second = number(time.next()?, 2, 0, 60)?;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Duration::from_secs(seconds))
}

fn number(text: &str, digits: usize, low: u64, high: u64) -> Option<u64> {
    let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.filter(|number| (low..=high).contains(number))
}

/// Days from 1970 to a day of the Gregorian calendar, with years that begin in March so that a leap day is a year's last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    /// From 1 March of the year 0 to 1 January 1970.
    const TO_1970: u64 = 719_468;
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - TO_1970
}

/// Rounded up; at least [`RETRY_AFTER_SECONDS`].
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    let up = time.saturating_add(Duration::from_nanos(999_999_999));
    u32::try_from(up.as_secs())
        .unwrap_or(u32::MAX)
        .max(RETRY_AFTER_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_s5_6_7_a_date_is_read_to_the_second() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Sun, 28 Feb 2100 12:00:00 GMT", 4_107_499_200),
            ("Mon, 01 Mar 2100 12:00:00 GMT", 4_107_585_600),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(
                imf_fixdate(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(imf_fixdate(text), None, "{text}");
        }
    }
}

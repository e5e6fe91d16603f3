//! How long the issuer asks us to wait (`Retry-After`, RFC 9110 section 10.2.3).

use core::time::Duration;

use super::response::IssuerResponse;
use crate::reason::RETRY_AFTER_SECONDS;
use crate::time::Now;

/// The longest `Retry-After` obeyed, in seconds: no token is accepted meanwhile, and one call a
/// minute is no burden.
const MAX_WAIT_SECONDS: u64 = 60;

/// The `Retry-After` of a 429 or 503: seconds, or a date.
pub(crate) fn requested_wait(response: &IssuerResponse, now: Now) -> Option<Duration> {
    if !matches!(response.status, 429 | 503) {
        return None;
    }
    let value = core::str::from_utf8(response.retry_after.as_deref()?)
        .ok()?
        .trim_ascii();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => imf_fixdate(value)?.checked_sub(now.unix)?,
    };
    Some(wait.min(Duration::from_secs(MAX_WAIT_SECONDS))).filter(|wait| !wait.is_zero())
}

/// A `Retry-After` of ours, in whole seconds, rounded up; at least [`RETRY_AFTER_SECONDS`].
pub(crate) fn retry_after_seconds(time: Duration) -> u32 {
    let up = time.saturating_add(Duration::from_nanos(999_999_999));
    u32::try_from(up.as_secs())
        .unwrap_or(u32::MAX)
        .max(RETRY_AFTER_SECONDS)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// RFC 9110 section 5.6.7, the one format that may still be sent: `Fri, 15 Jan 2027 08:00:07 GMT`.
/// Since 1970. Written by hand because the `httpdate` crate adds 11 KB of the standard library's
/// clock to the component.
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
    // A leap second counts as the second after it.
    let second = number(time.next()?, 2, 0, 60)?;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Duration::from_secs(seconds))
}

fn number(text: &str, digits: usize, low: u64, high: u64) -> Option<u64> {
    let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.filter(|number| (low..=high).contains(number))
}

/// Days from 1970 to a day of the Gregorian calendar. Years begin in March here, so that a leap day
/// is the last day of its year.
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

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
    let wait = if value.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(value.parse().ok()?)
    } else {
        imf_fixdate(value)?.checked_sub(now.unix)?
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
/// Since 1970; the name of the day is not read. Written by hand because the `httpdate` crate adds
/// 11 KB of the standard library's clock to the component.
fn imf_fixdate(text: &str) -> Option<Duration> {
    let (_, date) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let mut parts = date.splitn(4, ' ');
    let day = parts.next()?;
    let month = parts.next()?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let year = number(parts.next()?, 4, 1970, 9999)?;
    let first = days(year, month, 1);
    let day = number(day, 2, 1, days(year, month + 1, 1) - first)?;
    let mut time = parts.next()?.splitn(3, ':');
    let hour = number(time.next()?, 2, 0, 23)?;
    let minute = number(time.next()?, 2, 0, 59)?;
    // A leap second counts as the second after it.
    let second = number(time.next()?, 2, 0, 60)?;
    let seconds = (((first + day - 1) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Duration::from_secs(seconds))
}

fn number(text: &str, digits: usize, low: u64, high: u64) -> Option<u64> {
    let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.filter(|number| (low..=high).contains(number))
}

/// Days from 1970 to a day of the Gregorian calendar. Month 13 is the next January. Years begin in
/// March here, so that a leap day is the last day of its year.
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
    use std::collections::HashMap;

    /// Every day from 1970 to 2400 with its number: counted, not calculated.
    fn every_day(mut each: impl FnMut(u64, [u64; 3])) {
        let mut number = 0;
        for year in 1970..=2400_u64 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    each(number, [year, month, day]);
                    number += 1;
                }
            }
        }
        assert_eq!(number, 157_420, "431 years, 105 of them leap years");
    }

    fn days_in(year: u64, month: u64) -> u64 {
        match month {
            2 if year.is_multiple_of(400) => 29,
            2 if year.is_multiple_of(4) && !year.is_multiple_of(100) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn written(day_name: &str, [year, month, day]: [u64; 3], time: &str) -> String {
        let mut names = b"JanFebMarAprMayJunJulAugSepOctNovDec".chunks(3);
        let name = names.nth(usize::try_from(month - 1).unwrap()).unwrap();
        let month = str::from_utf8(name).unwrap();
        format!("{day_name}, {day:02} {month} {year} {time} GMT")
    }

    #[test]
    fn rfc9110_s5_6_7_every_day_until_2400_has_its_seconds_and_no_month_has_one_more() {
        const DAY_NAMES: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        every_day(|number, date| {
            let midnight = number * 86_400;
            let name = DAY_NAMES[usize::try_from(number % 7).unwrap()];
            for (time, seconds) in [
                ("00:00:00", 0),
                ("12:34:56", 45_296),
                ("23:59:59", 86_399),
                ("23:59:60", 86_400),
            ] {
                let text = written(name, date, time);
                let expected = Duration::from_secs(midnight + seconds);
                assert_eq!(imf_fixdate(&text), Some(expected), "{text}");
            }
            let [year, month, day] = date;
            if day == days_in(year, month) {
                for day in [0, day + 1, 32] {
                    let text = written(name, [year, month, day], "00:00:00");
                    assert_eq!(imf_fixdate(&text), None, "{text}");
                }
            }
        });
    }

    #[test]
    fn rfc9110_s5_6_7_a_date_with_one_other_byte_is_another_date_or_none() {
        let mut days = HashMap::new();
        every_day(|number, date| _ = days.insert(written("", date, "").into_bytes(), number));
        let text = b"Sun, 06 Nov 1994 08:49:37 GMT";
        let read = |text: &[u8]| imf_fixdate(str::from_utf8(text).unwrap());
        for at in 0..text.len() {
            for byte in 0..0x80 {
                let mut other = text.to_vec();
                other[at] = byte;
                // Later years than those that were counted.
                if other[12] < b'2' || !other[12].is_ascii_digit() {
                    let expected = by_position(&other, &days);
                    assert_eq!(read(&other), expected, "{}", other.escape_ascii());
                }
            }
            let shorter = [&text[..at], &text[at + 1..]].concat();
            // The name of the day says nothing more, so it is not read.
            let expected = (at < 3).then_some(Duration::from_secs(784_111_777));
            assert_eq!(read(&shorter), expected, "{}", shorter.escape_ascii());
        }
    }

    /// Reads each part at its place.
    fn by_position(text: &[u8], days: &HashMap<Vec<u8>, u64>) -> Option<Duration> {
        let day = days.get(&[&text[3..16], b"  GMT"].concat())?;
        let two = |start: usize| {
            let digits = str::from_utf8(&text[start..start + 2]).ok()?;
            let is_number = digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.parse::<u64>().unwrap())
        };
        let (hour, minute, second) = (two(17)?, two(20)?, two(23)?);
        let marks = [&text[16..17], &text[19..20], &text[22..23], &text[25..]];
        let is_time = marks == [b" ", b":".as_slice(), b":", b" GMT"];
        let is_time = is_time && hour < 24 && minute < 60 && second < 61;
        let seconds = day * 86_400 + hour * 3600 + minute * 60 + second;
        is_time.then_some(Duration::from_secs(seconds))
    }

    #[test]
    fn rfc9110_s10_2_3_every_short_number_is_seconds_and_nothing_else_is() {
        let now = Now {
            unix: Duration::ZERO,
            monotonic: Duration::ZERO,
        };
        let wait = |value: &str| {
            let response = IssuerResponse {
                status: 503,
                retry_after: Some(value.into()),
                ..IssuerResponse::default()
            };
            requested_wait(&response, now).map(|wait| wait.as_secs())
        };
        let characters = [
            "", "0", "1", "6", "9", "+", "-", ".", "e", "x", "_", ",", "\u{660}",
        ];
        let pairs = characters.map(|a| characters.map(|b| [a, b].concat()));
        for (a, b) in characters
            .iter()
            .flat_map(|a| pairs.as_flattened().iter().map(move |b| (a, b)))
        {
            let value = format!("{a}{b}");
            let digits: Option<Vec<_>> = value.chars().map(|c| c.to_digit(10)).collect();
            let seconds = digits.map(|digits| digits.iter().fold(0, |n, digit| n * 10 + digit));
            let expected = seconds
                .filter(|seconds| *seconds > 0)
                .map(|seconds| seconds.min(60));
            let expected = expected.map(u64::from);
            assert_eq!(wait(&value), expected, "{value:?}");
            assert_eq!(wait(&format!(" {value}\t")), expected, "{value:?}");
        }
        assert_eq!(wait(&u64::MAX.to_string()), Some(60));
        assert_eq!(
            wait(&format!("{}0", u64::MAX)),
            None,
            "no number of seconds"
        );
    }

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

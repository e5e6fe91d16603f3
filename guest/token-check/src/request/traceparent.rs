//! The caller's `traceparent` (W3C Trace Context), which introspection calls carry on.

use std::sync::Arc;

/// A version, in bytes, and where the identifiers and the flags begin.
const VERSION: usize = 2;
const TRACE_ID: usize = 3;
const PARENT_ID: usize = 36;
const FLAGS: usize = 53;
/// The fields of version 00, with the dashes between them.
const LENGTH: usize = 55;

/// The `traceparent` to send. Anything but one valid line is dropped (section 3.2.2).
pub(crate) fn parent(lines: &[&[u8]]) -> Option<Arc<str>> {
    let [line] = lines else { return None };
    let (fields, rest) = line.trim_ascii().split_first_chunk::<LENGTH>()?;
    let (version, after) = fields.split_first_chunk::<VERSION>()?;
    let trace_id: &[u8; 32] = fields.get(TRACE_ID..)?.first_chunk()?;
    let parent_id: &[u8; 16] = fields.get(PARENT_ID..)?.first_chunk()?;
    let flags: &[u8; 2] = fields.get(FLAGS..)?.first_chunk()?;
    let dashes = [
        after.first(),
        fields.get(PARENT_ID - 1),
        fields.get(FLAGS - 1),
    ];
    let is_sound = dashes == [Some(&b'-'); 3]
        && are_hex(version)
        && are_hex(trace_id)
        && are_hex(parent_id)
        && are_hex(flags)
        && !are_zero(trace_id)
        && !are_zero(parent_id);
    if !is_sound || version == b"ff" {
        return None;
    }
    if version == b"00" {
        // Section 3.2.2.1: later versions may have more fields, version 00 may not.
        let line = core::str::from_utf8(fields).ok()?;
        return rest.is_empty().then(|| line.into());
    }
    if rest.first().is_some_and(|next| *next != b'-') {
        return None;
    }
    // Only the last flag of a later version is defined in version 00, which is sent.
    let flags = core::str::from_utf8(flags).ok()?;
    let is_set = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    let flags = if is_set { "01" } else { "00" };
    let ids = core::str::from_utf8(fields.get(TRACE_ID..FLAGS)?).ok()?;
    Some(format!("00-{ids}{flags}").into())
}

// Without early exits, so that the loops vectorize.

fn are_hex<const N: usize>(field: &[u8; N]) -> bool {
    (field.iter()).fold(true, |good, b| {
        good & (b.is_ascii_digit() | (b'a'..=b'f').contains(b))
    })
}

fn are_zero<const N: usize>(field: &[u8; N]) -> bool {
    field.iter().fold(true, |zero, b| zero & (*b == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn trace_context_s3_2_one_valid_line_is_passed_on_and_everything_else_dropped() {
        let later = |rest: &str| GOOD.replacen("00", "cc", 1).replace("-01", rest);
        let flags = GOOD.replace("-01", "-fe");
        let rows: &[(&[&str], Option<&str>)] = &[
            (&[GOOD], Some(GOOD)),
            (&[&format!(" {GOOD}\t")], Some(GOOD)),
            (&[&flags], Some(&flags)),
            (&[&later("-01")], Some(GOOD)),
            (&[&later("-ff-what-else")], Some(GOOD)),
            (&[&later("-0a")], Some(&GOOD.replace("-01", "-00"))),
            (&[], None),
            (&[""], None),
            (&[GOOD, GOOD], None),
            (&[&format!("{GOOD},{GOOD}")], None),
            (&[&format!("{GOOD}-")], None),
            (&[&format!("{GOOD}0")], None),
            (&[&later("-01x")], None),
            (&[&later("-0")], None),
            (&[&later("-0G")], None),
            (&[&GOOD.replacen("-0", "_0", 1)], None),
            (&[&GOOD.replacen("-b", "_b", 1)], None),
            (&[&GOOD.replace("-01", "_01")], None),
            (&[&GOOD.replace("-01", "-0/")], None),
            (&[&GOOD.replace("9c-", "9:-")], None),
            (&[&GOOD.replace("31-", "3`-")], None),
            (&[&GOOD.replacen("00", "0g", 1)], None),
            (&[&GOOD.to_uppercase()], None),
            (&[&GOOD.replacen("00", "ff", 1)], None),
            (
                &[&GOOD.replace("b7ad6b7169203331", "0000000000000000")],
                None,
            ),
            (
                &[&GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32))],
                None,
            ),
            (&[&GOOD.replace("b7", "b\u{661}")], None),
            (&[&GOOD.replace('-', "\r\n")], None),
        ];
        for (lines, expected) in rows {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(parent(&lines).as_deref(), *expected, "{lines:?}");
        }
        assert_eq!(parent(&[b"\xff"]), None);
    }
}

//! The caller's `traceparent` (W3C Trace Context), which introspection calls carry on.

/// The `traceparent` to send. Anything but one valid line is dropped (section 3.2.2).
pub(crate) fn parent(lines: &[&[u8]]) -> Option<Box<str>> {
    let [line] = lines else { return None };
    let line = core::str::from_utf8(line.trim_ascii()).ok()?;
    let mut fields = line.splitn(5, '-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = hex(fields.next()?, 32)?;
    let parent_id = hex(fields.next()?, 16)?;
    let flags = hex(fields.next()?, 2)?;
    // Section 3.2.2.1: later versions may have more fields, version 00 may not, and ff is invalid.
    let complete = version != "00" || fields.next().is_none();
    let sound = [trace_id, parent_id]
        .iter()
        .all(|id| id.bytes().any(|b| b != b'0'));
    if !complete || !sound || version == "ff" {
        return None;
    }
    if version == "00" {
        return Some(line.into());
    }
    // Only the last flag of a later version is defined in version 00, which is sent.
    let is_set = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    let flags = if is_set { "01" } else { "00" };
    Some(format!("00-{trace_id}-{parent_id}-{flags}").into())
}

fn hex(field: &str, length: usize) -> Option<&str> {
    (field.len() == length
        && field
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    .then_some(field)
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

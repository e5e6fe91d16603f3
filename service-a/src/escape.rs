//! Escapes whatever a terminal would act on, in text and in JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// `text` with everything escaped that a terminal would act on rather than print.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut shown, c);
    }
    shown
}

/// `value` as JSON whose strings hold nothing raw that a terminal would act on. serde_json leaves
/// DEL, C1 controls and bidirectional marks raw; outside of strings JSON has none of them.
pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        if is_printable(c) {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

/// Appends `c`; an unprintable character is escaped as Python's `repr` does.
pub(crate) fn push_escaped(text: &mut String, c: char) {
    if is_printable(c) {
        text.push(c);
        return;
    }
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = match c {
        '\t' => text.write_str("\\t"),
        '\n' => text.write_str("\\n"),
        '\r' => text.write_str("\\r"),
        _ if code < 0x100 => write!(text, "\\x{code:02x}"),
        _ if code < 0x1_0000 => write!(text, "\\u{code:04x}"),
        _ => write!(text, "\\U{code:08x}"),
    };
}

/// Whether the character is printable, by the standard library's table of control, format, private
/// and unassigned characters. The letter before it keeps combining marks printable: `escape_debug`
/// escapes them only at the start of a string.
fn is_printable(c: char) -> bool {
    let mut buffer = [0; 5];
    let (letter, rest) = buffer.split_at_mut(1);
    letter.copy_from_slice(b"x");
    let length = 1 + c.encode_utf8(rest).len();
    let pair = buffer
        .get(..length)
        .and_then(|pair| str::from_utf8(pair).ok());
    matches!(c, '"' | '\'' | '\\') || pair.is_some_and(|pair| pair.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let plain = "plain, é, 漢, 🦀, e\u{301}, \"'\\";
        let table = [
            (plain, plain),
            ("\u{1b}[2J", "\\x1b[2J"),
            ("a\r\n\tb\0", "a\\r\\n\\tb\\x00"),
            ("\u{7f}\u{9b}1m", "\\x7f\\x9b1m"),
            ("\u{202e}x\u{2028}", "\\u202ex\\u2028"),
            ("\u{e0001}", "\\U000e0001"),
        ];
        for (text, shown) in table {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn json_holds_no_raw_control_and_reads_back_the_same() {
        let text = "\u{1b}\u{7f}\u{9b}\u{202e}\u{e0001}é\"\\\n";
        let shown = json(&text);
        assert_eq!(shown, r#""\u001b\u007f\u009b\u202e\udb40\udc01é\"\\\n""#);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}

//! Edits JSON as text, so that what stays is as it was written.

use serde::de::{Deserializer as _, IgnoredAny};

use crate::json::{self, Json};

/// In place of a number beyond the range of `f64`.
const LARGEST: &str = "1e300";

/// Tells what is inside of the strings of a JSON text.
#[derive(Default)]
struct Scanner {
    in_string: bool,
    is_escaped: bool,
}

impl Scanner {
    /// Whether the next byte of the text is outside of strings. Their quotes count as inside.
    fn is_outside(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        self.in_string = byte == b'"';
        !self.in_string
    }
}

/// The same document, in which each number beyond the range of `f64` is 1e300 or its
/// negative. RFC 8259 section 6 allows such numbers, and our parser does not. `None` if it is not
/// JSON, whatever the numbers are.
pub fn with_numbers_in_range(text: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    // Checks the grammar, and no values.
    reader.deserialize_ignored_any(IgnoredAny).ok()?;
    reader.end().ok()?;
    let mut scanner = Scanner::default();
    let mut in_range = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(&first) = rest.as_bytes().first() {
        let is_number = scanner.is_outside(first) && matches!(first, b'-' | b'0'..=b'9');
        let is_part = |b: &u8| matches!(b, b'+' | b'-' | b'.' | b'0'..=b'9' | b'E' | b'e');
        let length = match is_number {
            true => rest.bytes().take_while(is_part).count(),
            false => rest.chars().next().map_or(1, char::len_utf8),
        };
        let (part, after) = rest.split_at_checked(length)?;
        let is_in_range = !is_number || json::read(part).is_ok();
        if !is_in_range && first == b'-' {
            in_range.push('-');
        }
        in_range.push_str(if is_in_range { part } else { LARGEST });
        rest = after;
    }
    Some(in_range)
}

/// An object of those members of an object that have one of these names, as they are written there
/// and in that order. `None` if it is not an object.
pub fn select_members(object: &str, names: &[String]) -> Option<String> {
    let mut selected = String::from("{");
    for (name, member) in members(object)? {
        let Ok(Json::Text(name)) = json::read(name) else {
            return None;
        };
        if names.iter().any(|wanted| *wanted == name) {
            if selected.len() > 1 {
                selected.push(',');
            }
            selected.push_str(member.trim_ascii());
        }
    }
    selected.push('}');
    Some(selected)
}

/// The value of the member of an object that has this name, as it is written there. `None`: there is
/// none, or it is not an object.
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let members = members(object)?;
    let (written, member) = members.into_iter().find(
        |(written, _)| matches!(json::read(written), Ok(Json::Text(written)) if written == name),
    )?;
    // The name ends before the colon.
    Some(member.get(written.len().checked_add(1)?..)?.trim_ascii())
}

/// The members of a JSON object: the name, and all of it.
fn members(object: &str) -> Option<Vec<(&str, &str)>> {
    let (mut scanner, mut depth) = (Scanner::default(), 0_usize);
    let (mut start, mut colon) = (0, None);
    let mut members = Vec::new();
    for (at, byte) in object.bytes().enumerate() {
        if !scanner.is_outside(byte) {
            continue;
        }
        match byte {
            b'{' | b'[' => {
                depth = depth.checked_add(1)?;
                if depth == 1 {
                    start = at.checked_add(1)?;
                }
            }
            b':' if depth == 1 => colon = Some(at),
            b',' | b'}' if depth == 1 => {
                // None in an empty object.
                if let Some(colon) = colon.take() {
                    members.push((object.get(start..colon)?, object.get(start..at)?));
                }
                start = at.checked_add(1)?;
                depth = depth.checked_sub(usize::from(byte == b'}'))?;
            }
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8259_s6_only_numbers_beyond_the_range_are_replaced() {
        let digits = "9".repeat(400);
        for (text, expected) in [
            ("1e999", "1e300"),
            (digits.as_str(), "1e300"),
            (" -1E+999 ", " -1e300 "),
            (
                r#"{"a":[1e999,-1.5e400, 1.5e3 ,-0],"1e999":"\"1e999","é\\":1e-999}"#,
                r#"{"a":[1e300,-1e300, 1.5e3 ,-0],"1e999":"\"1e999","é\\":1e-999}"#,
            ),
            ("true", "true"),
        ] {
            assert_eq!(with_numbers_in_range(text).as_deref(), Some(expected));
        }
        for text in [
            "01e999",
            "1e999 1e999",
            "1.e999",
            "+1e999",
            "[1e999",
            "-",
            "",
        ] {
            assert_eq!(with_numbers_in_range(text), None, "{text}");
        }
    }

    #[test]
    fn members_are_selected_as_they_are_written() {
        let object =
            r#" { "a": [1e999, "\u0061,}"] ,"\u0062":{"x" : 1},"c\"":null,"d":1,"e,:":{} } "#;
        let select = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            select_members(object, &names)
        };
        assert_eq!(
            select(&["b", "absent", "c\"", "a", "x"]).unwrap(),
            r#"{"a": [1e999, "\u0061,}"],"\u0062":{"x" : 1},"c\"":null}"#
        );
        assert_eq!(select(&["e,:"]).unwrap(), r#"{"e,:":{}}"#);
        assert_eq!(select(&["d"]).unwrap(), r#"{"d":1}"#);
        assert_eq!(select(&[]).unwrap(), "{}");
        assert_eq!(select_members("{}", &[]).unwrap(), "{}");
    }

    #[test]
    fn the_value_of_a_member_is_as_it_is_written() {
        let object = r#"{ "a:" : {"b" : 1} ,"\u0062"	:	"}\"," , "c":[ 1e999 ],"d":null,"b,":1 }"#;
        for (name, value) in [
            ("a:", Some(r#"{"b" : 1}"#)),
            ("b", Some(r#""}\",""#)),
            ("c", Some("[ 1e999 ]")),
            ("d", Some("null")),
            ("b,", Some("1")),
            ("e", None),
            ("1", None),
        ] {
            assert_eq!(member(object, name), value, "{name}");
        }
        assert_eq!(member("{}", "a"), None);
        assert_eq!(member("[1]", "a"), None);
    }
}

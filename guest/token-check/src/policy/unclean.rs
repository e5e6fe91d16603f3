//! Characters that get into a value by accident on its way into a setting.

use core::fmt;

/// What a file, a shell or a YAML document adds to a value by accident. Such a value is refused,
/// not trimmed: no two readers of a setting trim alike, and the issuer compares ids and secrets
/// byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclean {
    /// A byte order mark, U+FEFF.
    ByteOrderMark,
    /// A control character: a line end, a tab, a NUL.
    Control(char),
    /// White space other than the space character, or a character that cannot be seen.
    Invisible(char),
    /// A leading or trailing space.
    Blanks,
    /// The same quote at the beginning and the end.
    Quotes(char),
}

impl Unclean {
    /// Checks a value.
    ///
    /// # Errors
    /// The first such character.
    pub fn check(value: &str) -> Result<(), Self> {
        for c in value.chars() {
            match c {
                '\u{feff}' => return Err(Self::ByteOrderMark),
                c if c.is_control() => return Err(Self::Control(c)),
                c if is_invisible(c) => return Err(Self::Invisible(c)),
                _ => {}
            }
        }
        if value.starts_with(' ') || value.ends_with(' ') {
            return Err(Self::Blanks);
        }
        let quoted = |(open, close): (char, char)| {
            let inner = value.strip_prefix(open)?;
            inner.strip_suffix(close).map(|_| open)
        };
        match [
            ('"', '"'),
            ('\'', '\''),
            ('`', '`'),
            ('\u{201c}', '\u{201d}'),
            ('\u{2018}', '\u{2019}'),
        ]
        .into_iter()
        .find_map(quoted)
        {
            Some(quote) => Err(Self::Quotes(quote)),
            None => Ok(()),
        }
    }
}

/// Whether it is white space other than the space character, or nothing can be seen of it:
/// Default_Ignorable_Code_Point of Unicode, the category Cf without the few marks that are visible,
/// and letters and symbols that are blank.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    ) || (c.is_whitespace() && c != ' ')
}

impl fmt::Display for Unclean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => f.write_str("has a byte order mark (U+FEFF) in it"),
            Self::Control('\n') => {
                f.write_str("has a line feed in it, which `echo` adds and `printf %s` does not")
            }
            Self::Control('\r') => f.write_str("has a carriage return in it"),
            Self::Control('\t') => f.write_str("has a tab in it"),
            Self::Control(c) => {
                write!(f, "has the control character U+{:04X} in it", u32::from(*c))
            }
            Self::Invisible(c) => write!(
                f,
                "has the invisible character U+{:04X} in it",
                u32::from(*c)
            ),
            Self::Blanks => f.write_str("begins or ends with a space"),
            Self::Quotes(quote) => write!(f, "has quotes ({quote}) around it that are part of it"),
        }?;
        f.write_str(": remove what does not belong to it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accidental_characters_are_found_and_reported() {
        let rows = [
            (
                "secret\n",
                "has a line feed in it, which `echo` adds and `printf %s` does not",
            ),
            ("secret\r\n", "has a carriage return in it"),
            (
                "a\nb",
                "has a line feed in it, which `echo` adds and `printf %s` does not",
            ),
            ("\ta", "has a tab in it"),
            ("a\0", "has the control character U+0000 in it"),
            ("a\u{85}", "has the control character U+0085 in it"),
            ("\u{feff}secret", "has a byte order mark (U+FEFF) in it"),
            ("a\u{a0}b", "has the invisible character U+00A0 in it"),
            ("a\u{200b}", "has the invisible character U+200B in it"),
            ("a\u{2028}", "has the invisible character U+2028 in it"),
            ("a\u{2066}b", "has the invisible character U+2066 in it"),
            ("a\u{ad}b", "has the invisible character U+00AD in it"),
            ("a\u{e0041}", "has the invisible character U+E0041 in it"),
            ("\u{3164}", "has the invisible character U+3164 in it"),
            (" secret", "begins or ends with a space"),
            ("secret ", "begins or ends with a space"),
            (" ", "begins or ends with a space"),
            (
                "\"secret\"",
                "has quotes (\") around it that are part of it",
            ),
            ("'secret'", "has quotes (') around it that are part of it"),
            ("`secret`", "has quotes (`) around it that are part of it"),
            (
                "\u{201c}secret\u{201d}",
                "has quotes (\u{201c}) around it that are part of it",
            ),
            ("\"\"", "has quotes (\") around it that are part of it"),
        ];
        for (value, found) in rows {
            let error = Unclean::check(value).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{found}: remove what does not belong to it"),
                "{value:?}"
            );
        }
        for good in [
            "",
            "s",
            "service b",
            "\"",
            "'tis",
            "it's",
            "a\"b\"",
            "p%Q+r:s",
            "schl\u{fc}ssel",
            "\"a' b",
        ] {
            assert_eq!(Unclean::check(good), Ok(()), "{good:?}");
        }
    }

    /// Every one of them, by the tables of Unicode 16: white space but the space, then
    /// Default_Ignorable_Code_Point, then Cf without the marks that are visible, then blanks.
    const INVISIBLE: [&[(u32, u32)]; 4] = [
        &[
            (0x9, 0xd),
            (0x85, 0x85),
            (0xa0, 0xa0),
            (0x1680, 0x1680),
            (0x2000, 0x200a),
            (0x2028, 0x2029),
            (0x202f, 0x202f),
            (0x205f, 0x205f),
            (0x3000, 0x3000),
        ],
        &[
            (0xad, 0xad),
            (0x34f, 0x34f),
            (0x61c, 0x61c),
            (0x115f, 0x1160),
            (0x17b4, 0x17b5),
            (0x180b, 0x180f),
            (0x200b, 0x200f),
            (0x202a, 0x202e),
            (0x2060, 0x206f),
            (0x3164, 0x3164),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xffa0, 0xffa0),
            (0xfff0, 0xfff8),
            (0x1bca0, 0x1bca3),
            (0x1d173, 0x1d17a),
            (0xe0000, 0xe0fff),
        ],
        &[(0xfff9, 0xfffb), (0x13430, 0x1343f)],
        &[(0x2800, 0x2800), (0x1d159, 0x1d159)],
    ];

    #[test]
    fn what_cannot_be_seen_is_invisible_and_nothing_else() {
        let known = |c: char| {
            let mut ranges = INVISIBLE.into_iter().flatten();
            ranges.any(|(first, last)| (*first..=*last).contains(&u32::from(c)))
        };
        for c in '\0'..=char::MAX {
            assert_eq!(is_invisible(c), known(c), "{}", c.escape_unicode());
        }
        // Marks of Cf that are visible.
        for c in ['\u{600}', '\u{6dd}', '\u{70f}', '\u{8e2}', '\u{110bd}'] {
            assert!(!is_invisible(c));
        }
    }
}

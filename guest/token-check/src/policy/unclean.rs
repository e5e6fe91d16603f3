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
    /// White space other than the space character, or a character without width.
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

/// Whether it is white space other than the space character, or has no width of its own: the
/// categories Zl, Zp and Cf of Unicode, without the few marks of Cf that are visible.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}'
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
}

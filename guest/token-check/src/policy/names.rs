//! How settings are named, and which name a misspelt one was meant to be.

use core::fmt::{self, Write as _};

use super::unclean::is_invisible;

/// Prefix of the environment variables.
pub const PREFIX: &str = "WORKOUT18_";
/// Prefix of the Spin variables: a middleware shares its variables with the app.
pub const SPIN_PREFIX: &str = "auth_";

/// Most typing errors (edits) in a name that is still recognized.
const MAX_EDITS: usize = 2;
/// Least similarity (Jaro-Winkler, 0 to 1) that is recognized too, for names such as
/// `introspection_url` and `introspect_url`.
const MIN_SIMILARITY: f64 = 0.88;

/// The known name that was probably meant: the one with the fewest edits, else the longest prefix
/// of `name` (`expected_aud` of `expected_audience`), else the most similar.
pub(crate) fn near<'k>(
    name: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> Option<&'k str> {
    let edits = known
        .clone()
        .map(|known| (strsim::levenshtein(known, name), known))
        .filter(|(edits, _)| *edits <= MAX_EDITS)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known);
    let prefix = || {
        let known = known.clone().filter(|known| name.starts_with(known));
        known.max_by_key(|known| known.len())
    };
    let similar = || {
        known
            .clone()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known)
    };
    edits.or_else(prefix).or_else(similar)
}

/// The known key that was probably meant, in whatever case and with or without a prefix.
pub(crate) fn near_key<'k>(
    key: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> Option<&'k str> {
    let key = key.to_ascii_lowercase();
    let bare = [&*PREFIX.to_ascii_lowercase(), SPIN_PREFIX]
        .into_iter()
        .find_map(|prefix| key.strip_prefix(prefix));
    near(bare.unwrap_or(&key), known)
}

/// The environment variable of a setting.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// Displays a name with escapes for control characters, which would break the log line, and for
/// invisible ones: a directional mark would show the line in another order.
pub(crate) struct Visible<'a>(pub(crate) &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if c.is_control() || is_invisible(c) => fmt::Display::fmt(&c.escape_unicode(), f),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_with_control_and_invisible_characters_escaped() {
        for (name, shown) in [
            ("expected_aud \"a\\b'", "expected_aud \"a\\b'"),
            ("a\r\nb\u{7f}", r"a\u{d}\u{a}b\u{7f}"),
            ("b\u{fc}cher \u{1f600}", "b\u{fc}cher \u{1f600}"),
            // Directional marks, a line separator, characters without width.
            ("\u{202e}\u{2066}\u{61c}", r"\u{202e}\u{2066}\u{61c}"),
            ("a\u{2028}b\u{200b}", r"a\u{2028}b\u{200b}"),
            ("\u{feff}\u{ad}\u{e0041}", r"\u{feff}\u{ad}\u{e0041}"),
        ] {
            assert_eq!(Visible(name).to_string(), shown);
        }
    }
}

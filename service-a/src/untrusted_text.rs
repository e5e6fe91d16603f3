//! Text that came from the network.

use serde::Serialize;

use crate::escape::escaped;

/// The length at which text is cut, in characters. Longer text explains nothing more.
const MAX_CHARS: usize = 2048;

/// Text that a peer wrote. It has no `Display`: a terminal would obey its control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct UntrustedText(String);

impl UntrustedText {
    /// Cuts long text; an ellipsis marks the cut.
    pub(crate) fn new(text: &str) -> Self {
        match text.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => Self(format!("{}…", text.get(..end).unwrap_or_default())),
            None => Self(text.to_owned()),
        }
    }

    /// The text as received: for comparisons, never for output.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }

    /// The text with everything escaped that a terminal would act on.
    pub(crate) fn escaped(&self) -> String {
        escaped(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut() {
        let text = "é".repeat(MAX_CHARS);
        assert_eq!(UntrustedText::new(&text).raw(), text);
        assert_eq!(
            UntrustedText::new(&format!("{text}é")).raw(),
            format!("{text}…")
        );
    }

    #[test]
    fn text_for_a_terminal_is_escaped() {
        let text = UntrustedText::new("a\u{1b}[2J");
        assert_eq!(text.escaped(), "a\\x1b[2J");
    }
}

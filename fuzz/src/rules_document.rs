//! Any text as the rules document: no panic, and errors that a log can take.

use crate::support::try_policy;

/// What an error may say besides the one part of the document that it quotes, in bytes.
const MAX_OWN_TEXT: usize = 1024;
/// Most of that part, in bytes, and how much longer its escapes are: `\u{7f}` for one byte.
const MAX_QUOTED: usize = 256;
const LONGEST_ESCAPE: usize = 6;

/// Parses a document.
pub fn run(data: &[u8]) {
    let Ok(document) = core::str::from_utf8(data) else {
        return;
    };
    match try_policy(&[("rules", document)]) {
        Ok(policy) => {
            let summary = policy.summary().line;
            assert!(!summary.chars().any(char::is_control), "{summary:?}");
            assert!(summary.len() <= MAX_OWN_TEXT, "{}", summary.len());
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
            let quoted = document.len().min(MAX_QUOTED) * LONGEST_ESCAPE;
            assert!(
                text.len() <= MAX_OWN_TEXT + quoted,
                "{} bytes about {}",
                text.len(),
                document.len()
            );
        }
    }
}

//! Any text as the rules document: no panic, and errors that a log can take.

use crate::support::try_policy;

/// What an error may say besides the one part of the document that it quotes, in bytes.
const MAX_OWN_TEXT: usize = 1024;

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
            assert!(
                text.len() <= MAX_OWN_TEXT + document.len(),
                "{} bytes about {}",
                text.len(),
                document.len()
            );
        }
    }
}

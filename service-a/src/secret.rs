//! Values that must never be seen: they print as `[redacted]` and are wiped on drop.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};

/// Shown of a masked token: so many characters of its start.
const MASK_HEAD: usize = 8;
/// And so many of its end.
const MASK_TAIL: usize = 6;
/// Tokens up to this length would show too much of themselves.
const FULLY_MASKED_UP_TO: usize = 16;
/// What is shown of those.
const FULL_MASK: &str = "***";
/// Shorter needles are left alone when text is cleaned: they would hit by chance.
const SHORTEST_NEEDLE: usize = 6;
/// Stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// An access token (RFC 6749 section 1.4).
pub(crate) struct AccessToken(SecretString);

impl AccessToken {
    /// `None` if it cannot be sent: a token is visible ASCII (RFC 6749 appendix A.12) without spaces (RFC 6750
    /// section 2.1).
    pub(crate) fn new(token: String) -> Option<Self> {
        let sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        sendable.then(|| Self(SecretString::from(token)))
    }

    /// The token itself; for the call to Service B and `--token-only` only.
    pub(crate) fn secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// Enough of the token to recognise it, not to use it.
    pub(crate) fn masked(&self) -> String {
        let token = self.secret();
        let ends = token
            .len()
            .checked_sub(MASK_TAIL)
            .filter(|_| token.len() > FULLY_MASKED_UP_TO)
            .and_then(|tail| token.get(..MASK_HEAD).zip(token.get(tail..)));
        match ends {
            Some((head, tail)) => format!("{head}…{tail}"),
            None => FULL_MASK.to_owned(),
        }
    }

    /// `text` without the token, should somebody have sent it back.
    pub(crate) fn redact(&self, text: &str) -> String {
        redact(text, &[self.secret()])
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// The client secret (RFC 6749 section 2.3.1).
pub(crate) struct ClientSecret(SecretString);

impl ClientSecret {
    /// `None` if it is empty.
    pub(crate) fn new(secret: String) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(SecretString::from(secret)))
    }

    /// The secret itself; for the token request only.
    pub(crate) fn secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether both are the same secret. Both are ours, so the time that takes tells nobody anything.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.secret() == other.secret()
    }

    /// `text` without the secret, in each form in which the issuer gets it.
    pub(crate) fn redact(&self, client_id: &str, text: &str) -> String {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let encoded: SecretString = SecretString::from(Into::<String>::into(encode(self.secret())));
        let id: String = encode(client_id);
        let basic =
            SecretString::from(STANDARD.encode(format!("{id}:{}", encoded.expose_secret())));
        let needles = [
            basic.expose_secret(),
            encoded.expose_secret(),
            self.secret(),
        ];
        redact(text, &needles)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

fn redact(text: &str, needles: &[&str]) -> String {
    let mut text = text.to_owned();
    for needle in needles {
        if needle.len() >= SHORTEST_NEEDLE && text.contains(needle) {
            text = text.replace(needle, REDACTED);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_redacted() {
        let token = AccessToken::new("abc".into()).unwrap();
        let secret = ClientSecret::new("abc".into()).unwrap();
        assert_eq!(format!("{token:?}"), "AccessToken([redacted])");
        assert_eq!(format!("{secret:?}"), "ClientSecret([redacted])");
    }

    #[test]
    fn a_masked_token_shows_8_and_6_characters_and_nothing_when_short() {
        let table = [
            ("cace6X_XabcdefgQyXzUw", "cace6X_X…QyXzUw"),
            ("12345678901234567", "12345678…234567"),
            ("1234567890123456", "***"),
            ("a", "***"),
        ];
        for (token, masked) in table {
            assert_eq!(AccessToken::new(token.into()).unwrap().masked(), masked);
        }
    }

    #[test]
    fn rfc6749_a_12_a_token_that_no_header_can_hold_is_none() {
        for token in ["", "a b", "a\nb", "a\u{7f}", "é"] {
            assert!(AccessToken::new(token.into()).is_none(), "{token:?}");
        }
    }

    #[test]
    fn what_echoes_a_secret_is_cleaned_in_every_form_it_was_sent_in() {
        let secret = ClientSecret::new("p:ss wörd".into()).unwrap();
        let basic = STANDARD.encode("me%40x:p%3Ass+w%C3%B6rd");
        let text = format!("{basic} p%3Ass+w%C3%B6rd p:ss wörd fine");
        assert_eq!(
            secret.redact("me@x", &text),
            "[redacted] [redacted] [redacted] fine"
        );
        let token = AccessToken::new("abcdefgh".into()).unwrap();
        assert_eq!(token.redact("Bearer abcdefgh!"), "Bearer [redacted]!");
    }

    #[test]
    fn a_secret_so_short_that_it_is_found_by_chance_is_left() {
        let token = AccessToken::new("e".into()).unwrap();
        assert_eq!(token.redact("hello"), "hello");
    }
}

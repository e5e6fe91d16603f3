//! Values that must never be shown: they print as `[redacted]` and are wiped on drop.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

/// How many characters a masked token shows of its start.
const MASK_HEAD: usize = 8;
/// How many it shows of its end.
const MASK_TAIL: usize = 6;
/// Tokens up to this length would show too much of themselves, and are masked fully.
const FULLY_MASKED_UP_TO: usize = 16;
const FULL_MASK: &str = "***";
/// Shorter values are not redacted: they would match by chance.
const MIN_REDACTED_LENGTH: usize = 6;
/// As many characters of a secret in a row are redacted, wherever they are in it: a peer may cut it at
/// the end of a line, or leave out the last character. Fewer match by chance.
const REDACTED_RUN: usize = 16;
/// Replaces a secret.
const REDACTED: &str = "[redacted]";

/// An access token (RFC 6749 section 1.4).
pub(crate) struct AccessToken {
    token: SecretString,
    /// Its base64 forms.
    encoded: Vec<SecretString>,
}

impl AccessToken {
    /// `None` if no header can hold it: a token is visible ASCII (RFC 6749 appendix A.12) without
    /// spaces (RFC 6750 section 2.1).
    pub(crate) fn new(token: String) -> Option<Self> {
        let sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        sendable.then(|| Self {
            encoded: in_base64(&token),
            token: SecretString::from(token),
        })
    }

    /// Whether it has only characters of the `b64token` of RFC 6750 section 2.1.
    pub(crate) fn is_b64token(&self) -> bool {
        self.secret()
            .trim_end_matches('=')
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
    }

    /// The token itself, only for the call of Service B and for `--token-only`.
    pub(crate) fn secret(&self) -> &str {
        self.token.expose_secret()
    }

    /// Enough of the token to recognise it, too little to use it.
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

    /// `text` without the token, in case a peer has sent it back, encoded or not.
    pub(crate) fn redact(&self, text: &str) -> String {
        redact(text, self.secret(), &self.encoded)
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

    /// The secret itself, only for the token request.
    pub(crate) fn secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether both are the same secret. No attacker can time this: both are our own.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.secret() == other.secret()
    }

    /// `text` without the secret, in each form in which we send it or the issuer may send it back.
    pub(crate) fn redact(&self, client_id: &str, text: &str) -> String {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let id: String = encode(client_id);
        let secret = Zeroizing::new(Into::<String>::into(encode(self.secret())));
        let raw = self.secret();
        let pairs = [
            Zeroizing::new(format!("{id}:{}", secret.as_str())),
            Zeroizing::new(format!("{client_id}:{raw}")),
        ];
        let mut encoded = Vec::new();
        let [encoded_pair, raw_pair] = &pairs;
        for value in [
            encoded_pair.as_str(),
            raw_pair.as_str(),
            secret.as_str(),
            raw,
        ] {
            encoded.extend(in_base64(value));
        }
        redact(text, raw, &encoded)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// `value` in base64, in both alphabets. Padded forms come first, so that no padding is left over.
fn in_base64(value: &str) -> Vec<SecretString> {
    let mut forms = Vec::new();
    for engine in [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let form = Zeroizing::new(engine.encode(value));
        let is_duplicate = |other: &SecretString| other.expose_secret() == form.as_str();
        if !forms.iter().any(is_duplicate) {
            forms.push(SecretString::from(form.as_str()));
        }
    }
    forms
}

/// `value` in base64, in both alphabets, wherever it stands in what was encoded. Without the
/// characters at its ends that hold bits of other bytes too.
fn within_base64(value: &str) -> Vec<Zeroizing<String>> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let bytes = Zeroizing::new([vec![0; before].as_slice(), value.as_bytes()].concat());
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let form = Zeroizing::new(engine.encode(&*bytes));
            forms.extend(
                form.get(first..end)
                    .map(|form| Zeroizing::new(form.to_owned())),
            );
        }
    }
    forms
}

/// `text` without `value` and without its encoded forms, and without long parts of them.
fn redact(text: &str, value: &str, encoded: &[SecretString]) -> String {
    let clean = redact_whole(text, value, encoded);
    redact_runs(&clean, value, encoded)
}

/// `text` without each run of [`REDACTED_RUN`] characters and more of `value`, literal or in base64.
/// A run goes on behind the end of a line.
fn redact_runs(text: &str, value: &str, encoded: &[SecretString]) -> String {
    let mut forms = within_base64(value);
    forms.push(Zeroizing::new(value.to_owned()));
    let forms = forms.iter().map(|form| form.as_str());
    let runs: HashSet<&[u8]> = forms
        .chain(encoded.iter().map(ExposeSecret::expose_secret))
        .flat_map(|form| form.as_bytes().windows(REDACTED_RUN))
        .collect();
    let literal = text.bytes().enumerate();
    let literal: Vec<_> = literal.map(|(at, byte)| (byte, at..at + 1)).collect();
    let mut found = Vec::new();
    let unescaped = unescaped(text.as_bytes());
    let unfolded = [&literal, &unescaped].map(|bytes| {
        let is_kept = |(byte, _): &&(u8, _)| !b"\r\n\t ".contains(byte);
        bytes.iter().filter(is_kept).cloned().collect()
    });
    for bytes in [literal, unescaped].into_iter().chain(unfolded) {
        let (plain, places): (Vec<_>, Vec<_>) = bytes.into_iter().unzip();
        for (at, run) in Zeroizing::new(plain).windows(REDACTED_RUN).enumerate() {
            let ends = places.get(at).zip(places.get(at + REDACTED_RUN - 1));
            if let Some((first, last)) = ends.filter(|_| runs.contains(run)) {
                let start = text.floor_char_boundary(first.start);
                found.push(start..text.ceil_char_boundary(last.end));
            }
        }
    }
    found.sort_unstable_by_key(|range| range.start);
    let mut clean = String::with_capacity(text.len());
    let mut shown_to = 0;
    for range in found {
        if range.start >= shown_to {
            clean.push_str(text.get(shown_to..range.start).unwrap_or_default());
            clean.push_str(REDACTED);
        }
        shown_to = shown_to.max(range.end);
    }
    clean.push_str(text.get(shown_to..).unwrap_or_default());
    clean
}

/// The bytes of `text` without escapes with `%` or a backslash, and where each stands.
fn unescaped(text: &[u8]) -> Vec<(u8, Range<usize>)> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let (byte, length) = match rest {
            [b'%', high, low, ..] if hex(*high, *low).is_some() => {
                (hex(*high, *low).unwrap_or_default(), 3)
            }
            [b'\\', byte, ..] if byte.is_ascii() => (*byte, 2),
            [byte, ..] => (*byte, 1),
            [] => break,
        };
        bytes.push((byte, at..at + length));
        at += length;
    }
    bytes
}

fn redact_whole(text: &str, value: &str, encoded: &[SecretString]) -> String {
    if value.len() < MIN_REDACTED_LENGTH {
        return text.to_owned();
    }
    let needles = || {
        let encoded = encoded.iter().map(ExposeSecret::expose_secret);
        encoded.chain([value]).map(str::as_bytes)
    };
    let mut rest = text;
    let mut clean = String::with_capacity(text.len());
    while let Some(c) = rest.chars().next() {
        let left = needles().find_map(|needle| rest_after(rest.as_bytes(), needle));
        match left.and_then(|left| rest.get(rest.len() - left..)) {
            Some(left) => {
                clean.push_str(REDACTED);
                rest = left;
            }
            None => {
                clean.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
    }
    clean
}

/// How many bytes of `text` follow `value`, if it begins with it. A byte may be literal, escaped
/// with `%` as in URLs and forms, or with a backslash as in JSON.
fn rest_after(mut text: &[u8], value: &[u8]) -> Option<usize> {
    // Literally first: the value itself may contain what looks like an escape.
    if let Some(rest) = text.strip_prefix(value) {
        return Some(rest.len());
    }
    for byte in value {
        text = match text {
            [b'%', high, low, rest @ ..] if hex(*high, *low) == Some(*byte) => rest,
            [b'\\', first, rest @ ..] if first == byte => rest,
            [first, rest @ ..] if first == byte => rest,
            [b'+', rest @ ..] if *byte == b' ' => rest,
            _ => return None,
        };
    }
    Some(text.len())
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(high)? * 16 + digit(low)?;
    u8::try_from(value).ok()
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
    fn rfc6749_a_12_a_token_that_no_header_can_hold_is_refused() {
        for token in ["", "a b", "a\nb", "a\u{7f}", "é"] {
            assert!(AccessToken::new(token.into()).is_none(), "{token:?}");
        }
    }

    #[test]
    fn an_echoed_secret_is_redacted_in_every_form_it_was_sent_in() {
        let secret = ClientSecret::new("p:ss wörd".into()).unwrap();
        let basic = STANDARD.encode("me%40x:p%3Ass+w%C3%B6rd");
        let text = format!("{basic} p%3Ass+w%C3%B6rd p:ss wörd fine");
        assert_eq!(
            secret.redact("me@x", &text),
            "[redacted] [redacted] [redacted] fine"
        );
        let text = "p%3ass%20w%c3%b6rd p%3ass w\u{f6}rd cDpzcyB3w7ZyZA== cDpzcyB3w7ZyZA \
                    bWVAeDpwOnNzIHfDtnJk p%3Ass+word";
        assert_eq!(
            secret.redact("me@x", text),
            "[redacted] [redacted] [redacted] [redacted] [redacted] p%3Ass+word"
        );
        let token = AccessToken::new("ab!defg/".into()).unwrap();
        let text = "Bearer ab!defg/! ab%21defg%2F ab!defg\\/ YWIhZGVmZy8= YWIhZGVmZy8 é%";
        assert_eq!(
            token.redact(text),
            "Bearer [redacted]! [redacted] [redacted] [redacted] [redacted] é%"
        );
    }

    #[test]
    fn a_part_of_an_echoed_secret_is_redacted_in_every_form() {
        let value = "cace6X_XabcdefghijklQyXzUw";
        let token = AccessToken::new(value.into()).unwrap();
        for (text, clean) in [
            // Short of its last character, of its first, and cut by the end of a line.
            ("cace6X_XabcdefghijklQyXzU", "[redacted]"),
            ("ace6X_XabcdefghijklQyXzUw", "[redacted]"),
            ("cace6X_Xabcdefghij\nklQyXzUw", "[redacted]"),
            ("a cace6X_Xabcde\r\n fghijklQyXzUw b", "a [redacted] b"),
            ("a cace6X_Xabcde%0Afghijkl%51yXzUw b", "a [redacted] b"),
            ("a=cace6X%5FXabcdefghijkl&b", "a=[redacted]&b"),
            (r"cace6X\_Xabcdefghijkl", "[redacted]"),
            ("ace6X_Xabcdefghi x", "[redacted] x"),
            // Fifteen characters.
            ("ace6X_Xabcdefgh x", "ace6X_Xabcdefgh x"),
            ("é\u{2028} fine", "é\u{2028} fine"),
        ] {
            assert_eq!(token.redact(text), clean, "{text}");
        }
        // In base64 of something longer, at each of the three places of a group.
        for before in ["", "a", "ab", "abc"] {
            for engine in [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let text = engine.encode(format!("{before}{value} and more"));
                let clean = token.redact(&text);
                assert!(clean.contains(REDACTED), "{text}");
                for run in text.as_bytes().windows(REDACTED_RUN) {
                    let run = std::str::from_utf8(run).unwrap();
                    let inner = engine.encode(before).len() + 2;
                    let is_of_token = text.find(run).is_some_and(|at| {
                        at >= inner && at + REDACTED_RUN <= (before.len() + value.len()) * 8 / 6
                    });
                    assert!(!is_of_token || !clean.contains(run), "{run} in {clean}");
                }
            }
        }
    }

    #[test]
    fn text_around_a_part_of_a_secret_stays_and_a_part_of_the_credentials_goes() {
        let secret = ClientSecret::new("abcdefghijklmno\u{f6}".into()).unwrap();
        let text = "before abcdefghijklmno\u{f5} after";
        assert_eq!(secret.redact("me", text), "before [redacted] after");
        let secret = ClientSecret::new("p%ss/w\u{f6}rd/that/is/long".into()).unwrap();
        let basic = STANDARD.encode("me:p%25ss%2Fw%C3%B6rd%2Fthat%2Fis%2Flong");
        let cut = &basic.as_bytes()[8..40];
        let cut = std::str::from_utf8(cut).unwrap();
        assert_eq!(secret.redact("me", cut), "[redacted]");
    }

    #[test]
    fn a_secret_that_looks_escaped_is_found_literally_and_escaped() {
        let secret = ClientSecret::new("p%25x\\\\y".into()).unwrap();
        let text = r"p%25x\\y p%2525x%5C%5Cy p%2525x\\\\y";
        assert_eq!(
            secret.redact("me", text),
            "[redacted] [redacted] [redacted]"
        );
    }

    #[test]
    fn rfc6750_2_1_a_token_with_other_characters_is_recognised() {
        let table = [
            ("00D.abc~x+y/z-_==", true),
            ("00D!AQ", false),
            ("a=b", false),
            ("a,b", false),
        ];
        for (token, b64token) in table {
            let token = AccessToken::new(token.into()).unwrap();
            assert_eq!(token.is_b64token(), b64token, "{token:?}");
        }
    }

    #[test]
    fn a_secret_so_short_that_it_matches_by_chance_is_not_redacted() {
        let token = AccessToken::new("e".into()).unwrap();
        assert_eq!(token.redact("hello"), "hello");
    }
}

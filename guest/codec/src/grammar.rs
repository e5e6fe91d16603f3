//! Grammars of RFCs that several modules need.

/// RFC 9110 section 5.6.2: a character of a token.
#[must_use]
pub fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ).
#[must_use]
pub fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\')
}

/// RFC 9110 section 5.5: a field value in ASCII without obs-text, not empty, and without the spaces
/// at the ends that a recipient would drop.
#[must_use]
pub fn is_field_value(value: &str) -> bool {
    !value.is_empty()
        // Without an early exit, so that the loop vectorizes.
        && (value.bytes()).fold(true, |good, b| good & (0x20..=0x7e).contains(&b))
        && value.trim_ascii().len() == value.len()
}

/// How many bytes are looked at together, without an early exit, so that loops vectorize.
const CHUNK_BYTES: usize = 64;

/// RFC 9110 section 11.2: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=", and "!",
/// which every access token of Salesforce contains. RFC 6749 appendix A.12 allows any printable
/// character, but only this one is safe to add: it is no delimiter (RFC 9110 section 5.6.2) and is
/// never unescaped, so no parser sees two credentials, a parameter or another token. Separators and
/// quotes (space, comma, semicolon, quotes, backslash, "=" before the end) are rejected.
#[must_use]
pub fn is_token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|b| **b == b'=').count();
    let (body, _) = token.split_at(token.len().saturating_sub(padding));
    let is_good = |bytes: &[u8]| bytes.iter().fold(true, |good, b| good & is_in_token(*b));
    !body.is_empty() && body.chunks(CHUNK_BYTES).all(is_good)
}

/// Whether tokens can begin with these bytes, padding aside.
#[must_use]
pub fn may_begin_token(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| is_in_token(*b))
}

fn is_in_token(b: u8) -> bool {
    let letter = (b | 0x20).wrapping_sub(b'a');
    // "-", ".", "/" and the digits are adjacent in ASCII.
    (letter < 26)
        | (b.wrapping_sub(b'-') <= b'9' - b'-')
        | (b == b'+')
        | (b == b'_')
        | (b == b'~')
        | (b == b'!')
}

/// RFC 7515 section 7.1: how many dots a token has, and where the first two are: without them, at
/// the end.
#[must_use]
pub fn dots(token: &[u8]) -> (usize, [usize; 2]) {
    let (mut count, mut first_two) = (0_usize, [token.len(); 2]);
    for (number, chunk) in token.chunks(CHUNK_BYTES).enumerate() {
        if !chunk.iter().fold(false, |any, byte| any | (*byte == b'.')) {
            continue;
        }
        let start = number.saturating_mul(CHUNK_BYTES);
        let dots = (start..).zip(chunk).filter(|(_, byte)| **byte == b'.');
        for (at, _) in dots {
            if let Some(place) = first_two.get_mut(count) {
                *place = at;
            }
            count = count.saturating_add(1);
        }
    }
    (count, first_two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_s5_5_control_and_non_ascii_characters_are_in_no_field_value() {
        for bad in ["", " a", "a ", "a\r\nx: y", "a\0", "é", "😀"] {
            assert!(!is_field_value(bad), "{bad:?}");
        }
        assert!(is_field_value("a b"));
    }

    #[test]
    fn rfc9110_s5_6_2_and_rfc6749_s3_3_each_byte_is_in_a_name_or_a_scope_or_is_not() {
        for byte in 0..=u8::MAX {
            let is_alphanumeric = byte.is_ascii_alphanumeric();
            let is_in_name = is_alphanumeric || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_tchar(byte), is_in_name, "{byte}");
            let is_in_scope = is_alphanumeric || b"!#$%&'()*+,-./:;<=>?@[]^_`{|}~".contains(&byte);
            let scope = String::from_utf8(vec![b'a', byte, b'b']);
            let is_scope = scope.is_ok_and(|scope| is_scope_token(&scope));
            assert_eq!(is_scope, is_in_scope, "{byte}");
        }
        assert!(!is_scope_token(""));
    }

    #[test]
    fn rfc9110_s11_2_padding_is_at_the_end_and_is_not_all() {
        for (token, is_good) in [("a", true), ("a=", true), ("a==", true), ("=", false)] {
            assert_eq!(is_token(token.as_bytes()), is_good, "{token}");
        }
        for bad in ["a=b", "=a", "a,", "a =", " "] {
            assert!(!is_token(bad.as_bytes()), "{bad}");
        }
        for (start, may_begin) in [("", true), ("a.", true), ("a=", false), ("a b", false)] {
            assert_eq!(may_begin_token(start.as_bytes()), may_begin, "{start}");
        }
    }

    #[test]
    fn rfc9110_s11_2_each_byte_is_in_a_token_or_is_not() {
        for byte in 0..=u8::MAX {
            let is_in = byte.is_ascii_alphanumeric() || b"-._~+/!".contains(&byte);
            for before in [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES] {
                let token = [&vec![b'a'; before], [byte].as_slice(), b"b"].concat();
                assert_eq!(is_token(&token), is_in, "{byte} after {before}");
            }
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn rfc7515_s7_1_dots_are_found_wherever_they_are() {
        assert_eq!(dots(b""), (0, [0, 0]));
        assert_eq!(dots(b"a"), (0, [1, 1]));
        assert_eq!(dots(b"...."), (4, [0, 1]));
        for first in 0..200 {
            for second in [first + 1, first + 2, first + 63, first + 64, first + 300] {
                let mut token = vec![b'a'; second + 70];
                *token.get_mut(first).unwrap() = b'.';
                assert_eq!(dots(&token), (1, [first, token.len()]));
                *token.get_mut(second).unwrap() = b'.';
                assert_eq!(dots(&token), (2, [first, second]));
                token.push(b'.');
                assert_eq!(dots(&token), (3, [first, second]));
            }
        }
    }
}

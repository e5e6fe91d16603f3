//! Grammars of RFCs that several modules need.

/// RFC 9110 section 5.6.2: a character of a token.
pub(crate) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ).
pub(crate) fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\')
}

/// RFC 9110 section 5.5: a field value in ASCII without obs-text, not empty, and without the spaces
/// at the ends that a recipient would drop.
pub(crate) fn is_field_value(value: &str) -> bool {
    !value.is_empty()
        // Without an early exit, so that the loop vectorizes.
        && (value.bytes()).fold(true, |good, b| good & (0x20..=0x7e).contains(&b))
        && value.trim_ascii().len() == value.len()
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
}

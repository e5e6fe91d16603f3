//! RFC 7515 section 2: base64url without padding.

use base64_simd::URL_SAFE_NO_PAD;

/// Encodes the bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// Encodes the bytes at the end of this text.
pub fn encode_append(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_append(bytes, text);
}

/// How long this many bytes are once encoded.
#[must_use]
pub const fn encoded_length(bytes: usize) -> usize {
    URL_SAFE_NO_PAD.encoded_length(bytes)
}

/// The bytes that this is the one spelling of: neither padding nor bits beyond the last byte.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7515_s2_bytes_have_one_spelling() {
        for (bytes, text) in [
            (b"".as_slice(), ""),
            (b"\xfb", "-w"),
            (b"\xfb\xff", "-_8"),
            (b"{}!", "e30h"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(encoded_length(bytes.len()), text.len());
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes));
        }
        for other in ["-x", "-w==", "+w", "-w\n", "e", "-_9"] {
            assert_eq!(decode(other.as_bytes()), None, "{other}");
        }
        let mut text = "a.".to_owned();
        encode_append(b"{}!", &mut text);
        assert_eq!(text, "a.e30h");
    }
}

//! What came back from the issuer, as a host collects it.

/// Largest answer read, in bytes. A typical one has 400; encoded as `x-auth-claims` this much still fits the 60 KiB that
/// Envoy allows a request's headers by default.
pub const MAX_ISSUER_BODY_BYTES: usize = 32 * 1024;

/// Collects the answer's body while it streams, and no more of it than the limit.
#[derive(Debug, Default)]
pub struct AnswerBody {
    bytes: Vec<u8>,
    too_large: bool,
}

impl AnswerBody {
    /// Takes the next piece. `false`: over the limit; stop reading.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> bool {
        if self.too_large || piece.len() > MAX_ISSUER_BODY_BYTES.saturating_sub(self.bytes.len()) {
            self.too_large = true;
            self.bytes = Vec::new();
            return false;
        }
        self.bytes.extend_from_slice(piece);
        true
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        (!self.too_large).then_some(&self.bytes)
    }
}

/// A complete HTTP answer of the issuer. Not printable: the body may hold claims about a person.
pub struct IssuerAnswer {
    /// HTTP status.
    pub status: u16,
    /// The Content-Type field's value, where there is one.
    pub content_type: Option<Vec<u8>>,
    /// The Retry-After field's value, where there is one.
    pub retry_after: Option<Vec<u8>>,
    /// The body.
    pub body: AnswerBody,
}

impl IssuerAnswer {
    /// RFC 9110 section 8.3: `application/json`, or a type with the `+json` suffix, parameters aside.
    pub(crate) fn is_json(&self) -> bool {
        let Some(value) = &self.content_type else {
            return false;
        };
        let essence = value
            .split(|b| *b == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .to_ascii_lowercase();
        essence == b"application/json"
            || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_to_the_limit_and_dropped_past_it() {
        let mut body = AnswerBody::default();
        assert!(body.push(&vec![b'a'; MAX_ISSUER_BODY_BYTES]));
        assert_eq!(body.bytes().map(<[u8]>::len), Some(MAX_ISSUER_BODY_BYTES));
        assert!(!body.push(b"a"));
        assert_eq!(body.bytes(), None);
        assert!(!body.push(b""), "once over, always over");
    }

    #[test]
    fn rfc9110_s8_3_only_a_json_media_type_counts() {
        let json = |value: Option<&[u8]>| {
            IssuerAnswer {
                status: 200,
                content_type: value.map(<[u8]>::to_vec),
                retry_after: None,
                body: AnswerBody::default(),
            }
            .is_json()
        };
        for yes in [
            &b"application/json"[..],
            b"Application/JSON; charset=utf-8",
            b"application/x+json",
        ] {
            assert!(json(Some(yes)));
        }
        for no in [
            &b"text/html"[..],
            b"application/jsonp",
            b"text/json+json",
            b"application/token-introspection+jwt",
            b"",
        ] {
            assert!(!json(Some(no)));
        }
        assert!(!json(None));
    }
}

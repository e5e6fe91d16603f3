//! What came back from the issuer, as a host collects it.

/// `max_answer_bytes` by default, in bytes. A typical answer has 400; one with many groups has tens of thousands.
const DEFAULT_MAX_BYTES: usize = 65_536;

/// Collects the answer's body while it streams, and no more of it than the limit.
#[derive(Debug)]
pub struct AnswerBody {
    bytes: Vec<u8>,
    limit: usize,
    too_large: bool,
}

impl AnswerBody {
    /// `limit`, in bytes: [`Policy::max_answer_bytes`](crate::Policy::max_answer_bytes).
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            too_large: false,
        }
    }

    /// Takes the next piece. `false`: over the limit; stop reading.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> bool {
        if self.too_large || piece.len() > self.limit.saturating_sub(self.bytes.len()) {
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

/// With the limit that is the default.
impl Default for AnswerBody {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BYTES)
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
        const LIMIT: usize = 1024;
        let mut body = AnswerBody::new(LIMIT);
        assert!(body.push(&[b'a'; LIMIT]));
        assert_eq!(body.bytes().map(<[u8]>::len), Some(LIMIT));
        assert!(!body.push(b"a"));
        assert_eq!(body.bytes(), None);
        assert!(!body.push(b""), "once over, always over");
    }

    #[test]
    fn without_a_limit_of_its_own_a_body_has_that_of_the_default() {
        let setting = crate::SETTINGS
            .iter()
            .find(|setting| setting.key == "max_answer_bytes");
        let default = setting.and_then(|setting| setting.default);
        assert_eq!(default, Some(DEFAULT_MAX_BYTES.to_string().as_str()));
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

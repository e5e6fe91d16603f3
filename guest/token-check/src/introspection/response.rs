//! What came back from the issuer, as a host collects it.

use crate::introspection::fault::{Coding, Media};

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

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.too_large
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

/// Media types, and what they are if not JSON.
const MEDIA_TYPES: [(&[u8], Option<Media>); 10] = [
    (b"application/json", None),
    (b"", Some(Media::Absent)),
    (b"text/html", Some(Media::Html)),
    (b"application/xhtml+xml", Some(Media::Html)),
    (b"application/x-www-form-urlencoded", Some(Media::Form)),
    (b"application/jwt", Some(Media::Jwt)),
    (b"application/token-introspection+jwt", Some(Media::Jwt)),
    (b"text/plain", Some(Media::Text)),
    (b"text/xml", Some(Media::Xml)),
    (b"application/xml", Some(Media::Xml)),
];

/// Content codings, and what they are if any.
const CODINGS: [(&[u8], Option<Coding>); 7] = [
    (b"", None),
    (b"identity", None),
    (b"br", Some(Coding::Br)),
    (b"deflate", Some(Coding::Deflate)),
    (b"gzip", Some(Coding::Gzip)),
    (b"x-gzip", Some(Coding::Gzip)),
    (b"zstd", Some(Coding::Zstd)),
];

/// A complete HTTP answer of the issuer. Not printable: the body may hold claims about a person.
#[derive(Default)]
pub struct IssuerAnswer {
    /// HTTP status.
    pub status: u16,
    /// The Content-Type field's value, where there is one.
    pub content_type: Option<Vec<u8>>,
    /// The Content-Encoding field's value, where there is one.
    pub content_encoding: Option<Vec<u8>>,
    /// The Retry-After field's value, where there is one.
    pub retry_after: Option<Vec<u8>>,
    /// Each WWW-Authenticate field line's value.
    pub www_authenticate: Vec<Vec<u8>>,
    /// The body.
    pub body: AnswerBody,
}

impl IssuerAnswer {
    /// RFC 9110 section 8.3: `application/json`, or a type with the `+json` suffix, parameters aside; else what it is.
    pub(crate) fn not_json(&self) -> Option<Media> {
        let value = self.content_type.as_deref().unwrap_or_default();
        let essence = value.split(|b| *b == b';').next();
        let essence = essence.unwrap_or_default().trim_ascii();
        let mut known = MEDIA_TYPES.iter();
        if let Some((_, media)) = known.find(|(name, _)| name.eq_ignore_ascii_case(essence)) {
            return *media;
        }
        let starts_with = |prefix: &[u8]| {
            let start = essence.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let ends_with = |suffix: &[u8]| {
            let at = essence.len().checked_sub(suffix.len());
            let end = at.and_then(|at| essence.get(at..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        if starts_with(b"application/") && ends_with(b"+json") {
            None
        } else if ends_with(b"+xml") {
            Some(Media::Xml)
        } else {
            Some(Media::Other)
        }
    }

    /// RFC 9110 section 8.4: what the body is coded with, though the question allows `identity` only.
    pub(crate) fn coding(&self) -> Option<Coding> {
        let value = self.content_encoding.as_deref().unwrap_or_default();
        let value = value.trim_ascii();
        let mut known = CODINGS.iter();
        known
            .find(|(name, _)| name.eq_ignore_ascii_case(value))
            .map_or(Some(Coding::Other), |(_, coding)| *coding)
    }

    /// RFC 6749 section 5.2: the challenge that answers credentials which came with Basic.
    pub(crate) fn challenges_basic(&self) -> bool {
        let parts = self
            .www_authenticate
            .iter()
            .flat_map(|line| line.split(|b| *b == b','));
        let mut schemes = parts.filter_map(|part| part.trim_ascii().split(|b| *b == b' ').next());
        schemes.any(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
    }

    /// The body as text, where it is not coded, not over the limit, and UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        let bytes = self.body.bytes().filter(|_| self.coding().is_none())?;
        core::str::from_utf8(bytes).ok()
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
    fn rfc9110_s8_3_only_a_json_media_type_is_json() {
        let not_json = |value: &[u8]| {
            let content_type = Some(value.to_vec());
            IssuerAnswer {
                content_type,
                ..IssuerAnswer::default()
            }
            .not_json()
        };
        for (value, expected) in [
            (&b"application/json"[..], None),
            (b"Application/JSON; charset=utf-8", None),
            (b"application/x+json", None),
            (b"text/html; charset=utf-8", Some(Media::Html)),
            (b"TEXT/PLAIN", Some(Media::Text)),
            (b"application/soap+xml", Some(Media::Xml)),
            (b"application/x-www-form-urlencoded", Some(Media::Form)),
            (b"application/token-introspection+jwt", Some(Media::Jwt)),
            (b"application/jsonp", Some(Media::Other)),
            (b"text/json+json", Some(Media::Other)),
            (b"", Some(Media::Absent)),
        ] {
            assert_eq!(not_json(value), expected, "{}", value.escape_ascii());
        }
        assert_eq!(IssuerAnswer::default().not_json(), Some(Media::Absent));
    }

    #[test]
    fn rfc9110_s8_4_1_any_coding_but_identity_is_one() {
        for (value, expected) in [
            (&b"identity"[..], None),
            (b"Identity", None),
            (b" ", None),
            (b"gzip", Some(Coding::Gzip)),
            (b"x-gzip", Some(Coding::Gzip)),
            (b"BR", Some(Coding::Br)),
            (b"deflate", Some(Coding::Deflate)),
            (b"zstd", Some(Coding::Zstd)),
            (b"gzip, identity", Some(Coding::Other)),
        ] {
            let answer = IssuerAnswer {
                content_encoding: Some(value.to_vec()),
                ..IssuerAnswer::default()
            };
            assert_eq!(answer.coding(), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn rfc9110_s11_6_1_a_basic_challenge_is_found_among_others() {
        for (lines, expected) in [
            (&[&b"Basic realm=\"issuer\""[..]][..], true),
            (&[b"Bearer error=\"x\"", b"basic"], true),
            (&[b"Negotiate, BASIC realm=\"issuer\""], true),
            (&[b"Bearer realm=\"Basic\""], false),
            (&[b"Basics realm=\"x\""], false),
            (&[], false),
        ] {
            let answer = IssuerAnswer {
                www_authenticate: lines.iter().map(|line| line.to_vec()).collect(),
                ..IssuerAnswer::default()
            };
            assert_eq!(answer.challenges_basic(), expected, "{lines:?}");
        }
    }
}

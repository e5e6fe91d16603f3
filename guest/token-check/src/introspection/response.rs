//! The issuer's HTTP response, as a host collects it.

#[cfg(feature = "jwt")]
use super::call::SIGNED_MEDIA_TYPE;
use super::fault::{Coding, Media};

/// Default of `max_answer_bytes`, in bytes. A typical response has 400; one that lists many groups
/// has tens of thousands.
const DEFAULT_MAX_BYTES: usize = 65_536;

/// Collects the body of a response while it streams, up to a limit.
#[derive(Debug)]
pub struct BodyCollector {
    bytes: Vec<u8>,
    limit: usize,
    too_large: bool,
}

impl BodyCollector {
    /// `limit`, in bytes: [`Policy::max_answer_bytes`](crate::Policy::max_answer_bytes).
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            too_large: false,
        }
    }

    /// A whole body.
    #[must_use]
    pub fn whole(body: Vec<u8>, limit: usize) -> Self {
        let too_large = body.len() > limit;
        Self {
            bytes: if too_large { Vec::new() } else { body },
            limit,
            too_large,
        }
    }

    /// Adds the next chunk. `false`: the body is over the limit; stop reading.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        if self.too_large || chunk.len() > self.limit.saturating_sub(self.bytes.len()) {
            self.too_large = true;
            self.bytes = Vec::new();
            return false;
        }
        self.bytes.extend_from_slice(chunk);
        true
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.too_large
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        (!self.too_large).then_some(&self.bytes)
    }
}

/// With the default limit.
impl Default for BodyCollector {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BYTES)
    }
}

/// Known media types; `None` is JSON.
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

/// Known content codings; `None` is no coding.
const CODINGS: [(&[u8], Option<Coding>); 7] = [
    (b"", None),
    (b"identity", None),
    (b"br", Some(Coding::Br)),
    (b"deflate", Some(Coding::Deflate)),
    (b"gzip", Some(Coding::Gzip)),
    (b"x-gzip", Some(Coding::Gzip)),
    (b"zstd", Some(Coding::Zstd)),
];

/// A complete HTTP response of the issuer. It has no `Debug`: the body may hold personal data.
#[derive(Default)]
pub struct IssuerResponse {
    /// HTTP status.
    pub status: u16,
    /// The value of Content-Type, if present.
    pub content_type: Option<Vec<u8>>,
    /// The value of Content-Encoding, if present.
    pub content_encoding: Option<Vec<u8>>,
    /// The value of Retry-After, if present.
    pub retry_after: Option<Vec<u8>>,
    /// The value of each WWW-Authenticate field line.
    pub www_authenticate: Vec<Vec<u8>>,
    /// The body.
    pub body: BodyCollector,
}

impl IssuerResponse {
    /// The media type without parameters.
    fn media_type(&self) -> &[u8] {
        let value = self.content_type.as_deref().unwrap_or_default();
        let essence = value.split(|b| *b == b';').next();
        essence.unwrap_or_default().trim_ascii()
    }

    /// Whether it has the media type of a signed response.
    #[cfg(feature = "jwt")]
    pub(super) fn says_it_is_signed(&self) -> bool {
        (self.media_type()).eq_ignore_ascii_case(SIGNED_MEDIA_TYPE.as_bytes())
    }

    /// The media type, unless it is `application/json` or has the `+json` suffix (RFC 9110 section
    /// 8.3; parameters are ignored).
    pub(crate) fn media_unless_json(&self) -> Option<Media> {
        let essence = self.media_type();
        // Nearly all.
        if essence == b"application/json" {
            return None;
        }
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

    /// The content coding of the body (RFC 9110 section 8.4), although the call accepts only
    /// `identity`.
    pub(crate) fn coding(&self) -> Option<Coding> {
        let value = self.content_encoding.as_deref()?.trim_ascii();
        let mut known = CODINGS.iter();
        known
            .find(|(name, _)| name.eq_ignore_ascii_case(value))
            .map_or(Some(Coding::Other), |(_, coding)| *coding)
    }

    /// Whether there is a Basic challenge: the response to rejected Basic credentials (RFC 6749
    /// section 5.2).
    pub(crate) fn challenges_basic(&self) -> bool {
        let parts = self
            .www_authenticate
            .iter()
            .flat_map(|line| line.split(|b| *b == b','));
        let mut schemes = parts.filter_map(|part| part.trim_ascii().split(|b| *b == b' ').next());
        schemes.any(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
    }

    /// The body, unless it has a content coding, is over the limit or is not UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        let bytes = self.body.bytes().filter(|_| self.coding().is_none())?;
        core::str::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_collected_up_to_the_limit_and_dropped_past_it() {
        const LIMIT: usize = 1024;
        let mut body = BodyCollector::new(LIMIT);
        assert!(body.push(&[b'a'; LIMIT]));
        assert_eq!(body.bytes().map(<[u8]>::len), Some(LIMIT));
        assert!(!body.push(b"a"));
        assert_eq!(body.bytes(), None);
        assert!(!body.push(b""), "once over, always over");
    }

    #[test]
    fn a_whole_body_is_taken_up_to_the_limit() {
        for (length, expected) in [(0, Some(0)), (1024, Some(1024)), (1025, None)] {
            let body = BodyCollector::whole(vec![b'a'; length], 1024);
            assert_eq!(body.bytes().map(<[u8]>::len), expected);
            assert_eq!(body.is_empty(), length == 0);
        }
    }

    #[test]
    fn the_default_limit_is_that_of_max_answer_bytes() {
        let setting = crate::SETTINGS
            .iter()
            .find(|setting| setting.key == "max_answer_bytes");
        let default = setting.and_then(|setting| setting.default);
        assert_eq!(default, Some(DEFAULT_MAX_BYTES.to_string().as_str()));
    }

    #[test]
    fn rfc9110_s8_3_only_a_json_media_type_is_json() {
        let media_unless_json = |value: &[u8]| {
            let content_type = Some(value.to_vec());
            IssuerResponse {
                content_type,
                ..IssuerResponse::default()
            }
            .media_unless_json()
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
            assert_eq!(
                media_unless_json(value),
                expected,
                "{}",
                value.escape_ascii()
            );
        }
        assert_eq!(
            IssuerResponse::default().media_unless_json(),
            Some(Media::Absent)
        );
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
            let response = IssuerResponse {
                content_encoding: Some(value.to_vec()),
                ..IssuerResponse::default()
            };
            assert_eq!(response.coding(), expected, "{}", value.escape_ascii());
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
            let response = IssuerResponse {
                www_authenticate: lines.iter().map(|line| line.to_vec()).collect(),
                ..IssuerResponse::default()
            };
            assert_eq!(response.challenges_basic(), expected, "{lines:?}");
        }
    }
}

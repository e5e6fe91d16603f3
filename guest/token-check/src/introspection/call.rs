//! The introspection call (RFC 7662 section 2.1).

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use base64_simd::STANDARD;
use url::{Position, Url};
use zeroize::Zeroizing;

#[cfg(feature = "jwt")]
use super::client_assertion::{AssertionIds, ClientAssertions};
use super::issuer_call::{CallTarget, IssuerCall};
#[cfg(not(feature = "jwt"))]
use super::without_jwt::ClientAssertions;
#[cfg(feature = "jwt")]
use crate::jose::SignatureHost;
use crate::secret::{AccessToken, ClientSecret, IntrospectToken};
#[cfg(feature = "jwt")]
use crate::time::Now;

/// Some firewalls refuse requests without a `User-Agent`.
pub const USER_AGENT: &str = concat!("trust-triangle/", env!("CARGO_PKG_VERSION"));

/// RFC 7662 section 2.1: saves the issuer a search among its refresh tokens.
const HINT: &str = "&token_type_hint=access_token";

/// RFC 9701 section 5.
pub(super) const SIGNED_MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// How we authenticate at the issuer.
#[derive(Debug)]
pub(crate) enum ClientAuth {
    /// RFC 6749 section 2.3.1.
    Basic,
    /// Basic with id and secret as they are (RFC 7617), for issuers that do not form-decode them.
    BasicRaw,
    /// RFC 6749 section 2.3.1.
    Post,
    /// RFC 7523 section 2.2.
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "nothing is signed"))]
    Assertion(ClientAssertions),
    /// RFC 7662 section 2.1.
    Bearer(IntrospectToken),
    /// The host presents a client certificate, and we say whose (RFC 8705 section 2).
    Tls,
    /// Not by ourselves: something on the way to the issuer adds the credentials.
    None,
}

/// What an operator has to check if the issuer rejects our credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialsKind {
    Secret {
        /// Form-encoding changes the id or the secret in the Authorization header. Some issuers do
        /// not decode them there.
        encoding_changes_them: bool,
    },
    AssertionBySecret,
    AssertionByKey,
    Token,
    Certificate,
}

/// How this service authenticates each call.
pub(crate) struct Credentials {
    /// RFC 6749 section 2.3.1: credentials go into this header, or to the end of the form.
    authorization: Option<Zeroizing<String>>,
    form: Zeroizing<String>,
    assertions: Option<ClientAssertions>,
    kind: CredentialsKind,
}

impl Credentials {
    pub(crate) fn new(id: &str, secret: &ClientSecret, auth: ClientAuth) -> Self {
        let mut kind = CredentialsKind::Secret {
            encoding_changes_them: false,
        };
        let (mut authorization, mut assertions) = (None, None);
        let mut in_form = Zeroizing::new(String::new());
        let form_id = form(id.as_bytes());
        let form_secret = Zeroizing::new(form(secret.secret().as_bytes()));
        match auth {
            ClientAuth::Basic => {
                kind = CredentialsKind::Secret {
                    encoding_changes_them: form_id != id || *form_secret != *secret.secret(),
                };
                authorization = Some(basic(&form_id, &form_secret));
            }
            ClientAuth::BasicRaw => authorization = Some(basic(id, secret.secret())),
            ClientAuth::Post => {
                let parts = ["&client_id=", &form_id, "&client_secret=", &*form_secret];
                in_form = Zeroizing::new(parts.concat());
            }
            ClientAuth::Assertion(signed) => {
                kind = match signed.has_key() {
                    true => CredentialsKind::AssertionByKey,
                    false => CredentialsKind::AssertionBySecret,
                };
                assertions = Some(signed);
            }
            ClientAuth::Bearer(token) => {
                kind = CredentialsKind::Token;
                authorization = Some(Zeroizing::new(["Bearer ", token.secret()].concat()));
            }
            ClientAuth::Tls => {
                kind = CredentialsKind::Certificate;
                in_form = Zeroizing::new(["&client_id=", &form_id].concat());
            }
            ClientAuth::None => {}
        }
        Self {
            authorization,
            form: in_form,
            assertions,
            kind,
        }
    }
}

impl Credentials {
    /// Whether calls have none, because something on the way to the issuer adds them.
    pub(crate) fn are_added_on_the_way(&self) -> bool {
        self.authorization.is_none() && self.form.is_empty() && self.assertions.is_none()
    }
}

#[cfg(feature = "jwt")]
impl Credentials {
    /// Whether only a host can sign what authenticates a call.
    pub(crate) fn need_host(&self) -> bool {
        (self.assertions.as_ref()).is_some_and(ClientAssertions::need_host)
    }

    /// Whether a call can be authenticated where this host signs.
    pub(crate) fn are_signed_by(&self, host: &dyn SignatureHost) -> bool {
        let assertions = self.assertions.as_ref();
        assertions.is_none_or(|assertions| assertions.are_signed_by(host))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

/// What all calls have in common.
pub(crate) struct Endpoint {
    url: Url,
    credentials: Arc<Credentials>,
    /// The media type of the responses.
    accept: &'static str,
}

impl Endpoint {
    /// `are_signed`: the issuer is to sign its responses (RFC 9701 section 4).
    pub(crate) const fn new(url: Url, credentials: Arc<Credentials>, are_signed: bool) -> Self {
        Self {
            url,
            credentials,
            accept: match are_signed {
                true => SIGNED_MEDIA_TYPE,
                false => "application/json",
            },
        }
    }

    /// What an operator has to check if the issuer rejects our credentials.
    pub(crate) fn credentials_kind(&self) -> CredentialsKind {
        self.credentials.kind
    }

    /// What authenticates one call and no other.
    #[cfg(feature = "jwt")]
    pub(crate) fn assertion(
        &self,
        ids: &mut AssertionIds,
        host: &dyn SignatureHost,
        now: Now,
    ) -> Option<Zeroizing<String>> {
        (self.credentials.assertions.as_ref())?.parameters(ids, host, now)
    }
}

fn basic(id: &str, secret: &str) -> Zeroizing<String> {
    let pair = Zeroizing::new([id, ":", secret].concat());
    let encoded = Zeroizing::new(STANDARD.encode_to_string(pair.as_bytes()));
    Zeroizing::new(["Basic ", &*encoded].concat())
}

fn form(bytes: &[u8]) -> String {
    form_urlencoded::byte_serialize(bytes).collect()
}

/// Whether form-encoding leaves these bytes as they are (WHATWG URL, the
/// application/x-www-form-urlencoded percent-encode set), as with most tokens.
fn is_unchanged_in_form(bytes: &[u8]) -> bool {
    // Without an early exit, so that the loop vectorizes.
    bytes.iter().fold(true, |is_unchanged, b| {
        is_unchanged & (b.is_ascii_alphanumeric() | matches!(b, b'*' | b'-' | b'.' | b'_'))
    })
}

/// An HTTP `POST` for the host to send once, without following redirects. It holds the token and
/// our secret, so it cannot be printed.
pub struct IntrospectionCall {
    endpoint: Arc<Endpoint>,
    body: Zeroizing<Vec<u8>>,
    traceparent: Option<Arc<str>>,
    timeouts: Timeouts,
}

/// Limits of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For the whole call: what is left of the caller's time.
    pub(crate) total: Duration,
    /// To connect; no longer than `total`.
    pub(crate) connect: Duration,
    /// To the first byte of the response; no longer than `total`.
    pub(crate) first_byte: Duration,
}

impl IntrospectionCall {
    /// `assertion`: see [`Endpoint::assertion`].
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        token: &AccessToken,
        assertion: Option<Zeroizing<String>>,
        traceparent: Option<Arc<str>>,
        timeouts: Timeouts,
    ) -> Self {
        let credentials = assertion.as_ref().unwrap_or(&endpoint.credentials.form);
        let secret = token.secret();
        let is_unchanged = is_unchanged_in_form(secret);
        // Large enough for a token of percent-encoded bytes only, so that no reallocation leaves a
        // copy of the token behind.
        let longest = if is_unchanged { 1 } else { 3 } * secret.len();
        let mut body = Zeroizing::new(Vec::with_capacity(
            "token=".len() + longest + HINT.len() + credentials.len(),
        ));
        body.extend_from_slice(b"token=");
        if is_unchanged {
            body.extend_from_slice(secret);
        } else {
            for part in form_urlencoded::byte_serialize(secret) {
                body.extend_from_slice(part.as_bytes());
            }
        }
        body.extend_from_slice(HINT.as_bytes());
        body.extend_from_slice(credentials.as_bytes());
        Self {
            endpoint,
            body,
            traceparent,
            timeouts,
        }
    }
}

impl IssuerCall for IntrospectionCall {
    fn method(&self) -> &'static str {
        "POST"
    }

    fn is_https(&self) -> bool {
        self.endpoint.url.scheme() == "https"
    }

    fn authority(&self) -> &str {
        &self.endpoint.url[Position::BeforeHost..Position::BeforePath]
    }

    fn path_and_query(&self) -> &str {
        &self.endpoint.url[Position::BeforePath..]
    }

    fn target(&self) -> Option<CallTarget> {
        Some(CallTarget::new(Arc::clone(&self.endpoint)))
    }

    fn fixed_headers(&self) -> impl Iterator<Item = (&'static str, &str)> + Clone {
        [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", self.endpoint.accept),
            // Without it a proxy may compress the response (RFC 9110 section 12.5.3).
            ("accept-encoding", "identity"),
            ("user-agent", USER_AGENT),
        ]
        .into_iter()
        .chain(
            (self.endpoint.credentials.authorization)
                .as_ref()
                .map(|value| ("authorization", value.as_str())),
        )
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    fn body(&self) -> &[u8] {
        &self.body
    }

    fn timeout(&self) -> Duration {
        self.timeouts.total
    }

    fn connect_timeout(&self) -> Duration {
        self.timeouts.connect
    }

    fn first_byte_timeout(&self) -> Duration {
        self.timeouts.first_byte
    }
}

impl fmt::Debug for IntrospectionCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntrospectionCall([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_encoding_leaves_as_they_are_what_it_is_taken_to() {
        for byte in 0..=u8::MAX {
            let is_unchanged = form(&[byte]).as_bytes() == [byte];
            assert_eq!(is_unchanged_in_form(&[byte]), is_unchanged, "{byte}");
            let among_others = [&[b'a'; 40][..], &[byte]].concat();
            assert_eq!(is_unchanged_in_form(&among_others), is_unchanged, "{byte}");
        }
        assert!(is_unchanged_in_form(b""));
    }
}

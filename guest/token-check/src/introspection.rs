//! The question to the issuer (RFC 7662 section 2.1).

use core::fmt;
use core::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::{Position, Url};
use zeroize::Zeroizing;

use crate::policy::{ClientAuth, Policy};
use crate::secret::AccessToken;

/// An HTTP request for the host to send: `POST`, once, redirects not followed. Holds the token and our secret, so it
/// cannot be printed.
pub struct OutboundCall {
    url: Url,
    authorization: Option<Zeroizing<String>>,
    body: Zeroizing<String>,
    traceparent: Option<Box<str>>,
    timeout: Duration,
    connect_timeout: Duration,
    first_byte_timeout: Duration,
}

impl OutboundCall {
    /// `timeout`: what is left of the caller's time.
    pub(crate) fn introspection(
        policy: &Policy,
        token: &AccessToken,
        traceparent: Option<Box<str>>,
        timeout: Duration,
    ) -> Self {
        let form = |bytes: &[u8]| form_urlencoded::byte_serialize(bytes).collect::<String>();
        let id = form(policy.client_id().as_bytes());
        let secret = Zeroizing::new(form(policy.client_secret().secret().as_bytes()));
        let mut body = Zeroizing::new(String::from("token="));
        body.push_str(&Zeroizing::new(form(token.secret())));
        let authorization = match policy.client_auth() {
            // RFC 6749 section 2.3.1: both parts form-encoded first.
            ClientAuth::Basic => {
                let pair = Zeroizing::new(format!("{id}:{}", *secret));
                Some(Zeroizing::new(format!(
                    "Basic {}",
                    *Zeroizing::new(STANDARD.encode(pair.as_bytes()))
                )))
            }
            ClientAuth::Post => {
                body.push_str("&client_id=");
                body.push_str(&id);
                body.push_str("&client_secret=");
                body.push_str(&secret);
                None
            }
        };
        Self {
            url: policy.introspect_url().clone(),
            authorization,
            body,
            traceparent,
            timeout,
            connect_timeout: timeout.min(policy.connect_timeout()),
            first_byte_timeout: timeout.min(policy.first_byte_timeout()),
        }
    }

    /// Whether to use TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host and port, as for the Host header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::BeforePath]
    }

    /// Path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.url[Position::BeforePath..]
    }

    /// Header fields to send; names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
        ]
        .into_iter()
        .chain(
            self.authorization
                .as_ref()
                .map(|value| ("authorization", value.as_str())),
        )
        .chain(
            self.traceparent
                .as_deref()
                .map(|value| ("traceparent", value)),
        )
    }

    /// The form to send.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// How long the whole call may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long it may take to connect; no longer than the whole.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long the first byte of the answer may take; no longer than the whole.
    #[must_use]
    pub const fn first_byte_timeout(&self) -> Duration {
        self.first_byte_timeout
    }
}

impl fmt::Debug for OutboundCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboundCall([redacted])")
    }
}

//! The introspection call (RFC 7662 section 2.1).

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use base64_simd::STANDARD;
use url::{Position, Url};
use zeroize::Zeroizing;

use crate::secret::{AccessToken, ClientSecret};

/// Some firewalls refuse requests without a `User-Agent`.
pub const USER_AGENT: &str = concat!("trust-triangle/", env!("CARGO_PKG_VERSION"));

/// RFC 7662 section 2.1: saves the issuer a search among its refresh tokens.
const HINT: &str = "&token_type_hint=access_token";

/// How we authenticate at the issuer (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Basic,
    /// Basic with id and secret as they are (RFC 7617), for issuers that do not form-decode them.
    BasicRaw,
    Post,
    /// Not by ourselves: something on the way to the issuer adds the credentials.
    None,
}

/// What all calls have in common.
pub(crate) struct Endpoint {
    url: Url,
    /// RFC 6749 section 2.3.1: credentials go into this header, or to the end of the form.
    authorization: Option<Zeroizing<String>>,
    credentials: Zeroizing<String>,
    encoding_changes_credentials: bool,
}

impl Endpoint {
    pub(crate) fn new(url: Url, id: &str, secret: &ClientSecret, auth: ClientAuth) -> Self {
        // RFC 6749 section 2.3.1 form-encodes both parts first, which `basic-raw` leaves out.
        let encoded = |part: &str| match auth {
            ClientAuth::Basic | ClientAuth::Post => form(part.as_bytes()),
            ClientAuth::BasicRaw | ClientAuth::None => part.to_owned(),
        };
        let (plain_id, id) = (id, encoded(id));
        let (plain_secret, secret) = (secret, Zeroizing::new(encoded(secret.secret())));
        // Every issuer decodes a form.
        let encoding_changes_credentials = auth != ClientAuth::Post
            && (id != plain_id || secret.as_str() != plain_secret.secret());
        let mut authorization = None;
        let mut credentials = Zeroizing::new(String::new());
        match auth {
            ClientAuth::Basic | ClientAuth::BasicRaw => {
                let pair = Zeroizing::new(format!("{id}:{}", *secret));
                let encoded = Zeroizing::new(STANDARD.encode_to_string(pair.as_bytes()));
                authorization = Some(Zeroizing::new(format!("Basic {}", *encoded)));
            }
            ClientAuth::Post => {
                credentials.push_str("&client_id=");
                credentials.push_str(&id);
                credentials.push_str("&client_secret=");
                credentials.push_str(&secret);
            }
            ClientAuth::None => {}
        }
        Self {
            url,
            authorization,
            credentials,
            encoding_changes_credentials,
        }
    }

    /// Whether form-encoding changes the id or the secret in the Authorization header. Some issuers
    /// do not decode them there.
    pub(crate) const fn encoding_changes_credentials(&self) -> bool {
        self.encoding_changes_credentials
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.url.as_str()).finish()
    }
}

fn form(bytes: &[u8]) -> String {
    form_urlencoded::byte_serialize(bytes).collect()
}

/// An HTTP `POST` for the host to send once, without following redirects. It holds the token and
/// our secret, so it cannot be printed.
pub struct IntrospectionCall {
    endpoint: Arc<Endpoint>,
    body: Zeroizing<String>,
    traceparent: Option<Box<str>>,
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
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        token: &AccessToken,
        traceparent: Option<Box<str>>,
        timeouts: Timeouts,
    ) -> Self {
        // Large enough for a token of percent-encoded bytes only, so that no reallocation leaves a
        // copy of the token behind.
        let mut body = Zeroizing::new(String::with_capacity(
            "token=".len() + 3 * token.secret().len() + HINT.len() + endpoint.credentials.len(),
        ));
        body.push_str("token=");
        body.extend(form_urlencoded::byte_serialize(token.secret()));
        body.push_str(HINT);
        body.push_str(&endpoint.credentials);
        Self {
            endpoint,
            body,
            traceparent,
            timeouts,
        }
    }

    /// Whether to use TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.endpoint.url.scheme() == "https"
    }

    /// Host and port, as for the Host header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.endpoint.url[Position::BeforeHost..Position::BeforePath]
    }

    /// Path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.endpoint.url[Position::BeforePath..]
    }

    /// Header fields to send; names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> + Clone {
        [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
            // Without it a proxy may compress the response (RFC 9110 section 12.5.3).
            ("accept-encoding", "identity"),
            ("user-agent", USER_AGENT),
        ]
        .into_iter()
        .chain(
            self.endpoint
                .authorization
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
        self.timeouts.total
    }

    /// How long connecting may take, no longer than the whole call.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        self.timeouts.connect
    }

    /// How long the first byte of the response may take, no longer than the whole call.
    #[must_use]
    pub const fn first_byte_timeout(&self) -> Duration {
        self.timeouts.first_byte
    }
}

impl fmt::Debug for IntrospectionCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntrospectionCall([redacted])")
    }
}

//! The call that fetches the keys of the issuer (RFC 7517 section 5).

use core::time::Duration;
use std::sync::Arc;

use url::{Position, Url};

use super::{IssuerCall, Timeouts, USER_AGENT};

/// An HTTP `GET` without credentials.
#[derive(Clone, Debug)]
pub struct KeySetCall {
    url: Arc<Url>,
    timeouts: Timeouts,
}

impl KeySetCall {
    pub(crate) const fn new(url: Arc<Url>, timeouts: Timeouts) -> Self {
        Self { url, timeouts }
    }
}

impl IssuerCall for KeySetCall {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::BeforePath]
    }

    fn path_and_query(&self) -> &str {
        &self.url[Position::BeforePath..]
    }

    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> + Clone {
        [
            // RFC 7517 section 8.5.1; issuers disagree about the type, so the answer may have any.
            ("accept", "application/jwk-set+json, application/json"),
            ("accept-encoding", "identity"),
            ("user-agent", USER_AGENT),
        ]
        .into_iter()
    }

    fn body(&self) -> &[u8] {
        &[]
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

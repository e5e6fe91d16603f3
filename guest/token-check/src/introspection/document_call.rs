//! The call that fetches a document that the issuer serves to everybody: its keys (RFC 7517 section
//! 5) or its metadata (RFC 8414 section 3).

use core::time::Duration;
use std::sync::Arc;

use url::{Position, Url};

use super::{CallTarget, IssuerCall, Timeouts, USER_AGENT};
use crate::jose::KeySet;

/// An HTTP `GET` without credentials.
#[derive(Clone, Debug)]
pub struct DocumentCall {
    url: Arc<Url>,
    accept: &'static str,
    timeouts: Timeouts,
}

impl DocumentCall {
    /// Longest document accepted, in bytes: as long as a key set may be. Metadata have 2 to 10 KB.
    pub const MAX_BYTES: usize = KeySet::MAX_DOCUMENT_BYTES;

    /// For the keys.
    pub(crate) const fn keys(url: Arc<Url>, timeouts: Timeouts) -> Self {
        Self {
            url,
            // RFC 7517 section 8.5.1; issuers disagree about the type, so the answer may have any.
            accept: "application/jwk-set+json, application/json",
            timeouts,
        }
    }

    /// For the metadata.
    pub(crate) const fn metadata(url: Arc<Url>, timeouts: Timeouts) -> Self {
        Self {
            url,
            // RFC 8414 section 3.2; the answer may have any type even so.
            accept: "application/json",
            timeouts,
        }
    }
}

impl IssuerCall for DocumentCall {
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

    fn target(&self) -> Option<CallTarget> {
        None
    }

    fn fixed_headers(&self) -> impl Iterator<Item = (&'static str, &str)> + Clone {
        [
            ("accept", self.accept),
            ("accept-encoding", "identity"),
            ("user-agent", USER_AGENT),
        ]
        .into_iter()
    }

    fn traceparent(&self) -> Option<&str> {
        None
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

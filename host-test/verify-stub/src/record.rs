//! The requests that the stub has got.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use http::{HeaderMap, Method};

/// One of the stub's endpoints, in either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// RFC 6749 section 3.2.
    Token,
    /// RFC 7662.
    Introspect,
    /// RFC 7009.
    Revoke,
    /// OpenID Connect Discovery.
    Discovery,
    /// RFC 8414.
    Metadata,
    /// RFC 7517.
    Jwks,
    /// Any other URL.
    Other,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 7] = [
        Self::Token,
        Self::Introspect,
        Self::Revoke,
        Self::Discovery,
        Self::Metadata,
        Self::Jwks,
        Self::Other,
    ];

    /// The name in log lines and on the control endpoint.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Discovery => "discovery",
            Self::Metadata => "metadata",
            Self::Jwks => "jwks",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("no such endpoint: choose one of {names}")
            })
    }
}

/// One request as it arrived. Its `Debug` form omits what may be secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The endpoint that it called.
    pub endpoint: Endpoint,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path_and_query: String,
    /// Header fields, `host` included in HTTP/2 too.
    pub headers: HeaderMap,
    /// The server name that the caller sent in TLS (SNI).
    pub server_name: Option<String>,
    /// The body.
    pub body: Bytes,
    /// The body's parameters, decoded, if it is a form.
    pub form: Vec<(String, String)>,
}

impl RecordedRequest {
    /// The value of the first form parameter with this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters(name).next()
    }

    /// The values of the form parameters with this name.
    pub fn parameters(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.form.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().map(http::HeaderName::as_str).collect();
        let parameters: Vec<_> = self.form.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("RecordedRequest")
            .field("endpoint", &self.endpoint)
            .field("method", &self.method)
            .field("headers", &headers)
            .field("parameters", &parameters)
            .finish_non_exhaustive()
    }
}

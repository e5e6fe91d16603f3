//! What the stub was asked.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Serialize;

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
    /// RFC 7517.
    Jwks,
    /// A URL that is none of them.
    Other,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 6] = [
        Self::Token,
        Self::Introspect,
        Self::Revoke,
        Self::Discovery,
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
                format!("there is no such endpoint: {names} are")
            })
    }
}

/// How often the stub was called since it started, whatever came of the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Calls of the token endpoint.
    pub token: u64,
    /// Calls of the introspection endpoint.
    pub introspect: u64,
    /// Calls of the revocation endpoint.
    pub revoke: u64,
    /// Calls for the discovery document.
    pub discovery: u64,
    /// Calls for the keys.
    pub jwks: u64,
    /// Calls of URLs that do not exist.
    pub other: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// The most connections that were open at once.
    pub connections_open_most: u64,
}

/// One request as it came. Its Debug form leaves out what may be secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// What it called.
    pub endpoint: Endpoint,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path_and_query: String,
    /// Header fields; `host` is there in HTTP/2 too.
    pub headers: HeaderMap,
    /// Whom the caller asked TLS for (SNI).
    pub server_name: Option<String>,
    /// The body.
    pub body: Bytes,
    /// The body's parameters, decoded, if it is a form.
    pub form: Vec<(String, String)>,
}

impl RecordedRequest {
    /// The value of the first form parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
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

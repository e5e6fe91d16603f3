//! Counts calls and connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::record::Endpoint;

/// How often the stub has been called since it started, whatever the outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Calls of the token endpoint.
    pub token: u64,
    /// Calls of the introspection endpoint.
    pub introspect: u64,
    /// Calls of the revocation endpoint.
    pub revoke: u64,
    /// Calls of the OpenID Connect Discovery endpoint.
    pub discovery: u64,
    /// Calls of the metadata endpoint of RFC 8414.
    pub metadata: u64,
    /// Calls of the key set endpoint.
    pub jwks: u64,
    /// Calls of URLs that do not exist.
    pub other: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections open now.
    pub connections_open: u64,
}

#[derive(Default)]
pub(super) struct Counts {
    calls: [AtomicU64; Endpoint::ALL.len()],
    connections_accepted: AtomicU64,
    connections_open: AtomicU64,
}

impl Counts {
    pub(super) fn count_call(&self, endpoint: Endpoint) {
        if let Some(count) = self.counter(endpoint) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn counter(&self, endpoint: Endpoint) -> Option<&AtomicU64> {
        let position = Endpoint::ALL.iter().position(|other| *other == endpoint)?;
        self.calls.get(position)
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub(super) fn connection(&self) -> OpenConnection<'_> {
        self.connections_accepted.fetch_add(1, Relaxed);
        self.connections_open.fetch_add(1, Relaxed);
        OpenConnection(self)
    }

    pub(super) fn read(&self) -> Counters {
        let calls = |endpoint| {
            self.counter(endpoint)
                .map_or(0, |count| count.load(Relaxed))
        };
        Counters {
            token: calls(Endpoint::Token),
            introspect: calls(Endpoint::Introspect),
            revoke: calls(Endpoint::Revoke),
            discovery: calls(Endpoint::Discovery),
            metadata: calls(Endpoint::Metadata),
            jwks: calls(Endpoint::Jwks),
            other: calls(Endpoint::Other),
            connections_accepted: self.connections_accepted.load(Relaxed),
            connections_open: self.connections_open.load(Relaxed),
        }
    }
}

pub(super) struct OpenConnection<'a>(&'a Counts);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Relaxed);
    }
}

//! The parts of a request that the core reads.

pub(crate) mod bearer;
pub(crate) mod path;
pub(crate) mod traceparent;

pub use path::Ambiguity;

/// The request head, as far as the core reads it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// Each Authorization field line's value, in order, as received.
    pub authorization: &'a [&'a [u8]],
    /// The method, as received.
    pub method: &'a [u8],
    /// The host and optional port that the request is routed by: the `:authority` pseudo-header or
    /// the Host header. Several Host headers are joined with commas. `None` if there is none.
    pub authority: Option<&'a [u8]>,
    /// Path and query as received. `None` if there is no path (CONNECT).
    pub path_and_query: Option<&'a [u8]>,
    /// Each `traceparent` field line's value (W3C Trace Context), as received. Only read for an
    /// introspection call.
    pub traceparent: &'a [&'a [u8]],
}

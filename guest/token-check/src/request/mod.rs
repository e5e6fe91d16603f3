//! What the core reads of a request.

pub(crate) mod bearer;
pub(crate) mod path;
pub(crate) mod traceparent;

pub use path::Ambiguity;

/// What the core reads of a request.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// Each Authorization field line's value, in order, as received.
    pub authorization: &'a [&'a [u8]],
    /// The method, as received.
    pub method: &'a [u8],
    /// The host that the request is for, with its port if it has one: the `:authority` pseudo-header or the Host header,
    /// whichever the request is routed by; of several Host headers all, joined with commas. `None` where there is none.
    pub authority: Option<&'a [u8]>,
    /// The request target as received: path and query. `None` where there is none (CONNECT).
    pub path_and_query: Option<&'a [u8]>,
    /// Each `traceparent` field line's value (W3C Trace Context), as received. Only read when the issuer is asked.
    pub traceparent: &'a [&'a [u8]],
}

//! What a host sends to the issuer.

use core::time::Duration;

/// A call to the issuer, for the host to send once, without following redirects.
pub trait IssuerCall {
    /// `GET` or `POST`.
    fn method(&self) -> &'static str;

    /// Whether to use TLS.
    fn is_https(&self) -> bool;

    /// Host and port, as for the Host header.
    fn authority(&self) -> &str;

    /// Path and query.
    fn path_and_query(&self) -> &str;

    /// Header fields to send; names in lower case.
    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> + Clone;

    /// The content; empty for a `GET`.
    fn body(&self) -> &[u8];

    /// How long the whole call may take.
    fn timeout(&self) -> Duration;

    /// How long connecting may take, no longer than the whole call.
    fn connect_timeout(&self) -> Duration;

    /// How long the first byte of the response may take, no longer than the whole call.
    fn first_byte_timeout(&self) -> Duration;
}

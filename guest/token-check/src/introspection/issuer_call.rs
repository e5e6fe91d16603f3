//! What a host sends to the issuer.

use core::any::Any;
use core::time::Duration;
use std::sync::Arc;

/// What calls have in common: method, URL and [`IssuerCall::fixed_headers`] are the same in all calls
/// with the same target, so that a host can make ready once what it sends.
#[derive(Clone)]
pub struct CallTarget(Arc<dyn Any>);

impl CallTarget {
    /// `common`: what all these calls share.
    pub(super) fn new<T: Any>(common: Arc<T>) -> Self {
        Self(common)
    }
}

impl PartialEq for CallTarget {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl core::fmt::Debug for CallTarget {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CallTarget([redacted])")
    }
}

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

    /// `None`: there may be no other call like this one.
    fn target(&self) -> Option<CallTarget>;

    /// Header fields to send, without `traceparent`; names in lower case.
    fn fixed_headers(&self) -> impl Iterator<Item = (&'static str, &str)> + Clone;

    /// The value of `traceparent`, if it is sent.
    fn traceparent(&self) -> Option<&str>;

    /// All header fields to send.
    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> + Clone {
        let traceparent = self.traceparent().map(|value| ("traceparent", value));
        self.fixed_headers().chain(traceparent)
    }

    /// The content; empty for a `GET`.
    fn body(&self) -> &[u8];

    /// How long the whole call may take.
    fn timeout(&self) -> Duration;

    /// How long connecting may take, no longer than the whole call.
    fn connect_timeout(&self) -> Duration;

    /// How long the first byte of the response may take, no longer than the whole call.
    fn first_byte_timeout(&self) -> Duration;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_same_if_they_share_the_same_thing() {
        let common = Arc::new(7);
        let target = CallTarget::new(Arc::clone(&common));
        assert_eq!(target, CallTarget::new(common));
        assert_ne!(target, CallTarget::new(Arc::new(7)));
        assert_eq!(format!("{target:?}"), "CallTarget([redacted])");
    }
}

//! The parts of a request that the core reads.

pub(crate) mod bearer;
mod client_certificate;
pub(crate) mod path;
pub(crate) mod traceparent;

pub(crate) use bearer::Credentials;
pub(crate) use bearer::Scheme;
pub(crate) use client_certificate::CertificateFormat;
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
    /// Each `DPoP` field line's value (RFC 9449 section 4.1), as received. Only read if the policy
    /// [accepts proofs](crate::Policy::accepts_dpop).
    pub dpop: &'a [&'a [u8]],
    /// What the host tells about the client certificate, from where
    /// [`Policy::certificate_source`](crate::Policy::certificate_source) says: each line of that
    /// header, or the one property. Empty if there is none, or nothing is asked for.
    pub client_certificate: &'a [&'a [u8]],
    /// Each `traceparent` field line's value (W3C Trace Context), as received. Only read for an
    /// introspection call.
    pub traceparent: &'a [&'a [u8]],
}

/// For tests that try every input up to a length.
#[cfg(test)]
mod every {
    /// Every string of up to `most` symbols.
    pub(super) fn string(symbols: &[&[u8]], most: usize, each: &mut impl FnMut(&[u8])) {
        extend(&mut Vec::new(), symbols, most, each);
    }

    fn extend(string: &mut Vec<u8>, symbols: &[&[u8]], left: usize, each: &mut impl FnMut(&[u8])) {
        each(string);
        let Some(left) = left.checked_sub(1) else {
            return;
        };
        for symbol in symbols {
            let end = string.len();
            string.extend_from_slice(symbol);
            extend(string, symbols, left, each);
            string.truncate(end);
        }
    }
}

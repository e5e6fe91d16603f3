//! HTTP with the brakes on: no redirects, capped bodies, time limits. What comes back is an answer or one fault.

use std::{error::Error, io, time::Duration};

use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap, redirect};
use url::{Host, Url};

/// Time limits of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// For the connection, TLS included.
    pub(crate) connect: Duration,
    /// For the whole call, to the last byte of the answer.
    pub(crate) whole: Duration,
}

/// A client for `target` that follows no redirect: neither credentials nor a token go where nobody sent them
/// (attack S6).
pub(crate) fn client(target: &Url, timeouts: Timeouts) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("service-a/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.whole);
    if is_loopback(target) {
        // No proxy can reach what listens on this machine only, and it would read what is sent in plain.
        builder = builder.no_proxy();
        if target.scheme() == "http" {
            // There will be no TLS: a machine without certificate authorities can do it too.
            builder = builder.tls_certs_only([]);
        }
    }
    builder.build()
}

/// Whether the host is this machine by name or address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no complete answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The body is over the limit.
    TooLarge(StatusCode, HeaderMap),
    /// Nothing came, or it broke off.
    Unreachable {
        /// `certificate_refused`, `connection_failed`, `connection_broken` or `timeout`.
        reason: &'static str,
        /// What the operating system, TLS or HTTP said.
        text: String,
    },
}

/// Sends once and reads at most `limit` bytes of the body.
pub(crate) async fn send(request: RequestBuilder, limit: usize) -> Result<Answer, Fault> {
    let mut response = request.send().await.map_err(fault)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > limit {
            return Err(Fault::TooLarge(
                response.status(),
                response.headers().clone(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body,
    })
}

fn fault(error: reqwest::Error) -> Fault {
    // The address is told elsewhere; the innermost error is the one that says something.
    let error = error.without_url();
    let mut innermost: &(dyn Error + 'static) = &error;
    let mut bad_certificate = is_bad_certificate(innermost);
    while let Some(source) = innermost.source() {
        innermost = source;
        bad_certificate |= is_bad_certificate(innermost);
    }
    let (reason, text) = if error.is_timeout() {
        let waited_for = if error.is_connect() {
            "no connection in time"
        } else {
            "no complete answer in time"
        };
        ("timeout", waited_for.to_owned())
    } else if bad_certificate {
        ("certificate_refused", innermost.to_string())
    } else if error.is_connect() {
        ("connection_failed", innermost.to_string())
    } else {
        ("connection_broken", innermost.to_string())
    };
    Fault::Unreachable { reason, text }
}

/// An I/O error is made of another error that is not its source, and that may be an I/O error again.
fn is_bad_certificate(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        Some(Some(inner)) => is_bad_certificate(inner),
        Some(None) => false,
        None => matches!(
            error.downcast_ref(),
            Some(rustls::Error::InvalidCertificate(_))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_only() {
        let table = [
            ("http://localhost:1", true),
            ("http://LOCALHOST", true),
            ("http://127.0.0.1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8", true),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.nip.io", false),
            ("http://0.0.0.0", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
        ];
        for (url, loopback) in table {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }
}

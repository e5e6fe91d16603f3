//! HTTP with the brakes on: no redirects, capped bodies, time limits. What comes back is an answer or one fault.

use std::{env, error::Error, io, time::Duration};

use reqwest::{
    Client, Request, StatusCode, Version,
    header::{HeaderMap, HeaderValue, USER_AGENT},
    redirect,
};
use url::{Host, Url};

use crate::trace::Trace;

/// Time limits of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// For the connection, TLS included.
    pub(crate) connect: Duration,
    /// For the whole call, to the last byte of the answer.
    pub(crate) whole: Duration,
}

/// Takes out of a text whatever must not be seen.
pub(crate) type Redact<'a> = &'a (dyn Fn(&str) -> String + Send + Sync);

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    trace: Option<Trace>,
}

impl Http {
    /// For `target`. It follows no redirect: neither credentials nor a token go where nobody sent them (attack S6).
    pub(crate) fn new(
        target: &Url,
        timeouts: Timeouts,
        trace: Option<Trace>,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.whole);
        if is_loopback(target) {
            // No proxy can reach what listens on this machine only, and it would read what is sent in plain.
            builder = builder.no_proxy();
        }
        if target.scheme() == "http" && (is_loopback(target) || !is_proxied()) {
            // There will be no TLS: a machine without certificate authorities can do it too.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            client: builder.build()?,
            trace,
        })
    }

    /// Whether requests and answers are shown.
    pub(crate) const fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Sends once and reads at most `limit` bytes of the body. What `--verbose` shows goes through `redact`.
    pub(crate) async fn send(
        &self,
        mut request: Request,
        limit: usize,
        redact: Redact<'_>,
    ) -> Result<Answer, Fault> {
        let name = HeaderValue::from_static(concat!("service-a/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, name);
        let shown = self
            .trace
            .as_ref()
            .map(|trace| trace.request(&request, redact));
        let outcome = exchange(&self.client, request, limit).await;
        if let Some(shown) = shown {
            shown.ended(&outcome, redact);
        }
        outcome
    }
}

async fn exchange(client: &Client, request: Request, limit: usize) -> Result<Answer, Fault> {
    let mut response = client.execute(request).await.map_err(fault)?;
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
        version: response.version(),
        headers: response.headers().clone(),
        body,
    })
}

/// Whether a proxy may be asked for plain http; it may be reached over https itself.
fn is_proxied() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .any(|name| env::var_os(name).is_some_and(|proxy| !proxy.is_empty()))
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
    pub(crate) version: Version,
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

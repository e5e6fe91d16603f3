//! An HTTP client with limits: no redirects, bounded bodies, timeouts.

use std::{env, time::Duration};

use reqwest::{
    Client, Identity, Request,
    header::{HeaderValue, USER_AGENT},
    redirect,
};
use url::{Host, Url};

use crate::{
    dpop::{self, Dpop},
    response::{HttpError, Redact, Response},
    trace::Trace,
};

/// Timeouts of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// For the connection, TLS included.
    pub(crate) connect: Duration,
    /// For the whole request, to the last byte of the response.
    pub(crate) whole: Duration,
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    dpop: Option<Dpop>,
    trace: Option<Trace>,
}

impl Http {
    /// A client for `target`. It follows no redirect, so that neither credentials nor a token reach
    /// a server that the settings do not name (attack S6).
    pub(crate) fn new(
        target: &Url,
        timeouts: Timeouts,
        certificate: Option<Identity>,
        trace: Option<Trace>,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.whole);
        if let Some(certificate) = certificate {
            builder = builder.identity(certificate);
        }
        if is_loopback(target) {
            // No proxy can reach loopback, and a proxy would see plain-text credentials.
            builder = builder.no_proxy();
        }
        if target.scheme() == "http" && (is_loopback(target) || !is_proxied()) {
            // Without TLS there is no need to load certificate authorities, which may be missing.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            client: builder.build()?,
            dpop: None,
            trace,
        })
    }

    /// The same, whose requests prove that it holds the key of its tokens.
    pub(crate) fn with_dpop(self, dpop: Option<Dpop>) -> Self {
        Self { dpop, ..self }
    }

    /// Whether tokens are bound to a key.
    pub(crate) const fn uses_dpop(&self) -> bool {
        self.dpop.is_some()
    }

    /// Whether requests and responses are shown.
    pub(crate) const fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Sends once and reads at most `limit` bytes of the body. `--verbose` shows only what `redact`
    /// returns.
    pub(crate) async fn send(
        &self,
        mut request: Request,
        limit: usize,
        redact: Redact<'_>,
    ) -> Result<Response, HttpError> {
        let name = HeaderValue::from_static(concat!("service-a/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, name);
        let origin = dpop::origin(&request);
        if let Some(dpop) = &self.dpop
            && dpop.prove(&mut request).is_none()
        {
            return Err(HttpError::Unreachable {
                reason: "cannot_sign",
                message: "no DPoP proof can be signed".to_owned(),
            });
        }
        let traced = self
            .trace
            .as_ref()
            .map(|trace| trace.request(&request, redact));
        let outcome = send(&self.client, request, limit).await;
        if let Some(traced) = traced {
            traced.finished(&outcome, redact);
        }
        if let (Some(dpop), Ok(response)) = (&self.dpop, &outcome) {
            dpop.remember_nonce(origin, response);
        }
        outcome
    }
}

async fn send(client: &Client, request: Request, limit: usize) -> Result<Response, HttpError> {
    let mut response = client.execute(request).await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(HttpError::TooLarge(
                response.status(),
                response.headers().clone(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response {
        status: response.status(),
        version: response.version(),
        headers: response.headers().clone(),
        body,
    })
}

/// Whether plain http may go through a proxy; the proxy itself may need https.
fn is_proxied() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .any(|name| env::var_os(name).is_some_and(|proxy| !proxy.is_empty()))
}

/// Whether the host is this machine, by name or address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
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

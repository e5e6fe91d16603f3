//! Prepares a request for a component as Spin does.

use std::{error::Error, fmt, net::SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri,
    header::{CONNECTION, HOST},
    uri::{Authority, Scheme},
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use wasmtime_wasi_http::{handler, p3::bindings::http::types::ErrorCode};

use super::{allowed_hosts::CHAINING_SUFFIX, router::Match};

/// The host in `spin-full-url` when the request has no Host header, as in HTTP/2.
const NO_HOST: &str = "localhost";

/// The request has no host: Spin closes the connection (HTTP/2: the stream) without a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unaddressed(pub(crate) &'static str);

impl fmt::Display for Unaddressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Unaddressed {}

/// The value of a header is not UTF-8: Spin responds with 500 and an empty body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8(pub(crate) HeaderName);

/// Removes the headers that Spin does not pass to components.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_chaining) {
        headers.remove(HOST);
    }
    headers.remove(CONNECTION);
}

/// The hosts by which components of an app call each other, which an external caller must not use.
fn is_chaining(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_suffix(CHAINING_SUFFIX)
        .is_some_and(|component| !component.contains('.'))
}

/// Sets the absolute URI of the request.
pub(crate) fn address<T>(request: &mut Request<T>) -> Result<(), Unaddressed> {
    let authority = authority(request)?;
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|_| Unaddressed("the request's target has no path"))?;
    Ok(())
}

/// The first Host header, if there are several.
fn authority<T>(request: &Request<T>) -> Result<Authority, Unaddressed> {
    let header = match request.headers().get(HOST) {
        Some(host) => Some(
            host.to_str()
                .ok()
                .and_then(|host| host.parse().ok())
                .ok_or(Unaddressed("the Host header is no host"))?,
        ),
        None => None,
    };
    match (header, request.uri().authority()) {
        (None, None) => Err(Unaddressed("the request has no Host header")),
        (Some(header), None) => Ok(header),
        (None, Some(uri)) => Ok(uri.clone()),
        (Some(header), Some(uri)) if header == *uri => Ok(header),
        (Some(_), Some(_)) => Err(Unaddressed(
            "the Host header does not match the request's address",
        )),
    }
}

/// Appends Spin's headers. The caller's own `spin-...` headers stay in front of them, as in Spin.
pub(crate) fn prepare(
    mut request: Request<Incoming>,
    found: &Match,
    client: SocketAddr,
) -> Result<handler::Request, NotUtf8> {
    let headers = request.headers();
    let unreadable = headers
        .iter()
        .find(|(_, value)| str::from_utf8(value.as_bytes()).is_err());
    if let Some((name, _)) = unreadable {
        return Err(NotUtf8(name.clone()));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or(NO_HOST);
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let full_url = format!("http://{host}{target}");
    for (name, value) in found.headers(full_url, client) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            request.headers_mut().append(name, value);
        }
    }
    Ok(request.map(|body| {
        body.map_err(|error| ErrorCode::from_hyper_request_error(error).into())
            .boxed_unsync()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_is_meant_and_must_match_the_targets() {
        type Row<'a> = (&'a str, &'a [&'a [u8]], Result<&'a str, &'a str>);
        let table: &[Row<'_>] = &[
            ("/x", &[b"a.test:1"], Ok("http://a.test:1/x")),
            ("http://a.test/x", &[], Ok("http://a.test/x")),
            ("http://a.test/x", &[b"A.test"], Ok("http://a.test/x")),
            ("/x", &[b"a.test", b"b.test"], Ok("http://a.test/x")),
            ("/x", &[], Err("the request has no Host header")),
            ("/x", &[b"a test"], Err("the Host header is no host")),
            ("/x", &[b"a\xff"], Err("the Host header is no host")),
            (
                "http://a.test/x",
                &[b"b.test"],
                Err("the Host header does not match the request's address"),
            ),
            // The target of CONNECT.
            (
                "a.test:443",
                &[b"a.test:443"],
                Err("the request's target has no path"),
            ),
            // The app's own names are not for callers.
            (
                "/x",
                &[b"b.spin.internal"],
                Err("the request has no Host header"),
            ),
            (
                "/x",
                &[b"b.spin.internal:80"],
                Err("the request has no Host header"),
            ),
            (
                "/x",
                &[b"a.b.spin.internal"],
                Ok("http://a.b.spin.internal/x"),
            ),
        ];
        for (target, hosts, expected) in table {
            let mut request = Request::get(*target);
            for host in *hosts {
                request = request.header(HOST, *host);
            }
            let mut request = request.body(()).unwrap();
            strip(request.headers_mut());
            let result = address(&mut request);
            let found = result.map(|()| request.uri().to_string().to_lowercase());
            let expected = expected.map(str::to_owned).map_err(Unaddressed);
            assert_eq!(found, expected, "{target} {hosts:?}");
        }
    }

    #[test]
    fn connection_is_removed_and_other_hop_by_hop_headers_stay() {
        let mut headers = HeaderMap::new();
        for name in [
            "connection",
            "keep-alive",
            "te",
            "transfer-encoding",
            "upgrade",
            "host",
        ] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["host", "keep-alive", "te", "transfer-encoding", "upgrade"]
        );
    }
}

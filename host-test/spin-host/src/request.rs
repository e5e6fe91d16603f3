//! What happens to a request before a component sees it.

use std::net::SocketAddr;

use http::{
    HeaderName, HeaderValue, Request, Uri,
    header::{CONNECTION, HOST},
    uri::{Authority, Scheme},
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use wasmtime_wasi_http::{handler, p3::bindings::http::types::ErrorCode};

use super::router::{Match, is_reserved};

/// Gives the request its whole address and Spin's headers.
///
/// Header values are passed on byte for byte. The error is a reason to answer 400.
pub(crate) fn prepare(
    mut request: Request<Incoming>,
    found: &Match,
    client: SocketAddr,
) -> Result<handler::Request, &'static str> {
    let authority = authority(&request)?;
    let host = match request.headers().get(HOST) {
        Some(host) => host
            .to_str()
            .map_err(|_| "the Host header is not ASCII")?
            .to_owned(),
        None => authority.to_string(),
    };
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let full_url = format!("http://{host}{target}");

    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts
        .path_and_query
        .get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|_| "the request's address is no address")?;

    let headers = request.headers_mut();
    // Means something to this connection only, and stands in the way of guests that pass requests on.
    headers.remove(CONNECTION);
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_reserved(&name.as_str().replace('_', "-")))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    for (name, value) in found.headers(full_url, client) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    Ok(request.map(|body| {
        body.map_err(|error| ErrorCode::from_hyper_request_error(error).into())
            .boxed_unsync()
    }))
}

/// The one host the request is for; a request that names two is refused rather than guessed at.
fn authority<T>(request: &Request<T>) -> Result<Authority, &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err("the request has two Host headers");
    }
    let header = match header {
        Some(host) => {
            Some(Authority::try_from(host.as_bytes()).map_err(|_| "the Host header is no host")?)
        }
        None => None,
    };
    match (header, request.uri().authority()) {
        (None, None) => Err("the request has no Host header"),
        (Some(header), None) => Ok(header),
        (None, Some(uri)) => Ok(uri.clone()),
        (Some(header), Some(uri)) if header == *uri => Ok(header),
        (Some(_), Some(_)) => Err("the Host header does not match the request's address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_exactly_one_host() {
        let table: &[(&str, &[&str], Result<&str, &str>)] = &[
            ("/x", &["a.test:1"], Ok("a.test:1")),
            ("http://a.test/x", &[], Ok("a.test")),
            ("http://a.test/x", &["A.test"], Ok("a.test")),
            ("/x", &[], Err("the request has no Host header")),
            (
                "/x",
                &["a.test", "b.test"],
                Err("the request has two Host headers"),
            ),
            ("/x", &["a test"], Err("the Host header is no host")),
            (
                "http://a.test/x",
                &["b.test"],
                Err("the Host header does not match the request's address"),
            ),
        ];
        for (uri, hosts, expected) in table {
            let mut request = Request::get(*uri);
            for host in *hosts {
                request = request.header(HOST, *host);
            }
            let found = authority(&request.body(()).unwrap());
            assert_eq!(
                found.map(|host| host.to_string().to_lowercase()),
                expected.map(str::to_owned),
                "{uri} {hosts:?}"
            );
        }
    }
}

//! Requests to the app, and responses of the auth check. Bodies pass untouched in both directions.

use std::borrow::Cow;

use spin_sdk::wasip3::http::types::{ErrorCode, Fields, HeaderError, Method, Request, Response};
use spin_sdk::wasip3::wit_bindgen::yield_async;
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};
use token_check::{CertificateSource, Grant, Policy, RequestHead, is_identity_header};

/// The core's response as a response of WASI. It carries content-length, and offers its body before
/// the head is returned, so that the host sends both in one segment: two would run into Nagle's
/// algorithm and a delayed acknowledgement.
pub(crate) async fn refuse(refusal: &token_check::Response) -> Response {
    let fields: Vec<_> = refusal
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    let fields = Fields::from_list(&fields).unwrap_or_else(|_| Fields::new());
    let (mut body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields, Some(contents), no_trailers);
    // Every status of the core is valid; if one ever were not, a 500 lets nobody in either.
    if response.set_status_code(refusal.status).is_err() {
        let _ = response.set_status_code(500);
    }
    let text = refusal.body.clone().into_bytes();
    let mut write = Box::pin(async move {
        let _unread = body.write_all(text).await;
        drop(body);
        drop(trailers);
    });
    if futures::poll!(&mut write).is_pending() {
        spawn(write);
    }
    response
}

/// The request head, copied once because every getter is a host call.
pub(crate) struct Head {
    /// The host's own fields, of which [`forward`] edits a copy.
    headers: Fields,
    fields: Vec<(String, Vec<u8>)>,
    method: Method,
    authority: Option<String>,
    /// Path and query.
    target: Option<String>,
}

impl Head {
    pub(crate) fn new(request: &Request) -> Self {
        let headers = request.get_headers();
        Self {
            fields: headers.copy_all(),
            headers,
            method: request.get_method(),
            authority: request.get_authority(),
            target: request.get_path_with_query(),
        }
    }

    /// The value of each line of a field, in order.
    fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        (self.fields.iter())
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// What the core reads, in one place to borrow from.
    pub(crate) fn parts(&self, policy: &Policy) -> Parts<'_> {
        let hosts: Vec<&[u8]> = self.lines("host").collect();
        let authority = self.authority.as_deref().map(str::as_bytes);
        Parts {
            authorization: self.lines("authorization").collect(),
            dpop: match policy.accepts_dpop() {
                true => self.lines("dpop").collect(),
                false => Vec::new(),
            },
            client_certificate: match policy.certificate_source() {
                CertificateSource::Header(name) => self.lines(name).collect(),
                // WASI does not tell about the connection.
                CertificateSource::None | CertificateSource::Connection => Vec::new(),
            },
            traceparent: self.lines("traceparent").collect(),
            // Spin routes by the first Host field, and shows the app all of them.
            authority: if hosts.len() > 1 {
                Some(Cow::Owned(hosts.join(&b", "[..])))
            } else {
                authority.map(Cow::Borrowed)
            },
            method: method_name(&self.method).as_bytes(),
            path_and_query: self.target.as_deref().map(str::as_bytes),
        }
    }
}

/// Puts the grant's identity headers in place of client-sent ones.
fn edit(fields: &Fields, received: &[(String, Vec<u8>)], grant: &Grant) -> Result<(), HeaderError> {
    for (name, _) in received {
        let is_identity = is_identity_header(name.as_bytes());
        if is_identity || (!grant.forward_token && name.eq_ignore_ascii_case("authorization")) {
            fields.delete(name)?;
        }
    }
    for (name, value) in grant.headers() {
        fields.append(name, value.as_bytes())?;
    }
    Ok(())
}

pub(crate) struct Parts<'a> {
    authorization: Vec<&'a [u8]>,
    dpop: Vec<&'a [u8]>,
    client_certificate: Vec<&'a [u8]>,
    traceparent: Vec<&'a [u8]>,
    authority: Option<Cow<'a, [u8]>>,
    method: &'a [u8],
    path_and_query: Option<&'a [u8]>,
}

impl Parts<'_> {
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            authorization: &self.authorization,
            method: self.method,
            authority: self.authority.as_deref(),
            path_and_query: self.path_and_query,
            dpop: &self.dpop,
            client_certificate: &self.client_certificate,
            traceparent: &self.traceparent,
        }
    }
}

/// The method as the request spells it.
fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

/// Forwards the request with the grant's headers, moves its body stream over, and returns the app's
/// response unchanged. `after_store`: the shared store was used for this request.
pub(crate) async fn forward(
    request: Request,
    head: Head,
    grant: &Grant,
    after_store: bool,
) -> Result<Response, ErrorCode> {
    // A copy of the request's own fields, because Spin shows `host` to guests and refuses it in
    // fields that a guest creates.
    let fields = head.headers.clone();
    drop(head.headers);
    let scheme = request.get_scheme();
    let (_done, done) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Request::consume_body(request, done);
    // Only now: the host copies fields at their first edit if a request or a handle shares them.
    edit(&fields, &head.fields, grant).map_err(|_| ErrorCode::HttpProtocolError)?;
    let (onward, _sent) = Request::new(fields, Some(contents), trailers, None);
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    // A new request is a GET.
    if !matches!(head.method, Method::Get) {
        onward
            .set_method(&head.method)
            .map_err(|()| ErrorCode::HttpRequestMethodInvalid)?;
    }
    onward.set_scheme(scheme.as_ref()).map_err(invalid)?;
    onward
        .set_authority(head.authority.as_deref())
        .map_err(invalid)?;
    onward
        .set_path_with_query(head.target.as_deref())
        .map_err(invalid)?;
    let response = next_handler::handle(onward).await?;
    if after_store {
        // As in `instance::get`: the app offers its body before the response is sent.
        yield_async().await;
    }
    Ok(response)
}

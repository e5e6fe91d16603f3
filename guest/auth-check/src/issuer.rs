//! Sends a call to the issuer and collects the response, capped while it streams.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, join, select};
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme,
};
use spin_sdk::wasip3::wit_bindgen::StreamResult;
use spin_sdk::wasip3::{wit_future, wit_stream};
use token_check::{BodyCollector, CallFailure, IssuerCall, IssuerResponse};

use crate::clock::sleep_until;

/// Bytes read from the issuer at a time: a typical response fits.
const READ_BYTES: usize = 4 * 1024;

/// Sends the call. It ends at `deadline` on the monotonic clock, whatever the issuer does.
pub(crate) async fn send(
    call: &impl IssuerCall,
    body: BodyCollector,
    deadline: Duration,
) -> Result<IssuerResponse, CallFailure> {
    match select(pin!(exchange(call, body)), pin!(sleep_until(deadline))).await {
        Either::Left((result, _)) => result.map_err(|code| failure(&code)),
        Either::Right(_) => Err(CallFailure::Timeout),
    }
}

/// Maps WASI's error codes. Spin uses one code for all TLS failures, and one for a broken
/// connection and for bytes that are not HTTP.
fn failure(code: &ErrorCode) -> CallFailure {
    match code {
        ErrorCode::HttpRequestDenied => CallFailure::Denied,
        ErrorCode::DnsTimeout | ErrorCode::ConnectionTimeout => CallFailure::ConnectTimeout,
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => CallFailure::Timeout,
        ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => CallFailure::NameNotFound,
        ErrorCode::DestinationIpProhibited | ErrorCode::DestinationIpUnroutable => {
            CallFailure::NoRoute
        }
        ErrorCode::ConnectionRefused => CallFailure::ConnectionRefused,
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            CallFailure::BrokenOff
        }
        ErrorCode::ConnectionLimitReached => CallFailure::LimitReached,
        ErrorCode::TlsCertificateError => CallFailure::CertificateRefused,
        ErrorCode::TlsAlertReceived(_) => CallFailure::TlsAlert,
        ErrorCode::TlsProtocolError => CallFailure::Tls,
        ErrorCode::HttpProtocolError => CallFailure::Protocol,
        _ => CallFailure::Unreachable,
    }
}

async fn exchange(
    call: &impl IssuerCall,
    collected: BodyCollector,
) -> Result<IssuerResponse, ErrorCode> {
    let (mut body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let has_body = !call.body().is_empty();
    let (request, _sent) = Request::new(
        fields(call)?,
        has_body.then_some(contents),
        no_trailers,
        Some(options(call)),
    );
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let method = if has_body { Method::Post } else { Method::Get };
    request
        .set_method(&method)
        .map_err(|()| ErrorCode::HttpRequestMethodInvalid)?;
    let scheme = if call.is_https() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request
        .set_authority(Some(call.authority()))
        .map_err(invalid)?;
    request
        .set_path_with_query(Some(call.path_and_query()))
        .map_err(invalid)?;

    let write = async move {
        // A write error is fine: the issuer may respond before it reads the whole body.
        if has_body {
            let _unread = body.write_all(call.body().to_vec()).await;
        }
        drop(body);
        drop(trailers);
    };
    let (response, ()) = join(client::send(request), write).await;
    collect(response?, collected).await
}

fn fields(call: &impl IssuerCall) -> Result<Fields, ErrorCode> {
    let length = call.body().len().to_string();
    let length = (!call.body().is_empty()).then_some(("content-length", length.as_str()));
    let fields: Vec<_> = call
        .headers()
        .chain(length)
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
    Fields::from_list(&fields).map_err(|_| ErrorCode::HttpProtocolError)
}

/// The timeouts of the host. A host may ignore those it does not support: [`send`] limits the whole
/// call anyway.
fn options(call: &impl IssuerCall) -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).ok();
    let _ = options.set_connect_timeout(nanoseconds(call.connect_timeout()));
    let _ = options.set_first_byte_timeout(nanoseconds(call.first_byte_timeout()));
    let _ = options.set_between_bytes_timeout(nanoseconds(call.timeout()));
    options
}

async fn collect(response: Response, mut body: BodyCollector) -> Result<IssuerResponse, ErrorCode> {
    let status = response.get_status_code();
    let headers = response.get_headers();
    let first = |name: &str| headers.get(name).into_iter().next();
    let content_type = first("content-type");
    let content_encoding = first("content-encoding");
    let retry_after = first("retry-after");
    let www_authenticate = headers.get("www-authenticate");
    let (_done, done) = wit_future::new(|| Ok(()));
    let (mut stream, end) = Response::consume_body(response, done);
    let is_whole = loop {
        let (result, chunk) = stream.read(Vec::with_capacity(READ_BYTES)).await;
        if !body.push(&chunk) {
            // Too large: the core reports that, and the rest is not read.
            break false;
        }
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break true,
        }
    };
    if is_whole {
        // A truncated response is a failed call.
        end.await?;
    }
    Ok(IssuerResponse {
        status,
        content_type,
        content_encoding,
        retry_after,
        www_authenticate,
        body,
    })
}

//! Sends the core's call to the issuer and collects the answer, capped while it streams.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, join, select};
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme,
};
use spin_sdk::wasip3::wit_bindgen::StreamResult;
use spin_sdk::wasip3::{wit_future, wit_stream};
use token_check::{AnswerBody, CallFailure, IssuerAnswer, OutboundCall, Outcome};

use crate::flights::until;

/// Piece read from the issuer at a time, in bytes: a typical answer in one.
const READ_BYTES: usize = 4 * 1024;

/// The call, ended at `deadline` on the monotonic clock whatever the issuer does, and its answer in `body`.
pub(crate) async fn ask(call: &OutboundCall, body: AnswerBody, deadline: Duration) -> Outcome {
    match select(pin!(exchange(call, body)), pin!(until(deadline))).await {
        Either::Left((Ok(answer), _)) => Outcome::Answered(answer),
        Either::Left((Err(code), _)) => Outcome::Failed(failure(&code)),
        Either::Right(_) => Outcome::Failed(CallFailure::Timeout),
    }
}

/// What WASI's codes tell. Spin has one for all that can be wrong with TLS, and another one for a connection that breaks and
/// for what is not HTTP.
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

async fn exchange(call: &OutboundCall, collected: AnswerBody) -> Result<IssuerAnswer, ErrorCode> {
    let (mut body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(
        fields(call)?,
        Some(contents),
        no_trailers,
        Some(options(call)),
    );
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request
        .set_method(&Method::Post)
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
        // What the issuer does not read it does not want: its answer counts.
        let _unread = body.write_all(call.body().to_vec()).await;
        drop(body);
        drop(trailers);
    };
    let (response, ()) = join(client::send(request), write).await;
    answer(response?, collected).await
}

fn fields(call: &OutboundCall) -> Result<Fields, ErrorCode> {
    let length = call.body().len().to_string();
    let fields: Vec<_> = call
        .headers()
        .chain([("content-length", length.as_str())])
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
    Fields::from_list(&fields).map_err(|_| ErrorCode::HttpProtocolError)
}

/// The host's own timeouts; a host that does not know one ignores it, and the whole call is timed here anyway.
fn options(call: &OutboundCall) -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).ok();
    let _ = options.set_connect_timeout(nanoseconds(call.connect_timeout()));
    let _ = options.set_first_byte_timeout(nanoseconds(call.first_byte_timeout()));
    let _ = options.set_between_bytes_timeout(nanoseconds(call.timeout()));
    options
}

async fn answer(response: Response, mut body: AnswerBody) -> Result<IssuerAnswer, ErrorCode> {
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
        let (result, piece) = stream.read(Vec::with_capacity(READ_BYTES)).await;
        if !body.push(&piece) {
            // Too large: the core says so, and nobody reads the rest.
            break false;
        }
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break true,
        }
    };
    if is_whole {
        // An answer that broke off is no answer.
        end.await?;
    }
    Ok(IssuerAnswer {
        status,
        content_type,
        content_encoding,
        retry_after,
        www_authenticate,
        body,
    })
}

//! What an HTTP request comes to: a complete response, or an error.

use std::{error::Error, fmt, io};

use reqwest::{StatusCode, Version, header::HeaderMap};

/// Removes from a text whatever must not be shown. The name spares each signature the long type.
pub(crate) type Redact<'a> = &'a (dyn Fn(&str) -> String + Send + Sync);

/// A complete response.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no complete response.
#[derive(Debug)]
pub(crate) enum HttpError {
    /// The body exceeds the limit.
    TooLarge(StatusCode, HeaderMap),
    /// No response arrived, or it broke off.
    Unreachable {
        /// `certificate_refused`, `connection_failed`, `connection_broken` or `timeout`.
        reason: &'static str,
        /// The message of the operating system, TLS or HTTP.
        message: String,
    },
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no complete response")
    }
}

impl Error for HttpError {}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        // Failures name the URL themselves; only the innermost error explains anything.
        let error = error.without_url();
        let mut innermost: &(dyn Error + 'static) = &error;
        let mut bad_certificate = is_bad_certificate(innermost);
        while let Some(source) = innermost.source() {
            innermost = source;
            bad_certificate |= is_bad_certificate(innermost);
        }
        let (reason, message) = if error.is_timeout() {
            let message = if error.is_connect() {
                "no connection in time"
            } else {
                "no complete response in time"
            };
            ("timeout", message.to_owned())
        } else if bad_certificate {
            ("certificate_refused", innermost.to_string())
        } else if error.is_connect() {
            ("connection_failed", innermost.to_string())
        } else {
            ("connection_broken", innermost.to_string())
        };
        Self::Unreachable { reason, message }
    }
}

/// `io::Error` wraps errors that `source()` does not return; unwraps them recursively.
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

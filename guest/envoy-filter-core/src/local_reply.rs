//! Envoy's local reply to a call that got no response. Only its body tells a filter why.

use token_check::CallFailure;

/// What its text contains, the most specific first, as of Envoy 1.40. The part after `transport
/// failure reason` exists only if the runtime key
/// `envoy.reloadable_features.hide_transport_failure_reason_in_response_body` is false.
const FAILURES: [(&str, CallFailure); 14] = [
    ("verify SAN list", CallFailure::CertificateForAnotherName),
    ("certificate has expired", CallFailure::CertificateOutOfDate),
    (
        "certificate is not yet valid",
        CallFailure::CertificateOutOfDate,
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        CallFailure::CertificateUntrusted,
    ),
    ("WRONG_VERSION_NUMBER", CallFailure::NotTls),
    ("_ALERT_", CallFailure::TlsAlert),
    ("Connection reset by peer", CallFailure::BrokenOff),
    ("TLS_error", CallFailure::Tls),
    ("Connection refused", CallFailure::ConnectionRefused),
    ("connection timeout", CallFailure::ConnectTimeout),
    ("connection termination", CallFailure::BrokenOff),
    ("protocol error", CallFailure::NotHttp),
    ("reset reason: overflow", CallFailure::LimitReached),
    ("no healthy upstream", CallFailure::NoUpstream),
];

/// Why there was no response.
pub(crate) fn failure(status: u16, body: &[u8]) -> CallFailure {
    if status == 504 {
        return CallFailure::Timeout;
    }
    let body = String::from_utf8_lossy(body);
    // It may quote names of a certificate, which can say anything: only the log depends on this.
    let known = FAILURES.into_iter().find(|(text, _)| body.contains(text));
    match known {
        Some((_, failure)) => failure,
        None if body.contains("remote connection failure") => CallFailure::RefusedOrTls,
        None => CallFailure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_envoy_1_40_are_recognized() {
        let reset = "upstream connect error or disconnect/reset before headers. reset reason: ";
        let tls = "remote connection failure, transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:";
        for (rest, expected) in [
            ("remote connection failure", CallFailure::RefusedOrTls),
            ("connection timeout", CallFailure::ConnectTimeout),
            ("connection termination", CallFailure::BrokenOff),
            ("protocol error", CallFailure::NotHttp),
            ("overflow", CallFailure::LimitReached),
            ("local connection failure", CallFailure::Unreachable),
            (
                "remote connection failure, transport failure reason: delayed connect error: Connection refused",
                CallFailure::ConnectionRefused,
            ),
            (
                "remote connection failure, transport failure reason: TLS_error:|33554536:system library:OPENSSL_internal:Connection reset by peer:TLS_error_end",
                CallFailure::BrokenOff,
            ),
        ] {
            let body = format!("{reset}{rest}");
            assert_eq!(failure(503, body.as_bytes()), expected, "{rest}");
        }
        for (rest, expected) in [
            (
                "CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: self signed certificate:TLS_error_end",
                CallFailure::CertificateUntrusted,
            ),
            (
                "CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired:TLS_error_end",
                CallFailure::CertificateOutOfDate,
            ),
            (
                "CERTIFICATE_VERIFY_FAILED:verify cert failed: verify SAN list, expected SANs: [localhost], certificate SANs: [other.test]:TLS_error_end",
                CallFailure::CertificateForAnotherName,
            ),
            ("WRONG_VERSION_NUMBER:TLS_error_end", CallFailure::NotTls),
            (
                "SSLV3_ALERT_HANDSHAKE_FAILURE:TLS_error_end",
                CallFailure::TlsAlert,
            ),
            ("SOMETHING_ELSE:TLS_error_end", CallFailure::Tls),
        ] {
            let body = format!("{reset}{tls}{rest}");
            assert_eq!(failure(503, body.as_bytes()), expected, "{rest}");
        }
        assert_eq!(
            failure(503, b"no healthy upstream"),
            CallFailure::NoUpstream
        );
        assert_eq!(
            failure(504, b"upstream request timeout"),
            CallFailure::Timeout
        );
        assert_eq!(failure(503, b"\xff"), CallFailure::Unreachable);
    }
}

//! The client certificate of a request, as a hash: what a certificate-bound token names (RFC 8705
//! section 3.1). Whoever terminates TLS tells about it, and is believed only where the operator says.

use base64_simd::STANDARD;
use sha2::{Digest as _, Sha256};

/// How a header tells about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFormat {
    /// SHA-256 of the certificate in DER, in hexadecimal.
    Sha256,
    /// `Client-Cert`: the certificate itself (RFC 9440 section 2.2).
    ClientCert,
    /// `x-forwarded-client-cert`: `Hash` of the only element.
    ForwardedClientCert,
}

impl CertificateFormat {
    /// The one that headers of this name have; the name in lower case.
    pub(crate) fn of_header(name: &str) -> Self {
        match name {
            "client-cert" => Self::ClientCert,
            "x-forwarded-client-cert" => Self::ForwardedClientCert,
            _ => Self::Sha256,
        }
    }

    /// SHA-256 of the certificate. `None`: there is no certificate, or more than one, or it cannot be
    /// read: a proxy that appends to what a client sent must not make it good.
    pub(crate) fn sha256(self, lines: &[&[u8]]) -> Option<[u8; 32]> {
        let [line] = lines else {
            return None;
        };
        let line = line.trim_ascii();
        match self {
            Self::Sha256 => hexadecimal(line),
            Self::ClientCert => {
                // RFC 9651 section 3.3.5: a byte sequence.
                let base64 = line.strip_prefix(b":")?.strip_suffix(b":")?;
                let certificate = STANDARD.decode_to_vec(base64).ok()?;
                (!certificate.is_empty()).then(|| Sha256::digest(certificate).into())
            }
            Self::ForwardedClientCert => hexadecimal(only_hash(line)?),
        }
    }
}

/// `Hash` of the only element, if it has one and no other. Elements are separated by commas and pairs
/// by semicolons, unless these are in quotes.
fn only_hash(line: &[u8]) -> Option<&[u8]> {
    let mut hash = None;
    let (mut is_quoted, mut is_escaped) = (false, false);
    let pairs = line.split(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b';' | b',' => return !is_quoted,
            _ => {}
        }
        false
    });
    let mut end = 0_usize;
    for pair in pairs {
        // What separates it from the next pair; at the end of the line there is nothing.
        end = end.saturating_add(pair.len());
        // After a comma are the certificates of proxies. Nobody knows which one is the caller's.
        if line.get(end) == Some(&b',') {
            return None;
        }
        end = end.saturating_add(1);
        let (name, value) = pair.split_at_checked("hash=".len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"hash=") && hash.replace(value).is_some() {
            return None;
        }
    }
    hash
}

fn hexadecimal(text: &[u8]) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16)?.try_into().ok();
    let bytes = pairs.iter().map(|[high, low]| {
        let (high, low): (u8, u8) = (digit(*high)?, digit(*low)?);
        Some(high << 4 | low)
    });
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8705 appendix A.
    const CERTIFICATE: &str = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
    /// `A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0`, its thumbprint.
    const HEX: &str = "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd";

    fn reads(format: CertificateFormat, lines: &[&str]) -> bool {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        let read = format.sha256(&lines);
        let expected =
            codec::base64url::decode(b"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0").unwrap();
        read.inspect(|read| assert_eq!(read.as_slice(), expected, "{lines:?}"))
            .is_some()
    }

    #[test]
    fn rfc8705_a_the_certificate_has_the_thumbprint_in_each_format() {
        for (name, line) in [
            ("client-cert", format!(":{CERTIFICATE}:")),
            ("client-cert", format!(" :{CERTIFICATE}: ")),
            ("x-sha256", HEX.to_owned()),
            ("x-sha256", HEX.to_ascii_uppercase()),
            ("x-forwarded-client-cert", format!("Hash={HEX}")),
            (
                "x-forwarded-client-cert",
                format!(r#"Subject="CN=a, O=\"b\",Hash=00;";Hash={HEX}"#),
            ),
            (
                "x-forwarded-client-cert",
                format!(r#"By=spiffe://b.test/a;hash={HEX};Subject="/C=US, \"Hash\"";URI="#),
            ),
        ] {
            assert!(
                reads(CertificateFormat::of_header(name), &[&line]),
                "{name}: {line}"
            );
        }
    }

    #[test]
    fn j9_none_two_or_unreadable_certificates_are_none() {
        let other = HEX.replace('0', "1");
        let hash = format!("Hash={HEX}");
        let byte_sequence = format!(":{CERTIFICATE}:");
        let rows: [(CertificateFormat, &[&str]); 23] = [
            (CertificateFormat::Sha256, &[]),
            (CertificateFormat::Sha256, &[""]),
            (CertificateFormat::Sha256, &[HEX, HEX]),
            (CertificateFormat::Sha256, &[HEX.trim_end_matches("fd")]),
            (CertificateFormat::Sha256, &[&format!("{HEX}00")]),
            (CertificateFormat::Sha256, &[&format!("{HEX}0")]),
            (CertificateFormat::Sha256, &[&HEX.replace("0380", "+3:0")]),
            (CertificateFormat::Sha256, &[&format!("{HEX},{other}")]),
            (CertificateFormat::ClientCert, &[]),
            (CertificateFormat::ClientCert, &[CERTIFICATE]),
            (CertificateFormat::ClientCert, &["::"]),
            (CertificateFormat::ClientCert, &[":"]),
            (
                CertificateFormat::ClientCert,
                &[&byte_sequence, &byte_sequence],
            ),
            (
                CertificateFormat::ClientCert,
                &[&format!("{byte_sequence}, {byte_sequence}")],
            ),
            (
                CertificateFormat::ClientCert,
                &[&format!("{byte_sequence};a=1")],
            ),
            (CertificateFormat::ForwardedClientCert, &[]),
            (CertificateFormat::ForwardedClientCert, &["By=a;Subject=b"]),
            (CertificateFormat::ForwardedClientCert, &[&hash, &hash]),
            // A proxy appended its own to a forged one.
            (
                CertificateFormat::ForwardedClientCert,
                &[&format!("{hash},Hash={other}")],
            ),
            (
                CertificateFormat::ForwardedClientCert,
                &[&format!("Hash={other};{hash}")],
            ),
            // Forged in the subject of the certificate.
            (
                CertificateFormat::ForwardedClientCert,
                &[&format!(r#"Subject="/CN=a;{hash};b""#)],
            ),
            (
                CertificateFormat::ForwardedClientCert,
                &[&format!(r#"Subject="a\";{hash}"#)],
            ),
            (
                CertificateFormat::ForwardedClientCert,
                &[&format!(r#"Hash="{HEX}""#)],
            ),
        ];
        for (format, lines) in rows {
            assert!(!reads(format, lines), "{format:?} {lines:?}");
        }
    }
}

//! The keys that a token is bound to (`cnf`, RFC 7800 section 3.1).

use codec::base64url;
use codec::json::Json;

/// SHA-256 of a key or of a certificate.
pub(crate) type Thumbprint = [u8; 32];

/// The keys that a token is bound to, at least one. A request has to prove possession of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// `jkt`: the key of a DPoP proof (RFC 9449 section 6.1).
    pub(crate) dpop_key: Option<Thumbprint>,
    /// `x5t#S256`: the client certificate (RFC 8705 section 3.1).
    pub(crate) certificate: Option<Thumbprint>,
}

impl Confirmation {
    /// `None`: the token is bound in a way that nobody here can check.
    pub(super) fn read(cnf: &Json<'_>) -> Option<Self> {
        let Json::Object(members) = cnf else {
            return None;
        };
        let mut confirmation = Self::default();
        for (name, value) in members {
            let key = match &**name {
                "jkt" => &mut confirmation.dpop_key,
                "x5t#S256" => &mut confirmation.certificate,
                // RFC 7800 section 3.1 lets us ignore what we do not know. But then the token would
                // be good for those who do not have that key.
                _ => return None,
            };
            *key = Some(thumbprint(value)?);
        }
        (!members.is_empty()).then_some(confirmation)
    }
}

/// Base64url without padding, in the one spelling of these bytes.
fn thumbprint(value: &Json<'_>) -> Option<Thumbprint> {
    let Json::Text(text) = value else {
        return None;
    };
    let bytes = base64url::decode(text.as_bytes())?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::json;

    fn read(cnf: &str) -> Option<Confirmation> {
        Confirmation::read(&json::examine(cnf).ok()?)
    }

    #[test]
    fn rfc8705_s3_1_and_rfc9449_s6_1_a_token_is_bound_to_a_certificate_to_a_key_or_to_both() {
        // Of RFC 8705 appendix A and RFC 9449 section 6.1.
        let x5t = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
        let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let bytes = |text: &str| Thumbprint::try_from(base64url::decode(text.as_bytes()).unwrap());
        let (certificate, key) = (bytes(x5t).unwrap(), bytes(jkt).unwrap());
        let rows = [
            (
                format!(r#"{{"x5t#S256":"{x5t}"}}"#),
                None,
                Some(certificate),
            ),
            (format!(r#"{{"jkt":"{jkt}"}}"#), Some(key), None),
            (
                format!(r#"{{"jkt":"{jkt}","x5t#S256":"{x5t}"}}"#),
                Some(key),
                Some(certificate),
            ),
        ];
        for (cnf, dpop_key, certificate) in rows {
            let expected = Confirmation {
                dpop_key,
                certificate,
            };
            assert_eq!(read(&cnf), Some(expected), "{cnf}");
        }
    }

    #[test]
    fn j9_what_cannot_be_checked_is_no_confirmation() {
        let good = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        for cnf in [
            "{}",
            "[]",
            "true",
            r#""0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I""#,
            r#"{"jwk":{"kty":"EC"}}"#,
            r#"{"x5t#s256":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#,
            r#"{"jkt":null}"#,
            r#"{"jkt":["0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"]}"#,
            r#"{"jkt":""}"#,
            // Hexadecimal, with padding, too short, and another spelling of the same bytes.
            r#"{"jkt":"d1970e08e459358cbe0d6a6aab7d2367"}"#,
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I="}"#,
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4"}"#,
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J"}"#,
        ] {
            assert_eq!(read(cnf), None, "{cnf}");
        }
        // One that is known does not make up for one that is not.
        for more in [
            r#""kid":"a""#,
            r#""jku":"https://a.test""#,
            r#""x5t#S256":1"#,
        ] {
            let cnf = format!(r#"{{"jkt":"{good}",{more}}}"#);
            assert_eq!(read(&cnf), None, "{cnf}");
        }
    }
}

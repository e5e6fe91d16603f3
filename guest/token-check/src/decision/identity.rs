//! The headers that tell the app who the caller is.

use codec::base64url;

use crate::introspection::{Claim, Claims, MAX_CLAIM_HEADER_BYTES};

const SUBJECT: &str = "x-auth-subject";
const CLIENT_ID: &str = "x-auth-client-id";
const ISSUER: &str = "x-auth-issuer";
const SCOPE: &str = "x-auth-scope";
const CLAIMS: &str = "x-auth-claims";

/// Longest `x-auth-claims`, in bytes: servers accept a line of 8 KiB with the name and the end of
/// it (nginx 8192, Apache and gunicorn 8190), and answer 400 or 431 to more.
const MAX_CLAIMS_BYTES: usize = 8000;

/// Headers that only the auth check may set.
pub const IDENTITY_HEADERS: [&str; 5] = [SUBJECT, CLIENT_ID, ISSUER, SCOPE, CLAIMS];

/// Whether a header name is one of [`IDENTITY_HEADERS`], in any spelling that some server treats as
/// the same. Client-sent copies must be removed. CGI makes `_` of every character that is no letter
/// or digit (RFC 3875 section 4.1.18 of `-`, servers of the others too).
#[must_use]
#[inline]
pub fn is_identity_header(name: &[u8]) -> bool {
    // Nearly all names are told by this alone.
    matches!(name, [b'x' | b'X', ..]) && is_spelled_as_one(name)
}

fn is_spelled_as_one(name: &[u8]) -> bool {
    let same = |ours: &str| {
        ours.len() == name.len()
            && ours.bytes().zip(name).all(|(a, b)| {
                if b.is_ascii_alphanumeric() {
                    a == b.to_ascii_lowercase()
                } else {
                    a == b'-'
                }
            })
    };
    IDENTITY_HEADERS.into_iter().any(same)
}

/// The header values, in one allocation, the only one of a granted cached request.
#[derive(Debug)]
pub(super) struct Identity {
    values: String,
    /// Where each value ends, in the order of [`IDENTITY_HEADERS`]. An absent value is empty.
    ends: [usize; IDENTITY_HEADERS.len()],
}

/// Whether apps accept the header of these claims.
#[inline]
pub(super) fn fits(claims: Claims<'_>) -> bool {
    base64url::encoded_length(claims.header_document().len()) <= MAX_CLAIMS_BYTES
}

impl Identity {
    #[inline]
    pub(super) fn new(claims: Claims<'_>) -> Self {
        let document = claims.header_document().as_bytes();
        // The other values are parts of the response, so this capacity holds them all.
        let mut values = String::with_capacity(
            base64url::encoded_length(document.len()).saturating_add(claims.document().len()),
        );
        let mut ends = [0; IDENTITY_HEADERS.len()];
        let [subject, client_id, issuer, scope, all] = &mut ends;
        for (end, claim) in [
            (subject, Claim::Subject),
            (client_id, Claim::ClientId),
            (issuer, Claim::Issuer),
        ] {
            if let Some(value) = claims.header_safe(claim) {
                values.push_str(value);
            }
            *end = values.len();
        }
        let start = values.len();
        for word in claims.scopes() {
            if values.len() > start {
                values.push(' ');
            }
            values.push_str(word);
        }
        // Scope characters are safe in headers (RFC 6749 section 3.3).
        if values.len().saturating_sub(start) > MAX_CLAIM_HEADER_BYTES {
            values.truncate(start);
        }
        *scope = values.len();
        base64url::encode_append(document, &mut values);
        *all = values.len();
        Self { values, ends }
    }

    #[inline]
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mut start = 0;
        let names = IDENTITY_HEADERS.into_iter().zip(self.ends);
        names.filter_map(move |(name, end)| {
            let value = self.values.get(core::mem::replace(&mut start, end)..end)?;
            (!value.is_empty()).then_some((name, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_identity_header_is_recognized_and_no_other_name() {
        // RFC 9110 section 5.6.2: what a field name may contain besides letters and digits.
        for mark in "!#$%&'*+-.^_`|~".chars() {
            for name in IDENTITY_HEADERS {
                let name = name.replace('-', &mark.to_string());
                assert!(is_identity_header(name.as_bytes()), "{name}");
                assert!(is_identity_header(name.to_ascii_uppercase().as_bytes()));
            }
        }
        for name in [
            "x-auth-subject",
            "X-Auth-Subject",
            "X_AUTH_SUBJECT",
            "x-auth_client-id",
            "x.auth.claims",
            "X-AUTH-SCOPE",
            "x_auth-issuer",
        ] {
            assert!(is_identity_header(name.as_bytes()), "{name}");
        }
        for name in [
            "x-auth-subjects",
            "x-auth",
            "",
            "xx-auth-subject",
            "x-auth-user",
            "x0auth0subject",
            "x-auth-sub\u{17f}ect",
        ] {
            assert!(!is_identity_header(name.as_bytes()), "{name}");
        }
        let starts_with_x = |name: &&str| name.starts_with('x');
        assert!(IDENTITY_HEADERS.iter().all(starts_with_x));
    }
}

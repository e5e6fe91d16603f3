//! The headers that tell the app who calls.

use base64_simd::URL_SAFE_NO_PAD;

use crate::introspection::{
    CLIENT_ID as CLIENT_ID_CLAIM, Claims, ISSUER as ISSUER_CLAIM, MAX_CLAIM_BYTES,
    SUBJECT as SUBJECT_CLAIM,
};

const SUBJECT: &str = "x-auth-subject";
const CLIENT_ID: &str = "x-auth-client-id";
const ISSUER: &str = "x-auth-issuer";
const SCOPE: &str = "x-auth-scope";
const CLAIMS: &str = "x-auth-claims";

/// Every header that only we may set.
pub const IDENTITY_HEADERS: [&str; 5] = [SUBJECT, CLIENT_ID, ISSUER, SCOPE, CLAIMS];

/// Whether this name, in any spelling that some server takes for the same, is one of ours: a client-sent copy must go.
#[must_use]
pub fn is_identity_header(name: &[u8]) -> bool {
    let same = |ours: &str| {
        ours.len() == name.len()
            && ours.bytes().zip(name).all(|(a, b)| match b {
                b'_' | b'.' => a == b'-',
                _ => a == b.to_ascii_lowercase(),
            })
    };
    IDENTITY_HEADERS.into_iter().any(same)
}

/// The values of our headers, in one piece of memory: this is all that a request which is let in allocates.
#[derive(Debug)]
pub(crate) struct Identity {
    values: String,
    /// Where each value ends; an absent one ends where it starts. In the order of [`IDENTITY_HEADERS`].
    ends: [usize; IDENTITY_HEADERS.len()],
}

impl Identity {
    pub(crate) fn of(claims: Claims<'_>) -> Self {
        let document = claims.document().as_bytes();
        // The other headers are parts of the document, so this holds them all.
        let mut values = String::with_capacity(
            URL_SAFE_NO_PAD
                .encoded_length(document.len())
                .saturating_add(document.len()),
        );
        let mut ends = [0; IDENTITY_HEADERS.len()];
        let [subject, client_id, issuer, scope, all] = &mut ends;
        for (end, which) in [
            (subject, SUBJECT_CLAIM),
            (client_id, CLIENT_ID_CLAIM),
            (issuer, ISSUER_CLAIM),
        ] {
            if let Some(value) = claims.field(which) {
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
        // Scopes have no unsafe characters (RFC 6749 section 3.3).
        if values.len().saturating_sub(start) > MAX_CLAIM_BYTES {
            values.truncate(start);
        }
        *scope = values.len();
        URL_SAFE_NO_PAD.encode_append(document, &mut values);
        *all = values.len();
        Self { values, ends }
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let starts = [0].into_iter().chain(self.ends);
        IDENTITY_HEADERS
            .into_iter()
            .zip(starts.zip(self.ends))
            .filter_map(|(name, (start, end))| {
                let value = self.values.get(start..end)?;
                (!value.is_empty()).then_some((name, value))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_our_headers_is_ours_and_nothing_else_is() {
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
            "x-auth-sub\u{17f}ect",
        ] {
            assert!(!is_identity_header(name.as_bytes()), "{name}");
        }
    }
}

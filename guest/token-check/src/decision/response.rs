//! The responses of the auth check itself: the one place that turns a [`Reason`] into status,
//! challenge and body.

use super::challenge::challenge;
use crate::policy::{Policy, Requirements, ResourceMetadata};
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::request::Scheme;

/// How long clients may keep the metadata, in seconds: short enough to learn of a new issuer soon.
const METADATA_MAX_AGE_SECONDS: u32 = 300;

/// A complete HTTP response to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status: 400 to 599 for a refused request, else 200.
    pub status: u16,
    /// Header fields; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, in UTF-8.
    pub body: String,
}

/// What a refusal says besides its reason.
pub(super) struct Details<'a> {
    /// Of the route, for the scope that it needs.
    pub(super) requirements: Option<&'a Requirements>,
    /// In seconds.
    pub(super) retry_after: u32,
    /// Of the credentials.
    pub(super) scheme: Scheme,
    /// For the next DPoP proof.
    pub(super) proof_nonce: Option<&'a str>,
}

impl Response {
    /// The response to a request that is refused on no particular route. Without a policy there is
    /// no challenge.
    #[must_use]
    pub fn for_reason(reason: Reason, policy: Option<&Policy>) -> Self {
        let details = Details {
            requirements: None,
            retry_after: RETRY_AFTER_SECONDS,
            scheme: Scheme::Bearer,
            proof_nonce: None,
        };
        Self::new(reason, policy, details)
    }

    /// The response while the settings are wrong.
    #[must_use]
    pub fn misconfigured(policy: Option<&Policy>) -> Self {
        Self::for_reason(Reason::Misconfigured, policy)
    }

    /// The metadata of this service. They are public, so that scripts of any origin may read them.
    pub(super) fn metadata(metadata: &ResourceMetadata) -> Self {
        let body = metadata.document().to_owned();
        Self {
            status: 200,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("content-length", body.len().to_string()),
                (
                    "cache-control",
                    format!("max-age={METADATA_MAX_AGE_SECONDS}"),
                ),
                ("access-control-allow-origin", "*".to_owned()),
            ],
            body,
        }
    }

    /// `policy` gives the realm; without one there is no challenge.
    pub(super) fn new(reason: Reason, policy: Option<&Policy>, details: Details<'_>) -> Self {
        let Details {
            requirements,
            retry_after,
            scheme,
            proof_nonce,
        } = details;
        // Every part comes from a closed set, so nothing needs escaping.
        let body = format!(
            r#"{{"error":"{}","error_description":"{}","reason":"{}"}}"#,
            reason.error(),
            reason.description(),
            reason.name()
        );
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("content-length", body.len().to_string()),
            ("cache-control", "no-store".to_owned()),
        ];
        let challenge = policy.and_then(|policy| challenge(reason, policy, requirements, scheme));
        if let Some(challenge) = challenge {
            headers.push(("www-authenticate", challenge));
        }
        if let Some(nonce) = proof_nonce {
            headers.push(("dpop-nonce", nonce.to_owned()));
        }
        if reason.status() == 503 {
            headers.push(("retry-after", retry_after.to_string()));
        }
        Self {
            status: reason.status(),
            headers,
            body,
        }
    }
}

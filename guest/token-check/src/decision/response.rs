//! The responses of the auth check itself: the one place that turns a [`Reason`] into status,
//! challenge and body.

use crate::policy::{Policy, Requirements, ResourceMetadata};
use crate::reason::{ErrorClass, RETRY_AFTER_SECONDS, Reason};

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

impl Response {
    /// The response to a request that is refused on no particular route. Without a policy there is
    /// no challenge.
    #[must_use]
    pub fn for_reason(reason: Reason, policy: Option<&Policy>) -> Self {
        Self::new(reason, policy, None, RETRY_AFTER_SECONDS)
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

    /// `policy` gives the realm; without one there is no challenge. `requirements` are those of the
    /// route, for the scope that it needs. `retry_after`: in seconds.
    pub(super) fn new(
        reason: Reason,
        policy: Option<&Policy>,
        requirements: Option<&Requirements>,
        retry_after: u32,
    ) -> Self {
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
        if let Some(challenge) = policy.and_then(|policy| challenge(reason, policy, requirements)) {
            headers.push(("www-authenticate", challenge));
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

/// `WWW-Authenticate` (RFC 6750 section 3). Realm and scopes were validated with the policy.
fn challenge(
    reason: Reason,
    policy: &Policy,
    requirements: Option<&Requirements>,
) -> Option<String> {
    let realm = policy.realm();
    let error = reason.error();
    let description = reason.description();
    let scope = match (reason.class(), requirements) {
        (ErrorClass::Scope, Some(requirements)) => {
            format!(r#", scope="{}""#, requirements.scope())
        }
        _ => String::new(),
    };
    // RFC 9728 section 5.1.
    let metadata = policy.resource_metadata().map(|metadata| {
        let url = metadata.url();
        format!(r#", resource_metadata="{url}""#)
    });
    let metadata = metadata.unwrap_or_default();
    match reason.class() {
        ErrorClass::Unauthenticated => Some(format!(r#"Bearer realm="{realm}"{metadata}"#)),
        ErrorClass::Request | ErrorClass::Token | ErrorClass::Scope | ErrorClass::Forbidden => {
            Some(format!(
                r#"Bearer realm="{realm}", error="{error}", error_description="{description}"{scope}{metadata}"#
            ))
        }
        ErrorClass::Denied | ErrorClass::Unavailable => None,
    }
}

//! The metadata that tells a client which issuer has tokens for this service (RFC 9728).

use std::collections::BTreeSet;

use serde::Serialize;
use url::{Position, Url};

use super::requirements::Requirements;

/// Inserted between the host and the path of the resource identifier (RFC 9728 section 3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The members of RFC 9728 section 2. One without a value is left out (section 3.2).
#[derive(Serialize)]
struct Document<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    authorization_servers: BTreeSet<&'a str>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    scopes_supported: BTreeSet<&'a str>,
    bearer_methods_supported: [&'a str; 1],
}

/// The metadata document, and where it is.
#[derive(Debug)]
pub(crate) struct ResourceMetadata {
    url: String,
    path: String,
    document: String,
}

impl ResourceMetadata {
    /// `identifier`: the resource identifier as it is written; `parsed`: the same.
    /// `None`: it could not be serialized, which strings can be.
    pub(super) fn new<'a>(
        identifier: &str,
        parsed: &Url,
        requirements: impl IntoIterator<Item = &'a Requirements>,
    ) -> Option<Self> {
        let mut document = Document {
            resource: identifier,
            authorization_servers: BTreeSet::new(),
            scopes_supported: BTreeSet::new(),
            bearer_methods_supported: ["header"],
        };
        for requirements in requirements {
            let issuers = requirements.issuers.as_slice().iter();
            document
                .authorization_servers
                .extend(issuers.map(String::as_str));
            let scopes = requirements.all_scopes.as_slice().iter();
            let scopes = scopes.chain(requirements.any_scope.as_slice());
            document.scopes_supported.extend(scopes.map(String::as_str));
        }
        // Section 3.1: without the slash that ends a URL with no path.
        let path = match parsed.path() {
            "/" => "",
            path => path,
        };
        let path = format!("{WELL_KNOWN}{path}");
        Some(Self {
            url: format!("{}{path}", &parsed[..Position::BeforePath]),
            path,
            document: serde_json::to_string(&document).ok()?,
        })
    }

    /// For the `resource_metadata` of a challenge (section 5.1).
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn document(&self) -> &str {
        &self.document
    }

    /// Whether a request asks for it: letter by letter, so that no other spelling gets past the
    /// check.
    pub(crate) fn is_at(&self, method: &[u8], path_and_query: Option<&[u8]>) -> bool {
        let path = path_and_query.and_then(|target| target.split(|byte| *byte == b'?').next());
        method == b"GET" && path == Some(self.path.as_bytes())
    }
}

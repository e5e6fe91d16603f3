//! The metadata that tells a client which issuer has tokens for this service (RFC 9728).

use url::{Position, Url};

use super::requirements::Requirements;
use codec::json;

/// Inserted between the host and the path of the resource identifier (RFC 9728 section 3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata document, and where it is.
#[derive(Debug)]
pub(crate) struct ResourceMetadata {
    url: String,
    path: String,
    document: String,
}

impl ResourceMetadata {
    /// `identifier`: the resource identifier as it is written; `parsed`: the same. `proofs`: members
    /// about bound tokens, each after a comma.
    pub(super) fn new<'a>(
        identifier: &str,
        parsed: &Url,
        requirements: impl Iterator<Item = &'a Requirements>,
        proofs: &str,
    ) -> Self {
        let (mut issuers, mut scopes) = (Vec::new(), Vec::new());
        for requirements in requirements {
            add(&mut issuers, requirements.issuers.as_slice());
            add(&mut scopes, requirements.all_scopes.as_slice());
            add(&mut scopes, requirements.any_scope.as_slice());
        }
        // The members of RFC 9728 section 2.
        let document = format!(
            r#"{{"resource":{}{}{},"bearer_methods_supported":["header"]{proofs}}}"#,
            json::quoted(identifier),
            list("authorization_servers", &issuers),
            list("scopes_supported", &scopes),
        );
        // Section 3.1: without the slash that ends a URL with no path.
        let path = match parsed.path() {
            "/" => "",
            path => path,
        };
        let path = format!("{WELL_KNOWN}{path}");
        Self {
            url: format!("{}{path}", &parsed[..Position::BeforePath]),
            path,
            document,
        }
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

/// Adds the values that are not there yet.
fn add<'a>(list: &mut Vec<&'a String>, values: &'a [String]) {
    for value in values {
        if !list.contains(&value) {
            list.push(value);
        }
    }
}

/// A member with these values. Without any it is left out (section 3.2).
fn list(name: &str, values: &[&String]) -> String {
    let Some((first, rest)) = values.split_first() else {
        return String::new();
    };
    let mut list = format!(r#","{name}":[{}"#, json::quoted(first));
    for value in rest {
        list.push(',');
        list.push_str(&json::quoted(value));
    }
    list.push(']');
    list
}

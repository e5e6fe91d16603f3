//! The metadata of the issuer (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3).

use url::Url;

#[cfg(feature = "jwt")]
use super::fault::MetadataFault;
#[cfg(feature = "jwt")]
use codec::json::{self, Json};

/// What the metadata name, as they write it.
#[cfg(feature = "jwt")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) introspection_endpoint: Option<String>,
    pub(crate) jwks_uri: Option<String>,
}

#[cfg(feature = "jwt")]
impl Metadata {
    /// `None`: the document is no JSON object, as where an issuer serves a page in place of its
    /// metadata.
    pub(crate) fn parse(document: &[u8]) -> Option<Result<Self, MetadataFault>> {
        let document = core::str::from_utf8(document).ok()?;
        let Json::Object(members) = json::read(document).ok()? else {
            return None;
        };
        Some(Self::read(members))
    }

    fn read(members: Vec<(std::borrow::Cow<'_, str>, Json<'_>)>) -> Result<Self, MetadataFault> {
        let (mut issuer, mut introspection_endpoint, mut jwks_uri) = (None, None, None);
        for (name, value) in members {
            let to = match &*name {
                "issuer" => &mut issuer,
                "introspection_endpoint" => &mut introspection_endpoint,
                "jwks_uri" => &mut jwks_uri,
                _ => continue,
            };
            *to = match value {
                Json::Text(text) => Some(text.into_owned()),
                Json::Null => None,
                _ => return Err(MetadataFault::Malformed),
            };
        }
        Ok(Self {
            issuer: issuer.ok_or(MetadataFault::Malformed)?,
            introspection_endpoint,
            jwks_uri,
        })
    }
}

/// Where an issuer may have its metadata, in the order in which to try: by OpenID Connect Discovery
/// 1.0 section 4, by RFC 8414 section 3.1, and as django-oauth-toolkit has them. If the issuer has
/// no path, the last two are the same, and there are two.
#[must_use]
pub fn metadata_urls(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let with_path = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    let mut urls = vec![
        with_path(format!("{path}/.well-known/openid-configuration")),
        with_path(format!("/.well-known/oauth-authorization-server{path}")),
        with_path(format!("{path}/.well-known/oauth-authorization-server")),
    ];
    urls.dedup();
    urls
}

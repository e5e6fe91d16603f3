//! The issuer by its identifier, and what its metadata may name.

#[cfg(feature = "jwt")]
use url::Url;

#[cfg(feature = "jwt")]
use super::settings::{INTROSPECT_ORIGIN, JWKS_ORIGIN, JWKS_URL};
use super::settings::{INTROSPECT_URL, ISSUER, ISSUER_ORIGIN, SIGNED_INTROSPECTION, STRATEGY};
use super::settings_error::{Problem, SettingsError};
#[cfg(feature = "jwt")]
use super::urls::bare_origin;
use super::urls::{check_origin, http_url};
use super::values::SettingValues;
#[cfg(feature = "jwt")]
use crate::introspection::{Metadata, MetadataFault, metadata_urls};

/// The issuer: as a string for comparisons, which OAuth makes letter by letter, and as a URL.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    text: String,
    #[cfg(feature = "jwt")]
    url: Url,
}

impl Issuer {
    /// `None`: it is not set, or nothing depends on it, since all tokens are introspected where
    /// `introspect_url` says. Service A may read the same variable.
    pub(super) fn read(
        values: &SettingValues,
        allow_http: bool,
    ) -> Result<Option<Self>, SettingsError> {
        let Some(text) = values.optional(ISSUER) else {
            return Ok(None);
        };
        let url = http_url(ISSUER, text, allow_http)?;
        if url.query().is_some() {
            return Err(SettingsError::new(ISSUER.key, Problem::UrlWithQuery));
        }
        if let Some(origin) = values.optional(ISSUER_ORIGIN) {
            check_origin(ISSUER_ORIGIN, origin, ISSUER.key, &url)?;
        }
        let is_used = values.optional(INTROSPECT_URL).is_none()
            || values.choice(STRATEGY)? != "introspect"
            || values.boolean(SIGNED_INTROSPECTION)?;
        Ok(is_used.then(|| Self {
            text: text.to_owned(),
            #[cfg(feature = "jwt")]
            url,
        }))
    }

    /// As it is written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    #[cfg(feature = "jwt")]
    pub(super) const fn url(&self) -> &Url {
        &self.url
    }
}

/// What is to be found in the metadata of the issuer, and where it may be.
#[cfg(feature = "jwt")]
#[derive(Debug)]
pub(crate) struct Discovery {
    issuer: Issuer,
    finds_endpoint: bool,
    finds_keys: bool,
    /// Besides that of the issuer.
    endpoint_origin: Option<url::Origin>,
    keys_origin: Option<url::Origin>,
    allow_http: bool,
}

/// What the metadata name, as far as it is needed.
#[cfg(feature = "jwt")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Discovered {
    pub(crate) introspection_endpoint: Option<Url>,
    pub(crate) keys: Option<Url>,
}

#[cfg(feature = "jwt")]
impl Discovery {
    pub(super) fn read(
        values: &SettingValues,
        issuer: Issuer,
        finds_endpoint: bool,
        finds_keys: bool,
        allow_http: bool,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            issuer,
            finds_endpoint,
            finds_keys,
            endpoint_origin: bare_origin(values, INTROSPECT_ORIGIN)?,
            keys_origin: bare_origin(values, JWKS_ORIGIN)?,
            allow_http,
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    pub(super) const fn url(&self) -> &Url {
        self.issuer.url()
    }

    /// Where the introspection endpoint is expected.
    pub(super) fn endpoint_origin(&self) -> url::Origin {
        let own = || self.issuer.url.origin();
        self.endpoint_origin.clone().unwrap_or_else(own)
    }

    /// Where the metadata may be, in the order in which to try.
    pub(crate) fn metadata_urls(&self) -> Vec<Url> {
        metadata_urls(self.issuer.url())
    }

    /// What the metadata name, if they are this issuer's and name nothing that a call must not go to.
    pub(crate) fn accept(&self, metadata: &Metadata) -> Result<Discovered, MetadataFault> {
        // RFC 8414 section 3.3: identical, or whoever serves these could pass for the issuer.
        if metadata.issuer != self.issuer.text {
            return Err(MetadataFault::AnotherIssuer);
        }
        let find = |is_needed: bool, named: &Option<String>, origin, absent, foreign| match named {
            _ if !is_needed => Ok(None),
            None => Err(absent),
            Some(url) => self.endpoint(url, origin).map(Some).ok_or(foreign),
        };
        Ok(Discovered {
            introspection_endpoint: find(
                self.finds_endpoint,
                &metadata.introspection_endpoint,
                self.endpoint_origin.as_ref(),
                MetadataFault::NoIntrospectionEndpoint,
                MetadataFault::ForeignIntrospectionEndpoint,
            )?,
            keys: find(
                self.finds_keys,
                &metadata.jwks_uri,
                self.keys_origin.as_ref(),
                MetadataFault::NoKeys,
                MetadataFault::ForeignKeys,
            )?,
        })
    }

    /// Metadata name no host that the operator has not named: calls carry credentials, and hosts
    /// inside a network believe who comes from inside.
    fn endpoint(&self, named: &str, origin: Option<&url::Origin>) -> Option<Url> {
        let url = http_url(JWKS_URL, named, self.allow_http).ok()?;
        let is_granted = url.origin() == self.issuer.url.origin() || Some(&url.origin()) == origin;
        is_granted.then_some(url)
    }
}

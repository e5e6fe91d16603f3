//! Finds the issuer's token endpoint: the one in the settings, or the one in the metadata (OpenID
//! Connect Discovery 1.0 section 4, RFC 8414 section 3), or `<issuer>/token`.
//!
//! An endpoint of another origin than the issuer's is refused, unless https metadata names it.

use oauth2::TokenUrl;
use reqwest::{
    Method, Request,
    header::{ACCEPT, HeaderValue},
};
use serde::Deserialize;
use token_check::metadata_urls;
use url::Url;

use crate::{
    advice::{self, Setting},
    failure::{Class, Failure},
    http::Http,
    response::{HttpError, Redact},
    untrusted_text::UntrustedText,
};

/// The largest metadata that is read. That of real issuers is 2 to 10 KB.
const MAX_METADATA_BYTES: usize = 256 * 1024;

/// The placeholder in Microsoft Entra's metadata for `common` and `organizations`.
const TENANT_PLACEHOLDER: &str = "{tenantid}";

/// Where the token request goes.
#[derive(Clone, Debug)]
pub(crate) enum TokenEndpoint {
    /// The endpoint that the metadata of this issuer names.
    Discover(Issuer),
    /// The endpoint in the settings; no metadata is read.
    Fixed(TokenUrl),
}

impl TokenEndpoint {
    /// The URL in the settings.
    pub(crate) fn url(&self) -> &Url {
        match self {
            Self::Discover(issuer) => &issuer.url,
            Self::Fixed(endpoint) => endpoint.url(),
        }
    }

    /// The setting that advice refers to.
    pub(crate) const fn setting(&self) -> Setting {
        match self {
            Self::Discover(_) => Setting::Issuer,
            Self::Fixed(_) => Setting::TokenUrl,
        }
    }

    /// The endpoint; reads the metadata if necessary.
    pub(crate) async fn find(&self, http: &Http, redact: Redact<'_>) -> Result<TokenUrl, Failure> {
        match self {
            Self::Discover(issuer) => discover(http, issuer, redact).await,
            Self::Fixed(endpoint) => Ok(endpoint.clone()),
        }
    }
}

/// The issuer, as a string and as a URL: OAuth compares the string, HTTP needs the URL.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// `url` is `text` parsed: https, or allowed http, without user, query or fragment.
    pub(crate) const fn new(text: String, url: Url) -> Self {
        Self { text, url }
    }

    /// The issuer exactly as it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The path without a trailing slash.
    fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    fn with_path(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    /// The token endpoint if there is no metadata.
    fn fallback_endpoint(&self) -> Url {
        self.with_path(&format!("{}/token", self.path()))
    }

    /// Whether credentials may be sent to `endpoint`, which this issuer's metadata names.
    fn may_name(&self, endpoint: &Url) -> bool {
        let plain = endpoint.username().is_empty()
            && endpoint.password().is_none()
            && endpoint.fragment().is_none();
        let same_origin = endpoint.origin() == self.url.origin();
        plain
            && match endpoint.scheme() {
                "https" => same_origin || self.url.scheme() == "https",
                // An http issuer is on loopback, or `--allow-http` allows it.
                "http" => same_origin,
                _ => false,
            }
    }
}

/// The members that are used. serde rejects a duplicate of either.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
}

/// Reads the token endpoint from the issuer's metadata.
async fn discover(http: &Http, issuer: &Issuer, redact: Redact<'_>) -> Result<TokenUrl, Failure> {
    let refused = |reason| {
        let next = advice::for_issuer(reason, Setting::Issuer);
        Failure::new(Class::IssuerRefused, reason, next)
    };
    for url in metadata_urls(&issuer.url) {
        let mut request = Request::new(Method::GET, url.clone());
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        let response = match http.send(request, MAX_METADATA_BYTES, redact).await {
            Ok(response) => response,
            Err(HttpError::TooLarge(status, headers)) => {
                return Err(refused("too_large")
                    .with_url(&url)
                    .with_response(status, &headers, redact));
            }
            Err(HttpError::Unreachable { reason, message }) => {
                let next = advice::unreachable_issuer(reason, Setting::Issuer);
                return Err(Failure::new(Class::IssuerUnreachable, reason, next)
                    .with_url(&url)
                    .with_description(Some(UntrustedText::new(&message))));
            }
        };
        let failed = match response.status.as_u16() {
            429 => Some("issuer_overloaded"),
            500.. => Some("issuer_failed"),
            _ => None,
        };
        if let Some(reason) = failed {
            return Err(refused(reason).with_url(&url).with_response(
                response.status,
                &response.headers,
                redact,
            ));
        }
        let json = serde_json::from_slice::<serde_json::Value>(&response.body);
        if response.status != 200 || !json.is_ok_and(|json| json.is_object()) {
            // No metadata here: such issuers respond with 404, a redirect or an HTML page.
            continue;
        }
        return endpoint_in_metadata(issuer, &response.body).map_err(|error| {
            let failure = refused(error.reason)
                .with_url(&url)
                .with_description(Some(error.description));
            match error.next {
                Some(next) => failure.with_next(next),
                None => failure,
            }
        });
    }
    Ok(TokenUrl::from_url(issuer.fallback_endpoint()))
}

/// Why metadata cannot be used.
#[derive(Debug)]
struct MetadataError {
    reason: &'static str,
    description: UntrustedText,
    /// Advice that replaces that for the reason.
    next: Option<&'static str>,
}

impl MetadataError {
    fn new(reason: &'static str, description: &str) -> Self {
        Self {
            reason,
            description: UntrustedText::new(description),
            next: None,
        }
    }
}

/// The endpoint that the metadata names, if the metadata is this issuer's and the endpoint safe.
fn endpoint_in_metadata(issuer: &Issuer, body: &[u8]) -> Result<TokenUrl, MetadataError> {
    let Ok(metadata) = serde_json::from_slice::<Metadata>(body) else {
        let text = "the metadata has no issuer, or a member that is not a string or occurs twice";
        return Err(MetadataError::new("metadata_not_understood", text));
    };
    // An exact match: OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3.
    if metadata.issuer != issuer.text {
        let text = format!("the issuer calls itself {}", metadata.issuer);
        let error = MetadataError::new("wrong_issuer", &text);
        return Err(if metadata.issuer.contains(TENANT_PLACEHOLDER) {
            MetadataError {
                next: Some(advice::TENANT_PLACEHOLDER),
                ..error
            }
        } else {
            error
        });
    }
    let Some(named) = metadata.token_endpoint else {
        let text = "the metadata names no token endpoint";
        return Err(MetadataError::new("no_token_endpoint", text));
    };
    match TokenUrl::new(named.clone()) {
        Ok(endpoint) if issuer.may_name(endpoint.url()) => Ok(endpoint),
        _ => {
            let text = format!("the metadata names the token endpoint {named}");
            Err(MetadataError::new("unsafe_token_endpoint", &text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> Issuer {
        Issuer::new(text.to_owned(), Url::parse(text).unwrap())
    }

    #[test]
    fn metadata_has_three_urls_and_the_fallback_endpoint_is_below_the_issuer() {
        let table: [(&str, &[&str], &str); 3] = [
            (
                "https://t.verify.ibm.com/oauth2",
                &[
                    "https://t.verify.ibm.com/oauth2/.well-known/openid-configuration",
                    "https://t.verify.ibm.com/.well-known/oauth-authorization-server/oauth2",
                    "https://t.verify.ibm.com/oauth2/.well-known/oauth-authorization-server",
                ],
                "https://t.verify.ibm.com/oauth2/token",
            ),
            (
                "https://idp.example/",
                &[
                    "https://idp.example/.well-known/openid-configuration",
                    "https://idp.example/.well-known/oauth-authorization-server",
                ],
                "https://idp.example/token",
            ),
            (
                "http://127.0.0.1:8080/a/b/",
                &[
                    "http://127.0.0.1:8080/a/b/.well-known/openid-configuration",
                    "http://127.0.0.1:8080/.well-known/oauth-authorization-server/a/b",
                    "http://127.0.0.1:8080/a/b/.well-known/oauth-authorization-server",
                ],
                "http://127.0.0.1:8080/a/b/token",
            ),
        ];
        for (text, urls, fallback) in table {
            let issuer = issuer(text);
            let metadata = metadata_urls(&issuer.url);
            let metadata: Vec<_> = metadata.iter().map(Url::as_str).collect();
            assert_eq!(metadata, urls);
            assert_eq!(issuer.fallback_endpoint().as_str(), fallback);
        }
    }

    #[test]
    fn credentials_go_to_the_issuers_origin_or_to_https_named_over_https() {
        let https = "https://idp.example/oauth2";
        let local = "http://127.0.0.1:8080";
        let compose = "http://keycloak:8080/realms/shop";
        let table = [
            (https, "https://idp.example/token", true),
            (https, "https://idp.example/token?tenant=1", true),
            (https, "https://token.example/token", true),
            (https, "http://idp.example/token", false),
            (https, "http://127.0.0.1/token", false),
            (https, "https://user@idp.example/token", false),
            (https, "https://:secret@idp.example/token", false),
            (https, "https://idp.example/token#x", false),
            (https, "ftp://idp.example/token", false),
            (https, "data:text/plain,x", false),
            (local, "http://127.0.0.1:8080/token", true),
            (local, "http://127.0.0.1:8081/token", false),
            (local, "http://localhost:8080/token", false),
            (local, "https://127.0.0.1:8080/token", false),
            (local, "https://token.example/token", false),
            (compose, "http://keycloak:8080/token", true),
            (compose, "http://keycloak/token", false),
            (compose, "http://localhost:8080/token", false),
            (compose, "https://token.example/token", false),
        ];
        for (by, endpoint, allowed) in table {
            let endpoint = Url::parse(endpoint).unwrap();
            assert_eq!(issuer(by).may_name(&endpoint), allowed, "{by} {endpoint}");
        }
    }

    #[test]
    fn metadata_must_be_the_issuers_own_and_unambiguous() {
        let issuer = issuer("https://idp.example");
        let endpoint = r#""token_endpoint":"https://idp.example/t""#;
        let table = [
            (
                format!(r#"{{"issuer":"https://idp.example",{endpoint}}}"#),
                Ok("https://idp.example/t"),
            ),
            (
                format!(r#"{{"issuer":"https://idp.example/",{endpoint}}}"#),
                Err("wrong_issuer"),
            ),
            (
                format!(r#"{{"issuer":"https://evil.example",{endpoint}}}"#),
                Err("wrong_issuer"),
            ),
            (
                format!(r#"{{"issuer":"https://idp.example",{endpoint},{endpoint}}}"#),
                Err("metadata_not_understood"),
            ),
            (
                format!(r#"{{"issuer":["https://idp.example"],{endpoint}}}"#),
                Err("metadata_not_understood"),
            ),
            (format!("{{{endpoint}}}"), Err("metadata_not_understood")),
            (
                r#"{"issuer":"https://idp.example"}"#.to_owned(),
                Err("no_token_endpoint"),
            ),
            (
                r#"{"issuer":"https://idp.example","token_endpoint":"/t"}"#.to_owned(),
                Err("unsafe_token_endpoint"),
            ),
            (
                r#"{"issuer":"https://idp.example","token_endpoint":"http://idp.example/t"}"#
                    .to_owned(),
                Err("unsafe_token_endpoint"),
            ),
        ];
        for (body, expected) in table {
            let found =
                endpoint_in_metadata(&issuer, body.as_bytes()).map_err(|error| error.reason);
            assert_eq!(
                found.as_ref().map(|url| url.as_str()),
                expected.as_ref().copied(),
                "{body}"
            );
        }
    }
}

//! Where the issuer's token endpoint is: what the user said, else OpenID Connect Discovery 1.0 section 4, RFC 8414
//! section 3, or `<issuer>/token`.
//!
//! It refuses to send credentials anywhere but to the origin of the issuer, unless discovery over https named it.

use oauth2::TokenUrl;
use reqwest::{
    Method, Request,
    header::{ACCEPT, HeaderValue},
};
use serde::Deserialize;
use url::Url;

use crate::{
    advice::{self, Setting},
    failure::{Class, Failure},
    http::{Fault, Http, Redact},
    text::Foreign,
};

/// Metadata of real issuers is 2 to 10 KB.
const LARGEST_METADATA: usize = 256 * 1024;

/// Microsoft Entra writes this into the issuer of tenants that share metadata (`common`, `organizations`).
const NO_TENANT: &str = "{tenantid}";

/// Where the token request goes.
#[derive(Clone, Debug)]
pub(crate) enum TokenEndpoint {
    /// Where this issuer says.
    Of(Issuer),
    /// Where the user says; the issuer is not asked.
    Named(TokenUrl),
}

impl TokenEndpoint {
    /// What the user named.
    pub(crate) fn url(&self) -> &Url {
        match self {
            Self::Of(issuer) => &issuer.url,
            Self::Named(endpoint) => endpoint.url(),
        }
    }

    /// The setting that advice speaks of.
    pub(crate) const fn setting(&self) -> Setting {
        match self {
            Self::Of(_) => Setting::Issuer,
            Self::Named(_) => Setting::TokenUrl,
        }
    }

    /// The endpoint; the issuer is asked if need be.
    pub(crate) async fn find(&self, http: &Http, redact: Redact<'_>) -> Result<TokenUrl, Failure> {
        match self {
            Self::Of(issuer) => token_endpoint(http, issuer, redact).await,
            Self::Named(endpoint) => Ok(endpoint.clone()),
        }
    }
}

/// The issuer, as it was written and as a URL: OAuth compares the text, HTTP needs the parts.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// `url` is `text` parsed: https, or http where that is allowed, without user, query or fragment.
    pub(crate) const fn new(text: String, url: Url) -> Self {
        Self { text, url }
    }

    /// The path without the slash at its end.
    fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    fn with_path(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    /// The places of the metadata, in the order in which they are tried: OpenID Connect Discovery 1.0 section 4,
    /// RFC 8414 section 3.1, and beside the first, where django-oauth-toolkit has it.
    fn metadata(&self) -> Vec<Url> {
        let path = self.path();
        let mut places = vec![
            self.with_path(&format!("{path}/.well-known/openid-configuration")),
            self.with_path(&format!("/.well-known/oauth-authorization-server{path}")),
            self.with_path(&format!("{path}/.well-known/oauth-authorization-server")),
        ];
        // Without a path the last two are the same.
        places.dedup();
        places
    }

    /// When there is no metadata.
    fn fallback(&self) -> Url {
        self.with_path(&format!("{}/token", self.path()))
    }

    /// Whether credentials may go to `endpoint`, which this issuer's metadata names.
    fn vouches_for(&self, endpoint: &Url) -> bool {
        let plain = endpoint.username().is_empty()
            && endpoint.password().is_none()
            && endpoint.fragment().is_none();
        let same_origin = endpoint.origin() == self.url.origin();
        plain
            && match endpoint.scheme() {
                "https" => same_origin || self.url.scheme() == "https",
                // An issuer that is http is on loopback or was allowed.
                "http" => same_origin,
                _ => false,
            }
    }
}

/// What we need of the metadata. A duplicate of either member makes it unreadable, as it should.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
}

/// Asks the issuer where its token endpoint is.
async fn token_endpoint(
    http: &Http,
    issuer: &Issuer,
    redact: Redact<'_>,
) -> Result<TokenUrl, Failure> {
    let refused = |reason| {
        let next = advice::for_issuer(reason, Setting::Issuer);
        Failure::new(Class::IssuerRefused, reason, next)
    };
    for place in issuer.metadata() {
        let mut request = Request::new(Method::GET, place.clone());
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        let answer = match http.send(request, LARGEST_METADATA, redact).await {
            Ok(answer) => answer,
            Err(Fault::TooLarge(status, headers)) => {
                return Err(refused("too_large")
                    .at(&place)
                    .answered(status, &headers, redact));
            }
            Err(Fault::Unreachable { reason, text }) => {
                let next = advice::unreachable_issuer(reason, Setting::Issuer);
                return Err(Failure::new(Class::IssuerUnreachable, reason, next)
                    .at(&place)
                    .described(Some(Foreign::new(&text))));
            }
        };
        let trouble = match answer.status.as_u16() {
            429 => Some("issuer_overloaded"),
            500.. => Some("issuer_failed"),
            _ => None,
        };
        if let Some(reason) = trouble {
            return Err(refused(reason).at(&place).answered(
                answer.status,
                &answer.headers,
                redact,
            ));
        }
        let json = serde_json::from_slice::<serde_json::Value>(&answer.body);
        if answer.status != 200 || !json.is_ok_and(|json| json.is_object()) {
            // Not there: an issuer without discovery answers 404, a redirect or a page for people.
            continue;
        }
        return read(issuer, &answer.body).map_err(|unusable| {
            let failure = refused(unusable.reason)
                .at(&place)
                .described(Some(unusable.description));
            match unusable.next {
                Some(next) => failure.next(next),
                None => failure,
            }
        });
    }
    Ok(TokenUrl::from_url(issuer.fallback()))
}

/// Metadata that cannot be used.
#[derive(Debug)]
struct Unusable {
    reason: &'static str,
    description: Foreign,
    /// Where the advice for the reason would not help.
    next: Option<&'static str>,
}

impl Unusable {
    fn new(reason: &'static str, description: &str) -> Self {
        Self {
            reason,
            description: Foreign::new(description),
            next: None,
        }
    }
}

/// The endpoint that a JSON object names, if it is this issuer's and safe.
fn read(issuer: &Issuer, body: &[u8]) -> Result<TokenUrl, Unusable> {
    let Ok(metadata) = serde_json::from_slice::<Metadata>(body) else {
        let text = "the metadata has no issuer, or members that are no strings or are there twice";
        return Err(Unusable::new("metadata_not_understood", text));
    };
    // OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3: exactly.
    if metadata.issuer != issuer.text {
        let text = format!("the issuer calls itself {}", metadata.issuer);
        let unusable = Unusable::new("wrong_issuer", &text);
        return Err(if metadata.issuer.contains(NO_TENANT) {
            Unusable {
                next: Some(advice::NO_TENANT),
                ..unusable
            }
        } else {
            unusable
        });
    }
    let Some(named) = metadata.token_endpoint else {
        let text = "the metadata names no token endpoint";
        return Err(Unusable::new("no_token_endpoint", text));
    };
    match TokenUrl::new(named.clone()) {
        Ok(endpoint) if issuer.vouches_for(endpoint.url()) => Ok(endpoint),
        _ => {
            let text = format!("the metadata names the token endpoint {named}");
            Err(Unusable::new("unsafe_token_endpoint", &text))
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
    fn metadata_is_looked_for_in_three_places_and_the_fallback_is_beside_it() {
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
        for (text, places, fallback) in table {
            let issuer = issuer(text);
            let metadata = issuer.metadata();
            let metadata: Vec<_> = metadata.iter().map(Url::as_str).collect();
            assert_eq!(metadata, places);
            assert_eq!(issuer.fallback().as_str(), fallback);
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
        for (by, endpoint, vouched) in table {
            let endpoint = Url::parse(endpoint).unwrap();
            assert_eq!(
                issuer(by).vouches_for(&endpoint),
                vouched,
                "{by} {endpoint}"
            );
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
            let read = read(&issuer, body.as_bytes()).map_err(|unusable| unusable.reason);
            assert_eq!(
                read.as_ref().map(|url| url.as_str()),
                expected.as_ref().copied(),
                "{body}"
            );
        }
    }
}

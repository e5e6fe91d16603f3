//! Where the issuer's token endpoint is: OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3, or `<issuer>/token`.
//!
//! It refuses to send credentials anywhere but to the origin of the issuer, unless discovery over https named it.

use oauth2::TokenUrl;
use reqwest::{Client, header::ACCEPT};
use serde::Deserialize;
use url::Url;

use crate::{
    advice,
    failure::{Class, Failure},
    http::{self, Fault, is_loopback},
    text::Foreign,
};

/// Metadata of real issuers is 2 to 10 KB.
const LARGEST_METADATA: usize = 256 * 1024;

/// The issuer, as it was written and as a URL: OAuth compares the text, HTTP needs the parts.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// `url` is `text` parsed: https, or http on loopback, without user, query or fragment.
    pub(crate) const fn new(text: String, url: Url) -> Self {
        Self { text, url }
    }

    /// Parsed.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
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

    /// The places of the metadata, in the order in which they are tried.
    fn metadata(&self) -> [Url; 2] {
        let path = self.path();
        [
            self.with_path(&format!("{path}/.well-known/openid-configuration")),
            self.with_path(&format!("/.well-known/oauth-authorization-server{path}")),
        ]
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
                "http" => same_origin && is_loopback(endpoint),
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
pub(crate) async fn token_endpoint(client: &Client, issuer: &Issuer) -> Result<TokenUrl, Failure> {
    for place in issuer.metadata() {
        let request = client.get(place.clone()).header(ACCEPT, "application/json");
        let refused =
            |reason| Failure::new(Class::IssuerRefused, reason, advice::for_issuer(reason));
        let answer = match http::send(request, LARGEST_METADATA).await {
            Ok(answer) => answer,
            Err(Fault::TooLarge(status, headers)) => {
                return Err(refused("too_large").at(&place).answered(
                    status,
                    &headers,
                    &str::to_owned,
                ));
            }
            Err(Fault::Unreachable { reason, text }) => {
                let next = advice::unreachable_issuer(reason);
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
                &str::to_owned,
            ));
        }
        let json = serde_json::from_slice::<serde_json::Value>(&answer.body);
        if answer.status != 200 || !json.is_ok_and(|json| json.is_object()) {
            // Not there: an issuer without discovery answers 404, a redirect or a page for people.
            continue;
        }
        return read(issuer, &answer.body).map_err(|(reason, description)| {
            refused(reason).at(&place).described(Some(description))
        });
    }
    Ok(TokenUrl::from_url(issuer.fallback()))
}

/// The endpoint that a JSON object names, if it is this issuer's and safe.
fn read(issuer: &Issuer, body: &[u8]) -> Result<TokenUrl, (&'static str, Foreign)> {
    let Ok(metadata) = serde_json::from_slice::<Metadata>(body) else {
        let text = "the metadata has no issuer, or members that are no strings or are there twice";
        return Err(("metadata_not_understood", Foreign::new(text)));
    };
    // OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3: exactly.
    if metadata.issuer != issuer.text {
        let text = format!("the issuer calls itself {}", metadata.issuer);
        return Err(("wrong_issuer", Foreign::new(&text)));
    }
    let Some(named) = metadata.token_endpoint else {
        let text = "the metadata names no token endpoint";
        return Err(("no_token_endpoint", Foreign::new(text)));
    };
    match TokenUrl::new(named.clone()) {
        Ok(endpoint) if issuer.vouches_for(endpoint.url()) => Ok(endpoint),
        _ => {
            let text = format!("the metadata names the token endpoint {named}");
            Err(("unsafe_token_endpoint", Foreign::new(&text)))
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
    fn metadata_is_looked_for_in_both_places_and_the_fallback_is_beside_it() {
        let table = [
            (
                "https://t.verify.ibm.com/oauth2",
                "https://t.verify.ibm.com/oauth2/.well-known/openid-configuration",
                "https://t.verify.ibm.com/.well-known/oauth-authorization-server/oauth2",
                "https://t.verify.ibm.com/oauth2/token",
            ),
            (
                "https://idp.example/",
                "https://idp.example/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server",
                "https://idp.example/token",
            ),
            (
                "http://127.0.0.1:8080/a/b/",
                "http://127.0.0.1:8080/a/b/.well-known/openid-configuration",
                "http://127.0.0.1:8080/.well-known/oauth-authorization-server/a/b",
                "http://127.0.0.1:8080/a/b/token",
            ),
        ];
        for (text, openid, rfc8414, fallback) in table {
            let issuer = issuer(text);
            let [first, second] = issuer.metadata();
            assert_eq!(first.as_str(), openid);
            assert_eq!(second.as_str(), rfc8414);
            assert_eq!(issuer.fallback().as_str(), fallback);
        }
    }

    #[test]
    fn credentials_go_to_the_issuers_origin_or_to_https_named_over_https() {
        let https = "https://idp.example/oauth2";
        let local = "http://127.0.0.1:8080";
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
            let read = read(&issuer, body.as_bytes()).map_err(|(reason, _)| reason);
            assert_eq!(
                read.as_ref().map(|url| url.as_str()),
                expected.as_ref().copied(),
                "{body}"
            );
        }
    }
}

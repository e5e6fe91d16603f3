//! `allowed_outbound_hosts`: which hosts a component may call, by Spin's rules.
//!
//! This host makes HTTP calls only, so it refuses grants of anything else: other schemes, ranges of
//! ports and addresses, calls of the app to itself (`self`) and service chaining
//! (`*.spin.internal`).

use anyhow::{Context as _, Result, bail, ensure};
use http::Uri;
use url::{Host, Url};

use super::{template::Template, variables::Resolver};

/// The suffix of the host names by which the components of an app call each other in Spin.
pub(crate) const CHAINING_SUFFIX: &str = ".spin.internal";

/// The grants of one component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowedHosts(Vec<Grant>);

#[derive(Debug, PartialEq, Eq)]
struct Grant {
    scheme: Option<String>,
    host: HostRule,
    port: PortRule,
}

#[derive(Debug, PartialEq, Eq)]
enum HostRule {
    Any,
    /// Any name with this suffix, which starts with a dot.
    Subdomain(String),
    Exactly(Host),
}

#[derive(Debug, PartialEq, Eq)]
enum PortRule {
    Any,
    Exactly(u16),
}

impl AllowedHosts {
    /// Parses the entries of a component and resolves their templates.
    ///
    /// # Errors
    /// An entry is invalid or grants something that this host does not support.
    pub(crate) fn parse(entries: &[String], resolver: &Resolver) -> Result<Self> {
        let mut grants = Vec::new();
        for entry in entries {
            let template = Template::parse(entry)?;
            if template.is_literal() {
                let grant = Grant::parse(entry)
                    .with_context(|| format!("allowed_outbound_hosts {entry:?}"))?;
                grants.push(grant);
                continue;
            }
            let value = resolver.resolve(&template)?;
            // An optional endpoint that is not set grants nothing; that is no error.
            if ["", "http://", "https://"].contains(&value.expose()) {
                continue;
            }
            let grant = Grant::parse(value.expose());
            // The inner error would quote the value.
            if value.is_secret() && grant.is_err() {
                bail!(
                    "allowed_outbound_hosts {entry:?}: its variables are secret, and their value is not a valid grant"
                );
            }
            grants.push(grant.with_context(|| format!("allowed_outbound_hosts {entry:?}"))?);
        }
        Ok(Self(grants))
    }

    /// Whether a call to this address is granted.
    pub(crate) fn allows(&self, uri: &Uri) -> bool {
        // Parsed as browsers do, so that every spelling of a host is checked as the same host.
        let Ok(url) = Url::parse(&uri.to_string()) else {
            return false;
        };
        let Some(host) = url.host().map(|host| host.to_owned()) else {
            return false;
        };
        if is_chaining(&host) {
            return false;
        }
        self.0.iter().any(|grant| grant.allows(&url, &host))
    }
}

/// Whether an app of Spin calls itself or its own components by this host.
fn is_chaining(host: &Host) -> bool {
    matches!(host, Host::Domain(name) if name == "self.alt" || name.ends_with(CHAINING_SUFFIX))
}

impl Grant {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            bail!("{text:?} has no scheme: write <scheme>://<host>[:<port>], with '*' for any");
        };
        // The last colon may be part of an IPv6 address without a port.
        let (host, port) = match rest.rsplit_once(':') {
            None => (rest, ""),
            Some((host, "")) => (host, ""),
            Some(_) if HostRule::parse(rest).is_ok() => (rest, ""),
            Some((host, tail)) => match tail.split_once('/') {
                Some((port, "")) => (host, port),
                Some(_) => bail!("{text:?} has a path but is not allowed to"),
                None => (host, tail),
            },
        };
        Ok(Self {
            scheme: parse_scheme(scheme)
                .with_context(|| format!("scheme {scheme:?} of {text:?}"))?,
            port: PortRule::parse(port, scheme)
                .with_context(|| format!("port {port:?} of {text:?}"))?,
            host: HostRule::parse(host).with_context(|| format!("host {host:?} of {text:?}"))?,
        })
    }

    fn allows(&self, url: &Url, host: &Host) -> bool {
        self.scheme
            .as_deref()
            .is_none_or(|scheme| scheme == url.scheme())
            && self.host.allows(host)
            && self.port.allows(url.port_or_known_default())
    }
}

fn parse_scheme(scheme: &str) -> Result<Option<String>> {
    match scheme {
        "*" => Ok(None),
        "http" | "https" => Ok(Some(scheme.to_owned())),
        _ => bail!("this host supports 'http', 'https' and '*' only"),
    }
}

impl HostRule {
    fn parse(host: &str) -> Result<Self> {
        let host = host.trim();
        if host == "*" {
            return Ok(Self::Any);
        }
        ensure!(
            host != "self" && host != "self.alt",
            "calls of an app to itself are not supported by this host: name the address"
        );
        let host = host.strip_suffix('/').unwrap_or(host);
        ensure!(
            !host.contains('/'),
            "must not include a path (and ranges of addresses are not supported by this host)"
        );
        if let Some(domain) = host.strip_prefix("*.") {
            ensure!(
                !domain.contains('*'),
                "wildcards are allowed only as prefixes"
            );
            let Host::Domain(domain) = Host::parse(domain)? else {
                bail!("wildcard suffix must be a domain")
            };
            let suffix = format!(".{domain}");
            ensure!(
                !suffix.ends_with(CHAINING_SUFFIX),
                "service chaining is not supported by this host"
            );
            return Ok(Self::Subdomain(suffix));
        }
        ensure!(
            !host.contains('*'),
            "wildcards are allowed only as subdomains"
        );
        let host = Host::parse(host)?;
        ensure!(
            !is_chaining(&host),
            "service chaining is not supported by this host"
        );
        Ok(Self::Exactly(host))
    }

    fn allows(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Subdomain(suffix), Host::Domain(domain)) => domain.ends_with(suffix),
            (Self::Subdomain(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
            (Self::Exactly(allowed), host) => allowed == host,
        }
    }
}

impl PortRule {
    fn parse(port: &str, scheme: &str) -> Result<Self> {
        if port.is_empty() {
            let port = well_known_port(scheme)
                .context("there is none, and the scheme has no default port: add :<port> or :*")?;
            return Ok(Self::Exactly(port));
        }
        if port == "*" {
            return Ok(Self::Any);
        }
        ensure!(
            !port.contains(".."),
            "ranges of ports are not supported by this host"
        );
        let number = port
            .parse()
            .with_context(|| format!("{port:?} is not a port number"))?;
        Ok(Self::Exactly(number))
    }

    fn allows(&self, port: Option<u16>) -> bool {
        match (self, port) {
            (Self::Any, _) => true,
            (Self::Exactly(allowed), port) => Some(*allowed) == port,
        }
    }
}

fn well_known_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::variables::tests::resolver, *};

    fn hosts(entries: &[&str], values: &[(&str, &str)]) -> Result<AllowedHosts> {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        AllowedHosts::parse(&entries, &resolver(values))
    }

    #[test]
    fn a_grant_covers_exactly_its_scheme_host_and_port() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "https://a.test",
                &["https://a.test/x?y", "https://A.TEST:443/"],
                &[
                    "http://a.test/",
                    "https://a.test:8443/",
                    "https://b.a.test/",
                    "https://a.test.evil/",
                    "https://xa.test/",
                ],
            ),
            (
                "http://a.test:8080",
                &["http://a.test:8080/"],
                &["http://a.test/", "http://a.test:808/"],
            ),
            (
                "http://a.test:8080/",
                &["http://a.test:8080/"],
                &["http://a.test/"],
            ),
            (
                "http://a.test:*",
                &["http://a.test/", "http://a.test:1/"],
                &["https://a.test/"],
            ),
            (
                "*://a.test:443",
                &["https://a.test/", "http://a.test:443/"],
                &["http://a.test/"],
            ),
            (
                "https://*.a.test",
                &["https://b.a.test/", "https://c.b.a.test/"],
                &[
                    "https://a.test/",
                    "https://ba.test/",
                    "https://a.test.evil/",
                    "https://b.a.test:444/",
                ],
            ),
            (
                "https://*",
                &["https://a.test/", "https://127.0.0.1/"],
                &["http://a.test/", "https://a.test:444/"],
            ),
            (
                "*://*:*",
                &["https://a.test:1/", "http://[::1]:2/"],
                &["https://self.alt/", "http://app.spin.internal/"],
            ),
            (
                "http://127.0.0.1:3000",
                &["http://127.0.0.1:3000/", "http://0x7f.1:3000/"],
                &["http://localhost:3000/"],
            ),
            (
                "http://[::1]",
                &["http://[::1]/", "http://[0:0::1]:80/"],
                &["http://[::2]/", "http://[::1]:81/"],
            ),
            ("http://[::1]:9", &["http://[::1]:9/"], &["http://[::1]/"]),
        ];
        for (entry, allowed, denied) in table {
            let hosts = hosts(&[entry], &[]).unwrap();
            for address in *allowed {
                assert!(
                    hosts.allows(&address.parse().unwrap()),
                    "{entry} must allow {address}"
                );
            }
            for address in *denied {
                assert!(
                    !hosts.allows(&address.parse().unwrap()),
                    "{entry} must deny {address}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_allowed_without_a_grant() {
        assert!(!AllowedHosts::default().allows(&"http://127.0.0.1/".parse().unwrap()));
    }

    #[test]
    fn a_template_grants_what_its_variables_say_and_nothing_when_they_are_empty() {
        let granted = hosts(
            &["{{ url }}", "https://{{ host }}:*"],
            &[("url", "http://a.test:81"), ("host", "b.test")],
        );
        let granted = granted.unwrap();
        assert!(granted.allows(&"http://a.test:81/".parse().unwrap()));
        assert!(granted.allows(&"https://b.test:9/".parse().unwrap()));

        for url in ["", "http://", "https://"] {
            assert_eq!(
                hosts(&["{{ url }}"], &[("url", url)]).unwrap(),
                AllowedHosts::default(),
                "{url:?}"
            );
        }
        assert!(
            hosts(&[""], &[]).is_err(),
            "a literal that is empty stays a mistake"
        );
    }

    #[test]
    fn invalid_and_unsupported_entries_are_refused() {
        let table = [
            ("a.test", r#""a.test" has no scheme"#),
            ("*", r#""*" has no scheme"#),
            ("https://a.test/path", "must not include a path"),
            (
                "https://a.test:443/path",
                "has a path but is not allowed to",
            ),
            (
                "https://a.*.test",
                "wildcards are allowed only as subdomains",
            ),
            ("https://*.*.test", "wildcards are allowed only as prefixes"),
            ("redis://a.test", "supports 'http', 'https' and '*' only"),
            ("*://a.test", "has no default port"),
            ("https://a.test:x", r#""x" is not a port number"#),
            ("h2://a.test:1", "supports 'http', 'https' and '*' only"),
            ("http://a.test:80..82", "ranges of ports are not supported"),
            ("http://self", "calls of an app to itself are not supported"),
            (
                "http://self.alt",
                "calls of an app to itself are not supported",
            ),
            (
                "http://app.spin.internal",
                "service chaining is not supported",
            ),
            (
                "http://*.spin.internal",
                "service chaining is not supported",
            ),
        ];
        for (entry, expected) in table {
            let error = format!("{:#}", hosts(&[entry], &[]).unwrap_err());
            assert!(
                error.starts_with(&format!("allowed_outbound_hosts {entry:?}: ")),
                "{entry}: {error}"
            );
            assert!(error.contains(expected), "{entry}: {error}");
        }
    }

    #[test]
    fn a_secret_that_makes_no_grant_is_not_repeated() {
        let error = format!(
            "{:#}",
            hosts(&["{{ a_secret }}"], &[("a_secret", "s3cret")]).unwrap_err()
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}

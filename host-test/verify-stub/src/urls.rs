//! The URLs of the endpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::record::Endpoint;

/// One of IBM Verify's two families of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// `/oauth2/...`, for new tenants.
    #[default]
    New,
    /// `/v1.0/endpoint/default/...`, whose issuer is `/oidc/endpoint/default`.
    Old,
}

impl Provider {
    const ALL: [Self; 2] = [Self::New, Self::Old];

    const fn endpoints(self) -> &'static str {
        match self {
            Self::New => "/oauth2",
            Self::Old => "/v1.0/endpoint/default",
        }
    }

    const fn issuer(self) -> &'static str {
        match self {
            Self::New => "/oauth2",
            Self::Old => "/oidc/endpoint/default",
        }
    }

    /// `token_type` as each of them spells it.
    pub(super) const fn token_type(self) -> &'static str {
        match self {
            Self::New => "bearer",
            Self::Old => "Bearer",
        }
    }
}

/// The absolute URLs of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Urls {
    /// `iss`, and the base of the discovery URL.
    pub issuer: String,
    /// OpenID Connect Discovery.
    pub discovery: String,
    /// RFC 8414.
    pub metadata: String,
    /// RFC 6749 section 3.2.
    pub token: String,
    /// RFC 7662.
    pub introspect: String,
    /// RFC 7009.
    pub revoke: String,
    /// RFC 7517.
    pub jwks: String,
}

/// After the path of the issuer (OpenID Connect Discovery 1.0 section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Before the path of the issuer (RFC 8414 section 3.1).
const METADATA: &str = "/.well-known/oauth-authorization-server";

impl Urls {
    pub(super) fn new(base: &str, provider: Provider) -> Self {
        let endpoint = |name: &str| format!("{base}{}/{name}", provider.endpoints());
        let issuer = format!("{base}{}", provider.issuer());
        Self {
            discovery: format!("{issuer}{DISCOVERY}"),
            metadata: format!("{base}{METADATA}{}", provider.issuer()),
            issuer,
            token: endpoint("token"),
            introspect: endpoint("introspect"),
            revoke: endpoint("revoke"),
            jwks: endpoint("jwks"),
        }
    }
}

/// Scheme, host and port for callers on this machine.
pub(super) fn base(secure: bool, host: Option<&str>, address: SocketAddr) -> String {
    let scheme = if secure { "https" } else { "http" };
    if let Some(host) = host {
        return format!("{scheme}://{host}:{}", address.port());
    }
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// The endpoint of a path.
pub(super) fn route(path: &str) -> (Endpoint, Provider) {
    for provider in Provider::ALL {
        if path.strip_prefix(provider.issuer()) == Some(DISCOVERY) {
            return (Endpoint::Discovery, provider);
        }
        if path.strip_prefix(METADATA) == Some(provider.issuer()) {
            return (Endpoint::Metadata, provider);
        }
        let endpoint = match path.strip_prefix(provider.endpoints()) {
            Some("/token") => Endpoint::Token,
            Some("/introspect") => Endpoint::Introspect,
            Some("/revoke") => Endpoint::Revoke,
            Some("/jwks") => Endpoint::Jwks,
            _ => continue,
        };
        return (endpoint, provider);
    }
    (Endpoint::Other, Provider::New)
}

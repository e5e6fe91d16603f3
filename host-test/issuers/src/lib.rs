//! Third-party OAuth 2.0 servers, installed under `target/installed/` and started for tests.
//!
//! Each has two confidential clients, [`SERVICE_A`] and [`SERVICE_B`], gives the first tokens by
//! client credentials with the scope [`SCOPE`], and knows the resources [`RESOURCE`] and
//! [`JWT_RESOURCE`] (RFC 8707). It listens on a free port of 127.0.0.1. `SKIP_ISSUERS=1` is the
//! only way to skip: tests ask [`is_skipped`] first.

mod authority;
mod calls;
mod django_oauth_toolkit;
mod glewlwyd;
mod node_oidc_provider;
mod process;

use std::path::{Path, PathBuf};

use anyhow::Result;
use programs::Process;
use tempfile::TempDir;

pub use self::calls::{Answer, Basic};

/// The scope of the tokens.
pub const SCOPE: &str = "read";

/// The resource of tokens (RFC 8707) in the server's default format.
pub const RESOURCE: &str = "https://service-b.example/";

/// The resource whose tokens are JWTs, if the server supports both formats.
pub const JWT_RESOURCE: &str = "https://service-b.example/jwt";

/// A client whose secret contains characters that form encoding changes.
#[derive(Clone, Copy)]
pub struct Client {
    /// The client id.
    pub id: &'static str,
    /// The client secret.
    pub secret: &'static str,
}

/// The client that obtains tokens.
pub const SERVICE_A: Client = Client {
    id: "service-a",
    secret: "A+%41 s:/&=x",
};

/// The client that introspects tokens.
pub const SERVICE_B: Client = Client {
    id: "service-b",
    secret: "B+%41 s:/&=y",
};

/// A client of node-oidc-provider over https whose tokens are bound to its certificate (RFC 8705
/// section 3).
pub const BOUND_CLIENT: Client = Client {
    id: "service-a-bound",
    secret: "a secret beside the certificate",
};

/// A client of node-oidc-provider that introspects tokens and signs assertions (RFC 7523).
#[derive(Clone, Copy)]
pub struct SigningClient {
    /// The client id.
    pub id: &'static str,
    /// The `client_auth` of Service B.
    pub client_auth: &'static str,
    /// The private key as a JWK, or the client secret.
    pub credential: &'static str,
}

/// With the keys of RFC 6979 appendix A.2.5 and RFC 8037 appendix A.1.
pub const SIGNING_CLIENTS: [SigningClient; 3] = [
    SigningClient {
        id: "service-b-es256",
        client_auth: "private_key_jwt",
        credential: r#"{"kty":"EC","crv":"P-256","kid":"2026-11","d":"ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y","y":"eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk"}"#,
    },
    SigningClient {
        id: "service-b-eddsa",
        client_auth: "private_key_jwt",
        credential: r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    },
    SigningClient {
        id: "service-b-hs256",
        client_auth: "client_secret_jwt",
        credential: "a secret of more than 32 characters for HS256",
    },
];

/// If set to 1, nothing is installed or run.
pub(crate) const SKIP: &str = "SKIP_ISSUERS";

/// Whether the user skips the tests that need these servers.
#[must_use]
pub fn is_skipped() -> bool {
    std::env::var_os(SKIP).is_some_and(|value| value == "1")
}

/// A server that can be installed and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// node-oidc-provider, over http.
    NodeOidcProvider,
    /// node-oidc-provider, over https with a certificate from its own certificate authority.
    NodeOidcProviderHttps,
    /// django-oauth-toolkit.
    DjangoOauthToolkit,
    /// Glewlwyd with its OpenID Connect plugin.
    Glewlwyd,
}

impl Product {
    /// All products.
    pub const ALL: [Self; 4] = [
        Self::NodeOidcProvider,
        Self::NodeOidcProviderHttps,
        Self::DjangoOauthToolkit,
        Self::Glewlwyd,
    ];

    /// The name that tests use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeOidcProvider => "node-oidc-provider",
            Self::NodeOidcProviderHttps => "node-oidc-provider-https",
            Self::DjangoOauthToolkit => "django-oauth-toolkit",
            Self::Glewlwyd => "glewlwyd",
        }
    }

    /// The program and its version, as docs/issuers.md lists it. Debian chooses Glewlwyd's version.
    ///
    /// # Errors
    /// The file that pins the version cannot be parsed.
    pub fn version(self) -> Result<String> {
        match self {
            Self::NodeOidcProvider | Self::NodeOidcProviderHttps => node_oidc_provider::version(),
            Self::DjangoOauthToolkit => django_oauth_toolkit::version(),
            Self::Glewlwyd => Ok("Debian's".to_owned()),
        }
    }

    /// Whether it form-decodes the id and the secret in a Basic header, as RFC 6749 section 2.3.1
    /// requires.
    #[must_use]
    pub const fn decodes_basic(self) -> bool {
        match self {
            Self::NodeOidcProvider | Self::NodeOidcProviderHttps | Self::DjangoOauthToolkit => true,
            Self::Glewlwyd => false,
        }
    }

    /// Whether this machine can run it. If not, its tests are reported as ignored.
    #[must_use]
    pub fn is_available(self) -> bool {
        self != Self::Glewlwyd || glewlwyd::is_available()
    }

    /// Installs it if necessary, and starts it.
    ///
    /// # Errors
    /// A tool it needs is missing, the registry does not respond, or it does not start. The message
    /// says what to do.
    pub async fn start(self) -> Result<Issuer> {
        tokio::task::spawn_blocking(move || self.start_blocking()).await?
    }

    fn start_blocking(self) -> Result<Issuer> {
        match self {
            Self::NodeOidcProvider => node_oidc_provider::start(self, None),
            Self::NodeOidcProviderHttps => {
                node_oidc_provider::start(self, Some(authority::Certificates::make()?))
            }
            Self::DjangoOauthToolkit => django_oauth_toolkit::start(self),
            Self::Glewlwyd => glewlwyd::start(self),
        }
    }
}

/// A running server. Dropping it stops it and removes its files.
pub struct Issuer {
    product: Product,
    url: String,
    /// The path of its token endpoint, relative to `url`.
    token_path: &'static str,
    introspection: String,
    revocation: String,
    authority: Option<authority::Certificates>,
    process: Process,
    /// The folder with its database, if that consists of files.
    #[expect(dead_code, reason = "removed when this is dropped")]
    directory: Option<TempDir>,
}

impl Issuer {
    /// The product.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// Its issuer identifier.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its introspection endpoint (RFC 7662).
    #[must_use]
    pub fn introspection(&self) -> &str {
        &self.introspection
    }

    /// The CA certificate that clients must trust, in PEM, if it uses TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority
            .as_ref()
            .map(authority::Certificates::authority)
    }

    /// Its output so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.out() + &self.process.log()
    }
}

/// The folder in this crate with the program that runs a product.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

//! OAuth 2.0 servers that nobody here wrote, installed under `target/installed/` and started for tests.
//!
//! Each has two confidential clients, [`SERVICE_A`] and [`SERVICE_B`], gives the first tokens by client credentials with
//! the scope [`SCOPE`], and knows the resources [`RESOURCE`] and [`JWT_RESOURCE`] (RFC 8707). It listens on a free
//! port of 127.0.0.1. `SKIP_ISSUERS=1` is the only way to skip: tests ask [`is_skipped`] first.

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

/// The scope that tokens have.
pub const SCOPE: &str = "read";

/// What tokens are for (RFC 8707). The server makes them as it does unless told otherwise.
pub const RESOURCE: &str = "https://service-b.example/";

/// Tokens for this resource are JWTs, where a server makes both kinds.
pub const JWT_RESOURCE: &str = "https://service-b.example/jwt";

/// A client, with a secret that form encoding changes.
#[derive(Clone, Copy)]
pub struct Client {
    /// Its id.
    pub id: &'static str,
    /// Its secret.
    pub secret: &'static str,
}

/// Who calls.
pub const SERVICE_A: Client = Client {
    id: "service-a",
    secret: "A+%41 s:/&=x",
};

/// Who asks about tokens.
pub const SERVICE_B: Client = Client {
    id: "service-b",
    secret: "B+%41 s:/&=y",
};

/// Set to 1, nothing is installed or run.
pub(crate) const SKIP: &str = "SKIP_ISSUERS";

/// Whether the user has asked to do without these servers.
#[must_use]
pub fn is_skipped() -> bool {
    std::env::var_os(SKIP).is_some_and(|value| value == "1")
}

/// A server that can be installed and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// node-oidc-provider, over http.
    NodeOidcProvider,
    /// node-oidc-provider, over https with a certificate of an authority of its own.
    NodeOidcProviderHttps,
    /// django-oauth-toolkit.
    DjangoOauthToolkit,
    /// Glewlwyd with its OpenID Connect plugin.
    Glewlwyd,
}

impl Product {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::NodeOidcProvider,
        Self::NodeOidcProviderHttps,
        Self::DjangoOauthToolkit,
        Self::Glewlwyd,
    ];

    /// In the names of tests.
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
    /// The file that pins the version has another form.
    pub fn version(self) -> Result<String> {
        match self {
            Self::NodeOidcProvider | Self::NodeOidcProviderHttps => node_oidc_provider::version(),
            Self::DjangoOauthToolkit => django_oauth_toolkit::version(),
            Self::Glewlwyd => Ok("Debian's".to_owned()),
        }
    }

    /// Whether it decodes the id and the secret in a Basic header, as RFC 6749 section 2.3.1 has them encoded.
    #[must_use]
    pub const fn decodes_basic(self) -> bool {
        match self {
            Self::NodeOidcProvider | Self::NodeOidcProviderHttps | Self::DjangoOauthToolkit => true,
            Self::Glewlwyd => false,
        }
    }

    /// Whether this machine can have it. Where not, its tests are shown as ignored.
    #[must_use]
    pub fn is_available(self) -> bool {
        self != Self::Glewlwyd || glewlwyd::is_available()
    }

    /// Installs it, if that was not done before, and starts it.
    ///
    /// # Errors
    /// What it is made with is missing, the registry does not answer, or it does not start: with what to do.
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

/// A server that runs. Dropped, it is ended and what it wrote is removed.
pub struct Issuer {
    product: Product,
    url: String,
    /// Of its token endpoint, after `url`.
    token_path: &'static str,
    introspection: String,
    revocation: String,
    authority: Option<authority::Certificates>,
    process: Process,
    /// With its database, if that is in files.
    #[expect(dead_code, reason = "removed when this is dropped")]
    directory: Option<TempDir>,
}

impl Issuer {
    /// What it is.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// The issuer, as it calls itself.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its introspection endpoint (RFC 7662).
    #[must_use]
    pub fn introspection(&self) -> &str {
        &self.introspection
    }

    /// The certificate of the authority that its callers have to trust, in PEM, if it speaks TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority
            .as_ref()
            .map(authority::Certificates::authority)
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.out() + &self.process.log()
    }
}

/// The folder of this crate with the program of a product.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

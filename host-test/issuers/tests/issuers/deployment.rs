//! Service B behind its auth check, in either host.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use envoy_runner::{Envoy, EnvoyOptions};
use issuers::{Issuer, JWT_RESOURCE, RESOURCE, SERVICE_B};
use programs::{Guest, components};
use serde_json::json;
use spin_host::{App, Running, ServeOptions};
use tokio::sync::OnceCell;

/// Where the shipped configuration has the authorities that the issuer's certificate is from.
const TRUSTED_CA: &str = "/static_resources/clusters/issuer_https/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca";

/// Where it has the port of the public listener.
const PORT: &str = "/static_resources/listeners/service_b/address/socket_address/port_value";

/// Long enough for an instance to remember what an earlier request of a test left in it.
const IDLE: Duration = Duration::from_secs(60);

/// The hosts of the auth check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// The middleware in the embedded host.
    Spin,
    /// The filter in real Envoy.
    Envoy,
}

impl Host {
    pub(crate) const ALL: [Self; 2] = [Self::Spin, Self::Envoy];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Envoy => "envoy",
        }
    }

    pub(crate) fn is_skipped(self) -> bool {
        self == Self::Envoy && envoy_runner::is_skipped()
    }
}

/// Dropped, all of it ends.
pub(crate) enum Deployment {
    Spin(Running),
    Envoy(Box<Envoy>),
}

impl Deployment {
    /// With what a user has to set for this issuer, and these settings on top, on a free port.
    pub(crate) async fn start(host: Host, issuer: &Issuer, more: &[(&str, &str)]) -> Result<Self> {
        Self::start_on(0, host, issuer, more).await
    }

    /// On this port.
    pub(crate) async fn start_on(
        port: u16,
        host: Host,
        issuer: &Issuer,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let mut settings = settings(issuer);
        settings.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        match host {
            Host::Spin => {
                let mut options = ServeOptions {
                    listen: SocketAddr::from(([127, 0, 0, 1], port)),
                    idle_instance_timeout: IDLE,
                    variables: settings,
                    environment: Some(BTreeMap::new()),
                    ..ServeOptions::default()
                };
                if let Some(authority) = issuer.authority() {
                    let file = authority.with_file_name("runtime-config.toml");
                    let trusted = toml(authority);
                    std::fs::write(&file, trusted)?;
                    options.runtime_config = Some(file);
                }
                Ok(Self::Spin(app().await?.serve(options).await?))
            }
            Host::Envoy => {
                let mut options = EnvoyOptions {
                    settings,
                    overrides: vec![(PORT.to_owned(), port.into())],
                    ..EnvoyOptions::default()
                };
                if let Some(authority) = issuer.authority() {
                    let file = json!({ "filename": authority });
                    options.overrides.push((TRUSTED_CA.to_owned(), file));
                }
                Ok(Self::Envoy(Box::new(Envoy::start(options).await?)))
            }
        }
    }

    /// Where Service B's document is.
    pub(crate) fn data_url(&self) -> String {
        let address = match self {
            Self::Spin(running) => running.address(),
            Self::Envoy(envoy) => envoy.address(),
        };
        format!("http://{address}/data")
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::Spin(running) => running
                .logs()
                .into_iter()
                .map(|line| line.text + "\n")
                .collect(),
            Self::Envoy(envoy) => envoy.log(),
        }
    }
}

/// How Spin is told to trust this authority.
fn toml(authority: &Path) -> String {
    let file = authority.display();
    format!(
        "[[client_tls]]\ncomponent_ids = [\"service-b\"]\nhosts = [\"localhost\", \"127.0.0.1\"]\nca_roots_file = \"{file}\"\n"
    )
}

/// With these, opaque tokens are introspected and JWTs verified, and both kinds are cached.
pub(crate) fn verifying(issuer: &Issuer) -> [(&'static str, String); 5] {
    [
        ("strategy", "auto".to_owned()),
        ("jwks_url", format!("{}/jwks", issuer.url())),
        ("expected_issuer", issuer.url().to_owned()),
        ("expected_aud", format!("{RESOURCE} {JWT_RESOURCE}")),
        ("cache_ttl", "60".to_owned()),
    ]
}

fn settings(issuer: &Issuer) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut set = |key: &str, value: &str| settings.insert(key.to_owned(), value.to_owned());
    set("introspect_url", issuer.introspection());
    set("resource_client_id", SERVICE_B.id);
    set("resource_client_secret", SERVICE_B.secret);
    if !issuer.product().decodes_basic() {
        set("client_auth", "basic-raw");
    }
    // The machine is busy, and django-oauth-toolkit hashes the secret for a while.
    set("timeout", "30");
    settings
}

/// The app of the repository's spin.toml, compiled once.
async fn app() -> Result<&'static App> {
    static APP: OnceCell<App> = OnceCell::const_new();
    APP.get_or_try_init(|| async {
        let load = || {
            App::load(
                &programs::repository().join("spin.toml"),
                &components(Guest::ServiceB)?,
            )
        };
        tokio::task::spawn_blocking(load).await?
    })
    .await
}

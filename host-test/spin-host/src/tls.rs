//! TLS of outbound calls: Spin's defaults, and `[[client_tls]]` of the runtime configuration.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use http::uri::Authority;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use serde::Deserialize;

/// In the order of preference. The issuer may speak HTTP/2 only.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// One `[[client_tls]]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientTlsConfig {
    component_ids: Vec<String>,
    hosts: Vec<String>,
    ca_use_platform_roots: Option<bool>,
    ca_use_webpki_roots: Option<bool>,
    ca_roots_file: Option<PathBuf>,
    client_cert_file: Option<PathBuf>,
    client_private_key_file: Option<PathBuf>,
}

/// The settings of all components.
#[derive(Debug, Default)]
pub(crate) struct ClientTls(BTreeMap<String, Hosts>);

/// The settings for hosts, without ports.
type Hosts = BTreeMap<String, Arc<ClientConfig>>;

/// The settings of one component.
#[derive(Clone, Debug, Default)]
pub(crate) struct ComponentTls(Arc<Hosts>);

impl ClientTls {
    /// Reads what the entries name; paths are relative to `directory`.
    pub(crate) fn new(entries: &[ClientTlsConfig], directory: &Path) -> Result<Self> {
        let mut components = BTreeMap::<String, Hosts>::new();
        for (number, entry) in (1..).zip(entries) {
            let config = entry
                .read(directory)
                .with_context(|| format!("[[client_tls]] number {number}"))?;
            for component in &entry.component_ids {
                let hosts = components.entry(component.clone()).or_default();
                for host in &entry.hosts {
                    // The first entry for a host counts.
                    let config = || Arc::clone(&config);
                    hosts.entry(host.clone()).or_insert_with(config);
                }
            }
        }
        Ok(Self(components))
    }

    pub(crate) fn for_component(&self, id: &str) -> ComponentTls {
        ComponentTls(Arc::new(self.0.get(id).cloned().unwrap_or_default()))
    }
}

impl ComponentTls {
    /// The settings for a call to this host.
    pub(crate) fn for_host(&self, host: &str) -> Result<Arc<ClientConfig>, String> {
        match self.0.get(host) {
            Some(config) => Ok(Arc::clone(config)),
            None => DEFAULT.clone(),
        }
    }
}

/// For hosts that no entry names. Made at the first call that needs it: reading the platform's
/// roots takes a while.
static DEFAULT: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
    let roots = Roots {
        platform: true,
        webpki: true,
        own: Vec::new(),
    };
    roots
        .config(None)
        .map_err(|error| format!("no TLS for outbound calls: {error:#}"))
});

struct Roots {
    platform: bool,
    webpki: bool,
    own: Vec<CertificateDer<'static>>,
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Roots {
    fn config(self, client: Option<ClientCertificate>) -> Result<Arc<ClientConfig>> {
        let mut roots = self.own;
        if self.webpki {
            roots.extend_from_slice(webpki_root_certs::TLS_SERVER_ROOT_CERTS);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if self.platform {
            let verifier = Verifier::new_with_extra_roots(roots, provider)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root)?;
            }
            builder.with_root_certificates(store)
        };
        let mut config = match client {
            Some((certificates, key)) => builder.with_client_auth_cert(certificates, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Arc::new(config))
    }
}

impl ClientTlsConfig {
    fn read(&self, directory: &Path) -> Result<Arc<ClientConfig>> {
        ensure!(!self.component_ids.is_empty(), "component_ids is empty");
        ensure!(!self.hosts.is_empty(), "hosts is empty");
        for host in &self.hosts {
            let authority: Authority = host
                .parse()
                .with_context(|| format!("hosts: {host:?} is no host"))?;
            ensure!(
                authority.port().is_none(),
                "hosts: {host:?} has a port: write the host alone, it covers every port"
            );
        }
        let own = match &self.ca_roots_file {
            Some(path) => certificates("ca_roots_file", &directory.join(path))?,
            None => Vec::new(),
        };
        // As in Spin: who names roots of any kind means those alone.
        let (platform, webpki) = match (self.ca_use_platform_roots, self.ca_use_webpki_roots) {
            (Some(platform), webpki) => (platform, webpki.unwrap_or(false)),
            (None, Some(webpki)) => (false, webpki),
            (None, None) => (self.ca_roots_file.is_none(), false),
        };
        ensure!(
            platform || webpki || !own.is_empty(),
            "no certificate authority is trusted: name a ca_roots_file, or set ca_use_platform_roots or \
             ca_use_webpki_roots"
        );
        let client = match (&self.client_cert_file, &self.client_private_key_file) {
            (Some(certificate), Some(key)) => {
                let key = directory.join(key);
                Some((
                    certificates("client_cert_file", &directory.join(certificate))?,
                    PrivateKeyDer::from_pem_file(&key).map_err(|error| {
                        anyhow!(
                            "client_private_key_file: cannot read a key in PEM from {}: {error}",
                            key.display()
                        )
                    })?,
                ))
            }
            (None, None) => None,
            (Some(_), None) => bail!("client_cert_file needs client_private_key_file"),
            (None, Some(_)) => bail!("client_private_key_file needs client_cert_file"),
        };
        let roots = Roots {
            platform,
            webpki,
            own,
        };
        roots.config(client)
    }
}

fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || -> Result<Vec<_>, _> { CertificateDer::pem_file_iter(path)?.collect() };
    let certificates = read().map_err(|error| {
        anyhow!(
            "{setting}: cannot read certificates in PEM from {}: {error}",
            path.display()
        )
    })?;
    ensure!(
        !certificates.is_empty(),
        "{setting}: {} holds no certificate in PEM",
        path.display()
    );
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let entry: ClientTlsConfig = toml::from_str(text).unwrap();
        let error = ClientTls::new(&[entry], Path::new("conf")).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let table = [
            (
                "component_ids = []\nhosts = [\"a\"]",
                "component_ids is empty",
            ),
            ("component_ids = [\"c\"]\nhosts = []", "hosts is empty"),
            (
                "component_ids = [\"c\"]\nhosts = [\"a:1\"]",
                "hosts: \"a:1\" has a port: write the host alone, it covers every port",
            ),
            (
                "component_ids = [\"c\"]\nhosts = [\"a b\"]",
                "hosts: \"a b\" is no host: invalid uri character",
            ),
            (
                "component_ids = [\"c\"]\nhosts = [\"a\"]\nca_use_platform_roots = false",
                "no certificate authority is trusted: name a ca_roots_file, or set ca_use_platform_roots or \
                 ca_use_webpki_roots",
            ),
            (
                "component_ids = [\"c\"]\nhosts = [\"a\"]\nclient_cert_file = \"c.pem\"",
                "client_cert_file needs client_private_key_file",
            ),
            (
                "component_ids = [\"c\"]\nhosts = [\"a\"]\nclient_private_key_file = \"k.pem\"",
                "client_private_key_file needs client_cert_file",
            ),
        ];
        for (text, expected) in table {
            let expected = format!("[[client_tls]] number 1: {expected}");
            assert_eq!(refusal(text), expected, "{text}");
        }
        let missing =
            refusal("component_ids = [\"c\"]\nhosts = [\"a\"]\nca_roots_file = \"ca.pem\"");
        let path = Path::new("conf").join("ca.pem");
        let expected = format!(
            "ca_roots_file: cannot read certificates in PEM from {}",
            path.display()
        );
        assert!(missing.contains(&expected), "{missing}");
        let unknown =
            toml::from_str::<ClientTlsConfig>("component_ids = []\nhosts = []\nca_file = \"a\"");
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("unknown field `ca_file`")
        );
    }

    #[test]
    fn an_entry_is_for_its_components_and_hosts_and_the_first_one_counts() {
        let entries: Vec<ClientTlsConfig> = ["[\"a\"]", "[\"a\", \"b\"]"]
            .map(|ids| {
                let text =
                    format!("component_ids = {ids}\nhosts = [\"h\"]\nca_use_webpki_roots = true");
                toml::from_str(&text).unwrap()
            })
            .into();
        let tls = ClientTls::new(&entries, Path::new(".")).unwrap();
        let config = |component, host| tls.for_component(component).for_host(host).unwrap();
        assert!(Arc::ptr_eq(&config("a", "h"), &config("a", "h")));
        assert!(!Arc::ptr_eq(&config("a", "h"), &config("b", "h")));
        for (component, host) in [("a", "i"), ("c", "h")] {
            assert!(
                Arc::ptr_eq(&config(component, host), &config("d", "d")),
                "{component} {host}"
            );
        }
    }
}

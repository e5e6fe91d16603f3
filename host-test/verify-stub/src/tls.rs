//! The stub's own certificate authority, for `https`.

use std::{fmt, sync::Arc};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    version::TLS13,
};

/// HTTP/2 in ALPN (RFC 9113 section 3.1).
pub(super) const HTTP2: &[u8] = b"h2";

/// The TLS server of the stub.
#[derive(Clone, Debug)]
pub struct StubTls {
    /// The names and addresses in the certificate.
    pub names: Vec<String>,
    /// A certificate that expired long ago.
    pub expired: bool,
    /// Accepts only HTTP/2. A caller that does not offer it gets a 403, as from Node's `http2`.
    pub http2_only: bool,
    /// Accepts only TLS 1.3.
    pub tls13_only: bool,
    /// The name of a client for which a certificate is issued that every connection needs. It
    /// authenticates the client (`tls_client_auth`, RFC 8705 section 2).
    pub client: Option<String>,
}

impl Default for StubTls {
    fn default() -> Self {
        Self {
            names: ["127.0.0.1", "::1", "localhost"].map(str::to_owned).into(),
            expired: false,
            http2_only: false,
            tls13_only: false,
            client: None,
        }
    }
}

/// The certificate of the stub's authority, which callers have to trust.
#[derive(Clone, Debug)]
pub struct StubCertificate {
    /// In DER, for rustls.
    pub der: CertificateDer<'static>,
    /// In PEM, for files.
    pub pem: String,
    /// What the client of [`StubTls::client`] presents.
    pub client: Option<ClientCertificate>,
}

/// A certificate of the stub's authority for a client.
#[derive(Clone)]
pub struct ClientCertificate {
    /// In PEM.
    pub pem: String,
    /// The private key, in PEM.
    pub key_pem: String,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

impl StubTls {
    pub(super) fn generate(&self) -> Result<(Arc<ServerConfig>, StubCertificate)> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "verify-stub authority");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(self.names.clone())
            .context("a name of the stub's certificate")?;
        server
            .distinguished_name
            .push(DnType::CommonName, "verify-stub");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        if self.expired {
            server.not_before = date_time_ymd(2001, 1, 1);
            server.not_after = date_time_ymd(2001, 12, 31);
        }
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;

        let versions: &[&SupportedProtocolVersion] = if self.tls13_only {
            &[&TLS13]
        } else {
            DEFAULT_VERSIONS
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut verifier = WebPkiClientVerifier::no_client_auth();
        let mut client = None;
        if let Some(name) = &self.client {
            let mut roots = RootCertStore::empty();
            roots.add(authority_certificate.der().clone())?;
            verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()?;
            client = Some(client_certificate(name, &issuer)?);
        }
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        config.alpn_protocols = vec![if self.http2_only {
            HTTP2.to_vec()
        } else {
            b"http/1.1".to_vec()
        }];
        let trusted = StubCertificate {
            der: authority_certificate.der().clone(),
            pem: authority_certificate.pem(),
            client,
        };
        Ok((Arc::new(config), trusted))
    }
}

fn client_certificate(name: &str, issuer: &Issuer<'_, KeyPair>) -> Result<ClientCertificate> {
    let mut client = CertificateParams::new(Vec::new())?;
    client.distinguished_name.push(DnType::CommonName, name);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    client.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok(ClientCertificate {
        pem: client.signed_by(&key, issuer)?.pem(),
        key_pem: key.serialize_pem(),
    })
}

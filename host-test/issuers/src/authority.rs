//! A certificate authority for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// PEM files: the CA certificate, and a server certificate for 127.0.0.1 with its key.
pub(crate) struct Certificates {
    authority: PathBuf,
    server: PathBuf,
    key: PathBuf,
    _directory: TempDir,
}

impl Certificates {
    pub(crate) fn make() -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let server_key = KeyPair::generate()?;
        let server_certificate = server.signed_by(&server_key, &issuer)?;

        let directory = tempfile::tempdir()?;
        let write = |name: &str, pem: String| -> Result<PathBuf> {
            let path = directory.path().join(name);
            fs::write(&path, pem)?;
            Ok(path)
        };
        Ok(Self {
            authority: write("authority.pem", authority_certificate.pem())?,
            server: write("server.pem", server_certificate.pem())?,
            key: write("key.pem", server_key.serialize_pem())?,
            _directory: directory,
        })
    }

    pub(crate) fn authority(&self) -> &Path {
        &self.authority
    }

    pub(crate) fn server(&self) -> &Path {
        &self.server
    }

    pub(crate) fn key(&self) -> &Path {
        &self.key
    }
}

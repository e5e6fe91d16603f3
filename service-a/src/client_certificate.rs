//! Reads the certificate of the client for TLS (RFC 8705), with its private key.

use std::path::Path;

use reqwest::Identity;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use secrecy::zeroize::Zeroizing;

/// Reads a PEM file.
pub(crate) fn read(path: &Path) -> Result<Identity, String> {
    let named = |problem: &str| format!("names {}, which {problem}", path.display());
    let pem = std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| named(&format!("cannot be read: {error}")))?;
    if CertificateDer::from_pem_slice(&pem).is_err() {
        return Err(named(
            "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)",
        ));
    }
    if PrivateKeyDer::from_pem_slice(&pem).is_err() {
        return Err(named(
            "holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`): append it",
        ));
    }
    Identity::from_pem(&pem).map_err(|_| named("holds a certificate or a key that cannot be used"))
}

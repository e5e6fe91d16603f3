//! Which authorities are trusted for https: the system's, or those in the file that `SSL_CERT_FILE` names.
//!
//! The verifier reads the file itself, and takes one that is missing or empty as nothing to trust. Then each connection
//! fails and none of the errors names the file, so it is looked at first.

use std::{env, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Names the file.
pub(crate) const VARIABLE: &str = "SSL_CERT_FILE";

/// Whether the file that the environment names, if it names one, can be used.
pub(crate) fn check() -> Result<(), String> {
    match env::var_os(VARIABLE) {
        Some(path) => usable(Path::new(&path)),
        None => Ok(()),
    }
}

fn usable(path: &Path) -> Result<(), String> {
    if path.as_os_str().is_empty() {
        return Err("is empty: unset it, or name a file of certificate authorities".to_owned());
    }
    let named = |problem: &str| format!("names {}, which {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| named(&format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate =
            certificate.map_err(|error| named(&format!("is no file of PEM: {error}")))?;
        // Bundles of systems hold some that cannot be used; the others can.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(named(
            "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`) that can be trusted",
        ));
    }
    Ok(())
}

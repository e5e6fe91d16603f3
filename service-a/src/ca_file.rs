//! Checks the file of certificate authorities that `SSL_CERT_FILE` names in place of the system's.
//!
//! The TLS verifier reads the file itself and takes a missing or empty one for "trust nobody".
//! Every connection would then fail with an error that does not name the file, so it is checked
//! first.

use std::{env, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The environment variable that names the file.
pub(crate) const VARIABLE: &str = "SSL_CERT_FILE";

/// Checks the file, if the environment names one.
pub(crate) fn check() -> Result<(), String> {
    match env::var_os(VARIABLE) {
        Some(path) => check_file(Path::new(&path)),
        None => Ok(()),
    }
}

fn check_file(path: &Path) -> Result<(), String> {
    if path.as_os_str().is_empty() {
        return Err("is empty: unset it, or name a file of certificate authorities".to_owned());
    }
    let named = |problem: &str| format!("names {}, which {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| named(&format!("cannot be read: {error}")))?;
    // As the verifier does, skip certificates that it cannot parse: system bundles hold some.
    let certificates = CertificateDer::pem_reader_iter(bytes.as_slice());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() {
        return Err(named(
            "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`) that can be trusted",
        ));
    }
    Ok(())
}

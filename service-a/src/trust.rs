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
    // As the verifier reads it: bundles of systems hold parts that cannot be used beside those that can.
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

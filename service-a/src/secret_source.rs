//! Reads the client secret, or the private key in its place, from a file, standard input or an environment variable.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use token_check::Unclean;

use crate::{
    credential::{ClientKey, Credential, CredentialKind},
    secret::ClientSecret,
};

/// The largest secret. Secrets are short: a larger file is the wrong one.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// Reads the secret from a file: at the start, and again after the issuer has rejected it.
pub(crate) fn read_file(path: &Path, kind: CredentialKind) -> Result<Credential, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    read(file, kind)
}

/// Reads the secret from standard input, to its end.
pub(crate) fn read_stdin(kind: CredentialKind) -> Result<Credential, String> {
    if io::stdin().is_terminal() {
        let problem = "reads from a terminal, which would show the secret: pipe it in";
        return Err(problem.to_owned());
    }
    read(io::stdin().lock(), kind)
}

/// The secret in the value of an environment variable.
pub(crate) fn parse_variable(value: OsString, kind: CredentialKind) -> Result<Credential, String> {
    parse(value.into_string().map_err(|_| "is not UTF-8")?, kind)
}

fn read(source: impl Read, kind: CredentialKind) -> Result<Credential, String> {
    // Allocated at full size: a growing buffer would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    source
        .take(MAX_SECRET_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(format!(
            "holds more than {MAX_SECRET_BYTES} bytes, which is no secret"
        ));
    }
    let text = str::from_utf8(&bytes).map_err(|_| "is not UTF-8")?;
    // Drops the line end that editors and `echo` add.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    parse(text.to_owned(), kind)
}

fn parse(text: String, kind: CredentialKind) -> Result<Credential, String> {
    match kind {
        CredentialKind::Secret => {
            Unclean::check(&text).map_err(|unclean| unclean.to_string())?;
            let secret = ClientSecret::new(text).ok_or("holds an empty secret")?;
            Ok(Credential::Secret(secret))
        }
        CredentialKind::Key => {
            let text = SecretString::from(text);
            let key = Box::new(ClientKey::parse(text.expose_secret())?);
            Ok(Credential::Key { key, text })
        }
    }
}

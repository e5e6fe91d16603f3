//! Reads the client secret from a file, standard input or an environment variable.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use secrecy::zeroize::Zeroizing;
use token_check::Unclean;

use crate::secret::ClientSecret;

/// The largest secret. Secrets are short: a larger file is the wrong one.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// Reads the secret from a file: at the start, and again after the issuer has rejected it.
pub(crate) fn read_file(path: &Path) -> Result<ClientSecret, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    read(file)
}

/// Reads the secret from standard input, to its end.
pub(crate) fn read_stdin() -> Result<ClientSecret, String> {
    if io::stdin().is_terminal() {
        let problem = "reads from a terminal, which would show the secret: pipe it in";
        return Err(problem.to_owned());
    }
    read(io::stdin().lock())
}

/// The secret in the value of an environment variable.
pub(crate) fn parse_variable(value: OsString) -> Result<ClientSecret, String> {
    parse(value.into_string().map_err(|_| "is not UTF-8")?)
}

fn read(source: impl Read) -> Result<ClientSecret, String> {
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
    parse(text.to_owned())
}

fn parse(secret: String) -> Result<ClientSecret, String> {
    Unclean::check(&secret).map_err(|unclean| unclean.to_string())?;
    ClientSecret::new(secret).ok_or_else(|| "holds an empty secret".to_owned())
}

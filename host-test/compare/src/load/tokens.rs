//! Which tokens a load consists of.

use std::io::Write as _;

use anyhow::Result;
use tempfile::NamedTempFile;

/// More than can be on their way together, so that no two requests share a introspection call to the issuer.
const DIFFERENT: u32 = 4096;

/// As long as the opaque ones of IBM Verify, and with two dots like them.
pub(crate) const OPAQUE_BYTES: usize = 100;

/// Tokens in turn, in a file for the load generator, so that none is seen in a list of processes.
pub(crate) struct Tokens {
    first: String,
    file: NamedTempFile,
}

impl Tokens {
    /// The same one with every request.
    pub(crate) fn one(token: String) -> Result<Self> {
        Self::of(vec![token])
    }

    /// Opaque ones, a different one with every request.
    pub(crate) fn different() -> Result<Self> {
        Self::of((0..DIFFERENT).map(opaque).collect())
    }

    /// These, in turn.
    pub(crate) fn of(tokens: Vec<String>) -> Result<Self> {
        let mut file = NamedTempFile::new()?;
        file.write_all(tokens.join("\n").as_bytes())?;
        let first = tokens.into_iter().next().unwrap_or_default();
        Ok(Self { first, file })
    }

    /// One of them.
    pub(crate) fn first(&self) -> &str {
        &self.first
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.file.path()
    }
}

/// An opaque token.
pub(crate) fn opaque(number: u32) -> String {
    let head = format!("{number:08x}.");
    let rest = OPAQUE_BYTES.saturating_sub(head.len() + 4);
    format!(
        "{head}{}.xyz",
        "a1B2"
            .repeat(rest.div_ceil(4))
            .get(..rest)
            .unwrap_or_default()
    )
}

//! Standard output and standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::escape;

/// Writes to standard output and flushes; fails if the reader has closed it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one line of JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&(escape::json(value) + "\n"))
}

/// Writes to standard error. A failure has nowhere to go, so it is ignored.
pub(crate) fn print_error(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

//! Lines on standard error, which Spin puts into the log file of the app.

use core::fmt::Display;
use std::io::{Write as _, stderr};

/// A line about the auth check itself.
pub(crate) fn line(line: impl Display) {
    write(&format!("auth-check: {line}\n"));
}

/// An audit line: only JSON.
pub(crate) fn audit(line: &str) {
    write(&format!("{line}\n"));
}

/// In one write, since all instances of an app share the file. Requests continue if it fails, on a
/// full disk for instance: `eprintln!` would panic.
fn write(line: &str) {
    let _ = stderr().write_all(line.as_bytes());
}

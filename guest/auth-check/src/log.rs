//! Lines on standard error, which Spin puts into the log file of the app.

use core::fmt::Display;
use std::io::{Write as _, stderr};

/// A line of the auth check's own.
pub(crate) fn tell(line: impl Display) {
    write(&format!("auth-check: {line}\n"));
}

/// A line of the audit, which is JSON and nothing else.
pub(crate) fn audit(line: &str) {
    write(&format!("{line}\n"));
}

/// In one write, since all instances of an app share the file. Where that fails, on a full disk for one, requests go on:
/// `eprintln!` would panic.
fn write(line: &str) {
    let _ = stderr().write_all(line.as_bytes());
}

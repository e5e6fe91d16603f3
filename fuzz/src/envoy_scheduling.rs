//! Placeholder.
pub fn run(_: &[u8]) {}

//! serve
fn main() {}

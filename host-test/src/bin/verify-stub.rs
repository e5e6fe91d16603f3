//! verify-stub
fn main() {}

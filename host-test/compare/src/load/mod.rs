//! How servers are loaded.

pub(crate) mod steady;
pub(crate) mod tokens;
pub(crate) mod wrk;

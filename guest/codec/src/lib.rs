//! The formats of tokens and claims: what the core does with each of their bytes.
//!
//! The optimization level is a property of a package. Envoy's filter has the core compiled for size,
//! and this package for speed. What else a request runs through is generic or `#[inline]`, and so
//! compiled with the filter.
//!
//! | module | its job |
//! | --- | --- |
//! | [`grammar`] | grammars of RFCs |
//! | [`base64url`] | RFC 7515 section 2 |
//! | [`json`] | strict JSON |
//! | [`json_text`] | edits JSON as text |
//! | [`KeyedHash`] | what stands for a token in memory |

pub mod base64url;
pub mod grammar;
pub mod json;
pub mod json_text;
mod keyed_hash;

pub use keyed_hash::KeyedHash;

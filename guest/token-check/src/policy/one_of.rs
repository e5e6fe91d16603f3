//! One issuer among several.

use std::sync::Arc;

use super::requirements::Floor;

/// Whom the policy of one issuer among several is about.
pub(super) struct OneOf {
    /// The `iss` of each.
    pub(super) all: Vec<String>,
    /// Its own.
    pub(super) own: String,
    /// What its object requires.
    pub(super) floor: Arc<Floor>,
    /// What its tokens begin with that are no JWTs. `None`: with anything.
    #[cfg(feature = "jwt")]
    pub(super) opaque_prefix: Option<String>,
}

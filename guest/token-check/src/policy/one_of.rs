//! One issuer among several.

/// Whom the policy of one issuer among several is about.
pub(super) struct OneOf {
    /// The `iss` of each.
    pub(super) all: Vec<String>,
    /// Its own.
    pub(super) own: String,
}

//! How much a rules document may hold.

/// Longest document, in bytes, since every start reads it.
pub const MAX_RULES_BYTES: usize = 1024 * 1024;
/// Most rules.
pub const MAX_RULES: usize = 4096;
/// Longest name of a rule, in bytes: it is part of every audit line.
pub(super) const MAX_NAME_BYTES: usize = 64;
/// Longest path of a rule, in bytes: routes that people write are far shorter.
pub(super) const MAX_PATH_BYTES: usize = 1024;
/// Most segments of a path. The search for a rule recurses as deep as this.
pub(super) const MAX_SEGMENTS: usize = 32;

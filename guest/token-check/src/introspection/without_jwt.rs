//! Without the feature `jwt`, nothing is signed.

/// There are none.
#[derive(Debug)]
pub(crate) enum ClientAssertions {}

impl ClientAssertions {
    pub(super) const fn has_key(&self) -> bool {
        match *self {}
    }
}

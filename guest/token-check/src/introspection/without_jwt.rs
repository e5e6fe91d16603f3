//! Without the feature `jwt`, nothing is signed.

use zeroize::Zeroizing;

use crate::time::Now;

/// There are none.
#[derive(Debug)]
pub(crate) enum ClientAssertions {}

impl ClientAssertions {
    pub(crate) const fn parameters(
        &self,
        _: &mut AssertionIds,
        _: Now,
    ) -> Option<Zeroizing<String>> {
        match *self {}
    }

    pub(super) const fn has_key(&self) -> bool {
        match *self {}
    }
}

/// Not needed.
pub(crate) struct AssertionIds;

impl AssertionIds {
    pub(crate) const fn new(_: &[u8; 16], _: usize) -> Self {
        Self
    }
}

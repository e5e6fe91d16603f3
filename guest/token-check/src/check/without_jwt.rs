//! Without the feature `jwt`, every token is introspected.

use super::auth_check::{AuthCheck, Need};
use super::flight::{About, RequestContext};
use super::protocol::Action;
use crate::memory::Vouchers;
use crate::policy::Policy;
use crate::time::Now;

/// There are none.
pub(super) struct Keys(Vouchers);

impl Keys {
    pub(super) fn new(_: &Policy) -> Self {
        Self(Vouchers::default())
    }

    pub(super) const fn vouchers(&self) -> &Vouchers {
        &self.0
    }
}

impl<W> AuthCheck<W> {
    /// There is nothing to do for the host's own sake.
    pub const fn errand(&mut self, _: Now) -> Option<Action> {
        None
    }

    /// There never is.
    #[must_use]
    pub const fn has_errands(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) const fn need(&mut self, context: &mut RequestContext, _: Now) -> Need {
        Need::Flight(About::Token(context.key))
    }
}

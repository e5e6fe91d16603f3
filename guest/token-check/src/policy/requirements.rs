//! What a token must have for one request.

use std::sync::Arc;

/// Shared, as most rules have most of theirs from the default policy.
pub(crate) type List = Arc<[String]>;

/// What a token must have to be let through, by the default policy or by a rule. An empty list demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The rule that made these; `None`: the default policy.
    pub(crate) rule: Option<Arc<str>>,
    /// `iss` is one of these.
    pub(crate) issuers: List,
    /// `aud` holds one of these.
    pub(crate) audiences: List,
    /// `client_id` is one of these.
    pub(crate) clients: List,
    /// `grant_type` is one of these.
    pub(crate) grant_types: List,
    /// `scope` holds all of these.
    pub(crate) all_scopes: List,
    /// `scope` holds one of these.
    pub(crate) any_scope: List,
    pub(crate) ttl_seconds: Option<u32>,
}

impl Requirements {
    /// The name of the rule that applies; `#3` for the third where it has none. `None`: the default policy applies.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// How old facts about the token may be here, in seconds; `None`: as the default policy says.
    #[must_use]
    pub const fn ttl_seconds(&self) -> Option<u32> {
        self.ttl_seconds
    }

    /// The `scope` of a challenge (RFC 6750 section 3). It cannot say "one of these", so it names all that would help.
    pub(crate) fn scope(&self) -> String {
        let mut scope = self.all_scopes.join(" ");
        for one in self.any_scope.iter() {
            if !self.all_scopes.contains(one) {
                if !scope.is_empty() {
                    scope.push(' ');
                }
                scope.push_str(one);
            }
        }
        scope
    }
}

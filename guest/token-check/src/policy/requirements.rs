//! What a token must have for one request.

use std::sync::Arc;

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// An empty list requires nothing. Shared, since most rules inherit most lists.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(Arc<[String]>);

        impl $name {
            pub(crate) fn as_slice(&self) -> &[String] {
                &self.0
            }

            pub(crate) fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self(Arc::new([]))
            }
        }

        impl From<Vec<String>> for $name {
            fn from(list: Vec<String>) -> Self {
                Self(list.into())
            }
        }
    )*};
}

lists! {
    /// `iss` is one of these.
    Issuers;
    /// `aud` contains one of these.
    Audiences;
    /// `client_id` is one of these.
    Clients;
    /// `grant_type` is one of these.
    GrantTypes;
    /// `scope` contains all of these.
    AllScopes;
    /// `scope` contains one of these.
    AnyScope;
}

/// What a token must have to be accepted, by the default policy or by a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The rule that makes them; `None`: the default policy.
    pub(crate) rule: Option<Arc<str>>,
    pub(crate) issuers: Issuers,
    pub(crate) audiences: Audiences,
    pub(crate) clients: Clients,
    pub(crate) grant_types: GrantTypes,
    pub(crate) all_scopes: AllScopes,
    pub(crate) any_scope: AnyScope,
    pub(crate) ttl_seconds: Option<u32>,
    /// What the object of an issuer requires in any case. Its scopes are among `all_scopes` too.
    pub(crate) floor: Option<Arc<Floor>>,
}

/// What an object of `issuers` requires of the tokens of its issuer on every route: names mean
/// something at one issuer only, so a rule for the tokens of all of them must not replace these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) audiences: Audiences,
    pub(crate) clients: Clients,
    pub(crate) grant_types: GrantTypes,
    pub(crate) all_scopes: AllScopes,
}

impl Requirements {
    /// The name of the rule that applies; `#3` if the third rule has no name. `None`: the default
    /// policy applies.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// Whether every active token of the issuer is accepted.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            rule: _,
            issuers,
            audiences,
            clients,
            grant_types,
            all_scopes,
            any_scope,
            ttl_seconds: _,
            // What it requires, a list of the same kind does too.
            floor: _,
        } = self;
        issuers.is_empty()
            && audiences.is_empty()
            && clients.is_empty()
            && grant_types.is_empty()
            && all_scopes.is_empty()
            && any_scope.is_empty()
    }

    /// With the scopes of the floor besides those of a rule: all of both are required.
    pub(super) fn with_scopes_of_floor(mut self) -> Self {
        let floor = self
            .floor
            .iter()
            .flat_map(|floor| floor.all_scopes.as_slice());
        let all = self.all_scopes.as_slice();
        let missing: Vec<_> = floor
            .filter(|scope| !all.contains(scope))
            .cloned()
            .collect();
        if !missing.is_empty() {
            self.all_scopes = [all, &missing].concat().into();
        }
        self
    }

    /// Lists of audiences, of each of which `aud` contains one.
    pub(crate) fn audience_lists(&self) -> [&[String]; 2] {
        let floor = self.floor.as_ref().map(|floor| floor.audiences.as_slice());
        [self.audiences.as_slice(), floor.unwrap_or_default()]
    }

    /// Lists of clients, in each of which `client_id` is.
    pub(crate) fn client_lists(&self) -> [&[String]; 2] {
        let floor = self.floor.as_ref().map(|floor| floor.clients.as_slice());
        [self.clients.as_slice(), floor.unwrap_or_default()]
    }

    /// Lists of grant types, in each of which `grant_type` is.
    pub(crate) fn grant_type_lists(&self) -> [&[String]; 2] {
        let floor = self.floor.as_ref();
        let floor = floor.map(|floor| floor.grant_types.as_slice());
        [self.grant_types.as_slice(), floor.unwrap_or_default()]
    }

    /// The `scope` of a challenge (RFC 6750 section 3). It cannot express "one of these", so it
    /// lists all scopes that would help.
    pub(crate) fn scope(&self) -> String {
        let all = self.all_scopes.as_slice();
        let mut scope = all.join(" ");
        for one in self.any_scope.as_slice() {
            if !all.contains(one) {
                if !scope.is_empty() {
                    scope.push(' ');
                }
                scope.push_str(one);
            }
        }
        scope
    }
}

/// A kind of requirement, for the setting `require`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequirementKind {
    /// One of some audiences.
    Audience,
    /// Some scopes.
    Scope,
    /// One of some clients.
    Client,
    /// One of some issuers.
    Issuer,
}

impl RequirementKind {
    pub(super) const ALL: [Self; 4] = [Self::Audience, Self::Scope, Self::Client, Self::Issuer];

    /// Its word in `require`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Audience => "audience",
            Self::Scope => "scope",
            Self::Client => "client",
            Self::Issuer => "issuer",
        }
    }

    /// The setting that makes such a requirement.
    pub(super) const fn setting(self) -> &'static str {
        match self {
            Self::Audience => "expected_aud",
            Self::Scope => "required_scope",
            Self::Client => "allowed_clients",
            Self::Issuer => "expected_issuer",
        }
    }

    /// Whether the requirements include one of this kind.
    pub(super) fn is_in(self, requirements: &Requirements) -> bool {
        match self {
            Self::Audience => !requirements.audiences.is_empty(),
            Self::Scope => {
                !requirements.all_scopes.is_empty() || !requirements.any_scope.is_empty()
            }
            Self::Client => !requirements.clients.is_empty(),
            Self::Issuer => !requirements.issuers.is_empty(),
        }
    }
}

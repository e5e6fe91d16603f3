//! Facts, the policy and the time make a decision. Computed for every request, kept nowhere.

mod identity;
mod response;

use std::sync::Arc;

pub use identity::{IDENTITY_HEADERS, is_identity_header};
pub use response::Reply;

use crate::introspection::{Claims, Facts};
use crate::policy::{Guard, Policy, Requirements};
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::request::RequestHead;
use identity::Identity;

/// The scope of a login that still waits for its second factor at IBM Verify.
const MFA_CHALLENGE: &str = "mfa_challenge";

/// What becomes of a request.
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// It goes on to the app, with these changes.
    Granted(Grant),
    /// It ends here: see [`Refusal::reply`].
    Refused(Refusal),
}

impl Decision {
    /// The name of the rule that made it; `#3` for the third where it has none. `None`: no rule matches the request.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Granted(grant) => grant.rule.as_deref(),
            Self::Refused(refusal) => refusal.rule(),
        }
    }
}

/// How a granted request goes on.
#[derive(Debug)]
pub struct Grant {
    identity: Option<Identity>,
    /// Whether the Authorization header goes on too. On a public route nobody has looked at it.
    pub forward_token: bool,
    /// As [`Decision::rule`].
    pub rule: Option<Arc<str>>,
}

impl Grant {
    /// Header fields to set, after every client-sent one of [`crate::is_identity_header`] was removed.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.identity.iter().flat_map(Identity::headers)
    }
}

/// Why a request ends here, and for which route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    route: Route,
    retry_after: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    /// The path or the host is ambiguous.
    Unknown,
    Denied(Arc<str>),
    Token(Arc<Requirements>),
}

impl Refusal {
    pub(crate) const fn new(reason: Reason, requirements: Arc<Requirements>) -> Self {
        Self::at(Route::Token(requirements), reason)
    }

    const fn at(route: Route, reason: Reason) -> Self {
        Self {
            reason,
            route,
            retry_after: RETRY_AFTER_SECONDS,
        }
    }

    /// The caller shall come back after so many seconds.
    pub(crate) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = seconds;
        self
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// As [`Decision::rule`].
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match &self.route {
            Route::Unknown => None,
            Route::Denied(rule) => Some(rule),
            Route::Token(requirements) => requirements.rule(),
        }
    }

    /// The whole answer; its challenge names what this route needs.
    #[must_use]
    pub fn reply(&self, policy: &Policy) -> Reply {
        let requirements = match &self.route {
            Route::Unknown | Route::Denied(_) => None,
            Route::Token(requirements) => Some(&**requirements),
        };
        self.reason
            .answer(Some(policy), requirements, self.retry_after)
    }
}

/// The requirements that a token must meet for this request; or the decision, where none would change it.
pub(crate) fn route(
    request: &RequestHead<'_>,
    policy: &Policy,
) -> Result<Arc<Requirements>, Decision> {
    match policy.guard(request) {
        Ok(Guard::Token(requirements)) => Ok(requirements),
        Ok(Guard::Public(rule)) => Err(Decision::Granted(Grant {
            identity: None,
            forward_token: policy.forward_token(),
            rule: Some(rule),
        })),
        Ok(Guard::Denied(rule)) => Err(Decision::Refused(Refusal::at(
            Route::Denied(rule),
            Reason::DeniedByRule,
        ))),
        Err(reason) => Err(Decision::Refused(Refusal::at(Route::Unknown, reason))),
    }
}

pub(crate) fn decide(
    facts: &Facts,
    requirements: &Arc<Requirements>,
    policy: &Policy,
    unix_seconds: i64,
) -> Decision {
    let refused = |reason| Decision::Refused(Refusal::new(reason, Arc::clone(requirements)));
    let Some(claims) = facts.claims() else {
        return refused(Reason::Inactive);
    };
    match offence(claims, requirements, policy, unix_seconds) {
        Some(reason) => refused(reason),
        None => Decision::Granted(Grant {
            identity: Some(Identity::of(claims)),
            forward_token: policy.forward_token(),
            rule: requirements.rule.clone(),
        }),
    }
}

/// First what is wrong with the token itself, then what this route demands of it.
fn offence(
    claims: Claims<'_>,
    demands: &Requirements,
    policy: &Policy,
    now: i64,
) -> Option<Reason> {
    let leeway = policy.leeway_seconds();
    // RFC 7519 section 4.1.4: the time must be before `exp`.
    if now >= claims.expires().saturating_add(leeway) {
        return Some(Reason::Expired);
    }
    if claims.starts() > now.saturating_add(leeway) {
        return Some(Reason::NotYetValid);
    }
    let is_named = |kind: &str| {
        let mut named = policy.token_types().iter();
        named.any(|named| named.eq_ignore_ascii_case(kind))
    };
    if claims.is_other_token() || !claims.unknown_kinds().all(is_named) {
        return Some(Reason::WrongTokenType);
    }
    if claims.is_key_bound() {
        return Some(Reason::ProofOfPossessionMissing);
    }
    if claims.scopes().any(|scope| scope == MFA_CHALLENGE) {
        return Some(Reason::UnfinishedLogin);
    }
    match find(&demands.issuers, claims.issuer()) {
        Found::Fits => {}
        Found::Nothing => return Some(Reason::NoIssuer),
        Found::Others => return Some(Reason::WrongIssuer),
    }
    match find(&demands.audiences, claims.audiences()) {
        Found::Fits => {}
        Found::Nothing => return Some(Reason::NoAudience),
        Found::Others => return Some(Reason::WrongAudience),
    }
    match find(&demands.clients, claims.client_id()) {
        Found::Fits => {}
        Found::Nothing => return Some(Reason::NoClientId),
        Found::Others => return Some(Reason::ClientNotAllowed),
    }
    match find(&demands.grant_types, claims.grant_type()) {
        Found::Fits => {}
        Found::Nothing => return Some(Reason::NoGrantType),
        Found::Others => return Some(Reason::GrantTypeNotAllowed),
    }
    let has = |needed: &String| claims.scopes().any(|scope| scope == needed);
    let has_one = matches!(find(&demands.any_scope, claims.scopes()), Found::Fits);
    if !has_one || !demands.all_scopes.iter().all(has) {
        return Some(Reason::InsufficientScope);
    }
    None
}

/// What there is of a list that demands one of its values.
enum Found {
    /// One of them. An empty list demands nothing.
    Fits,
    /// Others only.
    Others,
    /// No value at all.
    Nothing,
}

fn find<'a>(list: &[String], values: impl IntoIterator<Item = &'a str>) -> Found {
    if list.is_empty() {
        return Found::Fits;
    }
    let mut found = Found::Nothing;
    for value in values {
        if list.iter().any(|listed| listed == value) {
            return Found::Fits;
        }
        found = Found::Others;
    }
    found
}

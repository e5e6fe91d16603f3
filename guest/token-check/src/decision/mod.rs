//! Facts, policy and time make a decision. It is made for every request and kept nowhere.

mod challenge;
mod identity;
mod possession;
mod response;

use std::sync::Arc;

pub use identity::{IDENTITY_HEADERS, is_identity_header};
pub(crate) use possession::Possession;
pub use response::Response;

use crate::introspection::{Claims, Facts};
use crate::policy::{Access, Policy, Requirements};
use crate::reason::{RETRY_AFTER_SECONDS, Reason};
use crate::request::{RequestHead, Scheme};
use identity::Identity;
use response::Details;

/// Whether a request may reach the app.
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// It is forwarded, with these changes.
    Granted(Grant),
    /// It is answered with [`Refusal::response`].
    Refused(Refusal),
    /// It asks for the metadata of this service (RFC 9728), and this is the response.
    Answered(Response),
}

impl Decision {
    /// The name of the rule that applies; `#3` if the third rule has no name. `None`: no rule
    /// matches.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Granted(grant) => grant.rule.as_deref(),
            Self::Refused(refusal) => refusal.rule(),
            Self::Answered(_) => None,
        }
    }
}

/// How to forward a granted request.
#[derive(Debug)]
pub struct Grant {
    identity: Option<Identity>,
    /// Whether to keep the Authorization header. On a public route it has not been checked.
    pub forward_token: bool,
    /// As [`Decision::rule`].
    pub rule: Option<Arc<str>>,
}

impl Grant {
    /// Header fields to set, after all client-sent ones that match [`crate::is_identity_header`]
    /// are removed.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.identity.iter().flat_map(Identity::headers)
    }
}

/// Why a request is refused, and on which route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    route: Route,
    retry_after: u32,
    /// Of the credentials, for the challenge.
    scheme: Scheme,
    /// The nonce for the next DPoP proof.
    proof_nonce: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    /// Unknown, since the path or the host is ambiguous.
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
            scheme: Scheme::Bearer,
            proof_nonce: None,
        }
    }

    /// Sets `Retry-After`, in seconds.
    pub(crate) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = seconds;
        self
    }

    /// Of a request whose credentials have this scheme.
    pub(crate) const fn of(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Sets `DPoP-Nonce` (RFC 9449 section 9).
    #[cfg(feature = "jwt")]
    pub(crate) fn proof_nonce(mut self, nonce: String) -> Self {
        self.proof_nonce = Some(nonce.into());
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

    /// The complete response. Its challenge names the scope that this route needs.
    #[must_use]
    pub fn response(&self, policy: &Policy) -> Response {
        let requirements = match &self.route {
            Route::Unknown | Route::Denied(_) => None,
            Route::Token(requirements) => Some(&**requirements),
        };
        let details = Details {
            requirements,
            retry_after: self.retry_after,
            scheme: self.scheme,
            proof_nonce: self.proof_nonce.as_deref(),
        };
        Response::new(self.reason, Some(policy), details)
    }
}

/// What the route of a request demands before anything is known about its token.
pub(crate) enum RouteAccess {
    /// A token that meets these requirements.
    NeedsToken(Arc<Requirements>),
    /// The same decision for every token.
    Decided(Decision),
}

#[inline]
pub(crate) fn route_access(request: &RequestHead<'_>, policy: &Policy) -> RouteAccess {
    if let Some(metadata) = policy.resource_metadata()
        && metadata.is_at(request.method, request.path_and_query)
    {
        return RouteAccess::Decided(Decision::Answered(Response::metadata(metadata)));
    }
    let refused =
        |route, reason| RouteAccess::Decided(Decision::Refused(Refusal::at(route, reason)));
    match policy.access(request) {
        Ok(Access::Token(requirements)) => RouteAccess::NeedsToken(requirements),
        Ok(Access::Public(rule)) => RouteAccess::Decided(Decision::Granted(Grant {
            identity: None,
            forward_token: policy.forward_token(),
            rule: Some(rule),
        })),
        Ok(Access::Denied(rule)) => refused(Route::Denied(rule), Reason::DeniedByRule),
        Err(reason) => refused(Route::Unknown, reason),
    }
}

#[inline]
pub(crate) fn decide(
    facts: &Facts,
    requirements: &Arc<Requirements>,
    possession: &Possession,
    policy: &Policy,
    unix_seconds: i64,
) -> Decision {
    let refused = |reason| {
        let refusal = Refusal::new(reason, Arc::clone(requirements));
        Decision::Refused(refusal.of(possession.scheme))
    };
    let Some(claims) = facts.claims() else {
        return refused(Reason::Inactive);
    };
    match first_violation(claims, requirements, possession, policy, unix_seconds) {
        Some(reason) => refused(reason),
        None => Decision::Granted(Grant {
            identity: Some(Identity::new(claims)),
            forward_token: policy.forward_token(),
            rule: requirements.rule.clone(),
        }),
    }
}

/// RFC 7519 section 4.1.4: the time must be before `exp`. What has expired stays so.
pub(crate) fn has_expired(claims: Claims<'_>, policy: &Policy, unix_seconds: i64) -> bool {
    unix_seconds >= claims.expires().saturating_add(policy.leeway_seconds())
}

/// Checks the token itself first, then the requirements of the route.
#[inline]
fn first_violation(
    claims: Claims<'_>,
    requirements: &Requirements,
    possession: &Possession,
    policy: &Policy,
    now: i64,
) -> Option<Reason> {
    if has_expired(claims, policy, now) {
        return Some(Reason::Expired);
    }
    if claims.starts() > now.saturating_add(policy.leeway_seconds()) {
        return Some(Reason::NotYetValid);
    }
    let is_configured = |token_type: &str| {
        let mut configured = policy.token_types().iter();
        configured.any(|configured| configured.eq_ignore_ascii_case(token_type))
    };
    if claims.is_other_token()
        || is_misused_dpop_token(claims, policy)
        || !claims.unknown_types().all(is_configured)
    {
        return Some(Reason::WrongTokenType);
    }
    if let Some(reason) = possession.violation(claims, policy) {
        return Some(reason);
    }
    if claims.is_unfinished() {
        return Some(Reason::UnfinishedLogin);
    }
    // Where there are several issuers, none vouches for another one's tokens.
    let is_own = |issuer| policy.only_issuer().is_none_or(|own| own == issuer);
    if !claims.issuer().is_none_or(is_own) {
        return Some(Reason::WrongIssuer);
    }
    match match_any(requirements.issuers.as_slice(), claims.issuer()) {
        Match::Required => {}
        Match::Absent => return Some(Reason::NoIssuer),
        Match::OthersOnly => return Some(Reason::WrongIssuer),
    }
    match match_each(requirements.audience_lists(), || claims.audiences()) {
        Match::Required => {}
        Match::Absent => return Some(Reason::NoAudience),
        Match::OthersOnly => return Some(Reason::WrongAudience),
    }
    match match_each(requirements.client_lists(), || claims.client_id()) {
        Match::Required => {}
        Match::Absent => return Some(Reason::NoClientId),
        Match::OthersOnly => return Some(Reason::ClientNotAllowed),
    }
    match match_each(requirements.grant_type_lists(), || claims.grant_type()) {
        Match::Required => {}
        Match::Absent => return Some(Reason::NoGrantType),
        Match::OthersOnly => return Some(Reason::GrantTypeNotAllowed),
    }
    let has = |needed: &String| claims.scopes().any(|scope| scope == needed);
    let has_one = matches!(
        match_any(requirements.any_scope.as_slice(), claims.scopes()),
        Match::Required
    );
    if !has_one || !requirements.all_scopes.as_slice().iter().all(has) {
        return Some(Reason::InsufficientScope);
    }
    (!identity::fits(claims)).then_some(Reason::ClaimsTooLong)
}

/// Whether a token needs a DPoP proof by its type, and none is accepted for it.
fn is_misused_dpop_token(claims: Claims<'_>, policy: &Policy) -> bool {
    let has_key = || {
        claims
            .confirmation()
            .is_some_and(|keys| keys.dpop_key.is_some())
    };
    claims.is_dpop_token() && !(policy.accepts_dpop() && has_key())
}

/// How the values of a claim compare with a list of which one is required.
enum Match {
    /// One of them is present, or the list is empty, which requires nothing.
    Required,
    /// Only other values are present.
    OthersOnly,
    /// No value is present.
    Absent,
}

/// The same of lists that are all required: of the first one that is not met.
#[inline]
fn match_each<'a, V: IntoIterator<Item = &'a str>>(
    lists: [&[String]; 2],
    values: impl Fn() -> V,
) -> Match {
    let mut matches = lists.into_iter().map(|list| match_any(list, values()));
    let unmet = matches.find(|one| !matches!(one, Match::Required));
    unmet.unwrap_or(Match::Required)
}

#[inline]
fn match_any<'a>(required: &[String], values: impl IntoIterator<Item = &'a str>) -> Match {
    if required.is_empty() {
        return Match::Required;
    }
    let mut result = Match::Absent;
    for value in values {
        if required.iter().any(|required| required == value) {
            return Match::Required;
        }
        result = Match::OthersOnly;
    }
    result
}

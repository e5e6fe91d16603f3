//! Facts, the policy and the time make a decision. Computed for every request, kept nowhere.

use crate::facts::{Claims, Facts};
use crate::identity::Identity;
use crate::policy::Policy;
use crate::reason::Reason;

/// The scope of a login that still waits for its second factor at IBM Verify.
const MFA_CHALLENGE: &str = "mfa_challenge";

/// What becomes of a request.
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// It goes on to the app, with these changes.
    Granted(Grant),
    /// It ends here: see [`Reason::reply`].
    Refused(Reason),
}

/// How a granted request goes on.
#[derive(Debug)]
pub struct Grant {
    identity: Identity,
    /// Whether the Authorization header goes on too.
    pub forward_token: bool,
}

impl Grant {
    /// Header fields to set, after every client-sent one of [`crate::is_identity_header`] was removed.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.identity.headers()
    }
}

pub(crate) fn decide(facts: &Facts, policy: &Policy, unix_seconds: i64) -> Decision {
    let Some(claims) = facts.claims() else {
        return Decision::Refused(Reason::Inactive);
    };
    match offence(claims, policy, unix_seconds) {
        Some(reason) => Decision::Refused(reason),
        None => Decision::Granted(Grant {
            identity: Identity::of(claims),
            forward_token: policy.forward_token(),
        }),
    }
}

/// First what is wrong with the token itself, then what this service demands of it.
fn offence(claims: &Claims, policy: &Policy, now: i64) -> Option<Reason> {
    let leeway = policy.leeway_seconds();
    let holds = |list: &[String], value: Option<&String>| {
        list.is_empty() || value.is_some_and(|v| list.contains(v))
    };

    // RFC 7519 section 4.1.4: the time must be before `exp`.
    if claims
        .expires
        .is_some_and(|expires| now >= expires.saturating_add(leeway))
    {
        return Some(Reason::Expired);
    }
    if [claims.not_before, claims.issued]
        .into_iter()
        .flatten()
        .any(|start| start > now.saturating_add(leeway))
    {
        return Some(Reason::NotYetValid);
    }
    if !claims.is_access_token {
        return Some(Reason::WrongTokenType);
    }
    if claims.is_key_bound {
        return Some(Reason::ProofOfPossessionMissing);
    }
    if claims.scope.iter().any(|scope| scope == MFA_CHALLENGE) {
        return Some(Reason::UnfinishedLogin);
    }
    if policy
        .expected_issuer()
        .is_some_and(|expected| claims.issuer.as_deref() != Some(expected))
    {
        return Some(Reason::WrongIssuer);
    }
    let expected_aud = policy.expected_aud();
    if !expected_aud.is_empty() && !claims.audience.iter().any(|aud| expected_aud.contains(aud)) {
        return Some(Reason::WrongAudience);
    }
    if !holds(policy.allowed_clients(), claims.client_id.as_ref()) {
        return Some(Reason::ClientNotAllowed);
    }
    if !holds(policy.allowed_grant_types(), claims.grant_type.as_ref()) {
        return Some(Reason::GrantTypeNotAllowed);
    }
    if !policy
        .required_scope()
        .iter()
        .all(|needed| claims.scope.contains(needed))
    {
        return Some(Reason::InsufficientScope);
    }
    None
}

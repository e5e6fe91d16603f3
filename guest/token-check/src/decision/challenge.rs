//! `WWW-Authenticate`: what a refused caller could send instead (RFC 6750 section 3, RFC 9449 section
//! 7.1). Realm and scopes were validated with the policy, and all else is from closed sets.

use crate::policy::{Policy, Requirements};
use crate::reason::{ErrorClass, Reason};
use crate::request::Scheme;

/// `None`: nothing that the caller could send would help. `scheme`: of the request.
pub(super) fn challenge(
    reason: Reason,
    policy: &Policy,
    requirements: Option<&Requirements>,
    scheme: Scheme,
) -> Option<String> {
    let scope = match (reason.class(), requirements) {
        (ErrorClass::Scope, Some(requirements)) => {
            format!(r#", scope="{}""#, requirements.scope())
        }
        _ => String::new(),
    };
    // RFC 9728 section 5.1.
    let metadata = policy.resource_metadata().map(|metadata| {
        let url = metadata.url();
        format!(r#", resource_metadata="{url}""#)
    });
    let metadata = metadata.unwrap_or_default();
    let one = |scheme, error: &str| {
        let (name, algorithms) = match scheme {
            Scheme::Bearer => ("Bearer", String::new()),
            Scheme::Dpop => ("DPoP", format!(r#", algs="{}""#, policy.proof_algorithms())),
        };
        let realm = policy.realm();
        format!(r#"{name} realm="{realm}"{error}{algorithms}{metadata}"#)
    };
    let with_error = |scheme| {
        let (error, description) = (reason.error(), reason.description());
        one(
            scheme,
            &format!(r#", error="{error}", error_description="{description}"{scope}"#),
        )
    };
    let (accepts_dpop, requires_dpop) = (policy.accepts_dpop(), policy.requires_dpop());
    let scheme = if requires_dpop { Scheme::Dpop } else { scheme };
    // A caller that did not prove anything is told how to.
    let is_choice = accepts_dpop && !requires_dpop;
    match reason.class() {
        ErrorClass::Unauthenticated if is_choice => Some(format!(
            "{}, {}",
            one(Scheme::Bearer, ""),
            one(Scheme::Dpop, "")
        )),
        ErrorClass::Unauthenticated => Some(one(scheme, "")),
        ErrorClass::Token
            if is_choice
                && scheme == Scheme::Bearer
                && reason == Reason::ProofOfPossessionMissing =>
        {
            Some(format!("{}, {}", with_error(scheme), one(Scheme::Dpop, "")))
        }
        ErrorClass::Proof | ErrorClass::ProofNonce => Some(with_error(Scheme::Dpop)),
        ErrorClass::Request | ErrorClass::Token | ErrorClass::Scope | ErrorClass::Forbidden => {
            Some(with_error(scheme))
        }
        ErrorClass::Denied | ErrorClass::Unavailable => None,
    }
}

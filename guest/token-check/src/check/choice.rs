//! Which issuer a token is for, where a policy has several.
//!
//! The `iss` of a token that is not verified is compared with those of the policy, and nothing else
//! is done with it: it never leads to a URL or a key (RFC 8725 section 3.8). A token that does not
//! name its issuer is shown to one issuer and to no other.

use super::auth_check::AuthCheck;
use super::issuer_check::Foreign;
use crate::decision::{RouteAccess, route_access};
use crate::jose::{ClaimedIssuer, claimed_issuer};
use crate::policy::{Requirements, Verification};
use crate::reason::Reason;
use crate::request::{RequestHead, bearer};

impl<W> AuthCheck<W> {
    /// The number of the issuer that is to decide about this request.
    pub(super) fn choose<'r>(&self, request: &RequestHead<'r>) -> Result<usize, Foreign<'r>> {
        let policy = self.policy();
        let RouteAccess::NeedsToken(requirements) = route_access(request, policy) else {
            return Ok(0);
        };
        let (max_bytes, accepts_dpop) = (policy.max_token_bytes(), policy.accepts_dpop());
        let Ok(credentials) = bearer::credentials(request, max_bytes, accepts_dpop) else {
            return Ok(0);
        };
        let claimed = claimed_issuer(credentials.token);
        let foreign = |reason, issuer, requirements| {
            Err(Foreign {
                reason,
                requirements,
                issuer,
                credentials,
            })
        };
        match claimed {
            None => Ok(self.for_opaque(&requirements)),
            Some(ClaimedIssuer::Malformed) => foreign(Reason::MalformedJwt, None, requirements),
            Some(ClaimedIssuer::None) => foreign(Reason::NoIssuer, None, requirements),
            Some(ClaimedIssuer::Named(issuer)) => match self.number_of(&issuer) {
                Some(number) if requirements.issuers.as_slice().contains(&issuer) => Ok(number),
                Some(_) | None => foreign(Reason::WrongIssuer, Some(issuer), requirements),
            },
        }
    }

    /// The first issuer of the route that introspects such tokens; if none does, the first, which
    /// refuses them.
    fn for_opaque(&self, requirements: &Requirements) -> usize {
        let issuers = requirements.issuers.as_slice();
        let mut numbers = issuers.iter().filter_map(|issuer| self.number_of(issuer));
        let introspects = |number: &usize| {
            let verification = self.at(*number).policy.verification();
            verification.is_none_or(Verification::takes_opaque)
        };
        numbers
            .clone()
            .find(introspects)
            .or_else(|| numbers.next())
            .unwrap_or(0)
    }

    fn number_of(&self, issuer: &str) -> Option<usize> {
        let mut each = self.each();
        each.position(|check| check.policy.only_issuer() == Some(issuer))
    }
}

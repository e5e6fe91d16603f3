//! Which issuer a token is for, where a policy has several.
//!
//! The `iss` of a token that is not verified is compared with those of the policy, and nothing else
//! is done with it: it never leads to a URL or a key (RFC 8725 section 3.8). A token that does not
//! name its issuer is shown to one issuer and to no other: the settings say to which.

use std::sync::Arc;

use super::auth_check::AuthCheck;
use super::issuer_check::{Foreign, IssuerCheck};
use super::protocol::Step;
use crate::decision::{RouteAccess, route_access};
use crate::jose::{ClaimedIssuer, claimed_issuer};
use crate::memory::TokenKey;
use crate::policy::Requirements;
use crate::reason::Reason;
use crate::request::{Credentials, RequestHead, bearer};
use crate::time::Now;

impl<W> AuthCheck<W> {
    /// A request has arrived, and there are several issuers.
    pub(super) fn begin_at_one(&mut self, request: &RequestHead<'_>, now: Now) -> Step<W> {
        let policy = self.policy();
        let (max_bytes, accepts_dpop) = (policy.max_token_bytes(), policy.accepts_dpop());
        let Ok(credentials) = bearer::credentials(request, max_bytes, accepts_dpop) else {
            return self.of(0).begin(request, now);
        };
        let key = self.at(0).key(credentials.token);
        if let Some((number, requirements)) = self.remembering(key, request) {
            let check = self.of(number);
            return check.begin_with(request, requirements, credentials, key, now);
        }
        match self.choose(request, credentials) {
            Ok(number) => self.of(number).begin(request, now),
            Err(foreign) => self.of(0).refuse(foreign, request, now),
        }
    }

    /// The issuer a key of which vouches for what is in memory about this token, and what the route
    /// requires, if the route has this issuer. So what the token claims need not be read once more: its
    /// `iss` is part of what was signed, and of the key in memory.
    fn remembering(
        &self,
        key: TokenKey,
        request: &RequestHead<'_>,
    ) -> Option<(usize, Arc<Requirements>)> {
        let check = self.each().find(|check| check.has_verified(key))?;
        let RouteAccess::NeedsToken(requirements) = route_access(request, &check.policy) else {
            return None;
        };
        let mut issuers = requirements.issuers.as_slice().iter();
        let is_of_route = issuers.any(|known| Some(known.as_str()) == check.policy.only_issuer());
        is_of_route.then_some((check.number, requirements))
    }

    /// The number of the issuer that is to decide about this request.
    fn choose<'r>(
        &self,
        request: &RequestHead<'r>,
        credentials: Credentials<'r>,
    ) -> Result<usize, Foreign<'r>> {
        let RouteAccess::NeedsToken(requirements) = route_access(request, self.policy()) else {
            return Ok(0);
        };
        let token = credentials.token;
        let claimed = claimed_issuer(token);
        let foreign = |reason, issuer, requirements| {
            Err(Foreign {
                reason,
                requirements,
                issuer,
                credentials,
            })
        };
        match claimed {
            None => match self.for_opaque(token, &requirements) {
                Some(number) => Ok(number),
                None => foreign(Reason::WrongIssuer, None, requirements),
            },
            Some(ClaimedIssuer::Malformed) => foreign(Reason::MalformedJwt, None, requirements),
            Some(ClaimedIssuer::None) => foreign(Reason::NoIssuer, None, requirements),
            Some(ClaimedIssuer::Named(issuer)) => match self.number_of(&issuer) {
                Some(number) if requirements.issuers.as_slice().contains(&issuer) => Ok(number),
                Some(_) | None => foreign(Reason::WrongIssuer, Some(issuer), requirements),
            },
        }
    }

    /// The issuer with whose prefix the token begins, if the route has it; else the only one of the
    /// route that introspects such tokens and has no prefix; if none does, one that refuses them.
    fn for_opaque(&self, token: &[u8], requirements: &Requirements) -> Option<usize> {
        let issuers = requirements.issuers.as_slice();
        let mut numbers = issuers.iter().filter_map(|issuer| self.number_of(issuer));
        let prefix = |number| self.at(number).policy.opaque_prefix();
        // Prefixes do not overlap.
        let begins = |check: &IssuerCheck<W>| {
            let prefix = check.policy.opaque_prefix();
            prefix.is_some_and(|prefix| token.starts_with(prefix.as_bytes()))
        };
        if let Some(check) = self.each().find(|check| begins(check)) {
            return numbers.find(|number| *number == check.number);
        }
        let mut others = numbers.filter(|number| prefix(*number).is_none());
        let refuses = others.clone().next();
        let introspects = others.find(|number| self.at(*number).policy.takes_opaque());
        introspects.or(refuses)
    }

    fn number_of(&self, issuer: &str) -> Option<usize> {
        let mut each = self.each();
        each.position(|check| check.policy.only_issuer() == Some(issuer))
    }
}

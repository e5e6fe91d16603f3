//! Which issuer a token is for, where a policy has several.
//!
//! The `iss` of a token that is not verified is compared with those of the policy, and nothing else
//! is done with it: it never leads to a URL or a key (RFC 8725 section 3.8). A token that does not
//! name its issuer is shown to one issuer and to no other.

use std::sync::Arc;

use super::auth_check::AuthCheck;
use super::issuer_check::Foreign;
use super::protocol::Step;
use crate::decision::{RouteAccess, route_access};
use crate::jose::{ClaimedIssuer, claimed_issuer};
use crate::memory::TokenKey;
use crate::policy::{Requirements, Verification};
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

    /// The issuer that has facts about this token in memory, and what the route requires, if the token
    /// would be given to this issuer again: so what it claims need not be read to find a result in
    /// memory.
    ///
    /// Facts are there only if the token was given to the issuer before. A JWT was then named by its
    /// `iss`, which is part of the token, as it is of the key.
    fn remembering(
        &self,
        key: TokenKey,
        request: &RequestHead<'_>,
    ) -> Option<(usize, Arc<Requirements>)> {
        let mut each = self.each().enumerate();
        let (number, check, is_verified) = each.find_map(|(number, check)| {
            let is_verified = check.remembers_as_verified(key)?;
            Some((number, check, is_verified))
        })?;
        let RouteAccess::NeedsToken(requirements) = route_access(request, &check.policy) else {
            return None;
        };
        let mut issuers = requirements.issuers.as_slice().iter();
        let is_of_route = issuers.any(|known| Some(known.as_str()) == check.policy.only_issuer());
        // Opaque tokens go to one issuer of the route, and on another route that may be another one.
        let is_jwt = || is_verified || !self.takes_opaque(number);
        let is_chosen = is_of_route && (is_jwt() || number == self.for_opaque(&requirements));
        is_chosen.then_some((number, requirements))
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

    /// The issuers that get opaque tokens on some route.
    pub(super) fn all_for_opaque(&self) -> Vec<usize> {
        let all = self.policy().all_requirements();
        all.map(|requirements| self.for_opaque(requirements))
            .collect()
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

//! Introspection responses that the issuer must sign: keys before the call, and the signature after
//! it.
//!
//! What a signed response says is the issuer's word of that time, like that of a plain one: it ages
//! by `cache_ttl`, and does not end with the key that signed it. The key only shows that nobody on
//! the way made the response.

use core::time::Duration;

use super::documents::Need;
use super::flight::{About, FlightState, Presented};
use super::issuer_check::IssuerCheck;
use super::unavailable::Unavailable;
use crate::introspection::{
    self, ExpectedResponse, Fault, IssuerResponse, ResponseContent, SignatureFault, unsigned,
};
use crate::memory::Fetch;
use crate::policy::Verification;
use crate::reason::Reason;
use crate::time::Now;

/// Why a response is not verified.
enum Unverified {
    Fault(Fault),
    /// No key that is known here made the signature.
    NoKey(SignatureFault),
}

impl<W> IssuerCheck<W> {
    /// How to learn about the token of this request. Nothing is introspected without keys to verify
    /// the response.
    pub(super) fn need(&mut self, presented: &Presented<'_>, now: Now) -> Need {
        let need = self.need_of_token(presented, now);
        let how = self.policy.verification();
        let are_signed = how.and_then(Verification::response_issuers).is_some();
        let calls = matches!(need, Need::Flight(About::Token(_)) | Need::Confirm(..));
        if !are_signed || !calls {
            return need;
        }
        let ring = self.documents.ring.as_ref();
        if ring.is_some_and(|ring| ring.is_usable(now.monotonic)) {
            // The next response would be signed with the new key, too.
            let is_rotating =
                self.documents.is_rotating && self.flights.in_progress(About::Keys).is_some();
            return match is_rotating {
                true => Need::Flight(About::Keys),
                false => need,
            };
        }
        if let Some(need) = self.needs_place_of_keys(now) {
            return need;
        }
        if self.fetches_keys(Fetch::Due, now) {
            return Need::Flight(About::Keys);
        }
        let unavailable = (self.keys_unavailable(now))
            .unwrap_or_else(|| Unavailable::because(Reason::IssuerKeysUnusable));
        Need::Unavailable(Unavailable {
            // No token can cause it, so no probe has to show that.
            is_outage: unavailable.reason.is_outage(),
            ..unavailable
        })
    }

    /// Verifies the response to a call. `None`: its key is being fetched, so the issuer has to be
    /// asked again.
    pub(super) fn open(
        &mut self,
        flight: &FlightState,
        response: &IssuerResponse,
        now: Now,
    ) -> Option<ResponseContent> {
        let how = self.policy.verification();
        let Some(issuers) = how.and_then(Verification::response_issuers) else {
            return Some(ResponseContent::Plain);
        };
        if response.status != 200 || !flight.is_about_token() {
            // Errors are never signed, and nobody reads what the issuer says of the probe.
            return Some(ResponseContent::Signed(Err(unsigned(
                SignatureFault::Error,
            ))));
        }
        let called = flight.last_call.unwrap_or_default();
        let asked = Now {
            unix: (now.unix).saturating_sub(now.monotonic.saturating_sub(called)),
            ..now
        };
        let expected = ExpectedResponse {
            issuers,
            client_id: self.policy.client_id(),
            asked: asked.unix_seconds(),
            now: now.unix_seconds(),
            leeway: self.policy.leeway_seconds(),
        };
        Some(ResponseContent::Signed(
            match self.verified(response, &expected, now.monotonic) {
                Ok(document) => Ok(document),
                Err(Unverified::Fault(fault)) => Err(fault),
                // The issuer itself names this key, so it is worth a fetch, also where it has given a
                // new key an old name. What callers send takes none of these fetches away.
                Err(Unverified::NoKey(_)) if self.fetches_keys(Fetch::Response, now) => {
                    self.documents.is_rotating = true;
                    return None;
                }
                Err(Unverified::NoKey(fault)) => Err(unsigned(fault)),
            },
        ))
    }

    /// What a verified response says about the token.
    fn verified(
        &self,
        response: &IssuerResponse,
        expected: &ExpectedResponse<'_>,
        now: Duration,
    ) -> Result<String, Unverified> {
        let jws = introspection::read_signed(response).map_err(Unverified::Fault)?;
        let is_allowed = jws.algorithm().is_some_and(|algorithm| {
            (self.policy.verification()).is_some_and(|how| how.algorithms().contains(algorithm))
        });
        if !is_allowed {
            return Err(Unverified::Fault(unsigned(SignatureFault::Algorithm)));
        }
        let ring = self
            .documents
            .ring
            .as_ref()
            .filter(|ring| ring.is_usable(now));
        let (key, _) = (ring.and_then(|ring| ring.find(&jws)))
            .ok_or(Unverified::NoKey(SignatureFault::UnknownKey))?;
        if !key.verify(&jws, &*self.lookup.signature_host) {
            return Err(Unverified::NoKey(SignatureFault::Signature));
        }
        let document = expected.document(jws.claims());
        document.map(str::to_owned).map_err(Unverified::Fault)
    }
}

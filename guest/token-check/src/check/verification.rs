//! Tokens that are verified here: by which key, and what to do while it is not there.

use core::time::Duration;
use std::sync::Arc;

use super::documents::Need;
use super::flight::{About, Presented};
use super::issuer_check::IssuerCheck;
use super::protocol::Finished;
use super::unavailable::Unavailable;
use crate::decision::{Decision, Refusal, decide, has_expired};
use crate::introspection::{Detail, Facts, Fault, IssuerResponse, KeysFault, unexpected_status};
use crate::jose::{Jws, JwsProblem, KeySet, KeySetProblem, KnownHeader, Typ};
use crate::memory::{AGELESS, CachedFacts, Fetch, SharedDocument, Voucher};
use crate::policy::KeySource;
use crate::reason::Reason;
use crate::time::{Now, milliseconds};

/// What there is to verify a signature.
enum Found {
    /// Whether the key made the signature, and the key's voucher.
    Verified(bool, Voucher),
    NoKey(Need),
}

impl<W> IssuerCheck<W> {
    /// Takes keys that another instance has fetched. Whether they are as new as they must be.
    pub(super) fn read_keys(&mut self, value: &[u8], now: Now) -> bool {
        let (Some(store), Some(ring), Some(how), Some(url)) = (
            &self.lookup.store,
            &mut self.documents.ring,
            self.policy.verification(),
            &self.documents.keys_url,
        ) else {
            return false;
        };
        if let Some((document, asked)) =
            store.read_document(SharedDocument::Keys, url.as_str(), value, now)
            && asked > ring.fetched()
            && let Ok(set) = KeySet::parse(&document)
        {
            ring.learn(set, how, asked);
            return ring.is_due(how, now.monotonic).is_none();
        }
        false
    }

    /// The key endpoint responded. Returns the fault, if there is one.
    pub(super) fn keys_responded(
        &mut self,
        response: &IssuerResponse,
        asked: Duration,
        finished: &mut Finished<W>,
        now: Now,
    ) -> Option<Fault> {
        let (set, document) = match key_set(response) {
            Ok(keys) => keys,
            Err(fault) => return Some(fault),
        };
        if let (Some(ring), Some(how)) = (&mut self.documents.ring, self.policy.verification())
            && let Some(url) = &self.documents.keys_url
        {
            ring.learn(set, how, milliseconds(asked));
            let source = url.as_str();
            self.share_document(SharedDocument::Keys, source, document, asked, finished, now);
        }
        None
    }

    /// How to learn about the token of this request, whatever it takes to read a response about it.
    pub(super) fn need_of_token(&mut self, presented: &Presented<'_>, now: Now) -> Need {
        let introspect = Need::Flight(About::Token(presented.key));
        let policy = Arc::clone(&self.policy);
        let Some(how) = (policy.verification()).filter(|how| !how.introspects_all()) else {
            return self.introspection(introspect, now);
        };
        let known = self.documents.header.as_ref();
        let jws = match Jws::parse_bytes(presented.token, known) {
            None if how.takes_opaque() => return self.introspection(introspect, now),
            None => return Need::Refuse(Reason::NotAJwt, None),
            Some(Err(problem)) => return Need::Refuse(refused(problem), None),
            Some(Ok(jws)) => jws,
        };
        let is_allowed = |algorithm| how.algorithms().contains(algorithm);
        if !jws.algorithm().is_some_and(is_allowed) {
            return Need::Refuse(Reason::AlgorithmNotAllowed, None);
        }
        let is_access_token = jws.typ() == Typ::AtJwt;
        if how.requires_at_jwt() && !is_access_token {
            return Need::Refuse(Reason::WrongTokenType, None);
        }
        let header = self.policy.claims_header();
        let facts = Facts::of_claims(jws.claims(), how.claim_names(), is_access_token, header);
        let Ok(facts) = facts else {
            return Need::Refuse(Reason::MalformedJwt, None);
        };
        // Before any call: a token of somebody else must not make us fetch keys.
        let issuer = facts.claims().and_then(|claims| claims.issuer());
        let requirements = presented.requirements;
        let issuers = requirements.issuers.as_slice();
        if !issuers.iter().any(|known| Some(known.as_str()) == issuer) {
            let reason = Reason::WrongIssuer;
            let refusal = Refusal::new(reason, Arc::clone(requirements));
            let refused = Decision::Refused(refusal);
            let event = (self.lookup.log).decided(&refused, facts.claims(), requirements, now);
            return Need::Refuse(reason, event);
        }
        let arrived = (presented.deadline).saturating_sub(self.policy.timeout());
        let voucher = match self.verify(&jws, arrived, now) {
            Found::Verified(true, voucher) => voucher,
            Found::Verified(false, _) => return Need::Refuse(Reason::InvalidSignature, None),
            Found::NoKey(need) => return need,
        };
        if !(self.documents.header.as_ref()).is_some_and(|known| known.is_of(&jws)) {
            self.documents.header = Some(KnownHeader::of(&jws));
        }
        if how.introspects_verified() {
            let (possession, unix) = (presented.possession, now.unix_seconds());
            let decision = decide(&facts, requirements, possession, &policy, unix);
            // The issuer may say to which key the token is bound where the token does not.
            let is_bound = facts.claims().is_some_and(|claims| claims.is_key_bound());
            let may_be_bound =
                |refusal: &Refusal| !is_bound && refusal.reason().is_about_possession();
            return match decision {
                Decision::Refused(refusal) if may_be_bound(&refusal) => {
                    self.introspection(Need::Confirm(facts, voucher), now)
                }
                Decision::Granted(_) => self.introspection(Need::Confirm(facts, voucher), now),
                Decision::Refused(_) | Decision::Answered(_) => Need::Facts(facts),
            };
        }
        // Whoever holds old tokens could push out those that are active, here and among the known.
        let claims = facts.claims();
        if claims.is_some_and(|claims| has_expired(claims, &policy, now.unix_seconds())) {
            return Need::Facts(facts);
        }
        self.lookup.known.note(presented.key, true);
        let cached = CachedFacts {
            facts: facts.clone(),
            voucher,
            called: AGELESS,
        };
        self.lookup.cache.insert(presented.key, cached);
        Need::Facts(facts)
    }

    /// By this call, once it is known where to.
    fn introspection(&mut self, call: Need, now: Now) -> Need {
        let is_known = self.lookup.endpoint.is_some();
        let unknown = (!is_known).then(|| self.needs_metadata(now)).flatten();
        unknown.unwrap_or(call)
    }

    /// `arrived`: when the request did, on the monotonic clock.
    fn verify(&mut self, jws: &Jws<'_>, arrived: Duration, now: Now) -> Found {
        if let Some(need) = self.needs_place_of_keys(now) {
            return Found::NoKey(need);
        }
        let (Some(ring), Some(how)) = (&mut self.documents.ring, self.policy.verification()) else {
            return Found::NoKey(Need::Refuse(Reason::UnknownKey, None));
        };
        let is_usable = ring.is_usable(now.monotonic);
        if is_usable && let Some((key, voucher)) = ring.find(jws) {
            let is_good = key.verify(jws, &*self.lookup.signature_host);
            if !is_good {
                ring.doubt();
            }
            return Found::Verified(is_good, voucher);
        }
        // Keys that were fetched for this request are all that there are.
        let is_final = matches!(how.keys(), KeySource::Set(_))
            || (is_usable && ring.fault().is_none() && ring.fetched() >= milliseconds(arrived));
        let why = if is_usable {
            Fetch::Unknown
        } else {
            Fetch::Due
        };
        Found::NoKey(if is_final {
            Need::Refuse(Reason::UnknownKey, None)
        } else if self.fetches_keys(why, now) {
            Need::Flight(About::Keys)
        } else if let Some(unavailable) = self.keys_unavailable(now) {
            Need::Unavailable(unavailable)
        } else {
            Need::Refuse(Reason::UnknownKey, None)
        })
    }

    /// Whether keys are being fetched, from now on or already: for this reason they may be.
    pub(super) fn fetches_keys(&mut self, why: Fetch, now: Now) -> bool {
        let Some(ring) = &mut self.documents.ring else {
            return false;
        };
        if self.documents.keys_url.is_none() {
            return false;
        }
        if self.flights.was_dropped(About::Keys) {
            ring.forget_attempt();
        }
        if self.flights.in_progress(About::Keys).is_some() {
            return true;
        }
        if !ring.may_fetch(why, now.monotonic) {
            return false;
        }
        self.documents.wanted = self.start_keys(why, now);
        true
    }

    /// What there is to say while keys cannot be fetched, if it is the issuer's fault.
    pub(super) fn keys_unavailable(&self, now: Now) -> Option<Unavailable> {
        let ring = self.documents.ring.as_ref()?;
        let unavailable = Unavailable::because(ring.fault()?.reason());
        Some(unavailable.until(ring.retry_at(), now))
    }
}

/// The reason for a token that looks like a JWT and is none that can be verified.
const fn refused(problem: JwsProblem) -> Reason {
    match problem {
        JwsProblem::HeaderTooLong | JwsProblem::MalformedHeader | JwsProblem::NotBase64 => {
            Reason::MalformedJwt
        }
        JwsProblem::UnsupportedHeader => Reason::InvalidSignature,
        JwsProblem::WrongType => Reason::WrongTokenType,
    }
}

/// Reads the response of the key endpoint. Its media type does not matter: issuers disagree about
/// it.
fn key_set(response: &IssuerResponse) -> Result<(KeySet, &[u8]), Fault> {
    let fault = |reason, fault| Err(Fault::new(reason, Detail::Keys(fault)));
    if response.status != 200 {
        let status = KeysFault::Status(response.status);
        return fault(unexpected_status(response.status), status);
    }
    let unusable = Reason::IssuerKeysUnusable;
    let Some(document) = response.body.bytes() else {
        return fault(unusable, KeysFault::TooLarge);
    };
    if response.coding().is_some() {
        return fault(unusable, KeysFault::Malformed);
    }
    let set = KeySet::parse(document).map(|set| (set, document));
    set.or_else(|problem| {
        let problem = match problem {
            KeySetProblem::Malformed => KeysFault::Malformed,
            KeySetProblem::NoUsableKey => KeysFault::NoUsableKey,
            KeySetProblem::TooLong => KeysFault::TooLarge,
            KeySetProblem::TooManyKeys => KeysFault::TooManyKeys,
        };
        fault(unusable, problem)
    })
}

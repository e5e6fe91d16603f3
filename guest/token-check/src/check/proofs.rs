//! The proof of a request: checked before anybody is asked about its token, and good once.

use std::sync::Arc;

use super::log_event::{LogEvent, LogThrottle};
use crate::decision::{Decision, Refusal};
use crate::introspection::Thumbprint;
use crate::jose::SignatureHost;
use crate::memory::{DerivedKeys, ProofId, ProofNonces, TokenKeys, UsedProofs};
use crate::policy::{DpopPolicy, Policy, Requirements};
use crate::proof::{Expected, Proof, ProofFault};
use crate::reason::Reason;
use crate::request::{Credentials, RequestHead, Scheme};
use crate::time::Now;

/// What is remembered about proofs.
pub(super) struct Proofs {
    /// `None`: nobody asks for nonces.
    nonces: Option<ProofNonces>,
    used: UsedProofs,
}

/// A good proof. It may have been used before.
pub(super) struct GoodProof {
    pub(super) key: Thumbprint,
    pub(super) id: ProofId,
}

/// A request whose proof is not good.
pub(super) struct Unproved {
    fault: ProofFault,
    /// The nonce for the next proof.
    nonce: Option<String>,
}

impl Proofs {
    pub(super) fn new(policy: &Policy, keys: Option<&DerivedKeys>) -> Self {
        let nonces = policy.dpop().filter(|dpop| dpop.asks_for_nonces());
        Self {
            nonces: (nonces.zip(keys)).map(|(dpop, keys)| ProofNonces::new(keys, dpop.window())),
            used: UsedProofs::default(),
        }
    }

    /// The proof of a request that has the scheme DPoP. `None`: it needs none.
    pub(super) fn check(
        &self,
        request: &RequestHead<'_>,
        credentials: &Credentials<'_>,
        dpop: &DpopPolicy,
        keys: &TokenKeys,
        host: &dyn SignatureHost,
        now: Now,
    ) -> Result<Option<GoodProof>, Unproved> {
        let now = now.unix_seconds();
        let unproved = |fault| {
            let nonces = self.nonces.as_ref();
            let nonces = nonces.filter(|_| fault == ProofFault::Nonce);
            let nonce = nonces.map(|nonces| nonces.current(now));
            Unproved { fault, nonce }
        };
        match credentials.scheme {
            Scheme::Bearer if dpop.is_required() => return Err(unproved(ProofFault::Missing)),
            Scheme::Bearer => return Ok(None),
            Scheme::Dpop => {}
        }
        let is_nonce =
            (self.nonces.as_ref()).map(|nonces| move |nonce: &str| nonces.is_fresh(nonce, now));
        let expected = Expected {
            request,
            token: credentials.token,
            origin: dpop.origin(),
            now,
            window: dpop.window(),
            is_nonce: (is_nonce.as_ref()).map(|is_nonce| -> &dyn Fn(&str) -> bool { is_nonce }),
        };
        let proof = Proof::check(&expected, host).map_err(unproved)?;
        Ok(Some(GoodProof {
            id: ProofId::new(keys, &proof.key, &proof.id, proof.made),
            key: proof.key,
        }))
    }

    /// Uses up the proof of a request that is about to be granted. Only now: others could fill the
    /// memory with proofs for tokens that they do not have.
    pub(super) fn spend(
        &mut self,
        decision: Decision,
        proof: Option<ProofId>,
        requirements: &Arc<Requirements>,
        policy: &Policy,
        now: Now,
    ) -> Decision {
        let (Decision::Granted(_), Some(proof), Some(dpop)) = (&decision, proof, policy.dpop())
        else {
            return decision;
        };
        // A request may wait for the issuer, and its proof gets older meanwhile.
        let longest_wait = i64::try_from(policy.timeout().as_secs()).unwrap_or(i64::MAX);
        let kept = dpop.window().saturating_add(longest_wait).saturating_add(2);
        let oldest = now.unix_seconds().saturating_sub(kept);
        if self.used.is_first_use(proof, oldest) {
            return decision;
        }
        let refusal = Refusal::new(Reason::DpopProofReplayed, Arc::clone(requirements));
        Decision::Refused(refusal.of(Scheme::Dpop))
    }
}

impl Unproved {
    pub(super) fn refusal(self, requirements: Arc<Requirements>, scheme: Scheme) -> Refusal {
        let refusal = Refusal::new(self.fault.reason(), requirements).of(scheme);
        match self.nonce {
            Some(nonce) => refusal.proof_nonce(nonce),
            None => refusal,
        }
    }

    /// What the log says, so that operators can tell callers what is wrong.
    pub(super) fn event(&self, log: &mut LogThrottle, now: Now) -> Option<LogEvent> {
        match self.fault {
            // What every caller does first.
            ProofFault::Nonce => None,
            fault => log.proof(fault, now),
        }
    }
}

//! Whether a request proves possession of the keys that its token is bound to. Decided for every
//! request: a token that is remembered is still bound.

use crate::introspection::{Claims, Thumbprint};
use crate::policy::Policy;
use crate::reason::Reason;
use crate::request::Scheme;

/// The keys that a request proves possession of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Possession {
    /// The scheme of its credentials.
    pub(crate) scheme: Scheme,
    /// The key that signed its DPoP proof, if that is good. There is one with the scheme DPoP only.
    pub(crate) dpop_key: Option<Thumbprint>,
    /// Its client certificate.
    pub(crate) certificate: Option<Thumbprint>,
}

impl Possession {
    /// What is wrong with it for this token.
    #[inline]
    pub(super) fn violation(&self, claims: Claims<'_>, policy: &Policy) -> Option<Reason> {
        if !claims.is_key_bound() && self.scheme == Scheme::Bearer {
            return None;
        }
        self.violation_of_binding(claims, policy)
    }

    #[cold]
    fn violation_of_binding(&self, claims: Claims<'_>, policy: &Policy) -> Option<Reason> {
        if !claims.is_key_bound() {
            // RFC 9449 section 7.1: with the scheme DPoP, the token has to be bound to the key.
            return Some(Reason::DpopKeyMismatch);
        }
        let missing = Some(Reason::ProofOfPossessionMissing);
        let Some(confirmation) = claims.confirmation() else {
            return missing;
        };
        match (confirmation.dpop_key, self.dpop_key) {
            (None, None) => {}
            // RFC 9449 section 7.2: as a Bearer token too, a bound one needs its proof.
            (Some(_), None) => return missing,
            (Some(bound), Some(proved)) if bound == proved => {}
            (_, Some(_)) => return Some(Reason::DpopKeyMismatch),
        }
        let Some(bound) = confirmation.certificate else {
            // A confirmation without any key would prove nothing.
            return confirmation.dpop_key.map_or(missing, |_| None);
        };
        if policy.bound_tokens().certificate_format().is_none() {
            return missing;
        }
        match self.certificate {
            Some(certificate) if certificate == bound => None,
            Some(_) => Some(Reason::ClientCertificateMismatch),
            None => Some(Reason::ClientCertificateMissing),
        }
    }
}

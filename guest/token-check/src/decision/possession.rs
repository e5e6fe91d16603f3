//! Whether a request proves possession of the keys that its token is bound to. Decided for every
//! request: a token that is remembered is still bound.

use crate::introspection::{Claims, Thumbprint};
use crate::policy::Policy;
use crate::reason::Reason;

/// The keys that a request proves possession of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Possession {
    /// Its client certificate.
    pub(crate) certificate: Option<Thumbprint>,
}

impl Possession {
    /// What is missing for this token.
    pub(super) fn violation(&self, claims: Claims<'_>, policy: &Policy) -> Option<Reason> {
        if !claims.is_key_bound() {
            return None;
        }
        let missing = Some(Reason::ProofOfPossessionMissing);
        let Some(confirmation) = claims.confirmation() else {
            return missing;
        };
        if confirmation.dpop_key.is_some() {
            return missing;
        }
        let bound_tokens = policy.bound_tokens();
        let expected = confirmation.certificate?;
        if bound_tokens.certificate_format().is_none() {
            return missing;
        }
        match self.certificate {
            Some(certificate) if certificate == expected => None,
            Some(_) => Some(Reason::ClientCertificateMismatch),
            None => Some(Reason::ClientCertificateMissing),
        }
    }
}

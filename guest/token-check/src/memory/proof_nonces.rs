//! Nonces for proofs of possession (RFC 9449 section 9). They are derived from the time, so nothing is
//! remembered, and each instance knows those of the others.

use codec::base64url;
use hmac::Mac as _;

use super::derived_keys::{DerivedKeys, HmacSha256};

/// Length of a nonce, in bytes: nobody guesses 128 bits.
const NONCE_BYTES: usize = 16;

/// Makes nonces, and knows those that were made lately.
pub(crate) struct ProofNonces {
    mac: HmacSha256,
    /// For how long the same nonce is given, in seconds.
    period: i64,
}

impl ProofNonces {
    /// `period`: in seconds.
    pub(crate) fn new(keys: &DerivedKeys, period: i64) -> Self {
        Self {
            mac: keys.proof_nonces().clone(),
            period,
        }
    }

    /// The nonce of this time, in seconds since 1970.
    pub(crate) fn current(&self, now: i64) -> String {
        let digest = self.mac_of(self.period_of(now)).finalize().into_bytes();
        let nonce: Vec<u8> = digest.iter().copied().take(NONCE_BYTES).collect();
        base64url::encode(&nonce)
    }

    /// Whether it is of this period, of the one before, or of the next, in which another instance may
    /// already be.
    pub(crate) fn is_fresh(&self, nonce: &str, now: i64) -> bool {
        let Some(nonce) = base64url::decode(nonce.as_bytes()) else {
            return false;
        };
        let period = self.period_of(now);
        nonce.len() == NONCE_BYTES
            && [-1, 0, 1].into_iter().any(|offset| {
                let mac = self.mac_of(period.saturating_add(offset));
                mac.verify_truncated_left(&nonce).is_ok()
            })
    }

    fn period_of(&self, now: i64) -> i64 {
        now.checked_div_euclid(self.period).unwrap_or_default()
    }

    fn mac_of(&self, period: i64) -> HmacSha256 {
        self.mac.clone().chain_update(period.to_be_bytes())
    }
}

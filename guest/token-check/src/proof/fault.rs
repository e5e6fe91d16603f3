//! What is wrong with a proof, for the log. The caller sees only that it is wrong.

use core::fmt;

use crate::reason::Reason;

/// Why a proof of possession is not good for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofFault {
    /// There is none.
    Missing,
    /// More than one header.
    Repeated,
    /// Over 4 KiB.
    TooLong,
    /// Not a JWT with `typ` = `dpop+jwt`.
    Malformed,
    /// `alg` is none that is accepted.
    Algorithm,
    /// `jwk` is no public key of the type that `alg` needs.
    Key,
    /// A claim is missing, or has another type.
    Claims,
    /// `htm` is not the method of the request.
    Method,
    /// `htu` is not the URL of the request.
    Target,
    /// `ath` is not the hash of the access token.
    Token,
    /// `iat` is too old, or in the future.
    Time,
    /// `nonce` is not one that this service gave lately.
    Nonce,
    /// The signature is not by the key in `jwk`.
    Signature,
}

impl ProofFault {
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Missing => Reason::ProofOfPossessionMissing,
            Self::Nonce => Reason::DpopNonceNeeded,
            Self::Repeated
            | Self::TooLong
            | Self::Malformed
            | Self::Algorithm
            | Self::Key
            | Self::Claims
            | Self::Method
            | Self::Target
            | Self::Token
            | Self::Time
            | Self::Signature => Reason::DpopProofInvalid,
        }
    }
}

impl fmt::Display for ProofFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().name())?;
        f.write_str(match self {
            Self::Missing => ": a request has no DPoP proof",
            Self::Repeated => ": a request has more than one DPoP header",
            Self::TooLong => ": a proof is over 4 KiB",
            Self::Malformed => ": a proof is no JWT with typ dpop+jwt",
            Self::Algorithm => ": a proof has another alg than ES256, PS256 and EdDSA",
            Self::Key => ": jwk of a proof is no public key that fits its alg",
            Self::Claims => ": a proof lacks jti, htm, htu, iat or ath, or one has the wrong type",
            Self::Method => ": htm of a proof is not the method of the request",
            Self::Target => {
                ": htu of a proof is not public_origin and the path of the request; is public_origin what callers use?"
            }
            Self::Token => ": ath of a proof is not the hash of the access token",
            Self::Time => ": iat of a proof is further from now than dpop_window allows",
            Self::Nonce => ": nonce of a proof is not one that was given lately",
            Self::Signature => ": a proof is not signed by the key in its jwk",
        })
    }
}

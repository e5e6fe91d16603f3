//! What is wrong with a signed introspection response, for the log.

use core::fmt;

/// What is wrong with a response that had to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// It is of a later time.
    Ahead,
    Algorithm,
    /// It has expired, or was made before it was asked for.
    Before,
    /// An error response about the token.
    Error,
    Json,
    Malformed,
    MediaType,
    Signature,
    Type,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
}

impl fmt::Display for SignatureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ahead => {
                "the issuer's response was signed in the future, or is not valid yet: check the clocks"
            }
            Self::Algorithm => {
                "the issuer's response is signed with an algorithm that `algorithms` does not list"
            }
            Self::Before => {
                "the issuer's response was signed before it was asked for, or has expired: check the clocks, and any cache between here and the issuer"
            }
            Self::Error => {
                "the issuer responded with an error about the token, which is not signed"
            }
            Self::Json => {
                "the issuer's response is JSON, which is not signed: have the issuer sign the responses for resource_client_id (introspection_signed_response_alg, RFC 9701 section 6)"
            }
            Self::Malformed => {
                "the issuer's response is no signed JWT that can be verified; encrypted ones are not read"
            }
            Self::MediaType => {
                "the issuer's response has another media type than application/token-introspection+jwt"
            }
            Self::Signature => "the signature of the issuer's response is not by the key that it names",
            Self::Type => {
                "the issuer's response is another kind of JWT: its typ is not token-introspection+jwt"
            }
            Self::UnknownKey => {
                "the issuer's response is signed with a key that is not among its keys: check jwks_url or jwks"
            }
            Self::WrongAudience => {
                "the issuer's response is for another recipient: its aud does not have resource_client_id"
            }
            Self::WrongIssuer => {
                "the issuer's response is by another issuer: its iss is not expected_issuer"
            }
        })
    }
}

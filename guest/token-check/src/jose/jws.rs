//! Reads the compact serialization of a JWS (RFC 7515 section 7.1).

use super::Algorithm;

/// What is wrong with a token that looks like a JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwsProblem {
    /// The header is over 2 KiB.
    HeaderTooLong,
    /// The header is not an object without repeated names, or a member has the wrong type.
    MalformedHeader,
    /// The payload or the signature is not base64url without padding.
    NotBase64,
    /// The header has a member that changes how it is to be verified: `b64`, `crit`, `jku`, `jwk`,
    /// `x5u`.
    UnsupportedHeader,
    /// `typ` names another kind of token.
    WrongType,
}

/// `typ` (RFC 7515 section 4.1.9) of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typ {
    /// There is none.
    Absent,
    /// `at+jwt` (RFC 9068 section 2.1).
    AtJwt,
    /// `JWT`.
    Jwt,
}

/// A JWS, not verified.
pub struct Jws<'a> {
    signing_input: &'a str,
    algorithm: Option<Algorithm>,
    kid: Option<String>,
    typ: Typ,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Reads an access token. `None`: it is no JWT by its shape, which is three segments of which
    /// the first is base64url of a JSON object with a text `alg`.
    #[must_use]
    pub fn parse(token: &'a str) -> Option<Result<Self, JwsProblem>> {
        let _ = token;
        todo!()
    }

    /// The payload.
    #[must_use]
    pub fn claims(&self) -> &[u8] {
        &self.claims
    }

    /// `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// `alg`. `None`: none that we know, such as `none` and `HS256`.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// `typ`.
    #[must_use]
    pub fn typ(&self) -> Typ {
        self.typ
    }

    pub(super) fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

//! Introspection responses that the issuer has signed (RFC 9701 section 5): what may be read before
//! the signature is verified, and what the claims must say after it is.

use super::fault::{Detail, Document, Fault, MemberFault};
use super::members::{Members, member_fault};
use super::response::IssuerResponse;
use super::signature_fault::SignatureFault;
use crate::jose::{Jws, JwsProblem};
use crate::reason::Reason;
use codec::json_text;

/// `typ`, so that nothing else that the issuer signs is taken for a response.
const TYPE: &str = "token-introspection+jwt";

/// The claim with the members of RFC 7662 section 2.2.
const CLAIM: &str = "token_introspection";

/// The response is not signed as it must be.
pub(crate) const fn unsigned(fault: SignatureFault) -> Fault {
    Fault::new(Reason::IssuerResponseUnsigned, Detail::Signature(fault))
}

/// Reads a response, without verifying its signature.
pub(crate) fn read_signed(response: &IssuerResponse) -> Result<Jws<'_>, Fault> {
    let malformed = |detail| Fault::new(Reason::IssuerAnswerMalformed, detail);
    if let Some(coding) = response.coding() {
        return Err(malformed(Detail::Coding(coding)));
    }
    if !response.says_it_is_signed() {
        return Err(unsigned(match response.media_unless_json() {
            None => SignatureFault::Json,
            Some(_) => SignatureFault::MediaType,
        }));
    }
    let too_large = Detail::Document(Document::TooLarge);
    let body = (response.body.bytes())
        .ok_or_else(|| Fault::new(Reason::IssuerAnswerTooLarge, too_large))?;
    let jws = core::str::from_utf8(body)
        .ok()
        .and_then(|body| Jws::parse_as(body, TYPE));
    match jws {
        Some(Ok(jws)) => Ok(jws),
        Some(Err(JwsProblem::WrongType)) => Err(unsigned(SignatureFault::Type)),
        Some(Err(
            JwsProblem::HeaderTooLong
            | JwsProblem::MalformedHeader
            | JwsProblem::NotBase64
            | JwsProblem::UnsupportedHeader,
        ))
        | None => Err(unsigned(SignatureFault::Malformed)),
    }
}

/// What the claims of a response must say. Times in seconds since 1970.
pub(crate) struct ExpectedResponse<'a> {
    /// Who may sign it.
    pub(crate) issuers: &'a [String],
    /// Whom it is for.
    pub(crate) client_id: &'a str,
    /// When it was asked for.
    pub(crate) asked: i64,
    pub(crate) now: i64,
    pub(crate) leeway: i64,
}

impl ExpectedResponse<'_> {
    /// The document of RFC 7662 section 2.2 in the claims of a verified response, as it is written
    /// there.
    pub(crate) fn document<'a>(&self, claims: &'a [u8]) -> Result<&'a str, Fault> {
        let malformed = |detail| Fault::new(Reason::IssuerAnswerMalformed, detail);
        let document = core::str::from_utf8(claims)
            .map_err(|_| malformed(Detail::Document(Document::NotUtf8)))?;
        let mut in_range = String::new();
        let members = Members::parse(document, &mut in_range).map_err(malformed)?;
        let fault = |detail| Fault::new(Reason::IssuerResponseUnsigned, detail);
        let missing = |name| fault(member_fault(name, MemberFault::Missing));
        let issuer = members.string("iss").map_err(fault)?;
        let issuer = issuer.ok_or_else(|| missing("iss"))?;
        if !self.issuers.iter().any(|known| known == issuer) {
            return Err(unsigned(SignatureFault::WrongIssuer));
        }
        let audiences = members.strings("aud").map_err(fault)?;
        if audiences.is_empty() {
            return Err(missing("aud"));
        }
        if !audiences.iter().any(|audience| audience == self.client_id) {
            return Err(unsigned(SignatureFault::WrongAudience));
        }
        self.check_times(&members).map_err(fault)?;
        if members.get(CLAIM).is_none() {
            return Err(missing(CLAIM));
        }
        json_text::member(document, CLAIM).ok_or_else(|| missing(CLAIM))
    }

    /// `iat`, and if they are there `exp` and `nbf` (RFC 7519 section 4.1).
    fn check_times(&self, members: &Members<'_>) -> Result<(), Detail> {
        let made = (members.time("iat", f64::floor)?)
            .ok_or_else(|| member_fault("iat", MemberFault::Missing))?;
        let starts = members.time("nbf", f64::ceil)?.unwrap_or(made);
        let expires = members.time("exp", f64::floor)?.unwrap_or(i64::MAX);
        // What was said before may no longer hold.
        let oldest = self.asked.saturating_sub(self.leeway);
        if made < oldest || expires <= self.now.saturating_sub(self.leeway) {
            return Err(Detail::Signature(SignatureFault::Before));
        }
        let newest = self.now.saturating_add(self.leeway);
        if made > newest || starts > newest {
            return Err(Detail::Signature(SignatureFault::Ahead));
        }
        Ok(())
    }
}

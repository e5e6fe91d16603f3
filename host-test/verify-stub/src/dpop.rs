//! Proofs of possession at the token endpoint (RFC 9449 sections 4 to 8).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, StatusCode};
use serde_json::Value;

use super::{
    jwt::{Jws, thumbprint},
    reaction::StubResponse,
    record::RecordedRequest,
    tables::UsedIds,
    tokens::{random, unix_now},
};

/// The header of a proof.
const PROOF: HeaderName = HeaderName::from_static("dpop");
/// The header of the nonce for the next proof.
pub(super) const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How far from now a proof may have been made, in seconds.
const WINDOW: i64 = 60;

/// Why a token request with a proof is refused.
pub(super) enum DpopError {
    Invalid(&'static str),
    /// The proof has another nonce than the current one, or none.
    NonceNeeded,
}

impl DpopError {
    pub(super) fn response(&self) -> (StubResponse, &'static str) {
        let (error, text) = match self {
            Self::Invalid(text) => ("invalid_dpop_proof", *text),
            Self::NonceNeeded => ("use_dpop_nonce", "the DPoP proof needs the current nonce"),
        };
        (
            StubResponse::error(StatusCode::BAD_REQUEST, error, text),
            text,
        )
    }
}

pub(super) fn new_nonce() -> String {
    URL_SAFE_NO_PAD.encode(random::<16>())
}

/// The thumbprint of the key that made the proof in the request (RFC 9449 section 4.3). `None`: there is
/// no proof.
pub(super) fn check(
    request: &RecordedRequest,
    url: &str,
    nonce: Option<&str>,
    used: &UsedIds,
) -> Result<Option<String>, DpopError> {
    let mut proofs = request.headers.get_all(PROOF).iter();
    let Some(proof) = proofs.next() else {
        return Ok(None);
    };
    let proof = proof.to_str().ok().filter(|_| proofs.next().is_none());
    let proof = proof.ok_or(DpopError::Invalid("there is more than one proof"))?;
    let jws = Jws::parse(proof).ok_or(DpopError::Invalid("the proof is no JWT"))?;
    let typ = jws.header.get("typ").and_then(Value::as_str);
    let jwk = jws.header.get("jwk").unwrap_or(&Value::Null);
    let is_good =
        |good: bool, problem: &'static str| good.then_some(()).ok_or(DpopError::Invalid(problem));
    is_good(typ == Some("dpop+jwt"), "the proof has another typ")?;
    is_good(jwk.get("d").is_none(), "the key of the proof is private")?;
    is_good(
        jws.is_by_key(jwk),
        "the proof is not signed by the key in it",
    )?;
    is_good(
        jws.claim("htm") == Some(request.method.as_str()),
        "the proof is for another method",
    )?;
    is_good(
        jws.claim("htu") == Some(url),
        "the proof is for another URL",
    )?;
    let made = jws.claims.get("iat").and_then(Value::as_i64);
    is_good(
        made.is_some_and(|made| made.abs_diff(unix_now()) <= WINDOW.unsigned_abs()),
        "the proof is too old or too new",
    )?;
    if nonce.is_some() && jws.claim("nonce") != nonce {
        return Err(DpopError::NonceNeeded);
    }
    let id = jws.claim("jti").unwrap_or_default();
    let thumbprint =
        thumbprint(jwk).ok_or(DpopError::Invalid("the key of the proof is unknown"))?;
    is_good(
        !id.is_empty() && used.is_first_use(&thumbprint, id),
        "the proof was used before, or has no jti",
    )?;
    Ok(Some(thumbprint))
}

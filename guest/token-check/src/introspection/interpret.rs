//! Reads an answer of the issuer: facts about the token, or what is wrong with the issuer.

use super::facts::Facts;
use super::fault::{Detail, Document, Fault};
use super::members::Members;
use super::response::IssuerAnswer;
use crate::json::Json;
use crate::reason::Reason;

/// The error codes of a 400 that speak of the token asked about: RFC 7009 section 2.2.1, which node-oidc-provider says of
/// any JWT, and RFC 6750 section 3.1. The token of the question is the only one: we authenticate with none.
const TOKEN_ERRORS: [&str; 2] = ["unsupported_token_type", "invalid_token"];

/// What an answer says.
pub(crate) struct Heard {
    pub(crate) facts: Facts,
    /// The HTTP status of an error that speaks of the token, where it was one.
    pub(crate) error: Option<u16>,
}

/// Facts from an answer, or what is wrong with the issuer. `are_changed`: our id or secret, by the way they are sent.
pub(crate) fn read(answer: &IssuerAnswer, are_changed: bool) -> Result<Heard, Fault> {
    let status = answer.status;
    let answered = |reason| Fault::new(reason, Detail::Status(status));
    match status {
        200 => {}
        400 | 401 | 403 => {
            return match subject(answer) {
                Subject::Token => Ok(Heard {
                    facts: Facts::INACTIVE,
                    error: Some(status),
                }),
                Subject::Credentials => Err(Fault::new(
                    Reason::IssuerRefusedUs,
                    Detail::Credentials {
                        status,
                        are_changed,
                    },
                )),
                Subject::Unknown => Err(answered(Reason::IssuerUnexpectedStatus)),
            };
        }
        300..=399 => return Err(answered(Reason::IssuerRedirected)),
        429 => return Err(answered(Reason::IssuerOverloaded)),
        500..=599 => return Err(answered(Reason::IssuerFailed)),
        _ => return Err(answered(Reason::IssuerUnexpectedStatus)),
    }
    let malformed = |detail| Fault::new(Reason::IssuerAnswerMalformed, detail);
    if let Some(coding) = answer.coding() {
        return Err(malformed(Detail::Coding(coding)));
    }
    if let Some(media) = answer.not_json() {
        return Err(Fault::new(Reason::IssuerNotJson, Detail::Media(media)));
    }
    let bytes = answer.body.bytes();
    let too_large = Detail::Document(Document::TooLarge);
    let bytes = bytes.ok_or_else(|| Fault::new(Reason::IssuerAnswerTooLarge, too_large))?;
    core::str::from_utf8(bytes)
        .map_err(|_| Detail::Document(Document::NotUtf8))
        .and_then(Facts::of_document)
        .map(|facts| Heard { facts, error: None })
        .map_err(malformed)
}

/// What a refusal of the issuer speaks of.
enum Subject {
    /// The token that was asked about: nothing is wrong with the issuer or with us.
    Token,
    /// Our own credentials.
    Credentials,
    /// Neither is plain.
    Unknown,
}

/// Of a 400, 401 or 403. By RFC 7662 section 2.3 none of them speaks of the token, but some issuers use them so. Believed only
/// where it is plain: whatever is called the token's fault is not looked into.
fn subject(answer: &IssuerAnswer) -> Subject {
    let members = answer.text().and_then(|text| Members::of(text).ok());
    // Okta has its own name for the code of RFC 6749 section 5.2.
    let error = (members.as_ref())
        .and_then(|members| members.get("error").or_else(|| members.get("errorCode")));
    let code = match error {
        Some(Json::Text(code)) => Some(&**code),
        _ => None,
    };
    let is_about_token = code.is_some_and(|code| TOKEN_ERRORS.contains(&code));
    let is_inactive = error.is_none()
        && (members.as_ref())
            .is_some_and(|members| matches!(members.raw("active"), Some(Json::Bool(false))));
    match (answer.status, code) {
        // The answer of RFC 7662 section 2.2, under a status of its own.
        (400 | 401, _) if is_inactive && answer.not_json().is_none() => Subject::Token,
        (400, _) if is_about_token && answer.not_json().is_none() => Subject::Token,
        (400, Some("invalid_client" | "unauthorized_client")) => Subject::Credentials,
        // RFC 6749 section 5.2: an error, or the challenge to Basic.
        (401 | 403, Some(_)) => Subject::Credentials,
        (401, None) if answer.challenges_basic() => Subject::Credentials,
        // Django OAuth Toolkit and Glewlwyd refuse us with no body at all. A firewall shows a page.
        (401 | 403, None) if answer.body.is_empty() => Subject::Credentials,
        _ => Subject::Unknown,
    }
}

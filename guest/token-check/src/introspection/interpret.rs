//! Turns a response of the issuer into facts about the token, or into the issuer's fault.

use std::borrow::Cow;

use super::call::CredentialsKind;
use super::facts::{ClaimsHeader, Facts};
use super::fault::{Detail, Document, Fault};
use super::members::Members;
use super::response::IssuerResponse;
#[cfg(feature = "jwt")]
use super::signature_fault::SignatureFault;
#[cfg(feature = "jwt")]
use super::signed_response::unsigned;
use crate::reason::Reason;
use codec::json::Json;

/// Error codes of a 400 that are about the introspected token: RFC 7009 section 2.2.1, which
/// node-oidc-provider sends for every JWT, and RFC 6750 section 3.1. The second one is about
/// our own token if the call is authenticated with one.
const TOKEN_ERRORS: [&str; 2] = ["unsupported_token_type", "invalid_token"];

/// The result of an introspection call.
pub(crate) struct Introspected {
    pub(crate) facts: Facts,
    /// The HTTP status, if the issuer reported the token with an error response.
    pub(crate) error_status: Option<u16>,
}

/// Whose words the content of a response is.
pub(crate) enum ResponseContent {
    /// Whoever responds to `introspect_url` is believed.
    Plain,
    /// What the issuer has signed, or what is wrong with that.
    #[cfg(feature = "jwt")]
    Signed(Result<String, Fault>),
}

/// `credentials`: what the call had.
/// `claims_header`: see [`Facts::parse`].
#[inline]
pub(crate) fn interpret(
    response: &IssuerResponse,
    content: ResponseContent,
    claims_header: &ClaimsHeader,
    credentials: CredentialsKind,
) -> Result<Introspected, Fault> {
    let status = response.status;
    let unexpected = |reason| Err(Fault::new(reason, Detail::Status(status)));
    match status {
        200 => {}
        400 | 401 | 403 => {
            return match subject(response, credentials) {
                #[cfg(feature = "jwt")]
                Subject::Token if matches!(content, ResponseContent::Signed(_)) => {
                    Err(unsigned(SignatureFault::Error))
                }
                Subject::Token => Ok(Introspected {
                    facts: Facts::INACTIVE,
                    error_status: Some(status),
                }),
                Subject::Credentials => Err(Fault::new(
                    Reason::IssuerRejectedClient,
                    Detail::Credentials {
                        status,
                        kind: credentials,
                    },
                )),
                Subject::Unknown => unexpected(Reason::IssuerUnexpectedStatus),
            };
        }
        _ => return unexpected(unexpected_status(status)),
    }
    let document: Cow<'_, str> = match content {
        ResponseContent::Plain => plain_document(response)?.into(),
        #[cfg(feature = "jwt")]
        ResponseContent::Signed(document) => document?.into(),
    };
    Facts::parse(&document, claims_header)
        .map(|facts| Introspected {
            facts,
            error_status: None,
        })
        .map_err(malformed)
}

/// The document in a response of status 200 that is not signed.
#[inline]
fn plain_document(response: &IssuerResponse) -> Result<&str, Fault> {
    if let Some(coding) = response.coding() {
        return Err(malformed(Detail::Coding(coding)));
    }
    if let Some(media) = response.media_unless_json() {
        return Err(Fault::new(Reason::IssuerNotJson, Detail::Media(media)));
    }
    let too_large = Detail::Document(Document::TooLarge);
    let body = (response.body.bytes())
        .ok_or_else(|| Fault::new(Reason::IssuerAnswerTooLarge, too_large))?;
    core::str::from_utf8(body).map_err(|_| malformed(Detail::Document(Document::NotUtf8)))
}

const fn malformed(detail: Detail) -> Fault {
    Fault::new(Reason::IssuerAnswerMalformed, detail)
}

/// The reason for a status that no response of an issuer should have.
pub(crate) const fn unexpected_status(status: u16) -> Reason {
    match status {
        300..=399 => Reason::IssuerRedirected,
        429 => Reason::IssuerOverloaded,
        500..=599 => Reason::IssuerFailed,
        _ => Reason::IssuerUnexpectedStatus,
    }
}

/// What an error response is about.
enum Subject {
    /// The introspected token: neither the issuer nor this service is at fault.
    Token,
    /// The credentials of this service.
    Credentials,
    /// It does not say.
    Unknown,
}

/// Classifies a 400, 401 or 403. By RFC 7662 section 2.3 none of them is about the token, but some
/// issuers use them so. That is believed only where it is unmistakable: a fault blamed on the token
/// raises no alarm.
fn subject(response: &IssuerResponse, credentials: CredentialsKind) -> Subject {
    let mut in_range = String::new();
    let text = response.text();
    let members = text.and_then(|text| Members::parse(text, &mut in_range).ok());
    let member = |name| members.as_ref()?.get(name);
    // Okta has its own name for the member of RFC 6749 section 5.2.
    let error = member("error").or_else(|| member("errorCode"));
    let code = match error {
        Some(Json::Text(code)) => Some(&**code),
        _ => None,
    };
    let is_about_token = code.is_some_and(|code| TOKEN_ERRORS.contains(&code));
    let is_inactive = error.is_none() && matches!(member("active"), Some(Json::Bool(false)));
    let is_json = response.media_unless_json().is_none();
    // Our own token may be meant.
    let is_authenticated_by_token = matches!(credentials, CredentialsKind::Token);
    match (response.status, code) {
        (400, Some("invalid_token")) if is_authenticated_by_token => Subject::Credentials,
        (401, None) if is_authenticated_by_token => Subject::Credentials,
        // The response of RFC 7662 section 2.2 with another status.
        (400 | 401, _) if is_inactive && is_json => Subject::Token,
        (400, _) if is_about_token && is_json => Subject::Token,
        (400, Some("invalid_client" | "unauthorized_client")) => Subject::Credentials,
        // RFC 6749 section 5.2: an error, or a Basic challenge.
        (401 | 403, Some(_)) => Subject::Credentials,
        (401, None) if response.challenges_basic() => Subject::Credentials,
        // Django OAuth Toolkit and Glewlwyd reject a client without a body. A firewall sends a
        // page.
        (401 | 403, None) if response.body.is_empty() => Subject::Credentials,
        _ => Subject::Unknown,
    }
}

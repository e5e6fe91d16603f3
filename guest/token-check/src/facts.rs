//! What the issuer said about a token (RFC 7662 section 2.2), read strictly.

use core::ops::Range;
use std::borrow::Cow;

use smallvec::SmallVec;
use triomphe::{Arc, HeaderSlice};

use crate::answer::IssuerAnswer;
use crate::fault::{Detail, Document, Fault, Wrong};
use crate::identity::is_field_value;
use crate::json::{self, Json, NotRead};
use crate::policy::is_scope_token;
use crate::reason::Reason;

/// Times past this are nonsense, in seconds since 1970: the year 9999. Catches milliseconds taken for seconds.
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;

/// The members that name the kind of token: RFC 7662's, Ory's, and the one of Keycloak and RFC 9068.
const KIND_MEMBERS: [&str; 3] = ["token_type", "token_use", "typ"];

/// What they say of an access token that whoever has it may use, in any case of letters.
const ACCESS_TOKENS: [&str; 10] = [
    // RFC 6750, and what Apigee writes for it.
    "bearer",
    "bearertoken",
    // Salesforce, Hydra and oidc-provider before they read RFC 7662 so, AWS Cognito, Casdoor.
    "access_token",
    "access-token",
    "access",
    // The same of oidc-provider, for tokens of this grant type.
    "client_credentials",
    // RFC 9068, and issuers of JWTs that do not know it.
    "at+jwt",
    "application/at+jwt",
    "jwt",
    // RFC 8693 section 3.
    "urn:ietf:params:oauth:token-type:access_token",
];

/// What they say of a token that is none, or that needs more than having it: no setting makes one of it.
const OTHER_TOKENS: [&str; 19] = [
    "refresh_token",
    "refresh-token",
    "refreshtoken",
    "refresh",
    "offline",
    "urn:ietf:params:oauth:token-type:refresh_token",
    "id_token",
    "id-token",
    "idtoken",
    "id",
    "urn:ietf:params:oauth:token-type:id_token",
    "authorization_code",
    "logout",
    "logout+jwt",
    "token-introspection+jwt",
    // RFC 8693 section 2.2.1: not an access token.
    "n_a",
    // Bound to a key.
    "dpop",
    "mac",
    "pop",
];

/// The error codes of a 400 that speak of the token asked about: RFC 7009 section 2.2.1, which node-oidc-provider says of
/// any JWT, and RFC 6750 section 3.1. The token of the question is the only one: we authenticate with none.
const TOKEN_ERRORS: [&str; 2] = ["unsupported_token_type", "invalid_token"];

/// What the issuer said about one token, in one piece of memory if it says as much as usual. Says nothing about any
/// request.
#[derive(Clone)]
pub struct Facts(Option<Arc<HeaderSlice<Head, str>>>);

/// What stands before the text. That is the document as the issuer sent it, then the texts that have escapes there, without
/// them. Kept small: there are as many as tokens in use.
struct Head {
    /// [`ISSUER`], [`SUBJECT`], [`CLIENT_ID`], [`GRANT_TYPE`], then the audiences, the unknown kinds and the scopes.
    spans: SmallVec<[Span; TYPICAL_SPANS]>,
    expires: i64,
    starts: i64,
    document: u32,
    audiences: u32,
    /// How many of [`KIND_MEMBERS`] have a text that is neither in [`ACCESS_TOKENS`] nor in [`OTHER_TOKENS`].
    unknown_kinds: u8,
    is_other_token: bool,
    is_key_bound: bool,
    /// Whether each of [`TEXTS`] may stand in a header. Found out once, and not for every request.
    are_fields: [bool; TEXTS.len()],
}

impl Head {
    fn audiences(&self) -> usize {
        usize::try_from(self.audiences).unwrap_or(usize::MAX)
    }
}

/// Without an allocation of their own: IBM Verify names one audience and no scope.
const TYPICAL_SPANS: usize = 6;

/// A part of the text. Document and spare texts are within twice the most that `max_answer_bytes` may be, 512 KiB.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Option<Range<usize>> {
        Some(self.start.try_into().ok()?..self.end.try_into().ok()?)
    }
}

/// Where there is no such member.
const ABSENT: Span = Span {
    start: u32::MAX,
    end: 0,
};

pub(crate) const ISSUER: usize = 0;
pub(crate) const SUBJECT: usize = 1;
pub(crate) const CLIENT_ID: usize = 2;
const GRANT_TYPE: usize = 3;
/// The members that have one text each, in the order of [`Head::spans`].
const TEXTS: [&str; 4] = ["iss", "sub", "client_id", "grant_type"];

impl Facts {
    /// From the JSON document of an answer, or what is wrong with it.
    pub(crate) fn of_document(text: &str) -> Result<Self, Detail> {
        let members = Members::of(text)?;
        match members.raw("active") {
            Some(Json::Bool(true)) => Self::of_active(text, &members),
            // Whatever else stands there does not matter any more.
            Some(Json::Bool(false)) => Ok(Self::INACTIVE),
            Some(other) => Err(wrong("active", Wrong::NotBoolean(other.kind()))),
            None => Err(wrong("active", Wrong::Missing)),
        }
    }

    const INACTIVE: Self = Self(None);

    fn of_active(document: &str, members: &Members<'_>) -> Result<Self, Detail> {
        let mut texts = Texts {
            document,
            spare: String::new(),
        };
        let audience = members.texts("aud")?;
        let scope = members.scope()?;
        let kinds = members.kinds()?;
        let mut spans = SmallVec::with_capacity(
            TEXTS.len() + audience.len() + kinds.unknown.len() + scope.len(),
        );
        let mut are_fields = [false; TEXTS.len()];
        for (name, is_field) in TEXTS.into_iter().zip(&mut are_fields) {
            let text = members.text(name)?;
            spans.push(text.map_or(Ok(ABSENT), |text| texts.span(text))?);
            *is_field = text.is_some_and(is_field_value);
        }
        let audiences = audience.iter().map(|text| &**text);
        let scopes = scope.iter().map(|text| &**text);
        for text in audiences.chain(kinds.unknown.iter().copied()).chain(scopes) {
            spans.push(texts.span(text)?);
        }
        let too_large = Detail::Document(Document::TooLarge);
        let head = Head {
            document: document.len().try_into().map_err(|_| too_large)?,
            spans,
            audiences: audience.len().try_into().map_err(|_| too_large)?,
            unknown_kinds: kinds.unknown.len().try_into().map_err(|_| too_large)?,
            is_other_token: kinds.is_other,
            // Rounded so that a fraction never makes a token live longer.
            expires: members.time("exp", f64::floor)?.unwrap_or(i64::MAX),
            starts: members
                .time("nbf", f64::ceil)?
                .max(members.time("iat", f64::floor)?)
                .unwrap_or(i64::MIN),
            is_key_bound: members.get("cnf").is_some(),
            are_fields,
        };
        Ok(Self(Some(Arc::from_header_and_str(head, &texts.whole()))))
    }

    /// The claims of an active token; `None` for one that is not active.
    pub(crate) fn claims(&self) -> Option<Claims<'_>> {
        self.0.as_deref().map(Claims)
    }
}

/// The members of the issuer's answer that decisions and headers use.
#[derive(Clone, Copy)]
pub(crate) struct Claims<'a>(&'a HeaderSlice<Head, str>);

impl<'a> Claims<'a> {
    fn part(self, span: Span) -> &'a str {
        let part = span.range().and_then(|range| self.0.slice.get(range));
        part.unwrap_or_default()
    }

    fn one(self, which: usize) -> Option<&'a str> {
        let span = self
            .0
            .header
            .spans
            .get(which)
            .filter(|span| **span != ABSENT)?;
        Some(self.part(*span))
    }

    /// One that may stand in a header of its own.
    pub(crate) fn field(self, which: usize) -> Option<&'a str> {
        let is_field = self.0.header.are_fields.get(which).copied();
        self.one(which).filter(|_| is_field.unwrap_or_default())
    }

    /// The whole document as the issuer sent it.
    pub(crate) fn document(self) -> &'a str {
        let end = self.0.header.document;
        self.part(Span { start: 0, end })
    }

    pub(crate) fn issuer(self) -> Option<&'a str> {
        self.one(ISSUER)
    }

    pub(crate) fn subject(self) -> Option<&'a str> {
        self.one(SUBJECT)
    }

    pub(crate) fn client_id(self) -> Option<&'a str> {
        self.one(CLIENT_ID)
    }

    pub(crate) fn grant_type(self) -> Option<&'a str> {
        self.one(GRANT_TYPE)
    }

    pub(crate) fn audiences(self) -> impl Iterator<Item = &'a str> {
        let head = &self.0.header;
        let lists = head.spans.iter().skip(TEXTS.len());
        let audiences = lists.take(head.audiences());
        audiences.map(move |span| self.part(*span))
    }

    /// What the issuer calls the token, where that is not known to mean an access token or another one.
    pub(crate) fn unknown_kinds(self) -> impl Iterator<Item = &'a str> {
        let head = &self.0.header;
        let before = TEXTS.len().saturating_add(head.audiences());
        let kinds = head.spans.iter().skip(before);
        let kinds = kinds.take(head.unknown_kinds.into());
        kinds.map(move |span| self.part(*span))
    }

    pub(crate) fn scopes(self) -> impl Iterator<Item = &'a str> {
        let head = &self.0.header;
        let before = TEXTS.len().saturating_add(head.audiences());
        let before = before.saturating_add(head.unknown_kinds.into());
        let scopes = head.spans.iter().skip(before);
        scopes.map(move |span| self.part(*span))
    }

    /// `exp`, in seconds since 1970; far away where there is none.
    pub(crate) const fn expires(self) -> i64 {
        self.0.header.expires
    }

    /// The later one of `nbf` and `iat`, in seconds since 1970; long ago where there is none.
    pub(crate) const fn starts(self) -> i64 {
        self.0.header.starts
    }

    /// Whether the issuer calls the token something that is known not to be an access token for whoever has it.
    pub(crate) const fn is_other_token(self) -> bool {
        self.0.header.is_other_token
    }

    pub(crate) const fn is_key_bound(self) -> bool {
        self.0.header.is_key_bound
    }
}

/// Collects the text of [`Facts`].
struct Texts<'a> {
    document: &'a str,
    /// What comes after the document.
    spare: String,
}

impl Texts<'_> {
    fn span(&mut self, text: &str) -> Result<Span, Detail> {
        let start = self.position(text).unwrap_or_else(|| {
            let end = self.document.len().saturating_add(self.spare.len());
            self.spare.push_str(text);
            end
        });
        let at = |at: usize| at.try_into();
        at(start)
            .and_then(|start| Ok((start, at(text.len())?)))
            .ok()
            .and_then(|(start, length): (u32, u32)| {
                let end = start.checked_add(length)?;
                Some(Span { start, end })
            })
            .ok_or(Detail::Document(Document::TooLarge))
    }

    /// Where this text stands in the document, if it is a part of it.
    fn position(&self, part: &str) -> Option<usize> {
        let start = part
            .as_ptr()
            .addr()
            .checked_sub(self.document.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (self.document.get(start..end) == Some(part)).then_some(start)
    }

    fn whole(&self) -> Cow<'_, str> {
        if self.spare.is_empty() {
            Cow::Borrowed(self.document)
        } else {
            Cow::Owned([self.document, &self.spare].concat())
        }
    }
}

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

const fn wrong(member: &'static str, wrong: Wrong) -> Detail {
    Detail::Member(member, wrong)
}

struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// The members that are read, by which a fault may name one.
const READ: [&str; 14] = [
    "active",
    "aud",
    "client_id",
    "cnf",
    "exp",
    "grant_type",
    "iat",
    "iss",
    "nbf",
    "scope",
    "sub",
    "token_type",
    "token_use",
    "typ",
];

/// What an answer calls its token.
struct Kinds<'a> {
    is_other: bool,
    unknown: SmallVec<[&'a str; 1]>,
}

/// Each reads one member. One that is null is absent: all but `active` are optional (RFC 7662 section 2.2).
impl<'a> Members<'a> {
    fn of(text: &'a str) -> Result<Self, Detail> {
        match json::examine(text) {
            Ok(Json::Object(members)) => Ok(Self(members)),
            Ok(other) => Err(Detail::Document(Document::NotObject(other.kind()))),
            Err(NotRead::Syntax) => Err(Detail::Document(Document::NotJson)),
            Err(NotRead::TooDeep) => Err(Detail::Document(Document::TooDeep)),
            Err(NotRead::TooManyMembers) => Err(Detail::Document(Document::TooManyMembers)),
            Err(NotRead::Twice(name)) => {
                let known = READ.into_iter().find(|known| *known == name);
                Err(known.map_or(Detail::Document(Document::Twice), |name| {
                    wrong(name, Wrong::Twice)
                }))
            }
        }
    }

    /// Null or not.
    fn raw(&self, name: &str) -> Option<&Json<'a>> {
        let member = self.0.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| value)
    }

    fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.raw(name).filter(|value| **value != Json::Null)
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, Detail> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, Wrong::NotString(other.kind()))),
        }
    }

    /// A string, or an array of strings, each whole (RFC 7519 section 4.1.3).
    fn texts(&self, name: &'static str) -> Result<Vec<Cow<'a, str>>, Detail> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Json::Text(text)) => Ok(vec![text.clone()]),
            Some(Json::Array(values)) => values
                .iter()
                .map(|value| match value {
                    Json::Text(text) => Ok(text.clone()),
                    other => Err(wrong(name, Wrong::Element(other.kind()))),
                })
                .collect(),
            Some(other) => Err(wrong(name, Wrong::NotStrings(other.kind()))),
        }
    }

    /// A space-delimited string (RFC 6749 section 3.3), or an array. An element with a space in it is not two scopes.
    fn scope(&self) -> Result<Vec<Cow<'a, str>>, Detail> {
        let scopes: Vec<_> = match self.get("scope") {
            Some(Json::Text(Cow::Borrowed(text))) => words(text).map(Cow::Borrowed).collect(),
            Some(Json::Text(Cow::Owned(text))) => words(text)
                .map(|word| Cow::Owned(word.to_owned()))
                .collect(),
            _ => self.texts("scope")?,
        };
        if scopes.iter().all(|scope| is_scope_token(scope)) {
            Ok(scopes)
        } else {
            Err(wrong("scope", Wrong::NotScopes))
        }
    }

    fn time(&self, name: &'static str, round: fn(f64) -> f64) -> Result<Option<i64>, Detail> {
        let seconds = match self.get(name) {
            None => return Ok(None),
            Some(Json::Integer(seconds)) => *seconds,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast from f64 saturates, and the bounds follow"
            )]
            Some(Json::Float(seconds)) if seconds.is_finite() => round(*seconds) as i64,
            Some(other) => return Err(wrong(name, Wrong::NotTime(other.kind()))),
        };
        if seconds <= MAX_UNIX_SECONDS {
            Ok(Some(seconds))
        } else if seconds / 1000 <= MAX_UNIX_SECONDS {
            Err(wrong(name, Wrong::Milliseconds))
        } else {
            Err(wrong(name, Wrong::TooFar))
        }
    }

    fn kinds(&self) -> Result<Kinds<'_>, Detail> {
        let mut kinds = Kinds {
            is_other: false,
            unknown: SmallVec::new(),
        };
        for name in KIND_MEMBERS {
            let Some(kind) = self.text(name)? else {
                continue;
            };
            let is_in = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(kind));
            if is_in(&OTHER_TOKENS) {
                kinds.is_other = true;
            } else if !is_in(&ACCESS_TOKENS) {
                kinds.unknown.push(kind);
            }
        }
        Ok(kinds)
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

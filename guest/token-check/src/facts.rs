//! What the issuer said about a token (RFC 7662 section 2.2), read strictly.

use core::ops::Range;
use std::borrow::Cow;

use smallvec::SmallVec;
use triomphe::{Arc, HeaderSlice};

use crate::answer::IssuerAnswer;
use crate::identity::is_field_value;
use crate::json::{self, Json};
use crate::policy::is_scope_token;
use crate::reason::Reason;

/// Times past this are nonsense, in seconds since 1970: the year 9999. Catches milliseconds taken for seconds.
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;

/// What the issuer said about one token, in one piece of memory if it says as much as usual. Says nothing about any
/// request.
#[derive(Clone)]
pub struct Facts(Option<Arc<HeaderSlice<Head, str>>>);

/// What stands before the text. That is the document as the issuer sent it, then the texts that have escapes there, without
/// them. Kept small: there are as many as tokens in use.
struct Head {
    /// [`ISSUER`], [`SUBJECT`], [`CLIENT_ID`], [`GRANT_TYPE`], then the audiences, then the scopes.
    spans: SmallVec<[Span; TYPICAL_SPANS]>,
    expires: i64,
    starts: i64,
    document: u32,
    audiences: u32,
    is_access_token: bool,
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
    /// From the JSON document of an answer; `None`: it is not one.
    pub(crate) fn of_document(text: &str) -> Option<Self> {
        let Ok(Json::Object(members)) = json::read(text) else {
            return None;
        };
        let members = Members(members);
        match members.get("active")? {
            Json::Bool(true) => Self::of_active(text, &members),
            // Whatever else stands there does not matter any more.
            Json::Bool(false) => Some(Self(None)),
            _ => None,
        }
    }

    fn of_active(document: &str, members: &Members<'_>) -> Option<Self> {
        let mut texts = Texts {
            document,
            spare: String::new(),
        };
        let audience = members.texts("aud")?;
        let scope = members.scope()?;
        let mut spans = SmallVec::with_capacity(TEXTS.len() + audience.len() + scope.len());
        let mut are_fields = [false; TEXTS.len()];
        for (name, is_field) in TEXTS.into_iter().zip(&mut are_fields) {
            let text = members.text(name)?;
            spans.push(text.map_or(Some(ABSENT), |text| texts.span(text))?);
            *is_field = text.is_some_and(is_field_value);
        }
        for text in audience.iter().chain(&scope) {
            spans.push(texts.span(text)?);
        }
        let head = Head {
            document: document.len().try_into().ok()?,
            spans,
            audiences: audience.len().try_into().ok()?,
            // Rounded so that a fraction never makes a token live longer.
            expires: members.time("exp", f64::floor)?.unwrap_or(i64::MAX),
            starts: members
                .time("nbf", f64::ceil)?
                .max(members.time("iat", f64::floor)?)
                .unwrap_or(i64::MIN),
            is_access_token: members.is_access_token()?,
            is_key_bound: members.get("cnf").is_some(),
            are_fields,
        };
        Some(Self(Some(Arc::from_header_and_str(head, &texts.whole()))))
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

    pub(crate) fn scopes(self) -> impl Iterator<Item = &'a str> {
        let head = &self.0.header;
        let before = TEXTS.len().saturating_add(head.audiences());
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

    pub(crate) const fn is_access_token(self) -> bool {
        self.0.header.is_access_token
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
    fn span(&mut self, text: &str) -> Option<Span> {
        let start = self.position(text).unwrap_or_else(|| {
            let end = self.document.len().saturating_add(self.spare.len());
            self.spare.push_str(text);
            end
        });
        Some(Span {
            start: start.try_into().ok()?,
            end: start.checked_add(text.len())?.try_into().ok()?,
        })
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

/// Facts from an answer, or what is wrong with the issuer.
pub(crate) fn read(answer: &IssuerAnswer) -> Result<Facts, Reason> {
    match answer.status {
        200 => {}
        // Our credentials, not the caller's token (RFC 7662 section 2.3).
        401 | 403 => return Err(Reason::IssuerRefusedUs),
        400 if names_our_credentials(answer) => return Err(Reason::IssuerRefusedUs),
        300..=399 => return Err(Reason::IssuerRedirected),
        429 => return Err(Reason::IssuerOverloaded),
        500..=599 => return Err(Reason::IssuerFailed),
        _ => return Err(Reason::IssuerUnexpectedStatus),
    }
    if !answer.is_json() {
        return Err(Reason::IssuerNotJson);
    }
    let bytes = answer.body.bytes().ok_or(Reason::IssuerAnswerTooLarge)?;
    core::str::from_utf8(bytes)
        .ok()
        .and_then(Facts::of_document)
        .ok_or(Reason::IssuerAnswerMalformed)
}

/// RFC 6749 section 5.2: `invalid_client` may come with 400.
fn names_our_credentials(answer: &IssuerAnswer) -> bool {
    let text = answer
        .body
        .bytes()
        .and_then(|bytes| core::str::from_utf8(bytes).ok())
        .unwrap_or_default();
    let Ok(Json::Object(members)) = json::read(text) else {
        return false;
    };
    members.iter().any(|(name, value)| {
        name == "error"
            && matches!(value, Json::Text(e) if e == "invalid_client" || e == "unauthorized_client")
    })
}

struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Each reads one member: `None` is a wrong type, `Some(None)` or an empty list an absent member.
#[expect(
    clippy::option_option,
    reason = "the outer one is the error, the inner one absence"
)]
impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<Option<&str>> {
        match self.get(name) {
            None => Some(None),
            Some(Json::Text(text)) => Some(Some(text)),
            Some(_) => None,
        }
    }

    /// A string, or an array of strings, each whole (RFC 7519 section 4.1.3).
    fn texts(&self, name: &str) -> Option<Vec<Cow<'a, str>>> {
        match self.get(name) {
            None => Some(Vec::new()),
            Some(Json::Text(text)) => Some(vec![text.clone()]),
            Some(Json::Array(values)) => values
                .iter()
                .map(|value| {
                    if let Json::Text(text) = value {
                        Some(text.clone())
                    } else {
                        None
                    }
                })
                .collect(),
            Some(_) => None,
        }
    }

    /// A space-delimited string (RFC 6749 section 3.3), or an array. An element with a space in it is not two scopes.
    fn scope(&self) -> Option<Vec<Cow<'a, str>>> {
        let scopes = match self.get("scope") {
            Some(Json::Text(Cow::Borrowed(text))) => words(text).map(Cow::Borrowed).collect(),
            Some(Json::Text(Cow::Owned(text))) => words(text)
                .map(|word| Cow::Owned(word.to_owned()))
                .collect(),
            _ => self.texts("scope")?,
        };
        scopes
            .iter()
            .all(|scope| is_scope_token(scope))
            .then_some(scopes)
    }

    fn time(&self, name: &str, round: fn(f64) -> f64) -> Option<Option<i64>> {
        let seconds = match self.get(name) {
            None => return Some(None),
            Some(Json::Integer(seconds)) => *seconds,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast from f64 saturates, and the bounds follow"
            )]
            Some(Json::Float(seconds)) if seconds.is_finite() => round(*seconds) as i64,
            Some(_) => return None,
        };
        (seconds <= MAX_UNIX_SECONDS).then_some(Some(seconds))
    }

    /// Whether every member that names the kind of token names an access token. `token_type` is RFC 7662's,
    /// `token_use` Ory's, `typ` Keycloak's and RFC 9068's.
    fn is_access_token(&self) -> Option<bool> {
        let known: [(&str, &[&str]); 3] = [
            ("token_type", &["bearer"]),
            ("token_use", &["access_token", "access"]),
            ("typ", &["bearer", "jwt", "at+jwt", "application/at+jwt"]),
        ];
        let mut good = true;
        for (name, kinds) in known {
            if let Some(kind) = self.text(name)? {
                good &= kinds.iter().any(|known| known.eq_ignore_ascii_case(kind));
            }
        }
        Some(good)
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

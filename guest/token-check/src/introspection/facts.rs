//! What the issuer said about a token (RFC 7662 section 2.2), read strictly.

use core::ops::Range;
use std::borrow::Cow;

use smallvec::SmallVec;
use triomphe::{Arc, HeaderSlice};

use super::fault::{Detail, Document, Wrong};
use super::members::{Members, wrong};
use crate::grammar::is_field_value;
use crate::json::Json;

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

/// Longest claim put into a header of its own, in bytes; a longer one is still in `x-auth-claims`.
pub(crate) const MAX_CLAIM_BYTES: usize = 1024;

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

    pub(crate) const INACTIVE: Self = Self(None);

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
            *is_field =
                text.is_some_and(|text| text.len() <= MAX_CLAIM_BYTES && is_field_value(text));
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

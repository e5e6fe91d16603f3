//! What the issuer says about a token (RFC 7662 section 2.2), parsed strictly.

use core::ops::Range;
use std::borrow::Cow;

use smallvec::SmallVec;
use triomphe::{Arc, HeaderSlice};

use super::confirmation::Confirmation;
use super::fault::{Detail, Document, MemberFault};
use super::members::{Members, member_fault};
use codec::grammar::is_field_value;
use codec::json::Json;
use codec::json_text;

/// What the issuer says about one token: nothing about any request. A typical response takes one
/// allocation.
#[derive(Clone)]
pub struct Facts(Option<Arc<HeaderSlice<Head, str>>>);

/// Describes the string behind it, which is the document as the issuer sent it, then an unescaped
/// copy of each string that has escapes there, and the claims of the header if they were selected.
/// Kept small, since there is one per cached token.
#[derive(Clone)]
struct Head {
    /// The members of [`CLAIM_MEMBERS`], then the audiences, the unknown types and the scopes.
    spans: SmallVec<[Span; TYPICAL_SPANS]>,
    expires: i64,
    starts: i64,
    document: u32,
    /// What `x-auth-claims` holds: an empty span for nothing.
    claims_header: Span,
    audiences: u32,
    unknown_types: u8,
    is_other_token: bool,
    is_dpop_token: bool,
    /// The login behind the token is not finished.
    is_unfinished: bool,
    is_key_bound: bool,
    /// `None`: not bound to a key, or in a way that nobody here can check. Few tokens are bound.
    confirmation: Option<Box<Confirmation>>,
    /// Whether each member of [`CLAIM_MEMBERS`] is safe as a header value; computed once per
    /// response.
    header_safe: [bool; CLAIM_MEMBERS.len()],
}

impl Head {
    fn audiences(&self) -> usize {
        usize::try_from(self.audiences).unwrap_or(usize::MAX)
    }
}

/// Spans that need no allocation of their own: IBM Verify names one audience and no scope.
const TYPICAL_SPANS: usize = 6;

/// A part of the string. It ends within 1 MiB: four times the maximum of `max_answer_bytes`.
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

/// The span of a member that is absent.
const ABSENT: Span = Span {
    start: u32::MAX,
    end: 0,
};

/// The scope of a login at IBM Verify whose second factor is still missing.
const MFA_CHALLENGE: &str = "mfa_challenge";

/// Longest claim with a header of its own, in bytes; `x-auth-claims` holds longer ones.
pub(crate) const MAX_CLAIM_HEADER_BYTES: usize = 1024;

/// The members of the response that `x-auth-claims` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClaimsHeader {
    /// All, as the issuer sent them.
    All,
    /// None: there is no such header.
    None,
    /// Those with one of these names.
    Names(Vec<String>),
}

/// The claims of a JWT that issuers name in more than one way. Each has one name, never a guess among
/// several.
#[cfg(feature = "jwt")]
#[derive(Debug)]
pub(crate) struct ClaimNames {
    /// `client_id` by RFC 9068 section 2.2.
    pub(crate) client_id: String,
    /// `scope` by RFC 9068 section 2.2.3.
    pub(crate) scope: String,
}

/// How members are read.
struct Names<'a> {
    client_id: &'a str,
    scope: &'a str,
    is_other_token: bool,
}

impl Names<'static> {
    const RFC_7662: Self = Self {
        client_id: "client_id",
        scope: "scope",
        is_other_token: false,
    };
}

/// Claims of ID tokens (OpenID Connect Core sections 2 and 3.3.2.11), of logout tokens (OpenID
/// Connect Back-Channel Logout section 2.4) and of introspection responses (RFC 9701 section 5).
/// Access tokens have none of them.
#[cfg(feature = "jwt")]
const CLAIMS_OF_OTHER_TOKENS: [&str; 5] = [
    "at_hash",
    "c_hash",
    "events",
    "nonce",
    "token_introspection",
];

/// The claims that are one string each, by their place in [`CLAIM_MEMBERS`].
#[derive(Clone, Copy)]
pub(crate) enum Claim {
    Issuer = 0,
    Subject = 1,
    ClientId = 2,
    GrantType = 3,
}

const CLAIM_MEMBERS: [&str; 4] = ["iss", "sub", "client_id", "grant_type"];

impl Facts {
    pub(crate) const INACTIVE: Self = Self(None);

    /// Parses the JSON document of a response. `claims_header`: which claims
    /// [`Claims::header_document`] returns.
    #[inline]
    pub(crate) fn parse(document: &str, claims_header: &ClaimsHeader) -> Result<Self, Detail> {
        let mut in_range = String::new();
        let members = Members::parse(document, &mut in_range)?;
        let fault = |fault| Err(member_fault("active", fault));
        match members.get_or_null("active") {
            Some(Json::Bool(true)) => {
                Self::from_active(document, &members, &Names::RFC_7662, claims_header)
            }
            // No other member matters.
            Some(Json::Bool(false)) => Ok(Self::INACTIVE),
            Some(other) => fault(MemberFault::NotBoolean(other.kind())),
            None => fault(MemberFault::Missing),
        }
    }

    /// Parses the claims of an access token that is a JWT (RFC 9068 section 2.2): they have the names
    /// of RFC 7662 section 2.2. `is_access_token`: its header says so.
    #[cfg(feature = "jwt")]
    #[inline]
    pub(crate) fn of_claims(
        claims: &[u8],
        names: &ClaimNames,
        is_access_token: bool,
        claims_header: &ClaimsHeader,
    ) -> Result<Self, Detail> {
        let document = core::str::from_utf8(claims);
        let document = document.map_err(|_| Detail::Document(Document::NotUtf8))?;
        let mut in_range = String::new();
        let members = Members::parse(document, &mut in_range)?;
        for name in ["exp", "iss"] {
            if members.get(name).is_none() {
                return Err(member_fault(name, MemberFault::Missing));
            }
        }
        let is_other = (CLAIMS_OF_OTHER_TOKENS.iter()).any(|name| members.get(name).is_some());
        let names = Names {
            client_id: &names.client_id,
            scope: &names.scope,
            is_other_token: is_other && !is_access_token,
        };
        Self::from_active(document, &members, &names, claims_header)
    }

    /// These facts, if the issuer also said so of the token: the stricter of both counts.
    /// `token_types`: those that are accepted beyond the known ones.
    #[cfg(feature = "jwt")]
    pub(crate) fn confirmed(&self, word: Claims<'_>, token_types: &[String]) -> Self {
        let Some(facts) = &self.0 else {
            return Self::INACTIVE;
        };
        let (ours, theirs) = (&facts.header, &word.0.header);
        let is_known =
            |kind: &str| (token_types.iter()).any(|known| known.eq_ignore_ascii_case(kind));
        let is_other_token = theirs.is_other_token || !word.unknown_types().all(is_known);
        // A response without scopes takes none away: many leave them out.
        let has_scopes = word.scopes().next().is_some();
        let is_kept = |scope: &str| !has_scopes || word.scopes().any(|kept| kept == scope);
        let is_unfinished = word.scopes().any(|scope| scope == MFA_CHALLENGE);
        let claims = Claims(facts);
        let is_as_strict = ours.expires <= theirs.expires
            && ours.starts >= theirs.starts
            && ours.is_other_token >= is_other_token
            && ours.is_unfinished >= is_unfinished
            && claims.scopes().all(is_kept)
            && ours.is_dpop_token >= theirs.is_dpop_token
            && ours.is_key_bound >= theirs.is_key_bound
            && (!theirs.is_key_bound || ours.confirmation == theirs.confirmation);
        if is_as_strict {
            return self.clone();
        }
        let head = Head {
            expires: ours.expires.min(theirs.expires),
            starts: ours.starts.max(theirs.starts),
            is_other_token: ours.is_other_token || is_other_token,
            is_unfinished: ours.is_unfinished || is_unfinished,
            spans: {
                let before = (ours.spans.len()).saturating_sub(claims.scopes().count());
                let (rest, scopes) = ours.spans.split_at(before.min(ours.spans.len()));
                let kept = scopes.iter().filter(|span| is_kept(claims.part(**span)));
                rest.iter().chain(kept).copied().collect()
            },
            is_dpop_token: ours.is_dpop_token || theirs.is_dpop_token,
            is_key_bound: ours.is_key_bound || theirs.is_key_bound,
            confirmation: match (ours.is_key_bound, theirs.is_key_bound) {
                (_, false) => ours.confirmation.clone(),
                (false, true) => theirs.confirmation.clone(),
                // Nobody can have both keys to be one.
                (true, true) if ours.confirmation != theirs.confirmation => None,
                (true, true) => ours.confirmation.clone(),
            },
            ..ours.clone()
        };
        Self(Some(Arc::from_header_and_str(head, &facts.slice)))
    }

    #[inline]
    fn from_active(
        document: &str,
        members: &Members<'_>,
        names: &Names<'_>,
        claims_header: &ClaimsHeader,
    ) -> Result<Self, Detail> {
        let mut strings = Strings {
            document,
            unescaped: String::new(),
        };
        let audiences = members.strings("aud")?;
        let scopes = members.scopes(names.scope)?;
        let types = members.token_types()?;
        let mut spans = SmallVec::with_capacity(
            CLAIM_MEMBERS.len() + audiences.len() + types.unknown.len() + scopes.len(),
        );
        let mut header_safe = [false; CLAIM_MEMBERS.len()];
        for (name, is_safe) in CLAIM_MEMBERS.into_iter().zip(&mut header_safe) {
            let claim = match name {
                "client_id" => members.string_named(names.client_id, name)?,
                _ => members.string(name)?,
            };
            spans.push(claim.map_or(Ok(ABSENT), |claim| strings.span(claim))?);
            *is_safe = claim.is_some_and(|claim| {
                claim.len() <= MAX_CLAIM_HEADER_BYTES && is_field_value(claim)
            });
        }
        let lists = (audiences.iter().map(|audience| &**audience))
            .chain(types.unknown.iter().copied())
            .chain(scopes.iter().map(|scope| &**scope));
        for element in lists {
            spans.push(strings.span(element)?);
        }
        let claims_header = match claims_header {
            ClaimsHeader::All => strings.span(document)?,
            ClaimsHeader::None => Span { start: 0, end: 0 },
            ClaimsHeader::Names(names) => {
                let selected = json_text::select_members(document, names);
                strings.span(&selected.ok_or(Detail::Document(Document::NotJson))?)?
            }
        };
        let too_large = Detail::Document(Document::TooLarge);
        let head = Head {
            document: document.len().try_into().map_err(|_| too_large)?,
            claims_header,
            spans,
            audiences: audiences.len().try_into().map_err(|_| too_large)?,
            unknown_types: types.unknown.len().try_into().map_err(|_| too_large)?,
            is_other_token: types.is_other || names.is_other_token,
            is_dpop_token: types.is_dpop,
            is_unfinished: scopes.iter().any(|scope| scope == MFA_CHALLENGE),
            // Rounded so that a fraction never extends the life of a token.
            expires: members.time("exp", f64::floor)?.unwrap_or(i64::MAX),
            starts: members
                .time("nbf", f64::ceil)?
                .max(members.time("iat", f64::floor)?)
                .unwrap_or(i64::MIN),
            is_key_bound: members.get("cnf").is_some(),
            confirmation: (members.get("cnf"))
                .and_then(Confirmation::read)
                .map(Box::new),
            header_safe,
        };
        let facts = Arc::from_header_and_str(head, &strings.concatenated());
        Ok(Self(Some(facts)))
    }

    /// The memory that they take besides the two words of `Facts`, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let Some(facts) = &self.0 else {
            return 0;
        };
        let spans = &facts.header.spans;
        let spans = match spans.spilled() {
            true => spans.capacity().saturating_mul(size_of::<Span>()),
            false => 0,
        };
        let confirmation = facts.header.confirmation.as_deref();
        size_of_val(&**facts)
            .saturating_add(spans)
            .saturating_add(confirmation.map_or(0, size_of_val))
    }

    /// The claims of an active token; `None` if the token is inactive.
    pub(crate) fn claims(&self) -> Option<Claims<'_>> {
        self.0.as_deref().map(Claims)
    }
}

/// The members of the response that decisions and headers use.
#[derive(Clone, Copy)]
pub(crate) struct Claims<'a>(&'a HeaderSlice<Head, str>);

impl<'a> Claims<'a> {
    fn part(self, span: Span) -> &'a str {
        let part = span.range().and_then(|range| self.0.slice.get(range));
        part.unwrap_or_default()
    }

    pub(crate) fn get(self, claim: Claim) -> Option<&'a str> {
        let span = self.0.header.spans.get(claim as usize)?;
        (*span != ABSENT).then(|| self.part(*span))
    }

    /// The claim, if it is safe as a header value.
    pub(crate) fn header_safe(self, claim: Claim) -> Option<&'a str> {
        let is_safe = self.0.header.header_safe.get(claim as usize);
        self.get(claim)
            .filter(|_| is_safe.copied().unwrap_or_default())
    }

    /// The whole document as the issuer sent it.
    pub(crate) fn document(self) -> &'a str {
        let end = self.0.header.document;
        self.part(Span { start: 0, end })
    }

    /// The claims for `x-auth-claims`, as JSON; empty if there are none to be.
    pub(crate) fn header_document(self) -> &'a str {
        self.part(self.0.header.claims_header)
    }

    pub(crate) fn issuer(self) -> Option<&'a str> {
        self.get(Claim::Issuer)
    }

    pub(crate) fn subject(self) -> Option<&'a str> {
        self.get(Claim::Subject)
    }

    pub(crate) fn client_id(self) -> Option<&'a str> {
        self.get(Claim::ClientId)
    }

    pub(crate) fn grant_type(self) -> Option<&'a str> {
        self.get(Claim::GrantType)
    }

    pub(crate) fn audiences(self) -> impl Iterator<Item = &'a str> {
        let head = &self.0.header;
        let spans = head.spans.iter().skip(CLAIM_MEMBERS.len());
        let spans = spans.take(head.audiences());
        spans.map(move |span| self.part(*span))
    }

    /// Token types that are neither known as an access token's nor as another token's.
    pub(crate) fn unknown_types(self) -> impl Iterator<Item = &'a str> {
        let head = &self.0.header;
        let before = CLAIM_MEMBERS.len().saturating_add(head.audiences());
        let spans = head.spans.iter().skip(before);
        let spans = spans.take(head.unknown_types.into());
        spans.map(move |span| self.part(*span))
    }

    pub(crate) fn scopes(self) -> impl Iterator<Item = &'a str> {
        let head = &self.0.header;
        let before = CLAIM_MEMBERS.len().saturating_add(head.audiences());
        let before = before.saturating_add(head.unknown_types.into());
        let spans = head.spans.iter().skip(before);
        spans.map(move |span| self.part(*span))
    }

    /// `exp`, in seconds since 1970; far in the future if absent.
    pub(crate) const fn expires(self) -> i64 {
        self.0.header.expires
    }

    /// The later of `nbf` and `iat`, in seconds since 1970; far in the past if both are absent.
    pub(crate) const fn starts(self) -> i64 {
        self.0.header.starts
    }

    /// Whether the token type is known not to be a bearer access token's.
    pub(crate) const fn is_other_token(self) -> bool {
        self.0.header.is_other_token
    }

    /// Whether the token type is that of tokens that need a DPoP proof.
    pub(crate) const fn is_dpop_token(self) -> bool {
        self.0.header.is_dpop_token
    }

    /// Whether a second factor of the login is still missing.
    pub(crate) const fn is_unfinished(self) -> bool {
        self.0.header.is_unfinished
    }

    /// Whether the token is bound to a key (`cnf`, RFC 7800).
    pub(crate) const fn is_key_bound(self) -> bool {
        self.0.header.is_key_bound
    }

    /// The keys that it is bound to. `None`: there are none, or they cannot be checked here.
    pub(crate) fn confirmation(self) -> Option<&'a Confirmation> {
        self.0.header.confirmation.as_deref()
    }
}

/// Collects the string of [`Facts`].
struct Strings<'a> {
    document: &'a str,
    /// What follows the document.
    unescaped: String,
}

impl Strings<'_> {
    #[inline]
    fn span(&mut self, string: &str) -> Result<Span, Detail> {
        let start = self.position(string).unwrap_or_else(|| {
            let end = self.document.len().saturating_add(self.unescaped.len());
            self.unescaped.push_str(string);
            end
        });
        let at = |at: usize| at.try_into();
        at(start)
            .and_then(|start| Ok((start, at(string.len())?)))
            .ok()
            .and_then(|(start, length): (u32, u32)| {
                let end = start.checked_add(length)?;
                Some(Span { start, end })
            })
            .ok_or(Detail::Document(Document::TooLarge))
    }

    /// Where this string begins in the document, if it is a part of it: nothing else has its
    /// memory.
    #[inline]
    fn position(&self, part: &str) -> Option<usize> {
        let start = part
            .as_ptr()
            .addr()
            .checked_sub(self.document.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (end <= self.document.len() && self.document.is_char_boundary(start)).then_some(start)
    }

    #[inline]
    fn concatenated(&self) -> Cow<'_, str> {
        if self.unescaped.is_empty() {
            Cow::Borrowed(self.document)
        } else {
            Cow::Owned([self.document, &self.unescaped].concat())
        }
    }
}

//! The members of an introspection response (RFC 7662 section 2.2), each read strictly.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::fault::{Detail, Document, MemberFault};
use codec::grammar::is_scope_token;
use codec::json::{self, Json, NotRead};
use codec::json_text;

/// Latest time accepted, in seconds since 1970: the end of the year 9999. Catches milliseconds in
/// place of seconds.
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;

/// The members that name the token type: of RFC 7662, of Ory, and of Keycloak and RFC 9068.
const TYPE_MEMBERS: [&str; 3] = ["token_type", "token_use", "typ"];

/// Their values for bearer access tokens, compared without regard to case.
const ACCESS_TOKEN_TYPES: [&str; 10] = [
    // RFC 6750, and Apigee's spelling.
    "bearer",
    "bearertoken",
    // Salesforce, older versions of Hydra and oidc-provider, AWS Cognito, Casdoor.
    "access_token",
    "access-token",
    "access",
    // Older versions of oidc-provider, for tokens of this grant type.
    "client_credentials",
    // RFC 9068, and issuers of JWTs that do not implement it.
    "at+jwt",
    "application/at+jwt",
    "jwt",
    // RFC 8693 section 3.
    "urn:ietf:params:oauth:token-type:access_token",
];

/// Their values for other tokens, and for access tokens that are not bearer tokens. No setting can
/// accept these.
const OTHER_TOKEN_TYPES: [&str; 18] = [
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
    "mac",
    "pop",
];

/// The value for access tokens that need a DPoP proof (RFC 9449 section 6.2).
const DPOP_TOKEN_TYPE: &str = "dpop";

pub(crate) const fn member_fault(member: &'static str, fault: MemberFault) -> Detail {
    Detail::Member(member, fault)
}

pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// The members that are used. A fault names no other member.
const USED_MEMBERS: [&str; 15] = [
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
    "token_introspection",
    "token_type",
    "token_use",
    "typ",
];

/// The token types in a response.
pub(crate) struct TokenTypes<'a> {
    pub(crate) is_other: bool,
    pub(crate) is_dpop: bool,
    pub(crate) unknown: SmallVec<[&'a str; 1]>,
}

/// A member that is null counts as absent: all but `active` are optional (RFC 7662 section 2.2).
impl<'a> Members<'a> {
    /// Parses a JSON object. `in_range`: takes a copy of it if a number in it is out of range, since
    /// a number that nobody reads must not spoil the document.
    #[inline]
    pub(crate) fn parse(document: &'a str, in_range: &'a mut String) -> Result<Self, Detail> {
        match Self::from_object(document) {
            Err(Detail::Document(Document::NotJson)) => {
                *in_range = json_text::with_numbers_in_range(document).unwrap_or_default();
                Self::from_object(in_range)
            }
            members => members,
        }
    }

    #[inline]
    fn from_object(document: &'a str) -> Result<Self, Detail> {
        match json::examine(document) {
            Ok(Json::Object(members)) => Ok(Self(members)),
            Ok(other) => Err(Detail::Document(Document::NotObject(other.kind()))),
            Err(NotRead::Syntax) => Err(Detail::Document(Document::NotJson)),
            Err(NotRead::TooDeep) => Err(Detail::Document(Document::TooDeep)),
            Err(NotRead::TooManyMembers) => Err(Detail::Document(Document::TooManyMembers)),
            Err(NotRead::Twice(name)) => {
                let known = USED_MEMBERS.into_iter().find(|known| *known == name);
                Err(known.map_or(Detail::Document(Document::Twice), |name| {
                    member_fault(name, MemberFault::Twice)
                }))
            }
        }
    }

    #[inline]
    pub(crate) fn get_or_null(&self, name: &str) -> Option<&Json<'a>> {
        json::member(&self.0, name)
    }

    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.get_or_null(name).filter(|value| **value != Json::Null)
    }

    #[inline]
    pub(crate) fn string(&self, name: &'static str) -> Result<Option<&str>, Detail> {
        self.string_named(name, name)
    }

    /// `known_as`: its name in errors.
    #[inline]
    pub(crate) fn string_named(
        &self,
        name: &str,
        known_as: &'static str,
    ) -> Result<Option<&str>, Detail> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Text(string)) => Ok(Some(string)),
            Some(other) => Err(member_fault(known_as, MemberFault::NotString(other.kind()))),
        }
    }

    /// A string, or an array of strings, each whole (RFC 7519 section 4.1.3).
    pub(crate) fn strings(&self, name: &'static str) -> Result<Vec<Cow<'a, str>>, Detail> {
        self.strings_named(name, name)
    }

    fn strings_named(&self, member: &str, name: &'static str) -> Result<Vec<Cow<'a, str>>, Detail> {
        match self.get(member) {
            None => Ok(Vec::new()),
            Some(Json::Text(string)) => Ok(vec![string.clone()]),
            Some(Json::Array(values)) => values
                .iter()
                .map(|value| match value {
                    Json::Text(string) => Ok(string.clone()),
                    other => Err(member_fault(name, MemberFault::Element(other.kind()))),
                })
                .collect(),
            Some(other) => Err(member_fault(name, MemberFault::NotStrings(other.kind()))),
        }
    }

    /// A space-delimited string (RFC 6749 section 3.3), or an array. An element with a space in it
    /// is an error, not two scopes. `name`: of the member.
    pub(crate) fn scopes(&self, name: &str) -> Result<Vec<Cow<'a, str>>, Detail> {
        let scopes: Vec<_> = match self.get(name) {
            Some(Json::Text(Cow::Borrowed(scope))) => words(scope).map(Cow::Borrowed).collect(),
            Some(Json::Text(Cow::Owned(text))) => words(text)
                .map(|word| Cow::Owned(word.to_owned()))
                .collect(),
            _ => self.strings_named(name, "scope")?,
        };
        if scopes.iter().all(|scope| is_scope_token(scope)) {
            Ok(scopes)
        } else {
            Err(member_fault("scope", MemberFault::NotScopes))
        }
    }

    #[inline]
    pub(crate) fn time(
        &self,
        name: &'static str,
        round: fn(f64) -> f64,
    ) -> Result<Option<i64>, Detail> {
        let seconds = match self.get(name) {
            None => return Ok(None),
            Some(Json::Integer(seconds)) => *seconds,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast from f64 saturates, and the bounds follow"
            )]
            Some(Json::Float(seconds)) => round(*seconds) as i64,
            Some(other) => return Err(member_fault(name, MemberFault::NotTime(other.kind()))),
        };
        if seconds <= MAX_UNIX_SECONDS {
            Ok(Some(seconds))
        } else if seconds / 1000 <= MAX_UNIX_SECONDS {
            Err(member_fault(name, MemberFault::Milliseconds))
        } else {
            Err(member_fault(name, MemberFault::TooFar))
        }
    }

    #[inline]
    pub(crate) fn token_types(&self) -> Result<TokenTypes<'_>, Detail> {
        let mut types = TokenTypes {
            is_other: false,
            is_dpop: false,
            unknown: SmallVec::new(),
        };
        for name in TYPE_MEMBERS {
            let Some(kind) = self.string(name)? else {
                continue;
            };
            let is_in = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(kind));
            // The most common one first: no type is in two of the lists.
            if is_in(&ACCESS_TOKEN_TYPES) {
                continue;
            }
            if is_in(&[DPOP_TOKEN_TYPE]) {
                types.is_dpop = true;
            } else if is_in(&OTHER_TOKEN_TYPES) {
                types.is_other = true;
            } else {
                types.unknown.push(kind);
            }
        }
        Ok(types)
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

//! The members of an introspection response (RFC 7662 section 2.2), each read strictly.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::fault::{Detail, Document, Wrong};
use crate::grammar::is_scope_token;
use crate::json::{self, Json, NotRead};

/// Times past this are nonsense, in seconds since 1970: the year 9999. Catches milliseconds taken for seconds.
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;

/// The members that name the kind of token: RFC 7662's, Ory's, and the one of Keycloak and RFC 9068.
pub(crate) const KIND_MEMBERS: [&str; 3] = ["token_type", "token_use", "typ"];

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

pub(crate) const fn wrong(member: &'static str, wrong: Wrong) -> Detail {
    Detail::Member(member, wrong)
}

pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

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
pub(crate) struct Kinds<'a> {
    pub(crate) is_other: bool,
    pub(crate) unknown: SmallVec<[&'a str; 1]>,
}

/// Each reads one member. One that is null is absent: all but `active` are optional (RFC 7662 section 2.2).
impl<'a> Members<'a> {
    pub(crate) fn of(text: &'a str) -> Result<Self, Detail> {
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
    pub(crate) fn raw(&self, name: &str) -> Option<&Json<'a>> {
        let member = self.0.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| value)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.raw(name).filter(|value| **value != Json::Null)
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, Detail> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, Wrong::NotString(other.kind()))),
        }
    }

    /// A string, or an array of strings, each whole (RFC 7519 section 4.1.3).
    pub(crate) fn texts(&self, name: &'static str) -> Result<Vec<Cow<'a, str>>, Detail> {
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
    pub(crate) fn scope(&self) -> Result<Vec<Cow<'a, str>>, Detail> {
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

    pub(crate) fn kinds(&self) -> Result<Kinds<'_>, Detail> {
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

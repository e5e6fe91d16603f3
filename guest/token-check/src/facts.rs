//! What the issuer said about a token (RFC 7662 section 2.2), read strictly.

use crate::answer::IssuerAnswer;
use crate::json::{self, Json};
use crate::policy::is_scope_token;
use crate::reason::Reason;

/// Times past this are nonsense, in seconds since 1970: the year 9999. Catches milliseconds taken for seconds.
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;

/// What the issuer said about one token. Says nothing about any request.
pub struct Facts {
    claims: Option<Claims>,
}

impl Facts {
    /// The claims of an active token; `None` for one that is not active.
    pub(crate) const fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }
}

/// The members of the issuer's answer that decisions and headers use.
pub(crate) struct Claims {
    /// The whole document as the issuer sent it.
    pub(crate) document: Box<str>,
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) audience: Vec<String>,
    pub(crate) scope: Vec<String>,
    pub(crate) expires: Option<i64>,
    pub(crate) not_before: Option<i64>,
    pub(crate) issued: Option<i64>,
    pub(crate) grant_type: Option<String>,
    pub(crate) is_access_token: bool,
    pub(crate) is_key_bound: bool,
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
    document(bytes).ok_or(Reason::IssuerAnswerMalformed)
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

fn document(bytes: &[u8]) -> Option<Facts> {
    let text = core::str::from_utf8(bytes).ok()?;
    let Ok(Json::Object(members)) = json::read(text) else {
        return None;
    };
    let members = Members(members);
    match members.get("active")? {
        Json::Bool(true) => {}
        // Whatever else stands there does not matter any more.
        Json::Bool(false) => return Some(Facts { claims: None }),
        _ => return None,
    }
    Some(Facts {
        claims: Some(Claims {
            document: text.into(),
            issuer: members.text("iss")?,
            subject: members.text("sub")?,
            client_id: members.text("client_id")?,
            audience: members.texts("aud")?,
            scope: members.scope()?,
            // Rounded so that a fraction never makes a token live longer.
            expires: members.time("exp", f64::floor)?,
            not_before: members.time("nbf", f64::ceil)?,
            issued: members.time("iat", f64::floor)?,
            grant_type: members.text("grant_type")?,
            is_access_token: members.is_access_token()?,
            is_key_bound: members.get("cnf").is_some(),
        }),
    })
}

struct Members(Vec<(String, Json)>);

/// Each reads one member: `None` is a wrong type, `Some(None)` or an empty list an absent member.
#[expect(
    clippy::option_option,
    reason = "the outer one is the error, the inner one absence"
)]
impl Members {
    fn get(&self, name: &str) -> Option<&Json> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<Option<String>> {
        match self.get(name) {
            None => Some(None),
            Some(Json::Text(text)) => Some(Some(text.clone())),
            Some(_) => None,
        }
    }

    /// A string, or an array of strings, each whole (RFC 7519 section 4.1.3).
    fn texts(&self, name: &str) -> Option<Vec<String>> {
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
    fn scope(&self) -> Option<Vec<String>> {
        let tokens = match self.get("scope") {
            Some(Json::Text(text)) => text
                .split(' ')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            _ => self.texts("scope")?,
        };
        tokens
            .iter()
            .all(|token| is_scope_token(token))
            .then_some(tokens)
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
                good &= kinds.iter().any(|known| known.eq_ignore_ascii_case(&kind));
            }
        }
        Some(good)
    }
}

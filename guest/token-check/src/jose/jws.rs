//! Reads the compact serialization of a JWS (RFC 7515 section 7.1).
//!
//! Of the header only `alg`, `kid` and `typ` are read. Nothing in it leads to a key but the name of
//! one that is already known.

use std::rc::Rc;

use codec::base64url;
use codec::json::{self, Json, NotRead};

use super::Algorithm;

/// Longest header accepted, in bytes of base64url. Headers have about 100; those with a chain of
/// certificates are longer, and we do not read those.
const MAX_HEADER_BYTES: usize = 2048;

/// RFC 7515 section 4.1.11 has us refuse extensions that we do not know, and RFC 7797 section 6 is
/// one. The others bring a key of the sender's choice, or say where to fetch it (RFC 8725 section
/// 3.10).
const REFUSED_MEMBERS: [&str; 5] = ["b64", "crit", "jku", "jwk", "x5u"];

/// Like [`REFUSED_MEMBERS`], where the type of the token says that the sender brings the key.
const REFUSED_BESIDE_A_KEY: [&str; 4] = ["b64", "crit", "jku", "x5u"];

/// What is wrong with a token that looks like a JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwsProblem {
    /// The header is over 2 KiB.
    HeaderTooLong,
    /// The header has a name twice, is nested too deep, or has a `kid` or `typ` that is no text.
    MalformedHeader,
    /// The payload or the signature is not base64url without padding.
    NotBase64,
    /// The header has a member that changes how the token is to be verified: `b64`, `crit`, `jku`,
    /// `jwk`, `x5u`.
    UnsupportedHeader,
    /// `typ` names another kind of token.
    WrongType,
}

/// `typ` (RFC 7515 section 4.1.9) of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typ {
    /// There is none.
    Absent,
    /// `at+jwt` (RFC 9068 section 2.1).
    AtJwt,
    /// `JWT`.
    Jwt,
}

/// A JWS, not verified.
pub struct Jws<'a> {
    signing_input: &'a [u8],
    /// In base64url.
    header_segment: &'a [u8],
    header: Rc<Header>,
    typ: Typ,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

struct Header {
    algorithm: Option<Algorithm>,
    kid: Option<String>,
    typ: Option<String>,
}

/// The header of an access token that was verified. Most tokens of an issuer have the same one, and
/// it is read once.
pub(crate) struct KnownHeader {
    /// In base64url.
    segment: Box<[u8]>,
    header: Rc<Header>,
    typ: Typ,
}

impl KnownHeader {
    pub(crate) fn of(jws: &Jws<'_>) -> Self {
        Self {
            segment: jws.header_segment.into(),
            header: Rc::clone(&jws.header),
            typ: jws.typ,
        }
    }

    pub(crate) fn is_of(&self, jws: &Jws<'_>) -> bool {
        Rc::ptr_eq(&self.header, &jws.header)
    }
}

impl<'a> Jws<'a> {
    /// Reads an access token. `None`: it is no JWT by its shape, which is three segments of which
    /// the first is base64url of a JSON object with a text `alg`.
    #[must_use]
    pub fn parse(token: &'a str) -> Option<Result<Self, JwsProblem>> {
        Self::parse_bytes(token.as_bytes(), None)
    }

    /// The same. `known`: a header that need not be read again.
    #[inline]
    pub(crate) fn parse_bytes(
        token: &'a [u8],
        known: Option<&KnownHeader>,
    ) -> Option<Result<Self, JwsProblem>> {
        Self::read(token, known, &REFUSED_MEMBERS, &|typ| match typ {
            None => Some(Typ::Absent),
            Some("jwt") => Some(Typ::Jwt),
            Some("at+jwt") => Some(Typ::AtJwt),
            Some(_) => None,
        })
    }

    /// Reads a proof of possession, whose `typ` must be this one, in lower case and without
    /// `application/`: that of RFC 9449 section 4.2 is a `dpop+jwt`. It may bring
    /// its key in `jwk`, which is not read here.
    #[must_use]
    pub fn parse_proof(token: &'a str, typ: &str) -> Option<Result<Self, JwsProblem>> {
        Self::read(token.as_bytes(), None, &REFUSED_BESIDE_A_KEY, &|found| {
            (found == Some(typ)).then_some(Typ::Jwt)
        })
    }

    /// Reads a JWS whose `typ` must be this one, in lower case and without `application/`, and which
    /// does not bring its key: an introspection response is a `token-introspection+jwt` (RFC 9701
    /// section 5).
    #[must_use]
    pub fn parse_as(token: &'a str, typ: &str) -> Option<Result<Self, JwsProblem>> {
        Self::read(token.as_bytes(), None, &REFUSED_MEMBERS, &|found| {
            (found == Some(typ)).then_some(Typ::Jwt)
        })
    }

    #[inline]
    fn read(
        token: &'a [u8],
        known: Option<&KnownHeader>,
        refused: &[&str],
        accept: &dyn Fn(Option<&str>) -> Option<Typ>,
    ) -> Option<Result<Self, JwsProblem>> {
        let (dots, [first, second]) = codec::grammar::dots(token);
        let header_segment = token.get(..first)?;
        if dots != 2 {
            // A JWE has five segments (RFC 7516 section 9). With the header of a JWS, another number
            // is no way to be taken for an opaque token.
            let may_be_jws = dots != 0 && dots != 4;
            let header = may_be_jws.then(|| Header::read(header_segment, refused))?;
            return header.map(|_| Err(JwsProblem::MalformedHeader));
        }
        let signing_input = token.get(..second)?;
        let (_, claims) = signing_input.split_at_checked(first.checked_add(1)?)?;
        let (_, signature) = token.split_at_checked(second.checked_add(1)?)?;
        let (header, typ) = match known.filter(|known| *known.segment == *header_segment) {
            Some(known) => (Rc::clone(&known.header), known.typ),
            None => {
                let header = match Header::read(header_segment, refused)? {
                    Ok(header) => header,
                    Err(problem) => return Some(Err(problem)),
                };
                let Some(typ) = accept(header.typ.as_deref()) else {
                    return Some(Err(JwsProblem::WrongType));
                };
                (Rc::new(header), typ)
            }
        };
        let (Some(claims), Some(signature)) =
            (base64url::decode(claims), base64url::decode(signature))
        else {
            return Some(Err(JwsProblem::NotBase64));
        };
        Some(Ok(Self {
            signing_input,
            header_segment,
            header,
            typ,
            claims,
            signature,
        }))
    }

    /// The payload.
    #[must_use]
    pub fn claims(&self) -> &[u8] {
        &self.claims
    }

    /// `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// `alg`. `None`: none that we know, such as `none` and `HS256`.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.header.algorithm
    }

    /// `typ`.
    #[must_use]
    pub fn typ(&self) -> Typ {
        self.typ
    }

    /// RFC 7515 section 2.
    pub(super) fn signing_input(&self) -> &'a [u8] {
        self.signing_input
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Whom a token names as its issuer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClaimedIssuer {
    /// The claims cannot be read.
    Malformed,
    /// There is no `iss` that is a text.
    None,
    Named(String),
}

/// The `iss` of a JWT, not verified: to compare with, and for nothing else. `None`: it is no JWT by its
/// shape.
pub(crate) fn claimed_issuer(token: &[u8]) -> Option<ClaimedIssuer> {
    let jws = Jws::read(token, None, &[], &|_| Some(Typ::Absent))?;
    let claims = jws.ok().and_then(|jws| String::from_utf8(jws.claims).ok());
    let Some(Ok(Json::Object(members))) = claims.as_deref().map(json::examine) else {
        return Some(ClaimedIssuer::Malformed);
    };
    let issuer = members.into_iter().find(|(name, _)| name == "iss");
    Some(match issuer {
        Some((_, Json::Text(issuer))) => ClaimedIssuer::Named(issuer.into_owned()),
        _ => ClaimedIssuer::None,
    })
}

impl Header {
    /// `None`: it is not the header of a JWS.
    #[inline]
    fn read(segment: &[u8], refused: &[&str]) -> Option<Result<Self, JwsProblem>> {
        if segment.len() > MAX_HEADER_BYTES {
            // Four characters stand for three bytes.
            let is_object = base64url::decode(segment.get(..4)?)?.first() == Some(&b'{');
            return is_object.then_some(Err(JwsProblem::HeaderTooLong));
        }
        let header = String::from_utf8(base64url::decode(segment)?).ok()?;
        let members = match json::examine(&header) {
            Ok(Json::Object(members)) => members,
            Ok(_) | Err(NotRead::Syntax) => return None,
            Err(NotRead::TooDeep | NotRead::TooManyMembers | NotRead::Twice(_)) => {
                return Some(Err(JwsProblem::MalformedHeader));
            }
        };
        let member = |name| json::member(&members, name);
        let Some(Json::Text(algorithm)) = member("alg") else {
            return None;
        };
        if refused.iter().any(|name| member(name).is_some()) {
            return Some(Err(JwsProblem::UnsupportedHeader));
        }
        let text = |name| match member(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(JwsProblem::MalformedHeader),
        };
        let (kid, typ) = match (text("kid"), text("typ")) {
            (Ok(kid), Ok(typ)) => (kid, typ),
            (Err(problem), _) | (_, Err(problem)) => return Some(Err(problem)),
        };
        Some(Ok(Self {
            algorithm: Algorithm::from_name(algorithm),
            kid: kid.map(|kid| kid.clone().into_owned()),
            typ: typ.map(|typ| short_type(typ)),
        }))
    }
}

/// RFC 7515 section 4.1.9: a media type, compared without regard to case, and `application/` may be
/// left out.
fn short_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    match typ.strip_prefix("application/") {
        Some(short) if !short.contains('/') => short.to_owned(),
        _ => typ,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_header_is_that_of_tokens_that_have_it_letter_by_letter_and_of_no_others() {
        let token = |header: &str| {
            let header = base64url::encode(header.as_bytes());
            format!("{header}.e30.c2ln")
        };
        let (ours, other) = (
            token(r#"{"alg":"RS256","kid":"one","typ":"at+jwt"}"#),
            token(r#"{"alg":"ES256","kid":"two"}"#),
        );
        let parse = |token: &str, known: Option<&KnownHeader>| {
            let jws = Jws::parse_bytes(token.as_bytes(), known)?.ok()?;
            let is_known = known.is_some_and(|known| known.is_of(&jws));
            let kid = jws.kid()?.to_owned();
            Some((
                KnownHeader::of(&jws),
                jws.algorithm()?,
                kid,
                jws.typ(),
                is_known,
            ))
        };
        let (known, ..) = parse(&ours, None).unwrap();
        let (_, algorithm, kid, typ, is_known) = parse(&ours, Some(&known)).unwrap();
        assert_eq!(
            (algorithm, &*kid, typ),
            (Algorithm::Rs256, "one", Typ::AtJwt)
        );
        assert!(is_known);
        let (_, algorithm, kid, typ, is_known) = parse(&other, Some(&known)).unwrap();
        assert_eq!(
            (algorithm, &*kid, typ),
            (Algorithm::Es256, "two", Typ::Absent)
        );
        assert!(!is_known);
        // The beginning of it, more than it, and another number of segments.
        let (head, rest) = ours.split_once('.').unwrap();
        let shorter = head.get(..head.len() - 4).unwrap();
        for token in [format!("{shorter}.{rest}"), format!("{head}AAAA.{rest}")] {
            assert!(
                Jws::parse_bytes(token.as_bytes(), Some(&known)).is_none(),
                "{token}"
            );
        }
        for token in [head.to_owned(), format!("{ours}.a"), format!("{ours}.a.b")] {
            let jws = Jws::parse_bytes(token.as_bytes(), Some(&known));
            assert_eq!(
                jws.map(Result::err),
                Jws::parse(&token).map(Result::err),
                "{token}"
            );
        }
    }
}

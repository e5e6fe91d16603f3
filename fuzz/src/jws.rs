//! Tokens as JSON Web Signatures, against a second reader of RFC 7515, and under three keys of which
//! the input does not have the private half.

use std::sync::LazyLock;

use serde_json::Value;
use token_check::{Algorithm, Jws, JwsProblem, KeySet, NoSignatureHost, Typ};

use crate::facts::{colons, depth, members};

/// Longest header accepted, in characters.
const MAX_HEADER: usize = 2048;
const MAX_DEPTH: usize = 16;
const REFUSED: [&str; 5] = ["b64", "crit", "jku", "jwk", "x5u"];

/// The keys of RFC 7515 appendices A.2 and A.3 and of RFC 8037 appendix A.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let keys = include_bytes!("../corpus/jwk_set/rfc_keys");
    KeySet::parse(keys).expect("a key set")
});

/// The tokens of these appendices, the only ones that these keys signed.
const GENUINE: [&str; 3] = [
    include_str!("../corpus/jws/rfc7515_a_2"),
    include_str!("../corpus/jws/rfc7515_a_3"),
    include_str!("../corpus/jws/rfc8037_a_4"),
];

/// Reads a token: the input as it is, or, if it has lines, its first three lines in base64url.
pub fn run(data: &[u8]) {
    let lines: Vec<_> = data.splitn(3, |byte| *byte == b'\n').map(encode).collect();
    let token = match core::str::from_utf8(data) {
        Ok(text) if lines.len() == 1 => text.to_owned(),
        _ => lines.join("."),
    };
    let read = match Jws::parse(&token) {
        None => Expected::Opaque,
        Some(Err(problem)) => Expected::Problem(problem),
        Some(Ok(jws)) => {
            check_signature(&token, &jws);
            Expected::Jws {
                algorithm: jws.algorithm(),
                kid: jws.kid().map(str::to_owned),
                typ: jws.typ(),
                claims: jws.claims().to_vec(),
            }
        }
    };
    let expected = expected(&token);
    assert!(expected.contains(&read), "{read:?} is none of {expected:?}");
}

fn check_signature(token: &str, jws: &Jws<'_>) {
    let is_genuine = GENUINE.contains(&token);
    let found = KEYS.find(jws);
    let verifies = found.is_some_and(|key| key.verify(jws, &NoSignatureHost));
    assert_eq!(verifies, is_genuine, "{token}");
    let by_any = KEYS.keys().any(|key| key.verify(jws, &NoSignatureHost));
    assert_eq!(by_any, is_genuine, "{token}");
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Opaque,
    Problem(JwsProblem),
    Jws {
        algorithm: Option<Algorithm>,
        kid: Option<String>,
        typ: Typ,
        claims: Vec<u8>,
    },
}

/// What a reader may say. There are two answers to a header that is not JSON: one that stops at a
/// repeated name never sees the rest.
fn expected(token: &str) -> Vec<Expected> {
    let one = |expected| vec![expected];
    let problem = |problem| vec![Expected::Problem(problem)];
    let segments: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = segments[..] else {
        if matches!(segments.len(), 1 | 5) {
            return one(Expected::Opaque);
        }
        // As with three segments, but a JWT is never what it is then.
        let as_if = expected(&format!("{}.e30.e30", segments[0]));
        let never_a_jwt = |expected| match expected {
            Expected::Opaque => Expected::Opaque,
            _ => Expected::Problem(JwsProblem::MalformedHeader),
        };
        return as_if.into_iter().map(never_a_jwt).collect();
    };
    if header.len() > MAX_HEADER {
        let start: String = header.chars().take(4).collect();
        let is_object = decode(&start).is_some_and(|start| start.starts_with(b"{"));
        return match is_object {
            true => problem(JwsProblem::HeaderTooLong),
            false => one(Expected::Opaque),
        };
    }
    let Some(header) = decode(header).and_then(|header| String::from_utf8(header).ok()) else {
        return one(Expected::Opaque);
    };
    let Ok(value) = serde_json::from_str::<Value>(&header) else {
        return vec![
            Expected::Opaque,
            Expected::Problem(JwsProblem::MalformedHeader),
        ];
    };
    if colons(&header) != members(&value) || depth(&value) > MAX_DEPTH {
        return problem(JwsProblem::MalformedHeader);
    }
    let Some(algorithm) = value.get("alg").and_then(Value::as_str) else {
        return one(Expected::Opaque);
    };
    if REFUSED.iter().any(|name| value.get(name).is_some()) {
        return problem(JwsProblem::UnsupportedHeader);
    }
    let is_text = |name: &str| value.get(name).is_none_or(Value::is_string);
    if !is_text("kid") || !is_text("typ") {
        return problem(JwsProblem::MalformedHeader);
    }
    let typ = value.get("typ").and_then(Value::as_str);
    let typ = match typ.map(str::to_ascii_lowercase).as_deref() {
        None => Typ::Absent,
        Some("jwt" | "application/jwt") => Typ::Jwt,
        Some("at+jwt" | "application/at+jwt") => Typ::AtJwt,
        Some(_) => return problem(JwsProblem::WrongType),
    };
    let (Some(claims), Some(_)) = (decode(claims), decode(signature)) else {
        return problem(JwsProblem::NotBase64);
    };
    one(Expected::Jws {
        algorithm: match algorithm {
            "RS256" => Some(Algorithm::Rs256),
            "RS384" => Some(Algorithm::Rs384),
            "RS512" => Some(Algorithm::Rs512),
            "PS256" => Some(Algorithm::Ps256),
            "PS384" => Some(Algorithm::Ps384),
            "PS512" => Some(Algorithm::Ps512),
            "ES256" => Some(Algorithm::Es256),
            "ES384" => Some(Algorithm::Es384),
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        },
        kid: value.get("kid").and_then(Value::as_str).map(str::to_owned),
        typ,
        claims,
    })
}

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64url, bit by bit.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    let rest = bits.split_off(bits.len() / 8 * 8);
    // A letter more than needed, or bits that are not zero.
    if rest.len() >= 6 || rest.contains(&1) {
        return None;
    }
    let byte = |bits: &[usize]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
    let bytes = bits.chunks(8).map(|bits| u8::try_from(byte(bits)).ok());
    bytes.collect()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut bits: Vec<usize> = bits.map(usize::from).collect();
    bits.resize(bits.len().div_ceil(6) * 6, 0);
    let letter = |bits: &[usize]| {
        let value = bits.iter().fold(0, |value, bit| value << 1 | bit);
        char::from(ALPHABET[value])
    };
    bits.chunks(6).map(letter).collect()
}

//! Introspection responses that the issuer has signed (RFC 9701), against a second reader, and against
//! what a plain response with the same document brings. The host calls every signature good, so that
//! the input decides about everything else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use token_check::{Algorithm, AuthCheck, Decision, IssuerResponse, Reason, SignatureHost, Verdict};

use crate::facts::{colons, depth, in_range, members, strings, time};
use crate::jws::{decode, encode};
use crate::support::{START, at, done, head, introspects, json, response, try_policy};

const MEDIA_TYPE: &str = "application/token-introspection+jwt";
/// The key of RFC 8037 appendix A.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const SETTINGS: [(&str, &str); 4] = [
    ("expected_issuer", "https://iss"),
    ("leeway", "10"),
    ("cache_ttl", "60"),
    ("negative_cache_ttl", "60"),
];
const LEEWAY: i64 = 10;
/// How long the issuer takes, in seconds.
const CALL: u32 = 2;
const MAX_HEADER: usize = 2048;
const MAX_DEPTH: usize = 16;
/// Most members of an object. The second reader does not count them object by object.
const MAX_MEMBERS: usize = 512;

struct CallsAllGood;

impl SignatureHost for CallsAllGood {
    fn verify(&self, _: Algorithm, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        Some(true)
    }
}

/// Reads a response: the input as it is, or, if it has lines, the second and the third as header and
/// claims, with the media type in the first.
pub fn run(data: &[u8]) {
    let lines: Vec<_> = data.splitn(3, |byte| *byte == b'\n').collect();
    let (media_type, body) = match lines[..] {
        [media_type, header, claims] => {
            if claims.iter().filter(|byte| **byte == b':').count() > MAX_MEMBERS {
                return;
            }
            let jws = format!("{}.{}.{}", encode(header), encode(claims), encode(&[0; 64]));
            (media_type, jws.into_bytes())
        }
        _ => (MEDIA_TYPE.as_bytes(), data.to_vec()),
    };
    let signed = [("signed_introspection", "true"), ("jwks", KEYS)];
    let got = verdict(&signed, response(200, media_type, &body));
    let Some(document) = document(media_type, &body) else {
        let reason = reason(&got);
        let is_fault = matches!(
            reason,
            Some(
                Reason::IssuerResponseUnsigned
                    | Reason::IssuerAnswerMalformed
                    | Reason::IssuerAnswerTooLarge
            )
        );
        assert!(is_fault, "{reason:?} {}", body.escape_ascii());
        return;
    };
    let plain = verdict(&[], json(&document));
    assert_eq!(
        format!("{:?}", got.decision),
        format!("{:?}", plain.decision),
        "{document}"
    );
}

/// What comes of a request about which the issuer responds so. A fault is not cached.
fn verdict(more: &[(&str, &str)], response: IssuerResponse) -> Verdict {
    let policy = try_policy(&[&SETTINGS, more].concat()).expect("these settings are valid");
    let mut check = AuthCheck::new(policy, [7; 16]).verifying_with(Box::new(CallsAllGood));
    let lines = [b"Bearer abc".as_slice()];
    let request = head(&lines, b"/");
    let (pending, ticket) = introspects(check.begin(&request, at(Duration::ZERO)));
    let now = at(Duration::from_secs(CALL.into()));
    let _ = check.responded(ticket, Ok(response), now);
    let verdict = done(check.resume(pending, now));
    let is_fault = reason(&verdict).is_some_and(|reason| reason.status() == 503);
    if is_fault {
        let _ = introspects(check.begin(&request, now));
    }
    verdict
}

fn reason(verdict: &Verdict) -> Option<Reason> {
    match &verdict.decision {
        Decision::Refused(refusal) => Some(refusal.reason()),
        Decision::Granted(_) | Decision::Answered(_) => None,
    }
}

/// The document in a response that is as it must be.
fn document(media_type: &[u8], body: &[u8]) -> Option<String> {
    let media_type: String = media_type.iter().map(|byte| char::from(*byte)).collect();
    let essence = media_type.split(';').next()?;
    let essence = essence.trim_matches([' ', '\t', '\n', '\r', '\x0c']);
    if essence.to_ascii_lowercase() != MEDIA_TYPE {
        return None;
    }
    let segments: Vec<&str> = core::str::from_utf8(body).ok()?.split('.').collect();
    let [header, claims, signature] = segments[..] else {
        return None;
    };
    if header.len() > MAX_HEADER || decode(signature)?.len() != 64 {
        return None;
    }
    let header = object(&String::from_utf8(decode(header)?).ok()?)?;
    let typ = header.get("typ")?.as_str()?.to_ascii_lowercase();
    let is_good_header = [MEDIA_TYPE, "token-introspection+jwt"].contains(&typ.as_str())
        && ["EdDSA", "Ed25519"].contains(&header.get("alg")?.as_str()?)
        && ["b64", "crit", "jku", "jwk", "x5u"]
            .iter()
            .all(|name| header.get(name).is_none())
        && header.get("kid").is_none_or(|kid| *kid == "one");
    let text = String::from_utf8(decode(claims)?).ok()?;
    let claims = object(&in_range(&text))?;
    let start = i64::try_from(START).ok()?;
    let now = start + i64::from(CALL);
    let made = time(&claims, "iat", f64::floor)??;
    let starts = time(&claims, "nbf", f64::ceil)?.unwrap_or(made);
    let expires = time(&claims, "exp", f64::floor)?.unwrap_or(i64::MAX);
    let is_good = is_good_header
        && claims.get("iss")?.as_str()? == "https://iss"
        && strings(&claims, "aud")?
            .iter()
            .any(|aud| aud == "service-b")
        && (start - LEEWAY..=now + LEEWAY).contains(&made)
        && starts <= now + LEEWAY
        && expires > now - LEEWAY
        && !claims.get("token_introspection")?.is_null();
    let raw: BTreeMap<String, &RawValue> = serde_json::from_str(&text).ok()?;
    let document = raw.get("token_introspection")?.get().to_owned();
    is_good.then_some(document)
}

/// A JSON object in which no name is there twice.
fn object(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let is_strict = colons(text) == members(&value) && depth(&value) <= MAX_DEPTH;
    (is_strict && value.is_object()).then_some(value)
}

//! Proofs of possession (RFC 9449), against a second reader. The host calls every signature good, so that
//! the input decides about everything else.

use std::collections::BTreeMap;

use serde_json::Value;
use token_check::{Algorithm, AuthCheck, RequestHead, SignatureHost};

use crate::facts::{colons, depth, members};
use crate::jws::{decode, encode};
use crate::support::{START, at, done, head, introspects, is_granted, json, try_policy};

const TOKEN: &str = "abc";
/// SHA-256 of the token.
const TOKEN_HASH: &str = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
const ORIGIN: &str = "https://b.example";
/// The key of RFC 8037 appendix A and its thumbprint, to which the token is bound.
const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const MAX_PROOF: usize = 4096;
const MAX_HEADER: usize = 2048;
const MAX_DEPTH: usize = 16;

struct CallsAllGood;

impl SignatureHost for CallsAllGood {
    fn verify(&self, _: Algorithm, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        Some(true)
    }
}

/// Sends a proof: the input as it is for `GET /data`, or, if it has lines, its third and fourth line as
/// header and claims, for the method and the path in the first two.
pub fn run(data: &[u8]) {
    let lines: Vec<_> = data.splitn(4, |byte| *byte == b'\n').collect();
    let (method, path, proof) = match lines[..] {
        [method, path, header, claims] => {
            let proof = format!("{}.{}.{}", encode(header), encode(claims), encode(&[0; 64]));
            (method, path, proof.into_bytes())
        }
        _ => (b"GET".as_slice(), b"/data".as_slice(), data.to_vec()),
    };
    let is_good = is_granted_with(method, path, &[&proof]);
    match expected(method, path, &proof) {
        Expected::Good => assert!(is_good, "{}", proof.escape_ascii()),
        Expected::Bad => assert!(!is_good, "{}", proof.escape_ascii()),
        Expected::AnotherUrl { is_equal } => {
            assert!(is_equal || !is_good, "{}", proof.escape_ascii());
        }
    }
    assert!(!is_granted_with(method, path, &[&proof, &proof]), "twice");
}

/// Whether a request with these proofs is granted, in a new instance. If it is, the same again must not be.
fn is_granted_with(method: &[u8], path: &[u8], proofs: &[&[u8]]) -> bool {
    let settings = [
        ("dpop", "require"),
        ("public_origin", ORIGIN),
        ("cache_ttl", "60"),
    ];
    let policy = try_policy(&settings).expect("these settings are valid");
    let mut check = AuthCheck::new(policy, [7; 16]).verifying_with(Box::new(CallsAllGood));
    let line = format!("DPoP {TOKEN}");
    let lines = [line.as_bytes()];
    let request = RequestHead {
        method,
        dpop: proofs,
        ..head(&lines, path)
    };
    let now = at(std::time::Duration::ZERO);
    let step = check.begin(&request, now);
    if matches!(step, token_check::Step::Done(_)) {
        assert!(!is_granted(&done(step)), "before anybody was asked");
        return false;
    }
    let (pending, ticket) = introspects(step);
    let bound = format!(r#"{{"active":true,"token_type":"DPoP","cnf":{{"jkt":"{THUMBPRINT}"}}}}"#);
    let _ = check.responded(ticket, Ok(json(&bound)), now);
    let is_good = is_granted(&done(check.resume(pending, now)));
    assert!(!is_granted(&done(check.begin(&request, now))), "used twice");
    is_good
}

enum Expected {
    Good,
    Bad,
    /// All is good but the URL, which is not the one of the request letter by letter.
    AnotherUrl {
        is_equal: bool,
    },
}

fn expected(method: &[u8], path: &[u8], proof: &[u8]) -> Expected {
    let Some(claims) = good_claims(method, proof) else {
        return Expected::Bad;
    };
    let (Some(Value::String(url)), Ok(path)) = (claims.get("htu"), core::str::from_utf8(path))
    else {
        return Expected::Bad;
    };
    let plain = |text: &str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_~/".contains(&b);
        text.bytes().all(is_plain)
    };
    let path_only = path.split(['?', '#']).next().unwrap_or_default();
    if path_only.starts_with('/') && plain(path_only) && *url == format!("{ORIGIN}{path_only}") {
        return Expected::Good;
    }
    let is_equal = path.starts_with('/') && coarse(url) == coarse(&format!("{ORIGIN}{path}"));
    Expected::AnotherUrl { is_equal }
}

/// The claims of a proof that is good, but for its URL.
fn good_claims(method: &[u8], proof: &[u8]) -> Option<BTreeMap<String, Value>> {
    let proof = core::str::from_utf8(proof.trim_ascii()).ok()?;
    if proof.len() > MAX_PROOF {
        return None;
    }
    let segments: Vec<&str> = proof.split('.').collect();
    let [header, claims, signature] = segments[..] else {
        return None;
    };
    if header.len() > MAX_HEADER || decode(signature)?.len() != 64 {
        return None;
    }
    let (header, claims) = (object(header)?, object(claims)?);
    let text = |object: &BTreeMap<String, Value>, name: &str| {
        object.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    let typ = text(&header, "typ")?.to_ascii_lowercase();
    let is_good_header = ["dpop+jwt", "application/dpop+jwt"].contains(&typ.as_str())
        && ["EdDSA", "Ed25519"].contains(&text(&header, "alg")?.as_str())
        && ["b64", "crit", "jku", "x5u"]
            .iter()
            .all(|name| !header.contains_key(*name))
        && header.get("kid").is_none_or(Value::is_string);
    let jwk = header.get("jwk")?.as_object()?;
    let has = |name: &str, values: &[&str]| {
        jwk.get(name)
            .and_then(Value::as_str)
            .is_some_and(|value| values.contains(&value))
    };
    let has_or_not = |name: &str, values: &[&str]| !jwk.contains_key(name) || has(name, values);
    let private = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];
    let may_verify = jwk.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|list| list.contains(&Value::from("verify")))
    });
    let is_good_key = has("kty", &["OKP"])
        && has("crv", &["Ed25519"])
        && has("x", &[KEY])
        && has_or_not("use", &["sig"])
        && has_or_not("alg", &["EdDSA", "Ed25519"])
        && may_verify
        && jwk.get("kid").is_none_or(Value::is_string)
        && private.iter().all(|name| !jwk.contains_key(*name));
    let start = f64::from(u32::try_from(START).ok()?);
    let made = claims.get("iat")?.as_f64()?.floor();
    let is_good_claims = text(&claims, "htm")?.as_bytes() == method
        && text(&claims, "ath")? == TOKEN_HASH
        && !text(&claims, "jti")?.is_empty()
        && claims.get("nonce").is_none_or(Value::is_string)
        && (start - 60.0..=start + 5.0).contains(&made);
    (is_good_header && is_good_key && is_good_claims).then_some(claims)
}

/// A JSON object in base64url, in which no name is there twice.
fn object(segment: &str) -> Option<BTreeMap<String, Value>> {
    let text = String::from_utf8(decode(segment)?).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    if colons(&text) != members(&value) || depth(&value) > MAX_DEPTH {
        return None;
    }
    serde_json::from_value(value).ok()
}

/// Equal for all URLs that normalization makes equal, and for some others.
fn coarse(url: &str) -> Vec<u8> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let mut bytes = url.to_ascii_lowercase().replace(":443", "").into_bytes();
    // `%25` becomes `%` and no more.
    bytes = crate::support::percent_decoded(&bytes);
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "." | "" => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    segments.concat().into_bytes()
}

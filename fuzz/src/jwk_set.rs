//! Documents as JWK sets, against a second reader of RFC 7517 that knows a few keys by heart.

use serde_json::Value;
use token_check::{Algorithm, Jws, Key, KeySet, KeySetProblem, Unusable};

use crate::facts::{colons, depth, members};
use crate::jws::decode;

const MAX_BYTES: usize = 128 * 1024;
const MAX_KEYS: usize = 64;
const MAX_DEPTH: usize = 16;
const MAX_MEMBERS: usize = 512;
const PRIVATE: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];

/// Points: those of RFC 7515 appendix A.3, of RFC 9449, and of RFC 6979 appendix A.2.6. The target cannot tell of any
/// other, and the fuzzer cannot find one.
const POINTS: [(&str, &str, &str); 3] = [
    (
        "P-256",
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    ),
    (
        "P-256",
        "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    ),
    (
        "P-384",
        "7DpOQVtOGaRWhhgCn0J_pdqai8SukuAuBqrlKGswDGTe-PDqkFWGYGSiVFFUgLwT",
        "gBXZty19VyROqO-awMYhiWcIpZNn-d-59UyoSz8cnbEoiyMcOuDU_nNE_SUzJkcg",
    ),
];

const ALGORITHMS: [(&str, Algorithm); 10] = [
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("Ed25519", Algorithm::EdDsa),
    ("EdDSA", Algorithm::EdDsa),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
];

/// Reads a document, and looks for the key of each name and algorithm.
pub fn run(data: &[u8]) {
    let read = KeySet::parse(data);
    let list = match list(data) {
        Ok(list) => list,
        Err(problem) => return assert_eq!(read.err(), Some(problem)),
    };
    let (mut usable, mut left_out) = (Vec::<Expected>::new(), 0);
    for jwk in &list {
        match Expected::read(jwk) {
            // Which bytes are a point of Ed25519, only arithmetic can tell.
            None if is_ed25519(jwk) => return,
            Some(key) if !usable.contains(&key) => usable.push(key),
            Some(_) | None => left_out += 1,
        }
    }
    if usable.is_empty() {
        return assert_eq!(read.err(), Some(KeySetProblem::NoUsableKey));
    }
    let keys = read.unwrap_or_else(|problem| panic!("{problem:?}: {usable:?}"));
    assert_eq!(keys.left_out().count(), left_out);
    assert_eq!(keys.keys().count(), usable.len());
    for (key, expected) in keys.keys().zip(&usable) {
        assert_eq!(key.kid(), expected.kid.as_deref());
        assert_eq!(
            key.algorithms().iter().collect::<Vec<_>>(),
            expected.algorithms
        );
    }
    let repeated = keys
        .left_out()
        .filter(|why| *why == Unusable::Repeated)
        .count();
    let distinct = list.iter().filter_map(Expected::read).count();
    assert_eq!(repeated, distinct - usable.len());
    for kid in usable
        .iter()
        .map(|key| key.kid.as_deref())
        .chain([None, Some("other")])
    {
        for (name, algorithm) in ALGORITHMS {
            check_find(&keys, &usable, kid, name, algorithm);
        }
    }
}

/// A key is found if it alone fits.
fn check_find(
    keys: &KeySet,
    usable: &[Expected],
    kid: Option<&str>,
    name: &str,
    algorithm: Algorithm,
) {
    let header = match kid {
        Some(kid) => serde_json::json!({"alg": name, "kid": kid}),
        None => serde_json::json!({"alg": name}),
    };
    let header = base64_simd::URL_SAFE_NO_PAD.encode_to_string(header.to_string());
    let token = format!("{header}..");
    let Some(Ok(jws)) = Jws::parse(&token) else {
        assert!(header.len() > 2048, "{token}");
        return;
    };
    let fits = |key: &Expected| {
        let is_named = kid.is_none() || key.kid.as_deref() == kid;
        is_named && key.algorithms.contains(&algorithm)
    };
    let fitting: Vec<usize> = (0..usable.len()).filter(|at| fits(&usable[*at])).collect();
    let expected: Option<&Key> = match fitting[..] {
        [one] => keys.keys().nth(one),
        _ => None,
    };
    assert!(keys.find(&jws) == expected, "{token}");
}

/// The elements of `keys`.
fn list(data: &[u8]) -> Result<Vec<Value>, KeySetProblem> {
    let malformed = Err(KeySetProblem::Malformed);
    if data.len() > MAX_BYTES {
        return Err(KeySetProblem::TooLong);
    }
    let Ok(text) = core::str::from_utf8(data) else {
        return malformed;
    };
    let Ok(Value::Object(mut document)) = serde_json::from_str(text) else {
        return malformed;
    };
    let list = document.remove("keys");
    let whole = Value::Object(document);
    let listed = list.as_ref().map_or(0, |list| 1 + members(list));
    let list_depth = list.as_ref().map_or(0, |list| 1 + depth(list));
    if colons(text) != members(&whole) + listed
        || depth(&whole).max(list_depth) > MAX_DEPTH
        || most_members(&whole) + usize::from(list.is_some()) > MAX_MEMBERS
        || list
            .as_ref()
            .is_some_and(|list| most_members(list) > MAX_MEMBERS)
    {
        return malformed;
    }
    match list {
        Some(Value::Array(list)) if list.len() > MAX_KEYS => Err(KeySetProblem::TooManyKeys),
        Some(Value::Array(list)) => Ok(list),
        _ => malformed,
    }
}

/// The members of the largest object.
pub(crate) fn most_members(value: &Value) -> usize {
    let inner = |values: &mut dyn Iterator<Item = &Value>| values.map(most_members).max();
    match value {
        Value::Array(values) => inner(&mut values.iter()).unwrap_or_default(),
        Value::Object(object) => {
            let inner = inner(&mut object.values()).unwrap_or_default();
            object.len().max(inner)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn is_ed25519(jwk: &Value) -> bool {
    jwk.get("crv").is_some_and(|curve| curve == "Ed25519")
}

#[derive(Debug, PartialEq)]
struct Expected {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Vec<String>,
}

impl Expected {
    /// `None`: the key is not usable, or it is not one of those known by heart.
    fn read(jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        let text = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(Some),
        };
        let (kind, curve) = (text("kty")??, text("crv")?);
        let (kid, algorithm, purpose) = (text("kid")?, text("alg")?, text("use")?);
        if PRIVATE.iter().any(|name| jwk.contains_key(*name))
            || !matches!(purpose, None | Some("sig"))
        {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops") {
            operations
                .as_array()?
                .iter()
                .find(|operation| *operation == "verify")?;
        }
        let prefixes: &[&str] = match (kind, curve) {
            ("RSA", _) => &["RS", "PS"],
            ("EC", Some("P-256")) => &["ES256"],
            ("EC", Some("P-384")) => &["ES384"],
            _ => return None,
        };
        let fits = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let named = ALGORITHMS
            .iter()
            .filter(|(name, _)| fits(name) && algorithm.is_none_or(|own| own == *name));
        let algorithms: Vec<_> = named.map(|(_, algorithm)| *algorithm).collect();
        if algorithms.is_empty() {
            return None;
        }
        let material: Vec<String> = match kind {
            "RSA" => {
                let (n, e) = (text("n")??, text("e")??);
                let modulus = decode(n)?;
                let bits =
                    modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
                let is_odd = modulus.last()? % 2 == 1;
                let is_minimal = modulus[0] != 0;
                if e != "AQAB" || !is_odd || !is_minimal || !(2048..=4096).contains(&bits) {
                    return None;
                }
                vec![n.to_owned()]
            }
            _ => {
                let point = (curve?, text("x")??, text("y")??);
                if !POINTS.contains(&point) {
                    return None;
                }
                vec![point.1.to_owned()]
            }
        };
        Some(Self {
            kid: kid.map(str::to_owned),
            algorithms,
            material,
        })
    }
}

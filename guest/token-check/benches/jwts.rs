//! What a request costs the core whose token is a JWT that is verified here. The host finds each
//! signature good, so that its arithmetic does not hide the rest.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

mod quick;
#[expect(dead_code, reason = "other benches use the rest of it")]
mod typical;

use base64_simd::URL_SAFE_NO_PAD;
use divan::{Bencher, black_box};
use token_check::{Algorithm, AuthCheck, Policy, SignatureHost};
use typical::{begin, granted};

fn main() {
    quick::main();
}

/// The issuer of the tokens, and those before it in the list of several.
const ISSUER: &str = "https://tenant.verify.ibm.com/oauth2";
const OTHERS: [&str; 3] = [
    "https://accounts.example.com",
    "https://login.example.org/realms/services",
    "https://other.verify.ibm.com/oauth2",
];
const CLIENT: &str = "7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10";
/// Tokens in turn, and a cache of so few: each is seen for the first time.
const DIFFERENT: usize = 4096;
const FEW_ENTRIES: &str = "64";

/// Finds every signature good.
struct AllGood;

impl SignatureHost for AllGood {
    fn verify(&self, _: Algorithm, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        Some(true)
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// With RS256, as long as issuers make them.
fn authorization(number: usize) -> String {
    let claims = format!(
        r#"{{"aud":["service-b"],"client_id":"{CLIENT}","exp":4102444800,"grant_type":"client_credentials","iat":1767225600,"iss":"{ISSUER}","jti":"3f0e7f3c-9b1d-4a3e-8c56-2f6f3b2c9d10","sub":"{CLIENT}-{number:04}"}}"#
    );
    let header = r#"{"alg":"RS256","kid":"bench","typ":"JWT"}"#;
    let [header, claims, signature] = [encoded(header), encoded(claims), encoded([0x5a; 256])];
    format!("Bearer {header}.{claims}.{signature}")
}

fn jwks() -> String {
    let modulus = encoded([0xc5; 256]);
    format!(
        r#"{{"keys":[{{"kty":"RSA","alg":"RS256","kid":"bench","n":"{modulus}","e":"AQAB"}}]}}"#
    )
}

fn check(settings: &[(&str, &str)]) -> AuthCheck<u32> {
    let settings = settings.iter().chain(&[("expected_aud", "service-b")]);
    let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let check = AuthCheck::new(Policy::new(settings).unwrap(), [7; 16]);
    check.verifying_with(Box::new(AllGood))
}

/// Of one issuer.
fn of_one(cache_entries: &str) -> AuthCheck<u32> {
    check(&[
        ("strategy", "jwt"),
        ("expected_issuer", ISSUER),
        ("jwks", &jwks()),
        ("cache_entries", cache_entries),
    ])
}

/// The last of several.
fn of_several(cache_entries: &str) -> AuthCheck<u32> {
    let jwks = jwks();
    let issuers = OTHERS.into_iter().chain([ISSUER]).map(|issuer| {
        format!(r#"{{"strategy":"jwt","expected_issuer":"{issuer}","jwks":{jwks}}}"#)
    });
    let issuers = issuers.collect::<Vec<_>>().join(",");
    check(&[
        ("issuers", &format!("[{issuers}]")),
        ("cache_entries", cache_entries),
    ])
}

fn hit(bencher: Bencher<'_, '_>, mut check: AuthCheck<u32>) {
    let authorization = authorization(0);
    let _ = granted(begin(&mut check, &authorization));
    bencher.bench_local(|| granted(begin(&mut check, black_box(&authorization))));
}

fn first_sight(bencher: Bencher<'_, '_>, mut check: AuthCheck<u32>) {
    let all: Vec<_> = (0..DIFFERENT).map(authorization).collect();
    let mut turn = all.iter().cycle();
    bencher
        .with_inputs(|| turn.next().unwrap())
        .bench_local_values(|authorization| granted(begin(&mut check, black_box(authorization))));
}

/// A JWT that is cached.
#[divan::bench]
fn hit_of_one_issuer(bencher: Bencher<'_, '_>) {
    hit(bencher, of_one("1000"));
}

/// The same with four issuers, of which the last one made it.
#[divan::bench]
fn hit_of_several_issuers(bencher: Bencher<'_, '_>) {
    hit(bencher, of_several("1000"));
}

/// A JWT that is read and remembered, and whose signature the host verifies.
#[divan::bench]
fn first_sight_of_one_issuer(bencher: Bencher<'_, '_>) {
    first_sight(bencher, of_one(FEW_ENTRIES));
}

/// The same with four issuers.
#[divan::bench]
fn first_sight_of_several_issuers(bencher: Bencher<'_, '_>) {
    first_sight(bencher, of_several(FEW_ENTRIES));
}

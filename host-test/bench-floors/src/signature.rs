//! A constant signature in the place of a token's.

use proxy_wasm_abi::hostcalls;

/// A public key (RSA, 2048 bits) as SubjectPublicKeyInfo; the private one was thrown away.
const KEY: &[u8] = include_bytes!("signature/rsa.der");
/// Over [`TEXT`], with RS256.
const SIGNATURE: &[u8] = include_bytes!("signature/rs256.sig");
/// As long as what is signed of a JWT of the benchmarks.
const TEXT: &[u8] = &[b'e'; 430];

/// A `VerifySignatureResult` whose `result` is true.
const GOOD: &[u8] = &[8, 1];

thread_local! {
    static ARGUMENTS: Vec<u8> = [
        b"\x0a\x06sha256",
        &head(0x12, KEY)[..],
        KEY,
        &head(0x1a, SIGNATURE),
        SIGNATURE,
        &head(0x22, TEXT),
        TEXT,
    ]
    .concat();
}

/// What comes before a field: its tag, and its length in two bytes.
fn head(tag: u8, field: &[u8]) -> [u8; 3] {
    let [low, ..] = field.len().to_le_bytes();
    let [high, ..] = (field.len() >> 7).to_le_bytes();
    [tag, low | 0x80, high]
}

/// Has Envoy verify it.
pub(crate) fn verify() -> Option<()> {
    let answer = ARGUMENTS
        .with(|arguments| hostcalls::call_foreign_function("verify_signature", arguments))
        .ok()??;
    (answer == GOOD).then_some(())
}

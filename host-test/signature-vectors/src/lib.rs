//! A filter that verifies signatures when it is configured, and logs what came out. A JWS cannot carry
//! most of the published ones, because what they sign is not its text.
//!
//! The plugin's configuration is a list of `{"algorithm", "jwk", "tests": [[message, signature]]}`, in
//! hexadecimal. For each of them there is one line in the log, [`LINE`], its number, and for each
//! test one of the first and one of the second:
//!
//! | | as the filter verifies it, with what Envoy offers | by our own code |
//! | --- | --- | --- |
//! | good, bad | `E`, `e` if Envoy said so; else as on the right | `W`, `w` |
//! | the wrong form: nobody was asked | `-` | `-` |

#![cfg(target_family = "wasm")]

use core::cell::Cell;

use proxy_wasm_abi::hostcalls::{self, BufferType, LogLevel};
use proxy_wasm_abi::{Action, Callbacks};
use serde_json::{Value, json};
use token_check::{Algorithm, Key, KeySet, NoSignatureHost, SignatureHost};

use crate::host::Envoy;

pub mod host;
/// The filter's own.
#[path = "../../../guest/envoy-filter-core/src/signatures.rs"]
pub mod signatures;

/// What a line of verdicts begins with.
const LINE: &str = "signatures of";

struct Filter;

proxy_wasm_abi::export!(Filter: on_configure, on_request_headers);

impl Callbacks for Filter {
    fn on_configure(_: u32, size: usize) -> bool {
        verify_all(size).is_some()
    }

    fn on_request_headers(_: u32) -> Action {
        Action::Continue
    }
}

/// `None`: the configuration is no such list. A key that cannot be used is an empty line.
fn verify_all(size: usize) -> Option<()> {
    let configuration = hostcalls::buffer(BufferType::PluginConfiguration, size).ok()??;
    let groups: Vec<Value> = serde_json::from_slice(&configuration).ok()?;
    let envoy = Asked {
        host: signatures::tested(Envoy),
        answered: Cell::new(false),
    };
    for (number, group) in groups.iter().enumerate() {
        let algorithm = Algorithm::from_name(group.get("algorithm")?.as_str()?)?;
        let mut verdicts = String::new();
        if let Some(key) = key(group.get("jwk")?) {
            for test in group.get("tests")?.as_array()? {
                let (message, signature) = (bytes(test.get(0)?)?, bytes(test.get(1)?)?);
                let verify =
                    |host: &dyn SignatureHost| key.verifies(algorithm, &message, &signature, host);
                envoy.answered.set(false);
                let verdict = verify(&envoy);
                verdicts.push(letter(verdict, envoy.answered.get()));
                verdicts.push(letter(verify(&NoSignatureHost), false));
            }
        }
        hostcalls::log(LogLevel::Info, &format!("{LINE} {number}: {verdicts}.")).ok()?;
    }
    Some(())
}

fn key(jwk: &Value) -> Option<Key> {
    let set = json!({ "keys": [jwk] }).to_string();
    KeySet::parse(set.as_bytes()).ok()?.keys().next().cloned()
}

fn bytes(hex: &Value) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
    hex.as_str()?.as_bytes().chunks(2).map(byte).collect()
}

const fn letter(verdict: Option<bool>, by_envoy: bool) -> char {
    match (verdict, by_envoy) {
        (Some(true), true) => 'E',
        (Some(false), true) => 'e',
        (Some(true), false) => 'W',
        (Some(false), false) => 'w',
        (None, _) => '-',
    }
}

/// Remembers whether the host said anything.
struct Asked<H> {
    host: H,
    answered: Cell<bool>,
}

impl<H: SignatureHost> SignatureHost for Asked<H> {
    fn verify(
        &self,
        algorithm: Algorithm,
        spki_der: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let answer = self.host.verify(algorithm, spki_der, message, signature);
        self.answered.set(answer.is_some());
        answer
    }
}

//! What the filter's `signatures` needs of its host.

use proxy_wasm_abi::hostcalls;

/// As much of the filter's `Host` as there is a use for here.
pub trait Host {
    /// Calls a function of Envoy beyond the ABI. `None`: there is none of this name.
    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>>;
}

/// Envoy.
pub struct Envoy;

impl Host for Envoy {
    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
        let answer = hostcalls::call_foreign_function(name, arguments).ok()?;
        Some(answer.unwrap_or_default())
    }
}

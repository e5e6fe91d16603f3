//! The auth check as Spin HTTP middleware: moves bytes between WASI HTTP and [`token_check`], which
//! alone decides.

#[cfg(target_family = "wasm")]
mod clock;
#[cfg(any(test, target_family = "wasm"))]
mod driver;
#[cfg(any(test, target_family = "wasm"))]
mod host;
#[cfg(target_family = "wasm")]
mod http;
#[cfg(target_family = "wasm")]
mod instance;
#[cfg(target_family = "wasm")]
mod issuer;
#[cfg(target_family = "wasm")]
mod kv_store;
#[cfg(target_family = "wasm")]
mod log;
#[cfg(target_family = "wasm")]
mod middleware;

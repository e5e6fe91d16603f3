//! The proxy-wasm ABI 0.2.1, as far as an HTTP filter in Envoy needs it.
//!
//! | module | its job |
//! | --- | --- |
//! | [`header_map`] | header maps as Envoy serializes them, read in place |
//! | `hostcalls` | what a filter asks of Envoy, one function per host call; WebAssembly only |
//! | `memory` | memory that Envoy allocates in the VM, and this crate frees; WebAssembly only |
//! | [`callbacks`] | what Envoy asks of a filter, and [`export!`], which exports that |
//!
//! This is the only crate of the workspace with `unsafe` code. Each block has its argument, and the
//! tests run under Miri (`cargo +nightly miri test -p proxy-wasm-abi`), against a host of their own.
//!
//! A filter exports only the callbacks that it needs: Envoy looks them up by name, and enters the VM
//! for no other.

pub mod callbacks;
pub mod header_map;
#[cfg(any(target_family = "wasm", test))]
pub mod hostcalls;
#[cfg(any(target_family = "wasm", test))]
pub mod memory;

pub use callbacks::{Action, Callbacks};
pub use header_map::HeaderMap;

//! The auth check as an Envoy filter. It moves bytes between Envoy and [`token_check`], which alone
//! decides. The package `envoy-filter` makes the module of it.
//!
//! Each module uses only those above it in this list:
//!
//! | module | its job |
//! | --- | --- |
//! | [`config`], [`host`], `grpc`, `id_map`, `local_reply` | settings; what the filter needs of Envoy; which requests Envoy treats as gRPC; a hash map keyed by Envoy's ids; the error messages of Envoy itself |
//! | `metrics`, `scheduler`, `signatures`, `upstream`, `waiting`, `workers` | counters; queue and timer; signatures that Envoy verifies (feature `jwt`); the way to the issuer; requests that wait; whether there are other workers |
//! | `request_lines` | the header lines of a request that matter |
//! | `calls` | introspection calls: queued, sent, lost |
//! | `dispatcher` | runs the actions of flights, and finds out which requests can continue |
//! | `filter` | takes requests to their verdict, and applies it |
//! | `http_context` | the callbacks of one stream |
//! | `root_context` | the callbacks of one plugin configuration |
//! | [`vm`] | passes each callback to its root context or stream |
//! | `start`, `proxy_wasm` | the callbacks of the VM whose host is Envoy; Envoy as a host; WebAssembly only |
//!
//! A cached request costs one host call that copies data into the VM: the one for its headers.

pub mod config;
pub mod host;

mod calls;
mod dispatcher;
mod filter;
mod grpc;
mod http_context;
mod id_map;
mod local_reply;
mod metrics;
#[cfg(target_family = "wasm")]
mod proxy_wasm;
mod request_lines;
mod root_context;
mod scheduler;
#[cfg(feature = "jwt")]
pub mod signatures;
#[cfg(target_family = "wasm")]
mod start;
mod upstream;
pub mod vm;
mod waiting;
mod workers;

pub use http_context::HttpContext;
pub use root_context::RootContext;
#[cfg(target_family = "wasm")]
pub use start::EnvoyFilter;
pub use vm::Vm;

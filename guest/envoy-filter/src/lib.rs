//! The auth check as an Envoy filter: the module that ships. A package of its own, because cargo
//! optimizes a whole program only if it makes no Rust library of it as well.

#![cfg(target_family = "wasm")]

use envoy_filter_core::EnvoyFilter;

// Envoy enters the filter for each callback that it exports, at some 1 500 instructions.
proxy_wasm_abi::export!(
    EnvoyFilter:
    on_context_create,
    on_configure,
    on_tick,
    on_queue_ready,
    on_http_call_response,
    on_request_headers,
    on_request_body,
    on_request_trailers,
    on_response_headers,
    on_done,
);

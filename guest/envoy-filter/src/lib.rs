//! The auth check as an Envoy filter: moves bytes between proxy-wasm and [`token_check`], which alone decides.
//!
//! - Host calls that take or give bytes only, and return results: one odd byte of a caller must not trap the VM that all
//!   callers of a worker share.
//! - One host call on the way of a request brings data into the VM (each costs a call back to allocate): the header map.
//! - Calls to the issuer are the root context's, see `gate`: a caller who leaves strands nobody.

pub mod settings;

#[cfg(target_family = "wasm")]
mod gate;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod issuer;
#[cfg(any(test, target_family = "wasm"))]
mod local_reply;
#[cfg(target_family = "wasm")]
mod metrics;
#[cfg(target_family = "wasm")]
mod root;
#[cfg(target_family = "wasm")]
mod stream;

#[cfg(target_family = "wasm")]
mod start {
    use crate::{host, root};

    proxy_wasm::main! {{
        // A panic's text may hold what a caller sent: only where it happened is told.
        std::panic::set_hook(Box::new(|panic| {
            if let Some(place) = panic.location() {
                host::log(host::LogLevel::Critical, &format!("panic at {place}"));
            }
        }));
        proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
    }}
}

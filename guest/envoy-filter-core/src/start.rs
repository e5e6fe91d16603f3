//! The callbacks of the one [`Vm`] whose host is Envoy, for the package that exports them.

use core::cell::RefCell;

use proxy_wasm_abi::hostcalls::{self, LogLevel};
use proxy_wasm_abi::{Action, Callbacks};

use crate::proxy_wasm::ProxyWasm;
use crate::vm::Vm;

thread_local! {
    static VM: RefCell<Vm<ProxyWasm>> = RefCell::new(Vm::new(ProxyWasm::new()));
}

/// Envoy makes no callback while another one runs in the same VM; if it did, `otherwise`.
fn vm<R>(otherwise: R, callback: impl FnOnce(&mut Vm<ProxyWasm>) -> R) -> R {
    VM.with(|vm| match vm.try_borrow_mut() {
        Ok(mut vm) => callback(&mut vm),
        Err(_) => otherwise,
    })
}

/// The filter. Envoy has one in each VM.
pub struct EnvoyFilter;

impl Callbacks for EnvoyFilter {
    fn on_start() {
        // A panic's message may hold what a caller sent: only its location is logged.
        std::panic::set_hook(Box::new(|panic| {
            if let Some(location) = panic.location() {
                let _ = hostcalls::log(LogLevel::Critical, &format!("panic at {location}"));
            }
        }));
    }

    fn on_context_create(context: u32, root: u32) {
        vm((), |vm| vm.on_context_create(context, root));
    }

    fn on_configure(root: u32, size: usize) -> bool {
        vm(false, |vm| vm.on_configure(root, size))
    }

    fn on_tick(root: u32) {
        vm((), |vm| vm.on_tick(root));
    }

    fn on_queue_ready(root: u32, queue: u32) {
        vm((), |vm| vm.on_queue_ready(root, queue));
    }

    fn on_http_call_response(context: u32, call: u32, headers: usize, body_size: usize) {
        vm((), |vm| {
            vm.on_http_call_response(context, call, headers, body_size);
        });
    }

    fn on_request_headers(context: u32) -> Action {
        vm(Action::Pause, |vm| vm.on_request_headers(context))
    }

    fn on_request_body(context: u32) -> Action {
        vm(Action::Pause, |vm| vm.on_request_body(context))
    }

    fn on_request_trailers(context: u32) -> Action {
        vm(Action::Pause, |vm| vm.on_request_trailers(context))
    }

    fn on_response_headers(context: u32) {
        vm((), |vm| vm.on_response_headers(context));
    }

    fn on_done(context: u32) {
        vm((), |vm| vm.on_done(context));
    }
}

//! The start of the VM: connects the contexts to the callbacks of the proxy-wasm SDK.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{self, Context};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use crate::host::FilterStatus;
use crate::host::proxy_wasm::ProxyWasm;
use crate::http_context::HttpContext;
use crate::root_context::RootContext;

proxy_wasm::main! {{
    // A panic's message may hold what a caller sent: only its location is logged.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(location) = panic.location() {
            let _ = hostcalls::log(LogLevel::Critical, &format!("panic at {location}"));
        }
    }));
    proxy_wasm::set_root_context(|id| Box::new(Root(RootContext::new(id, ProxyWasm::new()))));
}}

struct Root(RootContext<ProxyWasm>);

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body_size: usize, _: usize) {
        self.0.on_call_response(call, headers, body_size);
    }
}

impl traits::RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        self.0.on_configure(size)
    }

    fn on_queue_ready(&mut self, queue: u32) {
        self.0.on_queue_ready(queue);
    }

    fn on_tick(&mut self) {
        self.0.on_tick();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn traits::HttpContext>> {
        Some(Box::new(Stream(self.0.create_http_context(id))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream(HttpContext<ProxyWasm>);

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        self.0.on_done();
        true
    }
}

impl traits::HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        action(self.0.on_request_headers())
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        action(self.0.on_request_body())
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        action(self.0.on_request_trailers())
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.0.on_response_headers();
        Action::Continue
    }
}

const fn action(status: FilterStatus) -> Action {
    match status {
        FilterStatus::Continue => Action::Continue,
        FilterStatus::Pause => Action::Pause,
    }
}

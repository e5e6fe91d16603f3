//! One plugin configuration in one worker.

use core::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use token_check::Summary;

use crate::gate::{Gate, SharedGate};
use crate::host::{self, LogLevel};
use crate::settings::Settings;
use crate::stream::Stream;

/// Where the workers share what the log was told last.
const TOLD: &str = "trust-triangle.told";

pub(crate) struct Root {
    id: u32,
    gate: Option<SharedGate>,
}

impl Root {
    pub(crate) const fn new(id: u32) -> Self {
        Self { id, gate: None }
    }

    fn configure(&self, size: usize) -> Result<Gate, String> {
        let configuration = host::configuration(size);
        let settings = Settings::read(&configuration, std::env::vars_os())
            .map_err(|error| error.to_string())?;
        tell(&settings.policy.summary());
        let seed = host::random().ok_or("the host gives no random bytes")?;
        Ok(Gate::new(self.id, settings, seed))
    }
}

/// Tells the log what is demanded: once, and not in each of Envoy's workers, which share the slot.
fn tell(summary: &Summary) {
    if let Some(slot) = host::shared(TOLD) {
        if slot.bytes.as_deref() == Some(summary.line.as_bytes()) {
            return;
        }
        if let Ok(false) = host::share_if(TOLD, summary.line.as_bytes(), &slot) {
            return;
        }
    }
    let level = if summary.is_open {
        LogLevel::Warn
    } else {
        LogLevel::Info
    };
    host::log(level, &summary.line);
}

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body_size: usize, _: usize) {
        if let Some(gate) = &self.gate {
            gate.borrow_mut().called_back(call, headers, body_size);
        }
    }
}

impl RootContext for Root {
    /// `false`: Envoy refuses the configuration, and with `fail_open: false` every request that needs it.
    fn on_configure(&mut self, size: usize) -> bool {
        match self.configure(size) {
            Ok(gate) => {
                self.gate = Some(Rc::new(RefCell::new(gate)));
                true
            }
            Err(error) => {
                host::log(LogLevel::Error, &error);
                false
            }
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if let Some(gate) = &self.gate {
            gate.borrow_mut().rung(queue);
        }
    }

    fn on_tick(&mut self) {
        if let Some(gate) = &self.gate {
            gate.borrow_mut().tick();
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, self.gate.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

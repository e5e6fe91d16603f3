//! The callbacks of one plugin configuration in one worker.

use core::cell::RefCell;
use std::rc::Rc;

use token_check::{Now, Summary};

use crate::config::Config;
use crate::filter::{Filter, SharedFilter};
use crate::host::{Host, LogLevel};
use crate::http_context::HttpContext;
#[cfg(feature = "jwt")]
use crate::signatures;

/// The key under which workers share the summary that was logged last.
const LOGGED_SUMMARY: &str = "trust-triangle.summary";

/// One plugin configuration in one worker.
pub struct RootContext<H> {
    host: H,
    id: u32,
    /// `None`: the configuration is wrong, and no request gets in.
    filter: Option<SharedFilter<H>>,
}

impl<H: Host> RootContext<H> {
    /// Not yet configured.
    #[must_use]
    pub const fn new(id: u32, host: H) -> Self {
        Self {
            host,
            id,
            filter: None,
        }
    }

    /// Reads the configuration, `size` bytes. `false`: Envoy rejects it, and with `fail_open:
    /// false` every request that needs it.
    #[must_use]
    pub fn on_configure(&mut self, size: usize) -> bool {
        match self.configure(size) {
            Ok(filter) => {
                self.filter = Some(Rc::new(RefCell::new(filter)));
                true
            }
            Err(error) => {
                self.host.log(LogLevel::Error, &error);
                false
            }
        }
    }

    /// A stream begins.
    #[must_use]
    pub fn create_http_context(&self, id: u32) -> HttpContext<H> {
        HttpContext::new(self.host.clone(), id, self.filter.clone())
    }

    /// The queue of this root context has an item.
    pub fn on_queue_ready(&mut self, queue: u32) {
        if let Some(filter) = &self.filter {
            filter.borrow_mut().on_queue_ready(queue);
        }
    }

    /// The timer has fired. `is_alone`: there is no other worker to share results with.
    pub fn on_tick(&mut self, now: Now, is_alone: bool) {
        if let Some(filter) = &self.filter {
            filter.borrow_mut().on_tick(now, is_alone);
        }
    }

    /// A call has ended; `headers`: how many header lines its response has, 0 if there is none.
    pub fn on_call_response(&mut self, call: u32, headers: usize, body_size: usize) {
        if let Some(filter) = &self.filter {
            filter
                .borrow_mut()
                .on_call_response(call, headers, body_size);
        }
    }

    /// Tells Envoy what was counted, as the timer does.
    pub fn flush_metrics(&self) {
        if let Some(filter) = &self.filter {
            filter.borrow().flush_metrics();
        }
    }

    fn configure(&self, size: usize) -> Result<Filter<H>, String> {
        let configuration = self.host.configuration(size);
        let config = Config::read(&configuration, self.host.environment())
            .map_err(|error| error.to_string())?;
        #[cfg(feature = "jwt")]
        if config.policy.needs_signature() {
            let signatures = signatures::tested(self.host.clone());
            let checked = config.policy.check_signatures(&signatures);
            checked.map_err(|error| error.to_string())?;
        }
        self.log_summary(&config.policy.summary());
        let seed = self
            .host
            .random()
            .ok_or("the host provides no random bytes")?;
        Ok(Filter::new(self.host.clone(), self.id, config, seed))
    }

    /// Logs what is required of tokens: once, and not in each of Envoy's workers.
    fn log_summary(&self, summary: &Summary) {
        if let Ok(logged) = self.host.shared_data(LOGGED_SUMMARY) {
            if logged.value.as_deref() == Some(summary.line.as_bytes()) {
                return;
            }
            let swapped = self.host.compare_and_swap_shared_data(
                LOGGED_SUMMARY,
                logged.version,
                summary.line.as_bytes(),
            );
            if swapped == Ok(false) {
                return;
            }
        }
        let level = if summary.is_warning {
            LogLevel::Warn
        } else {
            LogLevel::Info
        };
        self.host.log(level, &summary.line);
    }
}

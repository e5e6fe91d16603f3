//! One request.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use token_check::{Reason, is_identity_header};

use crate::gate::{Carried, SharedGate};
use crate::host;

pub(crate) struct Stream {
    id: u32,
    /// `None` while our settings are wrong, which lets nobody in.
    gate: Option<SharedGate>,
    waits: bool,
}

impl Stream {
    pub(crate) const fn new(id: u32, gate: Option<SharedGate>) -> Self {
        Self {
            id,
            gate,
            waits: false,
        }
    }

    fn forget(&mut self) {
        if let (true, Some(gate)) = (self.waits, &self.gate) {
            self.waits = false;
            gate.borrow_mut().forget(self.id);
        }
    }
}

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        self.forget();
        true
    }
}

impl HttpContext for Stream {
    /// `Pause` holds the body back too, by back-pressure: nothing of it is buffered here or looked at.
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let headers = host::request_headers();
        let is_clean = headers
            .iter()
            .filter(|(name, _)| is_identity_header(name.as_bytes()))
            .all(|(name, _)| host::remove_request_header(name));
        let Some(gate) = self.gate.as_ref().filter(|_| is_clean) else {
            let reply = Reason::Misconfigured.reply(None, None);
            host::reply(reply.status, &reply.headers, &reply.body);
            return Action::Pause;
        };
        match gate.borrow_mut().begin(self.id, &headers) {
            Some(Carried::Forward) => Action::Continue,
            Some(Carried::Answered) => Action::Pause,
            None => {
                self.waits = true;
                Action::Pause
            }
        }
    }

    /// Comes to a request that waits only if Envoy answered it, after a timeout of its own for example.
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.forget();
        Action::Continue
    }
}

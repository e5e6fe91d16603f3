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

    /// What follows the head waits as the head does.
    fn held(&self) -> Action {
        match &self.gate {
            Some(gate) if self.waits && gate.borrow().is_waiting(self.id) => Action::Pause,
            Some(_) => Action::Continue,
            None => Action::Pause,
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

    /// With `allow_on_headers_stop_iteration` Envoy does not hold the body back by itself, and `Continue` here would let the
    /// request go on without a decision.
    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.held()
    }

    /// Some servers take trailers for headers.
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let is_clean = host::request_trailers()
            .iter()
            .filter(|(name, _)| is_identity_header(name.as_bytes()))
            .all(|(name, _)| host::remove_request_trailer(name));
        if is_clean { self.held() } else { Action::Pause }
    }

    /// Comes to a request that waits only if Envoy answered it, after a timeout of its own for example. Its stream may stay
    /// for as long as its caller does not read the answer.
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.forget();
        Action::Continue
    }
}

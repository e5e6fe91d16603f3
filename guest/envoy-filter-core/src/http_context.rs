//! The callbacks of one stream.

use token_check::{Reason, Response, is_identity_header};

use crate::filter::{Applied, SharedFilter, refuse, refused};
use crate::grpc;
use crate::host::{Action, Host};
use crate::request_lines::RequestLines;

/// One request and its response.
pub struct HttpContext<H> {
    host: H,
    id: u32,
    /// `None`: nothing of the request may pass: the configuration is wrong, or Envoy did not let the
    /// filter edit or answer it.
    filter: Option<SharedFilter<H>>,
    /// Whether the request has waited.
    has_waited: bool,
    /// Whether Envoy takes the request for gRPC, and it is not.
    is_false_grpc: bool,
}

impl<H: Host> HttpContext<H> {
    pub(crate) const fn new(host: H, id: u32, filter: Option<SharedFilter<H>>) -> Self {
        Self {
            host,
            id,
            filter,
            has_waited: false,
            is_false_grpc: false,
        }
    }

    /// `Pause` holds the body back too, by back-pressure: the filter neither buffers nor reads it.
    pub fn on_request_headers(&mut self) -> Action {
        let headers = self.host.request_headers();
        let lines = RequestLines::read(&headers, |name| self.host.remove_request_header(name));
        self.is_false_grpc =
            lines.is_grpc_to_envoy && grpc::is_false(&headers, || self.host.request_protocol());
        if !lines.is_clean {
            self.filter = None;
        }
        let Some(filter) = &self.filter else {
            let response = Response::misconfigured(None);
            // Without a filter nothing passes, whether or not Envoy took the response.
            let _ = refuse(&self.host, Reason::Misconfigured, &response);
            return Action::Pause;
        };
        let applied = filter.borrow_mut().begin(self.id, &headers, &lines);
        match applied {
            Applied::Forwarded => return Action::Continue,
            Applied::Answered => {}
            Applied::Held => self.filter = None,
            Applied::Waits => self.has_waited = true,
        }
        Action::Pause
    }

    /// With `allow_on_headers_stop_iteration` Envoy does not hold the body back by itself, and
    /// `Continue` here would let the request pass without a decision.
    pub fn on_request_body(&mut self) -> Action {
        self.hold_while_waiting()
    }

    /// For a request that waits this happens only if Envoy answered it, for example after a timeout
    /// of its own. Its stream may exist for as long as its caller does not read the response.
    pub fn on_response_headers(&mut self) {
        self.forget();
        if self.is_false_grpc
            && let Some(reason) = refused(&self.host)
        {
            grpc::restore_status(&self.host, reason.status());
        }
    }

    /// Whether anything is left to do about this stream, after its headers.
    pub(crate) const fn is_needed(&self) -> bool {
        self.has_waited || self.is_false_grpc || self.filter.is_none()
    }

    /// The stream has ended.
    pub fn on_done(&mut self) {
        self.forget();
    }

    fn hold_while_waiting(&self) -> Action {
        match &self.filter {
            Some(filter) if self.has_waited && filter.borrow().is_waiting(self.id) => Action::Pause,
            Some(_) => Action::Continue,
            None => Action::Pause,
        }
    }

    fn forget(&mut self) {
        if let (true, Some(filter)) = (self.has_waited, &self.filter) {
            self.has_waited = false;
            filter.borrow_mut().forget(self.id);
        }
    }
}

/// Removes identity trailers and credentials, because some servers merge trailers into headers.
/// RFC 9110 section 6.5.1 allows no credentials there; those of a trailer went unchecked, so they do
/// not go on with `forward_token` either. `false`: they may still be there.
pub(crate) fn remove_unsafe_trailers(host: &impl Host) -> bool {
    let is_unsafe =
        |name: &[u8]| is_identity_header(name) || name.eq_ignore_ascii_case(b"authorization");
    (host.request_trailers().iter())
        .filter(|(name, _)| is_unsafe(name))
        .all(|(name, _)| host.remove_request_trailer(name))
}

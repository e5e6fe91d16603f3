//! The callbacks of one stream.

use token_check::{Reason, Response, is_identity_header};

use crate::filter::{Applied, SharedFilter, refuse, refused};
use crate::grpc;
use crate::host::{FilterStatus, Host};

/// One request and its response.
pub struct HttpContext<H> {
    host: H,
    id: u32,
    /// `None`: the configuration is wrong, and no request gets in.
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
    pub fn on_request_headers(&mut self) -> FilterStatus {
        let headers = self.host.request_headers();
        self.is_false_grpc = grpc::is_false(&headers, || self.host.request_protocol());
        let is_clean = headers
            .iter()
            .filter(|(name, _)| is_identity_header(name.as_bytes()))
            .all(|(name, _)| self.host.remove_request_header(name));
        let Some(filter) = self.filter.as_ref().filter(|_| is_clean) else {
            let response = Response::misconfigured(None);
            refuse(&self.host, Reason::Misconfigured, &response);
            return FilterStatus::Pause;
        };
        match filter.borrow_mut().begin(self.id, &headers) {
            Applied::Forwarded => FilterStatus::Continue,
            Applied::Answered => FilterStatus::Pause,
            Applied::Waits => {
                self.has_waited = true;
                FilterStatus::Pause
            }
        }
    }

    /// With `allow_on_headers_stop_iteration` Envoy does not hold the body back by itself, and
    /// `Continue` here would let the request pass without a decision.
    pub fn on_request_body(&mut self) -> FilterStatus {
        self.hold_while_waiting()
    }

    /// Removes identity trailers, because some servers merge trailers into headers.
    pub fn on_request_trailers(&mut self) -> FilterStatus {
        let is_clean = (self.host.request_trailers().iter())
            .filter(|(name, _)| is_identity_header(name.as_bytes()))
            .all(|(name, _)| self.host.remove_request_trailer(name));
        if is_clean {
            self.hold_while_waiting()
        } else {
            FilterStatus::Pause
        }
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

    /// The stream has ended.
    pub fn on_done(&mut self) {
        self.forget();
    }

    fn hold_while_waiting(&self) -> FilterStatus {
        match &self.filter {
            Some(filter) if self.has_waited && filter.borrow().is_waiting(self.id) => {
                FilterStatus::Pause
            }
            Some(_) => FilterStatus::Continue,
            None => FilterStatus::Pause,
        }
    }

    fn forget(&mut self) {
        if let (true, Some(filter)) = (self.has_waited, &self.filter) {
            self.has_waited = false;
            filter.borrow_mut().forget(self.id);
        }
    }
}

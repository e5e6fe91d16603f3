//! Requests that wait for a flight, and which of them can continue.

use core::time::Duration;
use std::collections::VecDeque;

use token_check::PendingRequest;

use crate::id_map::IdMap;

pub(crate) struct WaitingRequest {
    pub(crate) pending: PendingRequest,
    /// The method of a request for the path that the filter answers itself.
    pub(crate) whoami_method: Option<Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct WaitingRequests {
    /// By stream context.
    requests: IdMap<WaitingRequest>,
    /// Stream contexts of requests that can continue. Some may have ended or continued since.
    ready: VecDeque<u32>,
}

impl WaitingRequests {
    pub(crate) fn insert(&mut self, stream: u32, request: WaitingRequest) {
        self.requests.insert(stream, request);
    }

    pub(crate) fn remove(&mut self, stream: u32) {
        self.requests.remove(&stream);
    }

    pub(crate) fn contains(&self, stream: u32) -> bool {
        self.requests.contains_key(&stream)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(crate) fn make_ready(&mut self, streams: impl IntoIterator<Item = u32>) {
        self.ready.extend(streams);
    }

    /// Makes the requests ready whose deadline has come, unless others still are.
    pub(crate) fn make_overdue_ready(&mut self, now: Duration) {
        if self.ready.is_empty() {
            let overdue = (self.requests.iter())
                .filter(|(_, request)| now >= request.pending.deadline())
                .map(|(stream, _)| *stream);
            self.ready.extend(overdue);
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Removes the next request that can continue.
    pub(crate) fn take_ready(&mut self) -> Option<(u32, WaitingRequest)> {
        while let Some(stream) = self.ready.pop_front() {
            if let Some(request) = self.requests.remove(&stream) {
                return Some((stream, request));
            }
        }
        None
    }
}

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

struct Entry {
    request: WaitingRequest,
    /// Whether the request is in [`WaitingRequests::ready`].
    is_ready: bool,
}

#[derive(Default)]
pub(crate) struct WaitingRequests {
    /// By stream context.
    entries: IdMap<Entry>,
    /// Stream contexts of requests that can continue. Some may have ended since.
    ready: VecDeque<u32>,
}

impl WaitingRequests {
    pub(crate) fn insert(&mut self, stream: u32, request: WaitingRequest) {
        let is_ready = false;
        self.entries.insert(stream, Entry { request, is_ready });
    }

    pub(crate) fn remove(&mut self, stream: u32) -> Option<WaitingRequest> {
        self.entries.remove(&stream).map(|entry| entry.request)
    }

    pub(crate) fn contains(&self, stream: u32) -> bool {
        self.entries.contains_key(&stream)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// These requests can continue, as far as they still wait.
    pub(crate) fn make_ready(&mut self, streams: impl IntoIterator<Item = u32>) {
        for stream in streams {
            if let Some(entry) = self.entries.get_mut(&stream)
                && !entry.is_ready
            {
                entry.is_ready = true;
                self.ready.push_back(stream);
            }
        }
    }

    /// Requests whose deadline has come can continue.
    pub(crate) fn make_overdue_ready(&mut self, now: Duration) {
        for (stream, entry) in &mut self.entries {
            if !entry.is_ready && now >= entry.request.pending.deadline() {
                entry.is_ready = true;
                self.ready.push_back(*stream);
            }
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Removes the next request that can continue.
    pub(crate) fn take_ready(&mut self) -> Option<(u32, WaitingRequest)> {
        while let Some(stream) = self.ready.pop_front() {
            if let Some(entry) = self.entries.remove(&stream) {
                return Some((stream, entry.request));
            }
        }
        None
    }
}

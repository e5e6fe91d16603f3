//! One VM: passes each callback of Envoy to the root context or the stream that it is about.
//!
//! Envoy enters the VM for each callback that the filter exports. What a callback costs every
//! request is therefore kept small: a stream has an object only while something about it is left to
//! do, which is rare.

use proxy_wasm_abi::Action;

use crate::host::Host;
use crate::http_context::{HttpContext, remove_unsafe_trailers};
use crate::id_map::IdMap;
use crate::root_context::RootContext;
use crate::workers::Workers;

/// The plugin configurations that share a VM, and their streams.
pub struct Vm<H> {
    host: H,
    /// Those whose configuration Envoy still uses: one, and a second one while streams of the
    /// previous configuration go on.
    roots: Vec<(u32, RootContext<H>)>,
    workers: Workers<H>,
    /// Whether there has been one.
    has_requests: bool,
    /// The context that began last, and its root. A stream's headers follow at once.
    begun: (u32, u32),
    /// Streams that wait, or whose response has to be looked at.
    streams: IdMap<HttpContext<H>>,
}

impl<H: Host> Vm<H> {
    /// A VM without a configuration.
    #[must_use]
    pub fn new(host: H) -> Self {
        Self {
            workers: Workers::new(host.clone()),
            has_requests: false,
            host,
            roots: Vec::new(),
            begun: (0, 0),
            streams: IdMap::default(),
        }
    }

    /// A context begins. `root`: its root context; 0 if it is one.
    pub fn on_context_create(&mut self, context: u32, root: u32) {
        self.begun = (context, root);
        if root == 0 {
            let new = RootContext::new(context, self.host.clone());
            self.roots.push((context, new));
        }
    }

    /// See [`RootContext::on_configure`].
    #[must_use]
    pub fn on_configure(&mut self, root: u32, size: usize) -> bool {
        self.root(root).is_some_and(|root| root.on_configure(size))
    }

    /// See [`RootContext::on_tick`].
    pub fn on_tick(&mut self, root: u32) {
        let now = self.host.now();
        let is_alone = self.workers.is_alone(self.has_requests, now.monotonic);
        if let Some(root) = self.root(root) {
            root.on_tick(now, is_alone);
        }
    }

    /// See [`RootContext::on_queue_ready`].
    pub fn on_queue_ready(&mut self, root: u32, queue: u32) {
        if let Some(root) = self.root(root) {
            root.on_queue_ready(queue);
        }
    }

    /// See [`RootContext::on_call_response`]. Calls are sent by root contexts only.
    pub fn on_http_call_response(
        &mut self,
        root: u32,
        call: u32,
        headers: usize,
        body_size: usize,
    ) {
        if let Some(root) = self.root(root) {
            root.on_call_response(call, headers, body_size);
        }
    }

    /// See [`HttpContext::on_request_headers`].
    pub fn on_request_headers(&mut self, stream: u32) -> Action {
        self.has_requests = true;
        let (context, root) = self.begun;
        let root = (context == stream).then_some(root);
        let mut http = match root.and_then(|root| self.root(root)) {
            Some(root) => root.create_http_context(stream),
            // It belongs to no configuration: nothing of it may pass.
            None => HttpContext::new(self.host.clone(), stream, None),
        };
        let action = http.on_request_headers();
        if http.is_needed() {
            self.streams.insert(stream, http);
        }
        action
    }

    /// See [`HttpContext::on_request_body`].
    pub fn on_request_body(&mut self, stream: u32) -> Action {
        match self.stream(stream) {
            Some(http) => http.on_request_body(),
            None => Action::Continue,
        }
    }

    /// Removes trailers that a server could take for headers. Else as the end of the body.
    pub fn on_request_trailers(&mut self, stream: u32) -> Action {
        if !remove_unsafe_trailers(&self.host) {
            return Action::Pause;
        }
        self.on_request_body(stream)
    }

    /// See [`HttpContext::on_response_headers`].
    pub fn on_response_headers(&mut self, stream: u32) {
        if let Some(http) = self.stream(stream) {
            http.on_response_headers();
        }
    }

    /// A context ends.
    pub fn on_done(&mut self, context: u32) {
        if !self.streams.is_empty()
            && let Some(mut http) = self.streams.remove(&context)
        {
            http.on_done();
        }
        if let Some(at) = self.roots.iter().position(|(id, _)| *id == context) {
            let (_, root) = self.roots.swap_remove(at);
            root.flush_metrics();
            if self.roots.is_empty() {
                self.workers.leave();
            }
        }
    }

    /// Tells Envoy what was counted, as the timer does.
    pub fn flush_metrics(&self) {
        for (_, root) in &self.roots {
            root.flush_metrics();
        }
    }

    /// How many configurations are in use.
    #[must_use]
    pub const fn root_contexts(&self) -> usize {
        self.roots.len()
    }

    fn root(&mut self, id: u32) -> Option<&mut RootContext<H>> {
        let root = self.roots.iter_mut().find(|(known, _)| *known == id);
        root.map(|(_, root)| root)
    }

    fn stream(&mut self, id: u32) -> Option<&mut HttpContext<H>> {
        if self.streams.is_empty() {
            return None;
        }
        self.streams.get_mut(&id)
    }
}

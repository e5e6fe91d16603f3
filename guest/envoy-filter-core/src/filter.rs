//! Takes each request to its verdict, and applies that to the request's stream.

use core::cell::RefCell;
use core::task::Poll;
use std::rc::Rc;

use token_check::{
    ALL_REASONS, AuthCheck, CacheStatus, CertificateSource, Decision, Grant, Now, Reason,
    RequestHead, Response, Sharing, Verdict,
};

use crate::calls::Calls;
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::host::{HeaderMap, Host, LogLevel};
use crate::id_map::IdMap;
use crate::metrics::Metrics;
use crate::request_lines::RequestLines;
#[cfg(feature = "jwt")]
use crate::signatures;
use crate::upstream::Upstream;

/// What the access log shows of a decision.
const DECISION: &str = "auth_decision";
const REASON: &str = "auth_reason";

/// Bounds recursion: Envoy performs requested actions after the callback, and re-enters the VM for
/// each. Thousands would overflow the stack.
const MAX_WAKES_PER_CALLBACK: usize = 8;

pub(crate) type SharedFilter<H> = Rc<RefCell<Filter<H>>>;

/// What was done to a request.
pub(crate) enum Applied {
    /// It may continue to the next filter, as edited.
    Forwarded,
    /// It has its response.
    Answered,
    /// Envoy did not take the response. Nothing of the request may pass.
    Held,
    /// Nothing yet.
    Waits,
}

/// The auth check of one plugin configuration in one worker.
pub(crate) struct Filter<H> {
    host: H,
    dispatcher: Dispatcher<H>,
    whoami_path: Option<String>,
    /// Whether granted requests get filter state.
    has_filter_state: bool,
    /// Streams whose verdict could not be applied. Nothing more of them may pass.
    undecided: IdMap<()>,
}

impl<H: Host> Filter<H> {
    /// `root`: the root context. `seed`: random bytes.
    pub(crate) fn new(host: H, root: u32, config: Config, seed: [u8; 16]) -> Self {
        #[cfg(feature = "jwt")]
        let policy = &config.policy;
        #[cfg(feature = "jwt")]
        let verifies = policy.verifies() || policy.accepts_dpop() || policy.needs_signature();
        let check = AuthCheck::new(config.policy, seed).sharing(Sharing::CompareAndSwap);
        #[cfg(feature = "jwt")]
        let check = match verifies {
            true => check.verifying_with(Box::new(signatures::tested(host.clone()))),
            false => check,
        };
        let upstream = Upstream::new(host.clone(), config.issuer, config.issuer_cluster);
        let metrics = Metrics::define(host.clone());
        Self {
            dispatcher: Dispatcher::new(host.clone(), root, check, Calls::new(upstream), metrics),
            host,
            whoami_path: config.whoami_path,
            has_filter_state: config.has_filter_state,
            undecided: IdMap::default(),
        }
    }

    /// A request has arrived. The effective context is its stream.
    /// `lines`: those of `headers` that matter.
    pub(crate) fn begin(
        &mut self,
        stream: u32,
        headers: &HeaderMap,
        lines: &RequestLines<'_>,
    ) -> Applied {
        let whoami_method = lines.method.filter(|_| self.is_whoami(lines.path));
        let policy = self.dispatcher.policy();
        let dpop = match policy.accepts_dpop() {
            true => values(headers, "dpop"),
            false => Vec::new(),
        };
        let (certificate, digest, certificates);
        let client_certificate = match policy.certificate_source() {
            CertificateSource::None => [].as_slice(),
            CertificateSource::Connection => {
                certificate = self.host.client_certificate();
                digest = certificate.as_deref();
                digest.as_slice()
            }
            CertificateSource::Header(name) => {
                certificates = values(headers, name);
                &certificates
            }
        };
        let head = RequestHead {
            authorization: &lines.authorization,
            method: lines.method.unwrap_or_default(),
            authority: lines.authority,
            path_and_query: lines.path,
            dpop: &dpop,
            client_certificate,
            traceparent: &lines.traceparent,
        };
        let now = self.host.now();
        let applied = match self.dispatcher.begin(stream, &head, whoami_method, now) {
            Poll::Ready(verdict) => self.apply(verdict, whoami_method),
            Poll::Pending => Applied::Waits,
        };
        self.dispatcher.start_metrics_tick();
        applied
    }

    /// Whether the stream has waited, and has no verdict yet.
    pub(crate) fn is_waiting(&self, stream: u32) -> bool {
        self.dispatcher.is_waiting(stream) || self.undecided.contains_key(&stream)
    }

    /// The stream has ended, or Envoy has answered it.
    pub(crate) fn forget(&mut self, stream: u32) {
        self.dispatcher.forget(stream);
        self.undecided.remove(&stream);
    }

    pub(crate) fn on_queue_ready(&mut self, queue: u32) {
        self.dispatcher.on_queue_ready(queue);
        self.work(self.host.now());
    }

    pub(crate) fn on_tick(&mut self, now: Now, is_alone: bool) {
        self.dispatcher.on_tick(now, is_alone);
        self.work(now);
        self.dispatcher.return_to_root();
        // Before the timer may stop.
        self.dispatcher.flush_metrics(now);
        self.dispatcher.set_tick_period();
    }

    /// Tells Envoy what was counted.
    pub(crate) fn flush_metrics(&self) {
        self.dispatcher.metrics().flush();
    }

    /// The callback of a call. The effective context is the root.
    pub(crate) fn on_call_response(&mut self, call: u32, headers: usize, body_size: usize) {
        let now = self.host.now();
        self.dispatcher
            .on_call_response(call, headers, body_size, now);
        self.work(now);
    }

    fn is_whoami(&self, path: Option<&[u8]>) -> bool {
        let (Some(whoami_path), Some(path)) = (&self.whoami_path, path) else {
            return false;
        };
        path.split(|b| *b == b'?').next() == Some(whoami_path.as_bytes())
    }

    /// What every callback of the root context does.
    fn work(&mut self, now: Now) {
        self.dispatcher.send_queued(now);
        for _ in 0..MAX_WAKES_PER_CALLBACK {
            let Some((stream, request)) = self.dispatcher.take_ready() else {
                break;
            };
            let whoami_method = request.whoami_method.as_deref();
            let status = (self.dispatcher).resume(stream, request.pending, whoami_method, now);
            let Poll::Ready(verdict) = status else {
                continue;
            };
            if !self.host.set_effective_context(stream) {
                self.undecided.insert(stream, ());
                continue;
            }
            match self.apply(verdict, whoami_method) {
                Applied::Forwarded => self.host.resume_request(),
                Applied::Held => {
                    self.undecided.insert(stream, ());
                }
                Applied::Answered | Applied::Waits => {}
            }
        }
        self.dispatcher.end_callback();
    }

    /// Applies a verdict to the request whose stream is the effective context.
    fn apply(&self, verdict: Verdict, whoami_method: Option<&[u8]>) -> Applied {
        if let Some(line) = &verdict.audit {
            self.host.log(LogLevel::Info, line);
        }
        self.dispatcher.log_event(verdict.event.as_ref());
        if let Some(cache) = verdict.cache {
            self.dispatcher.metrics().cache(cache);
            // The common status costs no host call.
            if cache != CacheStatus::Hit {
                self.host.set_filter_state("auth_cache", cache.name());
            }
        }
        match verdict.decision {
            Decision::Granted(grant) => self.grant(&grant, whoami_method),
            Decision::Refused(refusal) => {
                let response = refusal.response(self.dispatcher.policy());
                self.refuse(refusal.reason(), &response)
            }
            Decision::Answered(response) => {
                self.host.set_filter_state(DECISION, "metadata");
                self.dispatcher.metrics().metadata();
                answered((self.host).send_local_reply(
                    response.status,
                    &response.headers,
                    &response.body,
                ))
            }
        }
    }

    fn grant(&self, grant: &Grant, whoami_method: Option<&[u8]>) -> Applied {
        if self.has_filter_state {
            self.host.set_filter_state(DECISION, "granted");
            if let Some(client_id) = header(grant, "x-auth-client-id") {
                self.host.set_filter_state("auth_client_id", client_id);
            }
        }
        // Also of a request that the filter answers: the access log shows its headers.
        if !self.edit_request(grant) {
            let line = "Envoy did not let the filter edit the request headers";
            self.host.log(LogLevel::Error, line);
            let response = Response::misconfigured(Some(self.dispatcher.policy()));
            return self.refuse(Reason::Misconfigured, &response);
        }
        self.dispatcher.metrics().granted();
        let Some(method) = whoami_method else {
            return Applied::Forwarded;
        };
        let claims = header(grant, whoami::CLAIMS_HEADER).map(str::as_bytes);
        let answer = whoami::answer(method, claims);
        answered((self.host).send_local_reply(answer.status, &answer.headers, &answer.body))
    }

    fn refuse(&self, reason: Reason, response: &Response) -> Applied {
        self.dispatcher.metrics().refused(reason);
        answered(refuse(&self.host, reason, response))
    }

    /// Makes the request the one that the grant describes. Client-sent identity headers are gone by
    /// now.
    fn edit_request(&self, grant: &Grant) -> bool {
        grant
            .headers()
            .all(|(name, value)| self.host.add_request_header(name, value))
            && (grant.forward_token || self.host.remove_request_header(b"authorization"))
    }
}

const fn answered(is_accepted: bool) -> Applied {
    if is_accepted {
        Applied::Answered
    } else {
        Applied::Held
    }
}

/// Refuses the request whose stream is the effective context. `false`: it has no response.
#[must_use]
pub(crate) fn refuse(host: &impl Host, reason: Reason, response: &Response) -> bool {
    host.set_filter_state(DECISION, "refused");
    host.set_filter_state(REASON, reason.name());
    host.send_local_reply(response.status, &response.headers, &response.body)
}

/// Why the filter refused the request whose stream is the effective context, if it did.
pub(crate) fn refused(host: &impl Host) -> Option<Reason> {
    let name = host.filter_state(REASON)?;
    ALL_REASONS
        .iter()
        .copied()
        .find(|reason| reason.name() == name)
}

/// The value of each header line of this name.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let lines = headers.iter();
    let lines = lines.filter(|(known, _)| *known == name.as_bytes());
    lines.map(|(_, value)| value).collect()
}

fn header<'a>(grant: &'a Grant, name: &str) -> Option<&'a str> {
    grant
        .headers()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

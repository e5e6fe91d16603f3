//! The way to the issuer, an Envoy cluster for each call: how it is sent through it, and how to read
//! what came back.

use core::time::Duration;

use token_check::{BodyCollector, CallFailure, CallTarget, IssuerCall, IssuerResponse, USER_AGENT};

use crate::config::{HTTP_CLUSTER, HTTPS_CLUSTER, IssuerCluster, Origin};
use crate::host::{DispatchError, HeaderMap, Host};
use crate::local_reply;

/// Envoy's router adds it to every response that came from upstream, and to none that Envoy made.
const FROM_UPSTREAM: &[u8] = b"x-envoy-upstream-service-time";

/// Envoy's timers use a clock that a worker reads once per turn of its loop, so a timeout may
/// appear to fire up to this much early.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

/// How much of a local reply of Envoy is read, in bytes: its text, and the names of a certificate.
const MAX_LOCAL_REPLY_BYTES: usize = 4096;

/// Targets of calls whose lines are kept: more than issuers mostly have, whose metadata may change
/// them.
const MAX_TARGETS: usize = 16;

/// Envoy treats a timeout of 0 as none.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// How a call ended.
pub(crate) enum CallOutcome {
    /// The issuer responded.
    Response(IssuerResponse),
    /// The call failed, and another attempt would not help.
    Failed(CallFailure),
    /// Envoy had no connection to send it on, or lost it before the response began.
    NoConnection(CallFailure),
}

impl From<DispatchError> for CallOutcome {
    fn from(error: DispatchError) -> Self {
        match error {
            // There is no such cluster: what this Envoy may reach does not include the issuer.
            DispatchError::BadArgument => Self::Failed(CallFailure::Denied),
            DispatchError::InternalFailure => Self::NoConnection(CallFailure::NoUpstream),
            DispatchError::Other => Self::NoConnection(CallFailure::Unreachable),
        }
    }
}

/// An ended call, as its callback reports it.
#[derive(Clone, Copy)]
pub(crate) struct EndedCall {
    /// Number of header lines of the response. 0: there is none.
    pub(crate) headers: usize,
    pub(crate) body_size: usize,
    pub(crate) took: Duration,
    pub(crate) timeout: Duration,
}

pub(crate) struct Upstream<H> {
    host: H,
    /// `None`: the shipped ones alone.
    cluster: Option<IssuerCluster>,
    /// To which the first connection is made.
    issuer: Option<Origin>,
    /// The header lines that all calls with a target have.
    lines: Vec<(CallTarget, HeaderMap)>,
}

impl<H: Host> Upstream<H> {
    /// `issuer`: `None` if no call is ever made. `cluster`: besides the shipped ones.
    pub(crate) const fn new(
        host: H,
        issuer: Option<Origin>,
        cluster: Option<IssuerCluster>,
    ) -> Self {
        Self {
            host,
            cluster,
            issuer,
            lines: Vec::new(),
        }
    }

    /// The cluster that a call goes through.
    pub(crate) fn cluster_of(&self, call: &impl IssuerCall) -> &str {
        self.cluster_for(call.is_https(), call.authority())
    }

    /// What a cluster of the operator adds to calls, and which host it takes for the right one, is
    /// meant for one origin.
    fn cluster_for(&self, is_https: bool, authority: &str) -> &str {
        match &self.cluster {
            Some(own) if own.origin.is(is_https, authority) => &own.name,
            _ if is_https => HTTPS_CLUSTER,
            _ => HTTP_CLUSTER,
        }
    }

    /// `is_warm_up`: only the way to where the call goes.
    pub(crate) fn send_or_warm_up(
        &mut self,
        call: &impl IssuerCall,
        is_warm_up: bool,
        timeout: Duration,
    ) -> Result<u32, DispatchError> {
        match is_warm_up {
            true => self.warm_up(call.is_https(), call.authority(), timeout),
            false => self.send(call, timeout),
        }
    }

    fn send(&mut self, call: &impl IssuerCall, timeout: Duration) -> Result<u32, DispatchError> {
        let Some(target) = call.target() else {
            return self.send_lines(call, &fixed_lines(call), timeout);
        };
        let known = self.lines.iter().position(|(known, _)| *known == target);
        let at = known.unwrap_or_else(|| {
            if self.lines.len() >= MAX_TARGETS {
                self.lines.clear();
            }
            self.lines.push((target, fixed_lines(call)));
            self.lines.len() - 1
        });
        let lines = self.lines.get(at).ok_or(DispatchError::Other)?;
        self.send_lines(call, &lines.1, timeout)
    }

    /// `lines`: those of [`fixed_lines`].
    fn send_lines(
        &self,
        call: &impl IssuerCall,
        lines: &HeaderMap,
        timeout: Duration,
    ) -> Result<u32, DispatchError> {
        let with_parent = (call.traceparent()).map(|value| lines.with_line("traceparent", value));
        let lines = with_parent.as_ref().unwrap_or(lines);
        self.dispatch(self.cluster_of(call), lines, call.body(), timeout)
    }

    /// Warms the way to the issuer up, if any call is ever made.
    pub(crate) fn warm_up_issuer(&self, timeout: Duration) -> Result<u32, DispatchError> {
        match &self.issuer {
            Some(issuer) => self.warm_up(issuer.https, &issuer.authority, timeout),
            None => Err(DispatchError::Other),
        }
    }

    /// Sends a request without a body. Envoy's dynamic forward proxy refuses a call with a body
    /// while it resolves the host name; one without a body waits for the name, and so makes the
    /// next introspection call possible.
    fn warm_up(
        &self,
        is_https: bool,
        authority: &str,
        timeout: Duration,
    ) -> Result<u32, DispatchError> {
        let headers = [
            (":method", "HEAD"),
            (":scheme", scheme(is_https)),
            (":authority", authority),
            (":path", "/"),
            ("user-agent", USER_AGENT),
        ];
        let headers = HeaderMap::from_lines(headers);
        self.dispatch(
            self.cluster_for(is_https, authority),
            &headers,
            b"",
            timeout,
        )
    }

    fn dispatch(
        &self,
        cluster: &str,
        headers: &HeaderMap,
        body: &[u8],
        timeout: Duration,
    ) -> Result<u32, DispatchError> {
        let timeout = timeout.max(MIN_TIMEOUT);
        self.host.dispatch_call(cluster, headers, body, timeout)
    }

    /// Reads the response to a call, in its callback.
    pub(crate) fn read_response(&self, ended: EndedCall, max_answer_bytes: usize) -> CallOutcome {
        // There are no headers if the response broke off, if it was over Envoy's own limit, or if
        // the timeout fired in the middle of it.
        if ended.headers == 0 {
            let timed_out = ended.took.saturating_add(CLOCK_SLACK) >= ended.timeout;
            return CallOutcome::Failed(if timed_out {
                CallFailure::Timeout
            } else {
                CallFailure::BrokenOffOrTooLarge
            });
        }
        let mut response = IssuerResponse::default();
        let mut is_from_upstream = false;
        for (name, value) in self.host.call_response_headers().iter() {
            // The first line of a name counts.
            let first = |known: &mut Option<Vec<u8>>| {
                known.get_or_insert_with(|| value.to_vec());
            };
            match name {
                b":status" => {
                    let status = core::str::from_utf8(value).ok();
                    response.status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
                }
                FROM_UPSTREAM => is_from_upstream = true,
                b"content-type" => first(&mut response.content_type),
                b"content-encoding" => first(&mut response.content_encoding),
                b"retry-after" => first(&mut response.retry_after),
                b"www-authenticate" => response.www_authenticate.push(value.to_vec()),
                _ => {}
            }
        }
        // Envoy's own responses are 5xx; any other status without the header is the issuer's.
        if response.status >= 500 && !is_from_upstream {
            let body = self.body(ended, MAX_LOCAL_REPLY_BYTES);
            let failure = local_reply::failure(response.status, &body);
            return match response.status {
                503 => CallOutcome::NoConnection(failure),
                _ => CallOutcome::Failed(failure),
            };
        }
        // One byte over the limit is enough for the core to see that the body is too long.
        let body = self.body(ended, max_answer_bytes.saturating_add(1));
        response.body = BodyCollector::whole(body, max_answer_bytes);
        CallOutcome::Response(response)
    }

    fn body(&self, ended: EndedCall, limit: usize) -> Vec<u8> {
        self.host.call_response_body(ended.body_size.min(limit))
    }
}

/// The header lines that this call has in common with others.
fn fixed_lines(call: &impl IssuerCall) -> HeaderMap {
    let lines = [
        (":method", call.method()),
        (":scheme", scheme(call.is_https())),
        (":authority", call.authority()),
        (":path", call.path_and_query()),
    ];
    HeaderMap::from_lines(lines.into_iter().chain(call.fixed_headers()))
}

const fn scheme(is_https: bool) -> &'static str {
    if is_https { "https" } else { "http" }
}

//! Sends the core's call through an Envoy cluster and reads what came back.

use core::time::Duration;

use proxy_wasm::types::Status;
use token_check::{AnswerBody, CallFailure, IssuerAnswer, OutboundCall, Outcome, USER_AGENT};

use crate::host;
use crate::local_reply;
use crate::settings::{HTTP_CLUSTER, HTTPS_CLUSTER, Origin};

/// Set by Envoy's router on every answer that came from upstream, and on none that it made itself.
const FROM_UPSTREAM: &str = "x-envoy-upstream-service-time";

/// Envoy's timers run on a clock that a worker reads once per turn of its loop, so by ours a call may run into its timeout
/// that much early.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

/// So much of Envoy's own reply is read, in bytes: its text, and the names of a certificate.
const MAX_REPLY_BYTES: usize = 4096;

/// What came of a call.
pub(crate) enum Came {
    /// An answer of the issuer, or a failure that stands.
    Outcome(Outcome),
    /// Envoy had no connection to send it on, or lost it before the answer began.
    NoConnection(CallFailure),
}

/// The way to the issuer: an Envoy cluster.
pub(crate) struct Way {
    cluster: String,
    scheme: &'static str,
    authority: String,
}

impl Way {
    /// `cluster`: if not the shipped ones.
    pub(crate) fn new(origin: Origin, cluster: Option<String>) -> Self {
        let (scheme, shipped) = if origin.https {
            ("https", HTTPS_CLUSTER)
        } else {
            ("http", HTTP_CLUSTER)
        };
        Self {
            cluster: cluster.unwrap_or_else(|| shipped.to_owned()),
            scheme,
            authority: origin.authority,
        }
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Sends the question. The effective context is the root.
    pub(crate) fn ask(&self, call: &OutboundCall, timeout: Duration) -> Result<u32, Status> {
        let headers = [
            (":method", "POST"),
            (":scheme", self.scheme),
            (":authority", call.authority()),
            (":path", call.path_and_query()),
        ];
        let headers = headers.into_iter().chain(call.headers()).collect();
        host::call(&self.cluster, headers, Some(call.body()), timeout)
    }

    /// Sends a request that asks nothing. Envoy's dynamic forward proxy refuses a call with a body while it looks the
    /// host name up; a call without one waits for the name, and so makes the next question possible.
    pub(crate) fn knock(&self, timeout: Duration) -> Result<u32, Status> {
        let headers = vec![
            (":method", "HEAD"),
            (":scheme", self.scheme),
            (":authority", self.authority.as_str()),
            (":path", "/"),
            ("user-agent", USER_AGENT),
        ];
        host::call(&self.cluster, headers, None, timeout)
    }
}

/// The callback of a call that was sent with `timeout` and took `took`.
pub(crate) fn came(
    headers: usize,
    body_size: usize,
    took: Duration,
    timeout: Duration,
    max_answer_bytes: usize,
) -> Came {
    // Without headers: the answer broke off, was over Envoy's own limit, or the time was up in the middle of it.
    if headers == 0 {
        return Came::Outcome(Outcome::Failed(
            if took.saturating_add(CLOCK_SLACK) >= timeout {
                CallFailure::Timeout
            } else {
                CallFailure::BrokenOff
            },
        ));
    }
    let mut answer = IssuerAnswer::default();
    let mut is_from_upstream = false;
    for (name, value) in host::answer_headers() {
        match name.as_str() {
            ":status" => {
                let text = core::str::from_utf8(&value).ok();
                answer.status = text.and_then(|text| text.parse().ok()).unwrap_or(0);
            }
            FROM_UPSTREAM => is_from_upstream = true,
            // Of several lines the first.
            "content-type" => answer.content_type = answer.content_type.or(Some(value)),
            "content-encoding" => answer.content_encoding = answer.content_encoding.or(Some(value)),
            "retry-after" => answer.retry_after = answer.retry_after.or(Some(value)),
            "www-authenticate" => answer.www_authenticate.push(value),
            _ => {}
        }
    }
    // What Envoy answers by itself is a 5xx; one without the field is the issuer's if it is none.
    if answer.status >= 500 && !is_from_upstream {
        let body = host::answer_body(body_size.min(MAX_REPLY_BYTES));
        let failure = local_reply::failure(answer.status, &body);
        return match answer.status {
            503 => Came::NoConnection(failure),
            _ => Came::Outcome(Outcome::Failed(failure)),
        };
    }
    // One byte over the limit is enough for the core to know.
    let piece = host::answer_body(body_size.min(max_answer_bytes.saturating_add(1)));
    answer.body = AnswerBody::new(max_answer_bytes);
    let _ = answer.body.push(&piece);
    Came::Outcome(Outcome::Answered(answer))
}

/// Why Envoy did not take a call.
pub(crate) const fn refused(status: Status) -> Came {
    match status {
        // No such cluster: what this Envoy may reach does not include the issuer.
        Status::BadArgument => Came::Outcome(Outcome::Failed(CallFailure::Denied)),
        // It knew at once that it has nowhere to send the call.
        Status::InternalFailure => Came::NoConnection(CallFailure::NoUpstream),
        _ => Came::NoConnection(CallFailure::Unreachable),
    }
}

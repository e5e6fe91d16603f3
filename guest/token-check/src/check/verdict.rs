//! A decision, and what to record about it.

use core::time::Duration;

use super::log_event::LogEvent;
use crate::decision::{Decision, Grant, Response};
use crate::introspection::Claims;
use crate::policy::Policy;

/// Where the facts of a decision came from (in the words of RFC 9211 where it has one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// From the memory of this instance.
    Hit,
    /// From an introspection call made for this request.
    Miss,
    /// From an introspection call made for another request with the same token.
    Collapsed,
    /// From the memory of this instance and past their time, because the issuer is unavailable.
    Stale,
    /// From the store that instances share.
    Shared,
    /// From the token itself, whose signature was verified for this request.
    Verified,
}

impl CacheStatus {
    /// Every status, for metrics.
    pub const ALL: [Self; 6] = [
        Self::Hit,
        Self::Miss,
        Self::Collapsed,
        Self::Stale,
        Self::Shared,
        Self::Verified,
    ];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Stale => "stale",
            Self::Shared => "shared",
            Self::Verified => "verified",
        }
    }
}

/// The decision about a request, and what to log about it.
#[must_use]
#[derive(Debug)]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// Where its facts came from; `None` if the request was refused for its own credentials.
    pub cache: Option<CacheStatus>,
    /// How long the issuer took, if it was called.
    pub issuer_latency: Option<Duration>,
    /// What to log besides the audit line. Never shown to the caller.
    pub event: Option<LogEvent>,
    /// The audit line, if audit is on.
    pub audit: Option<String>,
}

impl Verdict {
    /// How to forward the request, or the complete response to one that is not forwarded.
    ///
    /// # Errors
    /// The response.
    pub fn into_result(self, policy: &Policy) -> Result<Grant, Response> {
        match self.decision {
            Decision::Granted(grant) => Ok(grant),
            Decision::Refused(refusal) => Err(refusal.response(policy)),
            Decision::Answered(response) => Err(response),
        }
    }
}

/// What a verdict is based on.
#[derive(Clone, Copy, Default)]
pub(super) struct VerdictContext<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) token: Option<&'a [u8]>,
    pub(super) claims: Option<Claims<'a>>,
    pub(super) cache: Option<CacheStatus>,
    pub(super) latency: Option<Duration>,
}

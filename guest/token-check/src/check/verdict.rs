//! A decision, and what to record of it.

use core::time::Duration;

use super::log_event::Note;
use crate::decision::Reply;
use crate::decision::{Decision, Grant};
use crate::policy::Policy;

/// Where the facts of a decision came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheUse {
    /// From this instance's memory.
    Hit,
    /// The issuer was asked for this request.
    Miss,
    /// The issuer was asked for another request about the same token.
    Joined,
    /// From this instance's memory and past their time, because the issuer fails.
    Stale,
    /// From the store that instances share.
    Store,
}

impl CacheUse {
    /// Every use, for those who count them.
    pub const ALL: [Self; 5] = [
        Self::Hit,
        Self::Miss,
        Self::Joined,
        Self::Stale,
        Self::Store,
    ];

    /// The name that logs and metrics see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Joined => "joined",
            Self::Stale => "stale",
            Self::Store => "store",
        }
    }
}

/// What becomes of a request, and what to write down about it.
#[must_use]
#[derive(Debug)]
pub struct Verdict {
    /// What becomes of it.
    pub decision: Decision,
    /// Where its facts came from; `None` if it got no further than its own credentials.
    pub cache: Option<CacheUse>,
    /// How long the issuer took, where it was asked.
    pub issuer_latency: Option<Duration>,
    /// What the log says of it beside the audit. The caller never sees it.
    pub note: Option<Note>,
    /// The line for the audit log, complete and on one line, if there is to be one.
    pub audit: Option<String>,
}

impl Verdict {
    /// How the request goes on, or the whole answer to one that ends here.
    ///
    /// # Errors
    /// The answer of a refusal.
    pub fn into_result(self, policy: &Policy) -> Result<Grant, Reply> {
        match self.decision {
            Decision::Granted(grant) => Ok(grant),
            Decision::Refused(refusal) => Err(refusal.reply(policy)),
        }
    }
}

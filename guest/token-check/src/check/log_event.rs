//! What is logged besides the audit line. Each kind once per interval, so that neither callers nor
//! the issuer can flood the log.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use crate::decision::Decision;
use crate::introspection::{Claims, Detail, Fault};
use crate::policy::Requirements;
#[cfg(feature = "jwt")]
use crate::proof::ProofFault;
use crate::reason::Reason;
use crate::time::Now;
use codec::json;

/// Repeat the same line at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// This many inactive tokens since the start, and no active one, are no coincidence: the issuer
/// does not tell this client about tokens.
const SUSPICIOUSLY_MANY_INACTIVE: u32 = 20;

/// Longest list of names in a line, in bytes before quoting, so that the issuer cannot fill the
/// log.
const MAX_NAMES_BYTES: usize = 256;

/// A line for the log. Only [`LogEvent::Mismatch`] contains strings of the issuer: quoted as JSON
/// in ASCII, and truncated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// The issuer failed, or the path to it.
    Fault(Fault),
    /// An active token has an `exp` of 0 or less, and so is expired.
    ExpiresAtZero,
    /// The issuer responded with this HTTP status and an error about the token.
    TokenError(u16),
    /// A token does not meet a requirement of the policy or the rule.
    Mismatch(Mismatch),
    /// No token has been active since the start.
    NoneActive,
    /// Cached results are used past their time.
    Stale,
    /// A DPoP proof is not good.
    #[cfg(feature = "jwt")]
    Proof(ProofFault),
    /// One of these, where there are several issuers.
    OfIssuer {
        /// The issuer, as in the settings.
        issuer: Arc<str>,
        /// What is to be logged.
        event: Box<Self>,
    },
}

/// What was required of a token, and what the issuer says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    reason: Reason,
    member: &'static str,
    actual: String,
    expected: String,
}

impl LogEvent {
    /// Whether the issuer or this service is at fault, which is an error; anything else is a
    /// warning.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        match self {
            Self::Fault(_) => true,
            Self::OfIssuer { event, .. } => event.is_error(),
            _ => false,
        }
    }

    /// The fault, if it is one.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Fault(fault) => Some(*fault),
            Self::OfIssuer { event, .. } => event.fault(),
            _ => None,
        }
    }
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::ExpiresAtZero => f.write_str(
                "expired: the issuer sent an exp of 0 or less for an active token; a token that never expires has no exp",
            ),
            Self::TokenError(status) => write!(
                f,
                "inactive: the issuer responded with HTTP status {status} and an error about the token; some issuers do not introspect JWTs"
            ),
            Self::Mismatch(Mismatch {
                reason,
                member,
                actual,
                expected,
            }) => {
                write!(f, "{}: the token has ", reason.name())?;
                if actual.is_empty() {
                    write!(f, "no {member}")?;
                } else {
                    write!(f, "{member} {actual}")?;
                }
                if expected.is_empty() {
                    f.write_str("; token_types can accept it")
                } else {
                    write!(f, "; expected {expected}")
                }
            }
            Self::NoneActive => f.write_str(
                "no token has been active so far: check introspect_url, resource_client_id, resource_client_secret and whether this client may introspect tokens of other clients",
            ),
            #[cfg(feature = "jwt")]
            Self::Proof(fault) => fault.fmt(f),
            Self::OfIssuer { issuer, event } => write!(f, "{event}; issuer {issuer}"),
            Self::Stale => {
                f.write_str("stale: cached results are used past their time while the issuer is unavailable")
            }
        }
    }
}

/// What is logged once per interval.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fault(Fault),
    TokenError(u16),
    Refused(Reason),
    Stale,
    #[cfg(feature = "jwt")]
    Proof(ProofFault),
}

/// Knows what was logged lately.
#[derive(Default)]
pub(super) struct LogThrottle {
    /// Whose events these are, where there are several issuers.
    issuer: Option<Arc<str>>,
    last_logged: Vec<(Kind, Duration)>,
    inactive_streak: InactiveStreak,
}

/// Whether any token has been active since the start.
enum InactiveStreak {
    /// None so far, and this many were inactive.
    SinceStart(u32),
    /// One was, or the streak was logged.
    Over,
}

impl Default for InactiveStreak {
    fn default() -> Self {
        Self::SinceStart(0)
    }
}

impl LogThrottle {
    /// `issuer`: where there are several.
    pub(super) fn new(issuer: Option<&str>) -> Self {
        Self {
            issuer: issuer.map(Into::into),
            ..Self::default()
        }
    }

    /// The event with its issuer, where there are several.
    pub(super) fn named(&self, event: LogEvent) -> LogEvent {
        match &self.issuer {
            None => event,
            Some(issuer) => LogEvent::OfIssuer {
                issuer: Arc::clone(issuer),
                event: Box::new(event),
            },
        }
    }

    fn is_due(&mut self, kind: Kind, now: Now) -> bool {
        let is_recent = |last: Duration| now.monotonic < last.saturating_add(LOG_INTERVAL);
        self.last_logged.retain(|(_, last)| is_recent(*last));
        let is_due = self.last_logged.iter().all(|(logged, _)| *logged != kind);
        if is_due {
            self.last_logged.push((kind, now.monotonic));
        }
        is_due
    }

    pub(super) fn fault(&mut self, fault: Fault, now: Now) -> Option<LogEvent> {
        self.is_due(Kind::Fault(fault), now)
            .then_some(LogEvent::Fault(fault))
    }

    /// A request was refused because the issuer is unavailable, or too many requests wait for it.
    /// Faults of calls were logged when they occurred.
    pub(super) fn unavailable(&mut self, reason: Reason, now: Now) -> Option<LogEvent> {
        match reason {
            Reason::IssuerCircuitOpen | Reason::TooBusy => {
                self.fault(Fault::new(reason, Detail::None), now)
            }
            _ => None,
        }
    }

    pub(super) fn stale(&mut self, now: Now) -> Option<LogEvent> {
        self.is_due(Kind::Stale, now).then_some(LogEvent::Stale)
    }

    #[cfg(feature = "jwt")]
    pub(super) fn proof(&mut self, fault: ProofFault, now: Now) -> Option<LogEvent> {
        self.is_due(Kind::Proof(fault), now)
            .then_some(LogEvent::Proof(fault))
    }

    pub(super) fn saw_active_token(&mut self) {
        self.inactive_streak = InactiveStreak::Over;
    }

    /// The issuer said whether a token is active; `error_status`: with an error response.
    pub(super) fn introspected(
        &mut self,
        is_active: bool,
        error_status: Option<u16>,
        now: Now,
    ) -> Option<LogEvent> {
        if is_active {
            self.saw_active_token();
        }
        if let InactiveStreak::SinceStart(count) = &mut self.inactive_streak {
            *count = count.saturating_add(1);
        }
        if let Some(status) = error_status
            && self.is_due(Kind::TokenError(status), now)
        {
            return Some(LogEvent::TokenError(status));
        }
        match self.inactive_streak {
            InactiveStreak::SinceStart(SUSPICIOUSLY_MANY_INACTIVE..) => {
                self.inactive_streak = InactiveStreak::Over;
                Some(LogEvent::NoneActive)
            }
            InactiveStreak::SinceStart(_) | InactiveStreak::Over => None,
        }
    }

    /// A token that is for none of several issuers, and the issuer that it names.
    #[cfg(feature = "jwt")]
    pub(super) fn foreign(
        &mut self,
        reason: Reason,
        issuer: Option<&str>,
        requirements: &Requirements,
        now: Now,
    ) -> Option<LogEvent> {
        let is_due = reason != Reason::MalformedJwt && self.is_due(Kind::Refused(reason), now);
        is_due.then(|| {
            let expected = requirements.issuers.as_slice();
            mismatch(reason, "iss", &mut issuer.into_iter(), expected)
        })
    }

    /// What the log shows about a refusal and the caller does not see.
    pub(super) fn decided(
        &mut self,
        decision: &Decision,
        claims: Option<Claims<'_>>,
        requirements: &Requirements,
        now: Now,
    ) -> Option<LogEvent> {
        let Decision::Refused(refusal) = decision else {
            return None;
        };
        let (reason, claims) = (refusal.reason(), claims?);
        let actual: &mut dyn Iterator<Item = &str>;
        let (mut one, mut audiences, mut types);
        let (member, expected): (_, &[String]) = match reason {
            Reason::Expired if claims.expires() <= 0 => {
                let is_due = self.is_due(Kind::Refused(reason), now);
                return is_due.then_some(LogEvent::ExpiresAtZero);
            }
            Reason::NoAudience | Reason::WrongAudience => {
                audiences = claims.audiences();
                actual = &mut audiences;
                let lists = requirements.audience_lists();
                ("aud", unmet(lists, || claims.audiences()))
            }
            Reason::NoIssuer | Reason::WrongIssuer => {
                one = claims.issuer().into_iter();
                actual = &mut one;
                ("iss", requirements.issuers.as_slice())
            }
            Reason::NoClientId | Reason::ClientNotAllowed => {
                one = claims.client_id().into_iter();
                actual = &mut one;
                let lists = requirements.client_lists();
                ("client_id", unmet(lists, || claims.client_id()))
            }
            Reason::NoGrantType | Reason::GrantTypeNotAllowed => {
                one = claims.grant_type().into_iter();
                actual = &mut one;
                let lists = requirements.grant_type_lists();
                ("grant_type", unmet(lists, || claims.grant_type()))
            }
            Reason::WrongTokenType if !claims.is_other_token() && !claims.is_dpop_token() => {
                types = claims.unknown_types();
                actual = &mut types;
                ("token_type", &[])
            }
            _ => return None,
        };
        if !self.is_due(Kind::Refused(reason), now) {
            return None;
        }
        Some(mismatch(reason, member, actual, expected))
    }
}

/// The first of the lists that has none of the values: what was expected.
fn unmet<'r, 'v, V: IntoIterator<Item = &'v str>>(
    lists: [&'r [String]; 2],
    values: impl Fn() -> V,
) -> &'r [String] {
    let is_met = |list: &[String]| {
        let mut values = values().into_iter();
        list.is_empty() || values.any(|value| list.iter().any(|one| one == value))
    };
    let unmet = lists.into_iter().find(|list| !is_met(list));
    unmet.unwrap_or_default()
}

fn mismatch(
    reason: Reason,
    member: &'static str,
    actual: &mut dyn Iterator<Item = &str>,
    expected: &[String],
) -> LogEvent {
    LogEvent::Mismatch(Mismatch {
        reason,
        member,
        actual: list(actual),
        expected: list(&mut expected.iter().map(String::as_str)),
    })
}

/// The names, each quoted, separated by commas and truncated.
fn list(names: &mut dyn Iterator<Item = &str>) -> String {
    let mut list = String::new();
    let mut left = MAX_NAMES_BYTES;
    for name in names {
        if !list.is_empty() {
            list.push_str(", ");
        }
        if left == 0 {
            list.push_str("...");
            break;
        }
        let shown = name
            .get(..name.floor_char_boundary(left))
            .unwrap_or_default();
        list.push_str(&json::quoted_in_ascii(shown));
        if shown.len() < name.len() {
            list.push_str("...");
            break;
        }
        // An empty name takes room for its quotes.
        left = left.saturating_sub(shown.len().max(1));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_the_issuer_are_quoted_and_truncated() {
        let long = "a".repeat(MAX_NAMES_BYTES + 1);
        let cut = format!("\"{}\"...", "a".repeat(MAX_NAMES_BYTES));
        for (names, expected) in [
            (&[][..], ""),
            (&["a", ""], r#""a", """#),
            (
                &["a\"\r\n\u{1b}[31m", "\u{2028}é"],
                r#""a\"\r\n\u001b[31m", "\u2028\u00e9""#,
            ),
            (&[&long, "b"], &cut),
            (
                &[long.get(1..).unwrap_or_default(), "b"],
                &cut.replace("...", ", ..."),
            ),
        ] {
            assert_eq!(list(&mut names.iter().copied()), expected);
        }
        let many = list(&mut [""; 10_000].into_iter());
        assert!(many.len() <= 4 * MAX_NAMES_BYTES + 3, "{}", many.len());
    }
}

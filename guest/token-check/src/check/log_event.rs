//! What the log says beside the audit: each kind once per interval, so that neither a caller nor an issuer can flood it.

use core::fmt;
use core::time::Duration;

use super::audit;
use crate::decision::Decision;
use crate::introspection::Claims;
use crate::introspection::{Detail, Fault};
use crate::policy::Requirements;
use crate::reason::Reason;
use crate::time::Now;

/// The same is told to the log no more often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// So many tokens that are not active, and none that is, are no chance any more: the issuer does not tell us about tokens.
const INACTIVE_IS_SUSPECT: u32 = 20;

/// Longest list of names in a line, in bytes before they are quoted: what an issuer writes must not fill the log.
const MAX_NAMED_BYTES: usize = 256;

/// A line for the log. Only [`Note::Mismatch`] holds what an issuer wrote: quoted as JSON in ASCII, and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The issuer failed, or the way to it.
    Fault(Fault),
    /// An active token that is expired by an `exp` of 0 or less.
    ExpiresAtZero,
    /// The issuer answered with this HTTP status, and an error that speaks of the token.
    ErrorOfToken(u16),
    /// A token is not what the policy or the rule demands.
    Mismatch(Mismatch),
    /// No token was active since the start.
    NoneActive,
    /// What the issuer said before counts past its time.
    Stale,
}

/// What was demanded of a token, and what the issuer said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    reason: Reason,
    member: &'static str,
    named: String,
    expected: String,
}

impl Note {
    /// Whether the issuer or we are at fault: an error; else a warning.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Fault(_))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::ExpiresAtZero => f.write_str(
                "expired: the issuer wrote an exp of 0 or less for an active token; a token that never expires has no exp",
            ),
            Self::ErrorOfToken(status) => write!(
                f,
                "inactive: the issuer answered with HTTP status {status} and said that it is for the token; some issuers do not tell about JWTs"
            ),
            Self::Mismatch(Mismatch {
                reason,
                member,
                named,
                expected,
            }) => {
                write!(f, "{}: the issuer named ", reason.name())?;
                if named.is_empty() {
                    write!(f, "no {member}")?;
                } else {
                    write!(f, "{member} {named}")?;
                }
                if expected.is_empty() {
                    f.write_str("; token_types can accept it")
                } else {
                    write!(f, "; expected {expected}")
                }
            }
            Self::NoneActive => f.write_str(
                "no token was active so far: check introspect_url, resource_client_id, resource_client_secret and the right of this client to introspect the tokens of others",
            ),
            Self::Stale => f.write_str("stale: what the issuer said counts past its time while it fails"),
        }
    }
}

/// A kind of note.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fault(Fault),
    ErrorOfToken(u16),
    Refused(Reason),
    Stale,
}

/// Knows what was told.
#[derive(Default)]
pub(crate) struct Journal {
    told: Vec<(Kind, Duration)>,
    inactive: Inactive,
}

/// Whether the issuer knows of any active token.
enum Inactive {
    /// It was asked about so many tokens, and none was active.
    SinceStart(u32),
    /// One was, or it was told.
    Over,
}

impl Default for Inactive {
    fn default() -> Self {
        Self::SinceStart(0)
    }
}

impl Journal {
    fn is_due(&mut self, kind: Kind, now: Now) -> bool {
        let is_recent = |last: Duration| now.monotonic < last.saturating_add(TELL_AGAIN);
        self.told.retain(|(_, last)| is_recent(*last));
        let is_due = self.told.iter().all(|(known, _)| *known != kind);
        if is_due {
            self.told.push((kind, now.monotonic));
        }
        is_due
    }

    pub(crate) fn fault(&mut self, fault: Fault, now: Now) -> Option<Note> {
        self.is_due(Kind::Fault(fault), now)
            .then_some(Note::Fault(fault))
    }

    /// A fault that was told in full when it was met, and is met again without a question.
    pub(crate) fn held(&mut self, reason: Reason, now: Now) -> Option<Note> {
        match reason {
            Reason::IssuerCircuitOpen => self.fault(Fault::new(reason, Detail::None), now),
            _ => None,
        }
    }

    pub(crate) fn stale(&mut self, now: Now) -> Option<Note> {
        self.is_due(Kind::Stale, now).then_some(Note::Stale)
    }

    /// A token is or was active.
    pub(crate) fn active(&mut self) {
        self.inactive = Inactive::Over;
    }

    /// The issuer has said whether a token is active; `error`: by an error with this status.
    pub(crate) fn heard(&mut self, is_active: bool, error: Option<u16>, now: Now) -> Option<Note> {
        if is_active {
            self.active();
        }
        if let Inactive::SinceStart(count) = &mut self.inactive {
            *count = count.saturating_add(1);
        }
        if let Some(status) = error
            && self.is_due(Kind::ErrorOfToken(status), now)
        {
            return Some(Note::ErrorOfToken(status));
        }
        match self.inactive {
            Inactive::SinceStart(INACTIVE_IS_SUSPECT..) => {
                self.inactive = Inactive::Over;
                Some(Note::NoneActive)
            }
            Inactive::SinceStart(_) | Inactive::Over => None,
        }
    }

    /// What the log shows of a refusal, and the caller does not see.
    pub(crate) fn decided(
        &mut self,
        decision: &Decision,
        claims: Option<Claims<'_>>,
        demands: &Requirements,
        now: Now,
    ) -> Option<Note> {
        let Decision::Refused(refusal) = decision else {
            return None;
        };
        let (reason, claims) = (refusal.reason(), claims?);
        // What the issuer named, one name after another.
        let named: &mut dyn Iterator<Item = &str>;
        let (mut one, mut audiences, mut kinds);
        let (member, expected): (_, &[String]) = match reason {
            Reason::Expired if claims.expires() <= 0 => {
                let is_due = self.is_due(Kind::Refused(reason), now);
                return is_due.then_some(Note::ExpiresAtZero);
            }
            Reason::NoAudience | Reason::WrongAudience => {
                audiences = claims.audiences();
                named = &mut audiences;
                ("aud", &demands.audiences)
            }
            Reason::NoIssuer | Reason::WrongIssuer => {
                one = claims.issuer().into_iter();
                named = &mut one;
                ("iss", &demands.issuers)
            }
            Reason::NoClientId | Reason::ClientNotAllowed => {
                one = claims.client_id().into_iter();
                named = &mut one;
                ("client_id", &demands.clients)
            }
            Reason::NoGrantType | Reason::GrantTypeNotAllowed => {
                one = claims.grant_type().into_iter();
                named = &mut one;
                ("grant_type", &demands.grant_types)
            }
            Reason::WrongTokenType if !claims.is_other_token() => {
                kinds = claims.unknown_kinds();
                named = &mut kinds;
                ("token_type", &[])
            }
            _ => return None,
        };
        if !self.is_due(Kind::Refused(reason), now) {
            return None;
        }
        Some(Note::Mismatch(Mismatch {
            reason,
            member,
            named: list(named),
            expected: list(&mut expected.iter().map(String::as_str)),
        }))
    }
}

/// Each quoted, with commas in between, until it is long enough.
fn list(names: &mut dyn Iterator<Item = &str>) -> String {
    let mut list = String::new();
    let mut left = MAX_NAMED_BYTES;
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
        list.push_str(&audit::quoted(shown));
        if shown.len() < name.len() {
            list.push_str("...");
            break;
        }
        // One that is empty has its quotes.
        left = left.saturating_sub(shown.len().max(1));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_issuer_wrote_is_quoted_and_cut() {
        let long = "a".repeat(MAX_NAMED_BYTES + 1);
        let cut = format!("\"{}\"...", "a".repeat(MAX_NAMED_BYTES));
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
        assert!(many.len() <= 4 * MAX_NAMED_BYTES + 3, "{}", many.len());
    }
}

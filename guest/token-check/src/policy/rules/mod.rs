//! Rules per route: which token a request needs, by its host, method and path. The first rule that matches counts.
//!
//! A request whose path is ambiguous meets no rule: it is refused, as is one with two hosts where a rule names one. One whose path or host cannot be told (`CONNECT`,
//! `OPTIONS *`, no Host) can meet the rules that do not look at what is missing, but never a public one.

mod document;
mod error;
mod index;
mod pattern;

use std::sync::Arc;

use error::RuleName;
pub use error::{PathFault, RulesError, RulesFault};

use crate::policy::Requirements;
use crate::reason::Reason;
use crate::request::RequestHead;
use crate::request::path::{self, Host};
use index::Index;
use pattern::{Pattern, Segment};

/// Longest document, in bytes: every start reads it.
pub const MAX_RULES_BYTES: usize = 1024 * 1024;
/// Most rules.
pub const MAX_RULES: usize = 4096;
/// A rule as errors name it. `label`: its name, or `#` and its number where it has none.
pub(crate) fn named(number: usize, label: Option<&str>) -> String {
    let name = label.filter(|label| !label.starts_with('#'));
    RuleName(number, name).to_string()
}

/// Longest name of a rule, in bytes: it stands in every line of the audit.
const MAX_NAME_BYTES: usize = 64;

/// What stands before a route.
#[derive(Clone, Debug)]
pub(crate) enum Guard {
    /// A token that meets these.
    Token(Arc<Requirements>),
    /// Nothing, by the rule of this name.
    Public(Arc<str>),
    /// Nobody gets through, by the rule of this name.
    Denied(Arc<str>),
}

struct Rule {
    /// In upper case; none: every method.
    methods: Vec<String>,
    guard: Guard,
}

/// The rules in force.
#[derive(Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    index: Index,
}

impl Rules {
    /// Reads the document. What a rule does not name is as in `default`.
    pub(crate) fn new(document: &str, default: &Requirements) -> Result<Self, RulesError> {
        document::read(document, default)
    }

    /// Takes the next rule.
    fn push(&mut self, pattern: &Pattern, rule: Rule) -> Result<(), RulesFault> {
        let covers = |earlier| {
            self.get(earlier)
                .is_some_and(|earlier| earlier.covers(&rule))
        };
        match self
            .index
            .first(pattern.host.as_deref(), pattern.path.as_deref(), &covers)
        {
            Some(earlier) => Err(RulesFault::Unreachable(earlier.saturating_add(1))),
            None => {
                self.index.insert(pattern, self.rules.len());
                self.rules.push(rule);
                Ok(())
            }
        }
    }

    /// The longest `ttl` that a rule has, in seconds.
    pub(crate) fn longest_ttl_seconds(&self) -> u32 {
        let ttls = self.rules.iter().map(|rule| match &rule.guard {
            Guard::Token(requirements) => requirements.ttl_seconds.unwrap_or_default(),
            Guard::Public(_) | Guard::Denied(_) => 0,
        });
        ttls.max().unwrap_or_default()
    }

    /// How many there are, and how many of them are public.
    pub(crate) fn count(&self) -> (usize, usize) {
        let public = self
            .rules
            .iter()
            .filter(|rule| matches!(rule.guard, Guard::Public(_)));
        (self.rules.len(), public.count())
    }

    /// The rules that let a token through, each with its number.
    pub(crate) fn for_tokens(&self) -> impl Iterator<Item = (usize, &Requirements)> {
        (1..)
            .zip(&self.rules)
            .filter_map(|(number, rule)| match &rule.guard {
                Guard::Token(requirements) => Some((number, &**requirements)),
                Guard::Public(_) | Guard::Denied(_) => None,
            })
    }

    /// Whether a request can match none of them. Not so where one names no host, method or path; a public one has to know
    /// all of these all the same.
    pub(crate) fn leave_some(&self) -> bool {
        let accepts = |rule| {
            self.get(rule).is_some_and(|rule| {
                rule.methods.is_empty() && !matches!(rule.guard, Guard::Public(_))
            })
        };
        self.index.first(None, None, &accepts).is_none()
    }

    fn get(&self, rule: usize) -> Option<&Rule> {
        self.rules.get(rule)
    }

    /// What stands before this request; `None`: no rule matches it.
    pub(crate) fn guard(&self, request: &RequestHead<'_>) -> Result<Option<&Guard>, Reason> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        let path = match request.path_and_query {
            None | Some(b"*") => None,
            Some(target) => Some(path::normalize(target).map_err(|_| Reason::AmbiguousPath)?),
        };
        let segments = path.as_deref().map(|path| {
            path.split('/')
                .skip(1)
                .map(|segment| Segment::Text(segment.into()))
                .collect::<Vec<_>>()
        });
        let host = path::host(request.authority);
        if host == Host::Several && self.index.names_hosts() {
            return Err(Reason::AmbiguousPath);
        }
        let all_is_known = path.is_some() && (host != Host::Unknown || !self.index.names_hosts());
        let name = match &host {
            Host::Name(name) => Some(&**name),
            Host::Address | Host::Several | Host::Unknown => None,
        };
        let accepts = |rule: usize| {
            self.get(rule).is_some_and(|rule| {
                rule.takes(request.method)
                    && (all_is_known || !matches!(rule.guard, Guard::Public(_)))
            })
        };
        let first = self.index.first(name, segments.as_deref(), &accepts);
        Ok(first
            .and_then(|rule| self.get(rule))
            .map(|rule| &rule.guard))
    }
}

impl Rule {
    fn takes(&self, method: &[u8]) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|m| m.as_bytes() == method)
    }

    /// Whether this rule takes every method that the other one does.
    fn covers(&self, other: &Self) -> bool {
        self.methods.is_empty()
            || (!other.methods.is_empty() && other.methods.iter().all(|m| self.takes(m.as_bytes())))
    }
}

impl core::fmt::Debug for Rules {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Rules").field(&self.rules.len()).finish()
    }
}

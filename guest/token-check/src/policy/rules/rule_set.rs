//! The rules in force, and the first one that a request matches.

use std::sync::Arc;

use super::error::RulesFault;
use super::index::Index;
use super::pattern::{Pattern, Segment};
use crate::policy::requirements::Requirements;
use crate::reason::Reason;
use crate::request::RequestHead;
use crate::request::path::{self, Host};

/// What a request must satisfy on a route.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// A token that meets these requirements.
    Token(Arc<Requirements>),
    /// Nothing: the rule of this name is public.
    Public(Arc<str>),
    /// Access is denied by the rule of this name.
    Denied(Arc<str>),
}

pub(super) struct Rule {
    /// In upper case; empty: every method.
    pub(super) methods: Vec<String>,
    pub(super) access: Access,
}

/// The rules in force.
#[derive(Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    /// Every method that a rule names.
    methods: Vec<String>,
    index: Index,
}

impl Rules {
    /// Adds the next rule.
    pub(super) fn push(&mut self, pattern: &Pattern, rule: Rule) -> Result<(), RulesFault> {
        // A public rule matches no request without a path; others do.
        let is_left_by_public = pattern.path.is_none() && !matches!(rule.access, Access::Public(_));
        let covers = |earlier| {
            self.get(earlier).is_some_and(|earlier| {
                let is_public = matches!(earlier.access, Access::Public(_));
                !(is_public && is_left_by_public) && earlier.covers(&rule)
            })
        };
        match self
            .index
            .first(pattern.host.as_deref(), pattern.path.as_deref(), &covers)
        {
            Some(earlier) => Err(RulesFault::Unreachable(earlier.saturating_add(1))),
            None => {
                self.index.insert(pattern, self.rules.len());
                for method in &rule.methods {
                    if !self.methods.contains(method) {
                        self.methods.push(method.clone());
                    }
                }
                self.rules.push(rule);
                Ok(())
            }
        }
    }

    /// The longest `ttl` of a rule, in seconds.
    pub(crate) fn longest_ttl_seconds(&self) -> u32 {
        let ttls = self.rules.iter().map(|rule| match &rule.access {
            Access::Token(requirements) => requirements.ttl_seconds.unwrap_or_default(),
            Access::Public(_) | Access::Denied(_) => 0,
        });
        ttls.max().unwrap_or_default()
    }

    /// How many rules there are, and how many of them are public.
    pub(crate) fn count(&self) -> (usize, usize) {
        let public = self
            .rules
            .iter()
            .filter(|rule| matches!(rule.access, Access::Public(_)));
        (self.rules.len(), public.count())
    }

    /// The rules that accept tokens, each with its number.
    pub(crate) fn with_requirements(&self) -> impl Iterator<Item = (usize, &Requirements)> {
        (1..)
            .zip(&self.rules)
            .filter_map(|(number, rule)| match &rule.access {
                Access::Token(requirements) => Some((number, &**requirements)),
                Access::Public(_) | Access::Denied(_) => None,
            })
    }

    /// Whether a request can match no rule. It cannot if one rule names no host, method and path,
    /// unless that is public: public rules need all of these.
    pub(crate) fn may_match_none(&self) -> bool {
        let accepts = |rule| {
            self.get(rule).is_some_and(|rule| {
                rule.methods.is_empty() && !matches!(rule.access, Access::Public(_))
            })
        };
        self.index.first(None, None, &accepts).is_none()
    }

    /// Whether this method differs from one that a rule names only by case. Methods are
    /// case-sensitive (RFC 9110 section 9.1), and many apps ignore that.
    fn confuses_method(&self, method: &[u8]) -> bool {
        method.iter().any(u8::is_ascii_lowercase)
            && (self.methods.iter()).any(|known| known.as_bytes().eq_ignore_ascii_case(method))
    }

    fn get(&self, rule: usize) -> Option<&Rule> {
        self.rules.get(rule)
    }

    /// What this request must satisfy; `None`: no rule matches.
    /// `host`: of the request.
    #[inline]
    pub(crate) fn access(
        &self,
        request: &RequestHead<'_>,
        host: &Host<'_>,
    ) -> Result<Option<&Access>, Reason> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        if self.confuses_method(request.method) {
            return Err(Reason::AmbiguousMethod);
        }
        let path = match request.path_and_query {
            None | Some(b"*") => None,
            Some(target) => Some(path::normalize(target).map_err(|_| Reason::AmbiguousPath)?),
        };
        let segments = path.as_deref().map(|path| {
            path.split('/')
                .skip(1)
                .map(|segment| Segment::Literal(segment.into()))
                .collect::<Vec<_>>()
        });
        if *host == Host::Several && self.index.names_hosts() {
            return Err(Reason::AmbiguousPath);
        }
        let is_fully_known =
            path.is_some() && (*host != Host::Unknown || !self.index.names_hosts());
        let name = match host {
            Host::Name(name) => Some(&**name),
            Host::Address | Host::Several | Host::Unknown => None,
        };
        let accepts = |rule: usize| {
            self.get(rule).is_some_and(|rule| {
                rule.accepts_method(request.method)
                    && (is_fully_known || !matches!(rule.access, Access::Public(_)))
            })
        };
        let first = self.index.first(name, segments.as_deref(), &accepts);
        Ok(first
            .and_then(|rule| self.get(rule))
            .map(|rule| &rule.access))
    }
}

impl Rule {
    fn accepts_method(&self, method: &[u8]) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|m| m.as_bytes() == method)
    }

    /// Whether this rule accepts every method that the other one accepts.
    fn covers(&self, other: &Self) -> bool {
        self.methods.is_empty()
            || (!other.methods.is_empty()
                && other
                    .methods
                    .iter()
                    .all(|m| self.accepts_method(m.as_bytes())))
    }
}

impl core::fmt::Debug for Rules {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Rules").field(&self.rules.len()).finish()
    }
}

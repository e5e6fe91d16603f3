//! What is required of a token, in one line for the log at the start: a setting that got lost on
//! its way shows there, and not only when the wrong caller gets in.

use super::requirements::{Issuers, Requirements};
use super::rules::{self, Rules};
use codec::json;

/// Most values of one setting that are shown, so that people can read the line.
const MAX_SHOWN: usize = 10;

/// What a policy requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// One line. It quotes values of settings, and never the secret.
    pub line: String,
    /// Some route accepts every active token, or the client secret may be guessed.
    pub is_warning: bool,
}

impl Summary {
    /// `only_issuer`: where there are several, which is no requirement of its own. `ttl_seconds`: of the default policy. `caches_facts`: on any route. `can_be_guessed`: the client
    /// secret.
    pub(super) fn new(
        only_issuer: Option<&str>,
        default: &Requirements,
        rules: &Rules,
        ttl_seconds: u32,
        caches_facts: bool,
        can_be_guessed: bool,
    ) -> Self {
        let of_one;
        let default = match only_issuer {
            None => default,
            Some(issuer) => {
                let mut requirements = Requirements {
                    issuers: Issuers::default(),
                    ..default.clone()
                };
                if !requirements.is_empty() {
                    requirements.issuers = vec![issuer.to_owned()].into();
                }
                of_one = requirements;
                &of_one
            }
        };
        let open: Vec<_> = rules
            .with_requirements()
            .filter(|(_, requirements)| requirements.is_empty())
            .collect();
        let (count, public) = rules.count();
        let is_default_open = rules.may_match_none() && default.is_empty();
        let required = match open.first() {
            _ if is_default_open && count == 0 => {
                "nothing is required: every active token of this issuer is accepted".to_owned()
            }
            _ if is_default_open => {
                "where no rule matches, nothing is required: every active token of this issuer is accepted".to_owned()
            }
            Some((number, requirements)) => format!(
                "{} requires nothing: every active token of this issuer is accepted there",
                rules::describe(*number, requirements.rule())
            ),
            None if rules.may_match_none() => required(default),
            None => "every request matches a rule".to_owned(),
        };
        let rules = match count {
            0 => "none".to_owned(),
            _ => format!(
                "{count}, {public} of them public, {} require nothing",
                open.len()
            ),
        };
        let cache = match ttl_seconds {
            0 if caches_facts => "by the `ttl` of rules".to_owned(),
            0 => "none".to_owned(),
            seconds => format!("{seconds} s"),
        };
        let secret = if can_be_guessed {
            "; the client secret is short: who reads an audit line or a shared result may guess it, so set cache_key"
        } else {
            ""
        };
        let issuer = only_issuer.map(|issuer| format!("{}: ", json::quoted(issuer)));
        let issuer = issuer.unwrap_or_default();
        Self {
            line: format!("{issuer}{required}; rules: {rules}; cache: {cache}{secret}"),
            is_warning: is_default_open || !open.is_empty() || can_be_guessed,
        }
    }

    /// What both require.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            line: format!("{}. {}", self.line, other.line),
            is_warning: self.is_warning || other.is_warning,
        }
    }
}

fn required(default: &Requirements) -> String {
    format!(
        "required of a token: audience {}, scope {}, client {}, issuer {}, grant type {}",
        shown(default.audiences.as_slice(), " or "),
        shown(default.all_scopes.as_slice(), " and "),
        shown(default.clients.as_slice(), " or "),
        shown(default.issuers.as_slice(), " or "),
        shown(default.grant_types.as_slice(), " or "),
    )
}

fn shown(values: &[String], separator: &str) -> String {
    if values.is_empty() {
        return "any".to_owned();
    }
    let mut shown: Vec<_> = values
        .iter()
        .take(MAX_SHOWN)
        .map(|value| json::quoted(value))
        .collect();
    let more = values.len().saturating_sub(shown.len());
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(separator)
}

//! What is demanded of a token, in one line: a setting that got lost on its way here is seen at the start, and not when
//! the wrong caller got in.

use crate::json;
use crate::policy::Policy;
use crate::policy::Requirements;
use crate::policy::rules;

/// No more values of one setting are shown: a log line is read by people.
const MAX_SHOWN: usize = 10;

/// What a policy demands, for the log at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// One line. Values are settings of the operator's, quoted, and never the secret.
    pub line: String,
    /// Some route demands nothing but that the token is active: a warning.
    pub is_open: bool,
}

impl Summary {
    pub(crate) fn of(policy: &Policy) -> Self {
        let (default, rules) = (policy.requirements(), policy.rules());
        let open: Vec<_> = rules
            .for_tokens()
            .filter(|(_, requirements)| demands_nothing(requirements))
            .collect();
        let (count, public) = rules.count();
        let is_default_open = rules.leave_some() && demands_nothing(default);
        let demanded = match open.first() {
            _ if is_default_open && count == 0 => {
                "nothing is demanded: every active token of this issuer gets in".to_owned()
            }
            _ if is_default_open => {
                "where no rule matches nothing is demanded: every active token of this issuer gets in".to_owned()
            }
            Some((number, requirements)) => format!(
                "{} demands nothing: every active token of this issuer gets in there",
                rules::named(*number, requirements.rule())
            ),
            None if rules.leave_some() => demanded(default),
            None => "every request meets a rule".to_owned(),
        };
        let rules = match count {
            0 => "none".to_owned(),
            _ => format!(
                "{count}, {public} of them public, {} demand nothing",
                open.len()
            ),
        };
        let cache = match policy.cache_seconds() {
            0 if policy.caches_facts() => "by the `ttl` of rules".to_owned(),
            0 => "none".to_owned(),
            seconds => format!("{seconds} s"),
        };
        Self {
            line: format!("{demanded}; rules: {rules}; cache: {cache}"),
            is_open: is_default_open || !open.is_empty(),
        }
    }
}

fn demands_nothing(requirements: &Requirements) -> bool {
    let Requirements {
        rule: _,
        issuers,
        audiences,
        clients,
        grant_types,
        all_scopes,
        any_scope,
        ttl_seconds: _,
    } = requirements;
    [
        issuers,
        audiences,
        clients,
        grant_types,
        all_scopes,
        any_scope,
    ]
    .iter()
    .all(|list| list.is_empty())
}

fn demanded(default: &Requirements) -> String {
    format!(
        "demanded of a token: audience {}, scope {}, client {}, issuer {}, grant type {}",
        shown(&default.audiences, " or "),
        shown(&default.all_scopes, " and "),
        shown(&default.clients, " or "),
        shown(&default.issuers, " or "),
        shown(&default.grant_types, " or "),
    )
}

fn shown(values: &[String], between: &str) -> String {
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
    shown.join(between)
}

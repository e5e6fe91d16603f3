//! The rules as they are written: a JSON document, read strictly.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{RulesError, RulesFault, WANTED_TTL};
use super::pattern::{self, Form, Pattern};
use super::{Guard, MAX_NAME_BYTES, MAX_RULES, MAX_RULES_BYTES, MAX_TTL_SECONDS, Rule};
use crate::bearer::is_tchar;
use crate::json::{self, Json};
use crate::policy::is_scope_token;
use crate::requirements::Requirements;

const RULE_KEYS: &[&str] = &[
    "name",
    "host",
    "methods",
    "path",
    "scopes",
    "audiences",
    "issuers",
    "clients",
    "grant_types",
    "ttl",
    "public",
    "deny",
];
const PATH_KEYS: &[&str] = &["exact", "prefix", "template"];
const SCOPES_KEYS: &[&str] = &["all", "any"];
/// How much of an unknown key may differ from a known one for that to be what was meant: a slip or two.
const MAX_SLIPS: usize = 2;

/// Every rule of the document with what it matches. What a rule does not name is as in `default`.
pub(super) fn read(text: &str, default: &Requirements) -> Result<Vec<(Pattern, Rule)>, RulesError> {
    let whole = |fault| RulesError { rule: None, fault };
    if text.len() > MAX_RULES_BYTES {
        return Err(whole(RulesFault::TooLong));
    }
    let document =
        json::read(text).map_err(|error| whole(RulesFault::NotJson(error.to_string())))?;
    let rules = list(document).map_err(whole)?;
    if rules.len() > MAX_RULES {
        return Err(whole(RulesFault::TooMany));
    }
    let mut names = BTreeMap::new();
    let mut read = Vec::with_capacity(rules.len());
    for (number, rule) in (1_usize..).zip(rules) {
        let mut name = None;
        let taken = rule_of(rule, number, default, &mut name).and_then(|rule| {
            if let Some(name) = &name
                && let Some(earlier) = names.insert(name.clone(), number)
            {
                return Err(RulesFault::NameTaken(earlier));
            }
            Ok(rule)
        });
        read.push(taken.map_err(|fault| RulesError {
            rule: Some((number, name)),
            fault,
        })?);
    }
    Ok(read)
}

fn list(document: Json) -> Result<Vec<Json>, RulesFault> {
    let members = match document {
        Json::Array(rules) => return Ok(rules),
        Json::Object(members) => members,
        _ => return Err(RulesFault::NotAList),
    };
    let mut rules = None;
    for (key, value) in members {
        match (key.as_str(), value) {
            ("rules", Json::Array(list)) => rules = Some(list),
            // Where editors find the schema.
            ("$schema", Json::Text(_)) => {}
            ("rules" | "$schema", _) => return Err(RulesFault::NotAList),
            _ => return Err(unknown(key, &["rules", "$schema"])),
        }
    }
    rules.ok_or(RulesFault::NotAList)
}

/// One rule; its name as soon as it is known to be good, for the error.
fn rule_of(
    rule: Json,
    number: usize,
    default: &Requirements,
    name: &mut Option<String>,
) -> Result<(Pattern, Rule), RulesFault> {
    let Json::Object(members) = rule else {
        return Err(RulesFault::NotAnObject);
    };
    if let Some((_, value)) = members.iter().find(|(key, _)| key == "name") {
        *name = Some(name_of(value)?);
    }
    let label: Arc<str> = name.clone().unwrap_or_else(|| format!("#{number}")).into();
    let mut pattern = Pattern {
        host: None,
        path: None,
    };
    let mut methods = Vec::new();
    let mut demands = Requirements {
        rule: Some(Arc::clone(&label)),
        ..default.clone()
    };
    let mut guard = None;
    let mut demand = None;
    for (key, value) in members {
        let Some(key) = RULE_KEYS.iter().copied().find(|known| *known == key) else {
            return Err(unknown(key, RULE_KEYS));
        };
        match key {
            "host" => pattern.host = Some(pattern::host(&text(key, value)?)?),
            "methods" => methods = methods_of(texts(key, value, |_| true)?)?,
            "path" => pattern.path = Some(path_of(value)?),
            "public" | "deny" => {
                if value != Json::Bool(true) {
                    return Err(RulesFault::WrongKind {
                        key,
                        wanted: "`true`, or be left out",
                    });
                }
                let label = Arc::clone(&label);
                let this = if key == "deny" {
                    Guard::Denied(label)
                } else {
                    Guard::Public(label)
                };
                if let Some((other, _)) = guard.replace((key, this)) {
                    return Err(RulesFault::Contradiction(other, key));
                }
            }
            "scopes" => scopes_of(value, &mut demands)?,
            "audiences" => demands.audiences = texts(key, value, is_claim)?,
            "issuers" => demands.issuers = texts(key, value, is_claim)?,
            "clients" => demands.clients = texts(key, value, is_claim)?,
            "grant_types" => demands.grant_types = texts(key, value, is_claim)?,
            "ttl" => demands.ttl_seconds = Some(ttl_of(&value)?),
            _ => {}
        }
        if !matches!(
            key,
            "name" | "host" | "methods" | "path" | "public" | "deny"
        ) {
            demand = Some(key);
        }
    }
    let guard = match (guard, demand) {
        (Some((key, _)), Some(demand)) => return Err(RulesFault::Contradiction(key, demand)),
        (Some((_, guard)), None) => guard,
        (None, _) => Guard::Token(Arc::new(demands)),
    };
    Ok((pattern, Rule { methods, guard }))
}

fn unknown(key: String, known: &[&'static str]) -> RulesFault {
    let near = known
        .iter()
        .map(|known| (strsim::osa_distance(known, &key), *known))
        .min()
        .filter(|(slips, _)| *slips <= MAX_SLIPS)
        .map(|(_, known)| known);
    RulesFault::UnknownKey { key, near }
}

fn text(key: &'static str, value: Json) -> Result<String, RulesFault> {
    match value {
        Json::Text(text) => Ok(text),
        _ => Err(RulesFault::WrongKind {
            key,
            wanted: "a text",
        }),
    }
}

/// A list of at least one text, each of them good.
fn texts(
    key: &'static str,
    value: Json,
    is_good: fn(&str) -> bool,
) -> Result<Vec<String>, RulesFault> {
    let wrong_kind = RulesFault::WrongKind {
        key,
        wanted: "a list of texts",
    };
    let Json::Array(values) = value else {
        return Err(wrong_kind);
    };
    if values.is_empty() {
        return Err(RulesFault::EmptyList(key));
    }
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Json::Text(text) if is_good(&text) => texts.push(text),
            Json::Text(element) => return Err(RulesFault::BadElement { key, element }),
            _ => return Err(wrong_kind),
        }
    }
    Ok(texts)
}

fn is_claim(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn name_of(value: &Json) -> Result<String, RulesFault> {
    let name = text("name", value.clone())?;
    let good = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| (0x20..=0x7e).contains(&b))
        && !name.starts_with('#');
    if good {
        Ok(name)
    } else {
        Err(RulesFault::BadName(name))
    }
}

fn methods_of(mut methods: Vec<String>) -> Result<Vec<String>, RulesFault> {
    for method in &methods {
        // RFC 9110 section 9.1: compared with regard to case, and no method has a small letter.
        if method.is_empty()
            || !method
                .bytes()
                .all(|b| is_tchar(b) && !b.is_ascii_lowercase())
        {
            return Err(RulesFault::BadMethod(method.clone()));
        }
    }
    // RFC 9110 section 9.3.2: HEAD is GET without the content, and answered by the same code.
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    Ok(methods)
}

fn path_of(value: Json) -> Result<Vec<pattern::Segment<'static>>, RulesFault> {
    let wrong_kind = RulesFault::WrongKind {
        key: "path",
        wanted: "an object with one of `exact`, `prefix` and `template`, such as {\"prefix\": \"/orders\"}",
    };
    let Json::Object(members) = value else {
        return Err(wrong_kind);
    };
    let mut path = None;
    for (key, value) in members {
        let (key, form) = match key.as_str() {
            "exact" => ("path.exact", Form::Exact),
            "prefix" => ("path.prefix", Form::Prefix),
            "template" => ("path.template", Form::Template),
            _ => return Err(unknown(key, PATH_KEYS)),
        };
        if path.is_some() {
            return Err(wrong_kind);
        }
        path = Some(pattern::path(form, &text(key, value)?)?);
    }
    path.ok_or(wrong_kind)
}

fn scopes_of(value: Json, demands: &mut Requirements) -> Result<(), RulesFault> {
    let wrong_kind = RulesFault::WrongKind {
        key: "scopes",
        wanted: "an object with `all` or `any` or both, such as {\"all\": [\"orders.read\"]}",
    };
    let members = match value {
        Json::Object(members) if !members.is_empty() => members,
        _ => return Err(wrong_kind),
    };
    for (key, value) in members {
        match key.as_str() {
            "all" => demands.all_scopes = texts("scopes.all", value, is_scope_token)?,
            "any" => demands.any_scope = texts("scopes.any", value, is_scope_token)?,
            _ => return Err(unknown(key, SCOPES_KEYS)),
        }
    }
    Ok(())
}

fn ttl_of(value: &Json) -> Result<u32, RulesFault> {
    let seconds = match value {
        Json::Integer(seconds) => u32::try_from(*seconds).ok(),
        _ => None,
    };
    seconds
        .filter(|seconds| *seconds <= MAX_TTL_SECONDS)
        .ok_or(RulesFault::WrongKind {
            key: "ttl",
            wanted: WANTED_TTL,
        })
}

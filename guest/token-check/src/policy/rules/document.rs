//! The rules as they are written: a JSON document, read strictly.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{RulesError, RulesFault, WANTED_TTL};
use super::pattern::{self, Form, Pattern, Segment};
use super::{Guard, MAX_NAME_BYTES, MAX_RULES, MAX_RULES_BYTES, Rule, Rules};
use crate::grammar::is_scope_token;
use crate::grammar::is_tchar;
use crate::json::{self, Json};
use crate::policy::MAX_TTL_SECONDS;
use crate::policy::Requirements;
use crate::policy::names::near;

/// What makes an object of these the document.
const DOCUMENT_KEYS: &[&str] = &["$schema", "rules"];
const RULE_KEYS: &[&str] = &[
    "name",
    "host",
    "methods",
    "path",
    "public",
    "deny",
    "scopes",
    "audiences",
    "issuers",
    "clients",
    "grant_types",
    "ttl",
];
const PATH_KEYS: &[&str] = &["exact", "prefix", "template"];
const SCOPES_KEYS: &[&str] = &["all", "any"];

type Members<'a> = [(Cow<'a, str>, Json<'a>)];
type IsGood = fn(&str) -> bool;

/// The rules of the document. What a rule does not name is as in `default`.
pub(super) fn read(text: &str, default: &Requirements) -> Result<Rules, RulesError> {
    let whole = |fault| RulesError { rule: None, fault };
    if text.len() > MAX_RULES_BYTES {
        return Err(whole(RulesFault::TooLong));
    }
    let document =
        json::read(text).map_err(|error| whole(RulesFault::NotJson(error.to_string())))?;
    let list = list(&document).map_err(whole)?;
    if list.len() > MAX_RULES {
        return Err(whole(RulesFault::TooMany));
    }
    let mut names = BTreeSet::new();
    let mut rules = Rules::default();
    for (number, rule) in (1..).zip(list) {
        let mut name = None;
        rule_of(rule, number, default, &mut name)
            .and_then(|(pattern, rule)| {
                if name.clone().is_some_and(|name| !names.insert(name)) {
                    return Err(RulesFault::NameTaken);
                }
                rules.push(&pattern, rule)
            })
            .map_err(|fault| RulesError {
                rule: Some((number, name)),
                fault,
            })?;
    }
    Ok(rules)
}

fn list<'a>(document: &'a Json<'a>) -> Result<&'a [Json<'a>], RulesFault> {
    let rules = match document {
        Json::Object(members) => {
            check_keys(members, DOCUMENT_KEYS)?;
            get(members, "rules")
        }
        other => Some(other),
    };
    match rules {
        Some(Json::Array(rules)) => Ok(rules),
        _ => Err(RulesFault::NotAList),
    }
}

/// One rule; its name as soon as it is known to be good, for the error.
fn rule_of(
    rule: &Json<'_>,
    number: usize,
    default: &Requirements,
    name: &mut Option<String>,
) -> Result<(Pattern, Rule), RulesFault> {
    let Json::Object(members) = rule else {
        return Err(RulesFault::NotAnObject);
    };
    *name = name_of(members)?;
    check_keys(members, RULE_KEYS)?;
    let label: Arc<str> = match name {
        Some(name) => name.as_str().into(),
        None => format!("#{number}").into(),
    };
    let pattern = Pattern {
        host: text(members, "host")?.map(pattern::host).transpose()?,
        path: path_of(members)?,
    };
    let methods = methods_of(members)?;
    let flags = [flag(members, "public")?, flag(members, "deny")?];
    let guard = match flags {
        [None, None] => Guard::Token(Arc::new(demands_of(members, default, label)?)),
        [Some(public), Some(deny)] => return Err(RulesFault::Contradiction(public, deny)),
        [Some(flag), None] | [None, Some(flag)] => {
            // The keys after the flags are demands.
            let demands = RULE_KEYS.iter().skip_while(|key| **key != "deny").skip(1);
            if let Some(demand) = demands.copied().find(|key| get(members, key).is_some()) {
                return Err(RulesFault::Contradiction(flag, demand));
            }
            if flag == "deny" {
                Guard::Denied(label)
            } else {
                Guard::Public(label)
            }
        }
    };
    Ok((pattern, Rule { methods, guard }))
}

fn get<'a>(members: &'a Members<'a>, key: &str) -> Option<&'a Json<'a>> {
    let (_, value) = members.iter().find(|(name, _)| name == key)?;
    Some(value)
}

fn check_keys(members: &Members<'_>, known: &[&'static str]) -> Result<(), RulesFault> {
    match members.iter().find(|(key, _)| !known.contains(&&**key)) {
        None => Ok(()),
        Some((key, _)) => Err(RulesFault::UnknownKey {
            key: key.to_string(),
            near: near(key, known.iter().copied()),
        }),
    }
}

fn text<'a>(members: &'a Members<'a>, key: &'static str) -> Result<Option<&'a str>, RulesFault> {
    match get(members, key) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(RulesFault::WrongKind {
            key,
            wanted: "a text",
        }),
    }
}

/// The flag's key if it is set.
fn flag(members: &Members<'_>, key: &'static str) -> Result<Option<&'static str>, RulesFault> {
    match get(members, key) {
        None => Ok(None),
        Some(Json::Bool(true)) => Ok(Some(key)),
        Some(_) => Err(RulesFault::WrongKind {
            key,
            wanted: "`true`, or be left out",
        }),
    }
}

/// A list of at least one text, each of them good.
fn texts(
    members: &Members<'_>,
    key: &'static str,
    is_good: IsGood,
) -> Result<Option<Vec<String>>, RulesFault> {
    let wrong_kind = RulesFault::WrongKind {
        key,
        wanted: "a list of texts",
    };
    let values = match get(members, key) {
        None => return Ok(None),
        Some(Json::Array(values)) => values,
        Some(_) => return Err(wrong_kind),
    };
    if values.is_empty() {
        return Err(RulesFault::EmptyList(key));
    }
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let Json::Text(text) = value else {
            return Err(wrong_kind);
        };
        if !is_good(text) {
            return Err(RulesFault::BadElement {
                key,
                element: text.to_string(),
            });
        }
        texts.push(text.to_string());
    }
    Ok(Some(texts))
}

fn name_of(members: &Members<'_>) -> Result<Option<String>, RulesFault> {
    let Some(name) = text(members, "name")? else {
        return Ok(None);
    };
    let good = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| (0x20..=0x7e).contains(&b))
        && !name.starts_with('#');
    if good {
        Ok(Some(name.to_owned()))
    } else {
        Err(RulesFault::BadName(name.to_owned()))
    }
}

fn methods_of(members: &Members<'_>) -> Result<Vec<String>, RulesFault> {
    // RFC 9110 section 9.1: compared with regard to case, and no method in use has a small letter.
    let is_method = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| is_tchar(b) && !b.is_ascii_lowercase())
    };
    let mut methods = texts(members, "methods", is_method)?.unwrap_or_default();
    // RFC 9110 section 9.3.2: HEAD is GET without the content, and answered by the same code.
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    Ok(methods)
}

fn path_of(members: &Members<'_>) -> Result<Option<Vec<Segment<'static>>>, RulesFault> {
    let wrong_kind = RulesFault::WrongKind {
        key: "path",
        wanted: "an object with one of `exact`, `prefix` and `template`, such as {\"prefix\": \"/orders\"}",
    };
    let members = match get(members, "path") {
        None => return Ok(None),
        Some(Json::Object(members)) => members,
        Some(_) => return Err(wrong_kind),
    };
    check_keys(members, PATH_KEYS)?;
    match &**members {
        [(form, Json::Text(path))] => {
            let form = match &**form {
                "exact" => Form::Exact,
                "prefix" => Form::Prefix,
                _ => Form::Template,
            };
            pattern::path(form, path).map(Some)
        }
        _ => Err(wrong_kind),
    }
}

fn demands_of(
    members: &Members<'_>,
    default: &Requirements,
    label: Arc<str>,
) -> Result<Requirements, RulesFault> {
    let scopes: &Members<'_> = match get(members, "scopes") {
        None => &[],
        Some(Json::Object(scopes)) if !scopes.is_empty() => scopes,
        Some(_) => {
            return Err(RulesFault::WrongKind {
                key: "scopes",
                wanted: "an object with `all` or `any` or both, such as {\"all\": [\"orders.read\"]}",
            });
        }
    };
    check_keys(scopes, SCOPES_KEYS)?;
    let mut demands = Requirements {
        rule: Some(label),
        ttl_seconds: ttl_of(members)?,
        ..default.clone()
    };
    let lists = [
        (members, "issuers", is_claim as IsGood, &mut demands.issuers),
        (members, "audiences", is_claim, &mut demands.audiences),
        (members, "clients", is_claim, &mut demands.clients),
        (members, "grant_types", is_claim, &mut demands.grant_types),
        (scopes, "all", is_scope_token, &mut demands.all_scopes),
        (scopes, "any", is_scope_token, &mut demands.any_scope),
    ];
    for (members, key, is_good, list) in lists {
        if let Some(given) = texts(members, key, is_good)? {
            *list = given.into();
        }
    }
    Ok(demands)
}

fn is_claim(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn ttl_of(members: &Members<'_>) -> Result<Option<u32>, RulesFault> {
    let seconds = match get(members, "ttl") {
        None => return Ok(None),
        Some(Json::Integer(seconds)) => u32::try_from(*seconds).ok(),
        Some(_) => None,
    };
    match seconds {
        Some(seconds) if seconds <= MAX_TTL_SECONDS => Ok(Some(seconds)),
        _ => Err(RulesFault::WrongKind {
            key: "ttl",
            wanted: WANTED_TTL,
        }),
    }
}

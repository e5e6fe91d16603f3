//! Parses the rules document: strict JSON.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{EXPECTED_TTL, RulesError, RulesFault};
use super::limits::{MAX_NAME_BYTES, MAX_RULES, MAX_RULES_BYTES};
use super::pattern::{self, Form, Pattern, Segment};
use super::rule_set::{Access, Rule, Rules};
use crate::policy::Requirements;
use crate::policy::names::near;
use crate::policy::settings::MAX_TTL_SECONDS;
use crate::policy::unclean::is_invisible;
use codec::grammar::{is_scope_token, is_tchar};
use codec::json::{self, Json};

/// Keys of the document if it is an object.
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
type IsValid = fn(&str) -> bool;

/// Parses a rules document. What a rule does not set is as in `default`, whose floor holds in any
/// case.
pub(crate) fn parse(document: &str, default: &Requirements) -> Result<Rules, RulesError> {
    let whole = |fault| RulesError { rule: None, fault };
    if document.len() > MAX_RULES_BYTES {
        return Err(whole(RulesFault::TooLong));
    }
    let document =
        json::read(document).map_err(|error| whole(RulesFault::NotJson(error.to_string())))?;
    let list = list(&document).map_err(whole)?;
    if list.len() > MAX_RULES {
        return Err(whole(RulesFault::TooMany));
    }
    let mut names = BTreeSet::new();
    let mut rules = Rules::default();
    for (number, rule) in (1..).zip(list) {
        let Parsed { name, result } = parse_rule(rule, number, default);
        let added = result.and_then(|(pattern, rule)| {
            if name.is_some() && !names.insert(name) {
                return Err(RulesFault::NameTaken);
            }
            rules.push(&pattern, rule)
        });
        if let Err(fault) = added {
            let rule = Some((number, name.map(str::to_owned)));
            return Err(RulesError { rule, fault });
        }
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

/// One rule.
struct Parsed<'a> {
    /// If it is valid: for errors.
    name: Option<&'a str>,
    result: Result<(Pattern, Rule), RulesFault>,
}

fn parse_rule<'a>(rule: &'a Json<'_>, number: usize, default: &Requirements) -> Parsed<'a> {
    let failed = |fault| Parsed {
        name: None,
        result: Err(fault),
    };
    let Json::Object(members) = rule else {
        return failed(RulesFault::NotAnObject);
    };
    match parse_name(members) {
        Err(fault) => failed(fault),
        Ok(name) => {
            let label = name.map_or_else(|| format!("#{number}").into(), Into::into);
            let result = parse_members(members, label, default);
            Parsed { name, result }
        }
    }
}

/// `label`: the name of the rule, or `#` and its number.
fn parse_members(
    members: &Members<'_>,
    label: Arc<str>,
    default: &Requirements,
) -> Result<(Pattern, Rule), RulesFault> {
    check_keys(members, RULE_KEYS)?;
    let pattern = Pattern {
        host: string(members, "host")?.map(pattern::host).transpose()?,
        path: parse_path(members)?,
    };
    let methods = parse_methods(members)?;
    let flags = [flag(members, "public")?, flag(members, "deny")?];
    let access = match flags {
        [None, None] => Access::Token(Arc::new(parse_requirements(members, default, label)?)),
        [Some(public), Some(deny)] => return Err(RulesFault::Contradiction(public, deny)),
        [Some(flag), None] | [None, Some(flag)] => {
            // The keys after the flags are requirements.
            let mut requirements = RULE_KEYS.iter().skip_while(|key| **key != "deny").skip(1);
            if let Some(key) = requirements.find(|key| get(members, key).is_some()) {
                return Err(RulesFault::Contradiction(flag, key));
            }
            if flag == "deny" {
                Access::Denied(label)
            } else {
                Access::Public(label)
            }
        }
    };
    Ok((pattern, Rule { methods, access }))
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

fn string<'a>(members: &'a Members<'a>, key: &'static str) -> Result<Option<&'a str>, RulesFault> {
    match get(members, key) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(RulesFault::WrongKind {
            key,
            expected: "a string",
        }),
    }
}

/// The key of the flag if it is set.
fn flag(members: &Members<'_>, key: &'static str) -> Result<Option<&'static str>, RulesFault> {
    match get(members, key) {
        None => Ok(None),
        Some(Json::Bool(true)) => Ok(Some(key)),
        Some(_) => Err(RulesFault::WrongKind {
            key,
            expected: "`true`, or omitted",
        }),
    }
}

/// A list of at least one string, each of them valid.
fn strings(
    members: &Members<'_>,
    key: &'static str,
    is_valid: IsValid,
) -> Result<Option<Vec<String>>, RulesFault> {
    let wrong_kind = RulesFault::WrongKind {
        key,
        expected: "a list of strings",
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
        if !is_valid(text) {
            return Err(RulesFault::BadElement {
                key,
                element: text.to_string(),
            });
        }
        texts.push(text.to_string());
    }
    Ok(Some(texts))
}

fn parse_name<'a>(members: &'a Members<'_>) -> Result<Option<&'a str>, RulesFault> {
    let Some(name) = string(members, "name")? else {
        return Ok(None);
    };
    let is_valid = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| (0x20..=0x7e).contains(&b))
        && !name.starts_with('#');
    if is_valid {
        Ok(Some(name))
    } else {
        Err(RulesFault::BadName(name.to_owned()))
    }
}

fn parse_methods(members: &Members<'_>) -> Result<Vec<String>, RulesFault> {
    // RFC 9110 section 9.1: methods are case-sensitive, and those in use are in upper case.
    let is_method = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| is_tchar(b) && !b.is_ascii_lowercase())
    };
    let mut methods = strings(members, "methods", is_method)?.unwrap_or_default();
    // RFC 9110 section 9.3.2: HEAD is GET without the content, and served by the same code.
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    Ok(methods)
}

fn parse_path(members: &Members<'_>) -> Result<Option<Vec<Segment<'static>>>, RulesFault> {
    let wrong_kind = RulesFault::WrongKind {
        key: "path",
        expected: "an object with one of `exact`, `prefix` and `template`, such as {\"prefix\": \"/orders\"}",
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

fn parse_requirements(
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
                expected: "an object with `all` or `any` or both, such as {\"all\": [\"orders.read\"]}",
            });
        }
    };
    check_keys(scopes, SCOPES_KEYS)?;
    let mut requirements = Requirements {
        rule: Some(label),
        ttl_seconds: parse_ttl(members)?,
        ..default.clone()
    };
    set(members, "issuers", is_claim, &mut requirements.issuers)?;
    set(members, "audiences", is_claim, &mut requirements.audiences)?;
    set(members, "clients", is_claim, &mut requirements.clients)?;
    set(
        members,
        "grant_types",
        is_claim,
        &mut requirements.grant_types,
    )?;
    set(scopes, "all", is_scope_token, &mut requirements.all_scopes)?;
    set(scopes, "any", is_scope_token, &mut requirements.any_scope)?;
    Ok(requirements.with_scopes_of_floor())
}

fn set<L: From<Vec<String>>>(
    members: &Members<'_>,
    key: &'static str,
    is_valid: IsValid,
    list: &mut L,
) -> Result<(), RulesFault> {
    if let Some(strings) = strings(members, key, is_valid)? {
        *list = strings.into();
    }
    Ok(())
}

fn is_claim(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_control() || is_invisible(c))
}

fn parse_ttl(members: &Members<'_>) -> Result<Option<u32>, RulesFault> {
    let seconds = match get(members, "ttl") {
        None => return Ok(None),
        Some(Json::Integer(seconds)) => u32::try_from(*seconds).ok(),
        Some(_) => None,
    };
    match seconds {
        Some(seconds) if seconds <= MAX_TTL_SECONDS => Ok(Some(seconds)),
        _ => Err(RulesFault::WrongKind {
            key: "ttl",
            expected: EXPECTED_TTL,
        }),
    }
}

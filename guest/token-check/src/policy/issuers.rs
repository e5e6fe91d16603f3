//! Several issuers: `issuers`, a list of objects with the settings of one issuer each.

use std::sync::Arc;

use super::one_of::OneOf;
use super::requirements::{Floor, Requirements};
use super::rules::{self, Rules};
use super::settings::{
    ALGORITHMS, ALLOWED_CLIENTS, ALLOWED_GRANT_TYPES, ASSERTION_AUDIENCE, CLIENT_AUTH,
    CLIENT_ID_CLAIM, CLIENT_KEY, EXPECTED_AUD, EXPECTED_ISSUER, INTROSPECT_ORIGIN,
    INTROSPECT_TOKEN, INTROSPECT_URL, ISSUER, ISSUER_ORIGIN, ISSUERS, JWKS, JWKS_MAX_AGE,
    JWKS_MIN_INTERVAL, JWKS_ORIGIN, JWKS_TTL, JWKS_URL, REQUIRE_AT_JWT, REQUIRED_SCOPE,
    RESOURCE_CLIENT_ID, RESOURCE_CLIENT_SECRET, SCOPE_CLAIM, SIGNED_INTROSPECTION, STRATEGY,
    Setting, TOKEN_TYPES,
};
use super::settings_error::{Problem, SettingSource, SettingsError};
use super::values::SettingValues;
use codec::json::{self, Json};

/// Most issuers. Each has facts, keys and calls of its own, in the memory of one WebAssembly
/// instance.
const MAX_ISSUERS: usize = 16;

/// What an issuer has for itself. It is not inherited: no issuer gets the credentials of another one.
const OWN: [&Setting; 13] = [
    ISSUER,
    INTROSPECT_URL,
    RESOURCE_CLIENT_ID,
    RESOURCE_CLIENT_SECRET,
    JWKS_URL,
    JWKS,
    JWKS_ORIGIN,
    ISSUER_ORIGIN,
    INTROSPECT_ORIGIN,
    EXPECTED_ISSUER,
    CLIENT_KEY,
    INTROSPECT_TOKEN,
    ASSERTION_AUDIENCE,
];

/// Of those, what is read for its own sake even so: by Service A in the same shell, and by Spin, for
/// its grants.
const ALSO_READ_ELSEWHERE: [&Setting; 4] = [ISSUER, ISSUER_ORIGIN, INTROSPECT_ORIGIN, JWKS_ORIGIN];

/// What an issuer may have in place of what holds for all.
const INHERITED: [&Setting; 15] = [
    STRATEGY,
    ALGORITHMS,
    REQUIRE_AT_JWT,
    CLIENT_ID_CLAIM,
    SCOPE_CLAIM,
    JWKS_TTL,
    JWKS_MIN_INTERVAL,
    JWKS_MAX_AGE,
    SIGNED_INTROSPECTION,
    EXPECTED_AUD,
    TOKEN_TYPES,
    CLIENT_AUTH,
    REQUIRED_SCOPE,
    ALLOWED_CLIENTS,
    ALLOWED_GRANT_TYPES,
];

/// The only member of an object that is no setting: with one issuer, there is nothing to choose.
const OPAQUE_PREFIX: &str = "opaque_prefix";

/// Each issuer of the list, with its settings.
///
/// # Errors
/// What is wrong with the list, or with one of its objects: then the key is `issuers[1].jwks_url` and
/// the like.
pub(super) fn read(
    values: &SettingValues,
    document: &str,
    source: SettingSource,
) -> Result<Vec<(OneOf, SettingValues)>, SettingsError> {
    let error = |problem| SettingsError::new(ISSUERS.key, problem);
    let set = OWN.into_iter().find(|setting| {
        values.get(setting.key).is_some() && !ALSO_READ_ELSEWHERE.contains(setting)
    });
    if let Some(setting) = set {
        return Err(SettingsError::new(setting.key, Problem::PerIssuer));
    }
    let list = match json::read(document) {
        Ok(Json::Array(list)) if (1..=MAX_ISSUERS).contains(&list.len()) => list,
        Ok(_) => return Err(error(Problem::NotIssuers(MAX_ISSUERS, None))),
        Err(fault) => {
            let fault = Some(fault.to_string());
            return Err(error(Problem::NotIssuers(MAX_ISSUERS, fault)));
        }
    };
    let mut each = Vec::new();
    for (at, members) in list.into_iter().enumerate() {
        let one = of_one(values, members, source).map_err(|error| nested(at, error))?;
        each.push(one);
    }
    let all: Vec<_> = each.iter().map(|one| one.iss.clone()).collect();
    for (at, own) in all.iter().enumerate() {
        if all.iter().take(at).any(|before| before == own) {
            let twice = SettingsError::new(EXPECTED_ISSUER.key, Problem::IssuerTwice);
            return Err(nested(at, twice));
        }
    }
    check_prefixes(&each)?;
    let each = each.into_iter().map(|one| {
        let one_of = OneOf {
            all: all.clone(),
            own: one.iss,
            floor: Arc::new(one.floor),
            opaque_prefix: one.opaque_prefix,
        };
        (one_of, one.values)
    });
    Ok(each.collect())
}

/// An error of the policy of one issuer: it says in which object it is, if it is in one.
pub(super) fn in_list(at: usize, error: SettingsError) -> SettingsError {
    match is_of_one(&error.key) {
        true => nested(at, error),
        false => error,
    }
}

/// What an object says.
struct OfOne {
    /// The `iss` of the issuer.
    iss: String,
    /// What is set in the object itself.
    floor: Floor,
    opaque_prefix: Option<String>,
    /// All settings of the issuer.
    values: SettingValues,
}

fn of_one(
    values: &SettingValues,
    members: Json<'_>,
    source: SettingSource,
) -> Result<OfOne, SettingsError> {
    let Json::Object(members) = members else {
        return Err(SettingsError::new("", Problem::NotAnIssuer));
    };
    let mut own = SettingValues::new();
    let mut prefix = None;
    for (key, value) in members {
        let error = |problem| SettingsError::new(&key, problem);
        if key == OPAQUE_PREFIX {
            prefix = opaque_prefix(&value)?;
            continue;
        }
        if !is_of_one(&key) {
            return Err(error(Problem::NotPerIssuer));
        }
        // A key set is an object, and so is a private key.
        let is_json = [JWKS.key, CLIENT_KEY.key].contains(&&*key);
        if !is_json && matches!(value, Json::Array(_) | Json::Object(_)) {
            return Err(error(Problem::NotOneValue));
        }
        let value = value
            .into_setting()
            .ok_or_else(|| error(Problem::NotWhole))?;
        own.set(&key, value, source);
    }
    own.check()?;
    let all = values.without(|key| {
        key == ISSUERS.key || OWN.iter().any(|setting| setting.key == key) || own.get(key).is_some()
    });
    let iss = (own.optional(EXPECTED_ISSUER)).or_else(|| own.optional(ISSUER));
    let iss = iss.ok_or_else(|| SettingsError::new(ISSUER.key, Problem::Missing))?;
    Ok(OfOne {
        iss: iss.to_owned(),
        floor: Floor {
            audiences: own.list(EXPECTED_AUD)?.into(),
            clients: own.list(ALLOWED_CLIENTS)?.into(),
            grant_types: own.list(ALLOWED_GRANT_TYPES)?.into(),
            all_scopes: own.list(REQUIRED_SCOPE)?.into(),
        },
        opaque_prefix: prefix,
        values: all.with(own),
    })
}

/// `None`: it is empty, like a setting that is not set.
fn opaque_prefix(value: &Json<'_>) -> Result<Option<String>, SettingsError> {
    match value {
        Json::Null => Ok(None),
        Json::Text(text) if text.is_empty() => Ok(None),
        Json::Text(text) if codec::grammar::may_begin_token(text.as_bytes()) => {
            Ok(Some(text.clone().into_owned()))
        }
        _ => Err(SettingsError::new(OPAQUE_PREFIX, Problem::NotAPrefix)),
    }
}

/// No token may begin with the prefixes of two issuers.
fn check_prefixes(each: &[OfOne]) -> Result<(), SettingsError> {
    let prefixes = each.iter().enumerate();
    let prefixes: Vec<_> = prefixes
        .filter_map(|(at, one)| Some((at, one.opaque_prefix.as_deref()?)))
        .collect();
    for (at, prefix) in &prefixes {
        let overlaps = |(before, other): &&(usize, &str)| {
            before < at && (other.starts_with(prefix) || prefix.starts_with(other))
        };
        if let Some((before, _)) = prefixes.iter().find(overlaps) {
            let problem = Problem::PrefixOverlaps(*before);
            return Err(nested(*at, SettingsError::new(OPAQUE_PREFIX, problem)));
        }
    }
    Ok(())
}

/// Where a token that is no JWT may be that of either of two issuers, the second one would never be
/// asked, and its callers kept out without a word. `each`: and whether it introspects such tokens.
pub(super) fn check_opaque(
    each: &[(&OneOf, bool)],
    default: &Requirements,
    rules: &Rules,
) -> Result<(), SettingsError> {
    let is_useless = |(one_of, takes): &(&OneOf, bool)| one_of.opaque_prefix.is_some() && !takes;
    if let Some(at) = each.iter().position(is_useless) {
        let error = SettingsError::new(OPAQUE_PREFIX, Problem::NoOpaqueTokens);
        return Err(nested(at, error));
    }
    let default = rules.may_match_none().then_some((None, default));
    let in_rules = rules.with_requirements().map(|(number, requirements)| {
        let rule = rules::describe(number, requirements.rule());
        (Some(rule), requirements)
    });
    for (rule, requirements) in default.into_iter().chain(in_rules) {
        let issuers = requirements.issuers.as_slice();
        let takes_any = |(one_of, takes): &(&OneOf, bool)| {
            *takes && one_of.opaque_prefix.is_none() && issuers.contains(&one_of.own)
        };
        let mut all = (0..).zip(each).filter(|(_, one)| takes_any(one));
        if let (Some((first, _)), Some((second, _))) = (all.next(), all.next()) {
            let problem = Problem::OpaqueTwice { first, rule };
            return Err(nested(second, SettingsError::new(STRATEGY.key, problem)));
        }
    }
    Ok(())
}

fn is_of_one(key: &str) -> bool {
    let mut known = OWN.iter().chain(&INHERITED);
    known.any(|setting| setting.key == key)
}

/// Says in which object of the list the error is.
fn nested(at: usize, error: SettingsError) -> SettingsError {
    let key = match error.key.as_str() {
        "" => format!("{}[{at}]", ISSUERS.key),
        key => format!("{}[{at}].{key}", ISSUERS.key),
    };
    SettingsError { key, ..error }
}

/// A rule that names an issuer which is not in the list would refuse every token.
pub(super) fn check_rules(rules: &Rules, one_of: &OneOf) -> Result<(), SettingsError> {
    let unknown = |requirements: &Requirements| {
        let mut issuers = requirements.issuers.as_slice().iter();
        issuers.any(|issuer| !one_of.all.contains(issuer))
    };
    let mut all = rules.with_requirements();
    match all.find(|(_, requirements)| unknown(requirements)) {
        None => Ok(()),
        Some((number, requirements)) => {
            let rule = rules::describe(number, requirements.rule());
            let problem = Problem::UnknownToRule(rule);
            Err(SettingsError::new(ISSUERS.key, problem))
        }
    }
}

//! The names of settings: which are known, and which one a misspelt name was meant to be.

use core::fmt::{self, Write as _};

use crate::policy::settings::{ENVOY_SETTINGS, SERVICE_A_KEYS, SETTINGS};

/// What the environment variable of each setting begins with.
pub const PREFIX: &str = "WORKOUT18_";
/// What the Spin variable of each setting begins with: an app has variables of its own, and a middleware sees them.
pub const SPIN_PREFIX: &str = "auth_";

/// A name with no more slips than this is taken for the known one.
const MAX_SLIPS: usize = 2;
/// So is one as much alike as this (Jaro-Winkler, 0 to 1), such as `introspection_url` and `introspect_url`.
const LEAST_LIKENESS: f64 = 0.88;

/// The known name that was probably meant: the one with the fewest slips, else the longest one that the name begins with
/// (`expected_audience` with `expected_aud`), else the most alike.
pub(crate) fn near<'k>(
    name: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> Option<&'k str> {
    let slips = known
        .clone()
        .map(|known| (strsim::levenshtein(known, name), known))
        .filter(|(slips, _)| *slips <= MAX_SLIPS)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known);
    let beginning = || {
        let known = known.clone().filter(|known| name.starts_with(known));
        known.max_by_key(|known| known.len())
    };
    let alike = || {
        known
            .clone()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known)
    };
    slips.or_else(beginning).or_else(alike)
}

/// The key that was probably meant by one that is not known, however its writer spelt it.
pub(crate) fn near_key<'k>(
    key: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> Option<&'k str> {
    let key = key.to_ascii_lowercase();
    let bare = [&*PREFIX.to_ascii_lowercase(), SPIN_PREFIX]
        .into_iter()
        .find_map(|prefix| key.strip_prefix(prefix));
    near(bare.unwrap_or(&key), known)
}

/// The environment variable of a setting.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// A name without what would break the line that it is told in.
pub(crate) struct Visible<'a>(pub(crate) &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut visible = self.0.chars().filter(|c| !c.is_control());
        visible.try_for_each(|c| f.write_char(c))
    }
}

/// An environment variable that begins as ours do and that nothing of ours reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    name: String,
    near: Option<String>,
}

/// Among the names of environment variables, the first in alphabetical order that begins as ours do, in whatever case,
/// and that neither Service B nor Service A reads. A setting that is not read does not hold, so nobody should start.
#[must_use]
pub fn unknown_variable<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<UnknownVariable> {
    let tables = SETTINGS.iter().chain(ENVOY_SETTINGS);
    let known = tables
        .map(|setting| setting.key)
        .chain(SERVICE_A_KEYS.iter().copied());
    let is_ours = |name: &&str| {
        let prefix = name.get(..PREFIX.len());
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
    };
    let is_known = |name: &str| known.clone().any(|key| variable(key) == name);
    let name = names
        .into_iter()
        .filter(is_ours)
        .filter(|name| !is_known(name))
        .min()?;
    Some(UnknownVariable {
        name: name.to_owned(),
        near: near_key(name, known).map(variable),
    })
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name in the environment may hold anything but `=`.
        write!(
            f,
            "environment variable {} is not a setting: ",
            Visible(&self.name)
        )?;
        match &self.near {
            Some(near) => write!(f, "did you mean {near}?"),
            None => f.write_str("unset it, or see the table of settings in README.md"),
        }
    }
}

impl core::error::Error for UnknownVariable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str]) -> Option<String> {
        unknown_variable(names.iter().copied()).map(|unknown| unknown.to_string())
    }

    #[test]
    fn a_variable_that_nothing_reads_is_told_with_the_name_that_was_meant() {
        let rows = [
            ("WORKOUT18_EXPECTED_AUDIENCE", "WORKOUT18_EXPECTED_AUD"),
            ("WORKOUT18_EXPECTED_AUDIENCES", "WORKOUT18_EXPECTED_AUD"),
            ("WORKOUT18_EXPECTED_ISS", "WORKOUT18_EXPECTED_ISSUER"),
            ("WORKOUT18_REQUIRED_SCOPES", "WORKOUT18_REQUIRED_SCOPE"),
            ("WORKOUT18_REQUIRES", "WORKOUT18_REQUIRE"),
            ("WORKOUT18_ALLOWED_CLIENT", "WORKOUT18_ALLOWED_CLIENTS"),
            ("WORKOUT18_CACHE_TLL", "WORKOUT18_CACHE_TTL"),
            ("WORKOUT18_INTROSPECTION_URL", "WORKOUT18_INTROSPECT_URL"),
            ("WORKOUT18_WHOAMI", "WORKOUT18_WHOAMI_PATH"),
            ("WORKOUT18_SCOPES", "WORKOUT18_SCOPE"),
            ("WORKOUT18_ISSUER_URL", "WORKOUT18_ISSUER"),
            ("workout18_expected_aud", "WORKOUT18_EXPECTED_AUD"),
        ];
        for (name, meant) in rows {
            assert_eq!(
                told(&["PATH", "WORKOUT18_TIMEOUT", name]),
                Some(format!(
                    "environment variable {name} is not a setting: did you mean {meant}?"
                ))
            );
        }
    }

    #[test]
    fn a_variable_that_is_near_to_none_is_told_all_the_same() {
        for (name, shown) in [
            ("WORKOUT18_QQQ", "WORKOUT18_QQQ"),
            ("WORKOUT18_", "WORKOUT18_"),
            ("WORKOUT18_A\nB", "WORKOUT18_AB"),
        ] {
            assert_eq!(
                told(&[name]),
                Some(format!(
                    "environment variable {shown} is not a setting: unset it, or see the table of settings in README.md"
                ))
            );
        }
    }

    #[test]
    fn what_service_a_and_envoy_read_is_known_and_what_is_not_ours_is_left_alone() {
        let ours = SETTINGS.iter().chain(ENVOY_SETTINGS);
        let ours: Vec<_> = ours
            .map(|setting| setting.key)
            .chain(SERVICE_A_KEYS.iter().copied())
            .map(variable)
            .collect();
        let others = ["PATH", "", "WORKOUT18", "MY_WORKOUT18_X", "WORKOUT180_X"];
        let names = ours.iter().map(String::as_str).chain(others);
        assert_eq!(unknown_variable(names), None);
    }

    #[test]
    fn of_several_the_first_in_alphabetical_order_is_told() {
        let told = told(&["WORKOUT18_QQQ", "WORKOUT18_CACHE_TLL", "WORKOUT18_SCOPES"]);
        assert!(told.is_some_and(|told| told.contains(" WORKOUT18_CACHE_TLL ")));
    }
}

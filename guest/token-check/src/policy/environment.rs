//! Finds misspelt settings in the environment.

use core::fmt;

use super::names::{PREFIX, Visible, near_key, variable};
use super::settings::{ENVOY_SETTINGS, SERVICE_A_KEYS, SETTINGS};

/// An environment variable with our prefix that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    name: String,
    near: Option<String>,
}

/// The alphabetically first environment variable with our prefix, in whatever case, that neither
/// Service B nor Service A reads. A setting that is not read has no effect, so nothing should start
/// with it.
#[must_use]
pub fn unknown_variable<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<UnknownVariable> {
    let tables = SETTINGS.iter().chain(ENVOY_SETTINGS);
    let known = tables
        .map(|setting| setting.key)
        .chain(SERVICE_A_KEYS.iter().copied());
    let has_prefix = |name: &&str| {
        let prefix = name.get(..PREFIX.len());
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
    };
    let is_known = |name: &str| known.clone().any(|key| variable(key) == name);
    let name = names
        .into_iter()
        .filter(has_prefix)
        .filter(|name| !is_known(name))
        .min()?;
    Some(UnknownVariable {
        name: name.to_owned(),
        near: near_key(name, known).map(variable),
    })
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name of an environment variable may contain anything but `=`.
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

    fn error(names: &[&str]) -> Option<String> {
        unknown_variable(names.iter().copied()).map(|unknown| unknown.to_string())
    }

    #[test]
    fn an_unknown_variable_is_reported_with_the_name_that_was_meant() {
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
                error(&["PATH", "WORKOUT18_TIMEOUT", name]),
                Some(format!(
                    "environment variable {name} is not a setting: did you mean {meant}?"
                ))
            );
        }
    }

    #[test]
    fn an_unknown_variable_that_resembles_no_other_is_reported_too() {
        for (name, shown) in [
            ("WORKOUT18_QQQ", "WORKOUT18_QQQ"),
            ("WORKOUT18_", "WORKOUT18_"),
            ("WORKOUT18_A\nB", r"WORKOUT18_A\u{a}B"),
        ] {
            assert_eq!(
                error(&[name]),
                Some(format!(
                    "environment variable {shown} is not a setting: unset it, or see the table of settings in README.md"
                ))
            );
        }
    }

    #[test]
    fn variables_of_service_a_and_envoy_are_known_and_others_without_the_prefix_ignored() {
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
    fn of_several_the_alphabetically_first_is_reported() {
        let error = error(&["WORKOUT18_QQQ", "WORKOUT18_CACHE_TLL", "WORKOUT18_SCOPES"]);
        assert!(error.is_some_and(|error| error.contains(" WORKOUT18_CACHE_TLL ")));
    }
}

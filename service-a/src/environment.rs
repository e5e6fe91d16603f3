//! The names in the environment. One that is not known is a slip, and a setting that is not read is one that does not hold.

use std::env;

use crate::{cli, settings::SettingError};

/// What the names of all settings begin with.
const PREFIX: &str = "WORKOUT18_";

/// Settings of Service B beyond those of its table: of one host only, or to come.
const MORE_OF_SERVICE_B: [&str; 7] = [
    "issuer_ca_file",
    "issuer_cluster",
    "max_answer_bytes",
    "max_token_bytes",
    "require",
    "token_types",
    "whoami_path",
];

/// Two names that are less alike than this (Jaro-Winkler, 0 to 1) are not taken for each other.
const ALIKE: f64 = 0.85;

/// An error for each variable of ours that neither Service A nor Service B reads.
pub(crate) fn unknown() -> Vec<SettingError> {
    let mut names: Vec<_> = env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
        .into_iter()
        .filter_map(|name| {
            let problem = problem(&name)?;
            Some(SettingError::new(name, problem))
        })
        .collect()
}

/// What is wrong with a variable of this name. Those of Service B are known and not read.
fn problem(name: &str) -> Option<String> {
    if !name.starts_with(PREFIX) {
        return None;
    }
    let of_service_b = token_check::SETTINGS
        .iter()
        .map(|setting| setting.key)
        .chain(MORE_OF_SERVICE_B)
        .map(|key| format!("{PREFIX}{}", key.to_ascii_uppercase()));
    // Service A's first: of two names that are as near, the first is meant.
    let known: Vec<_> = cli::variables().into_iter().chain(of_service_b).collect();
    if known.iter().any(|known| known == name) {
        return None;
    }
    let alike = |known: &&String| strsim::jaro_winkler(strip(known), strip(name)) >= ALIKE;
    let nearest = known
        .iter()
        .filter(alike)
        .min_by_key(|known| strsim::damerau_levenshtein(known, name));
    Some(match nearest {
        Some(known) => format!("is not a setting: did you mean {known}?"),
        None => "is not a setting: unset it, or correct its name".to_owned(),
    })
}

/// The prefix is the same in all, and would make all alike.
fn strip(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_reads_is_found_and_the_one_that_was_meant() {
        let table = [
            ("HOME", None),
            ("workout18_scopes", None),
            ("WORKOUT18_SCOPE", None),
            ("WORKOUT18_CLIENT_SECRET", None),
            ("WORKOUT18_EXPECTED_AUD", None),
            ("WORKOUT18_REQUIRE", None),
            ("WORKOUT18_SCOPES", Some("WORKOUT18_SCOPE")),
            ("WORKOUT18_SCOP", Some("WORKOUT18_SCOPE")),
            ("WORKOUT18_TOKEN_URI", Some("WORKOUT18_TOKEN_URL")),
            ("WORKOUT18_CLIENTID", Some("WORKOUT18_CLIENT_ID")),
            ("WORKOUT18_RESOURCES", Some("WORKOUT18_RESOURCE")),
            ("WORKOUT18_ISSUER_URL", Some("WORKOUT18_ISSUER")),
            (
                "WORKOUT18_EXPECTED_AUDIENCE",
                Some("WORKOUT18_EXPECTED_AUD"),
            ),
            (
                "WORKOUT18_REQUIRED_SCOPES",
                Some("WORKOUT18_REQUIRED_SCOPE"),
            ),
            ("WORKOUT18_", Some("")),
            ("WORKOUT18_QQQ", Some("")),
        ];
        for (name, meant) in table {
            let expected = meant.map(|meant| match meant {
                "" => "is not a setting: unset it, or correct its name".to_owned(),
                meant => format!("is not a setting: did you mean {meant}?"),
            });
            assert_eq!(problem(name), expected, "{name}");
        }
    }
}

//! Settings from the environment (`host_env_keys`) and from the plugin's JSON configuration, which wins.

use core::fmt;
use std::env::VarError;

use token_check::{Policy, Problem, SETTINGS, Setting, SettingsError, settings_of_json};
use url::{Position, Url};

const INTROSPECT_URL: &str = "introspect_url";
const WHOAMI_PATH: &str = "whoami_path";
const ISSUER_CLUSTER: &str = "issuer_cluster";

/// What only the Envoy filter knows, on top of [`SETTINGS`].
pub const ENVOY_SETTINGS: &[Setting] = &[
    Setting {
        key: ISSUER_CLUSTER,
        default: Some(""),
        secret: false,
        meaning: "The Envoy cluster that reaches the issuer; if not set, `issuer_https` or `issuer_http` after the scheme of `introspect_url`.",
    },
    Setting {
        key: WHOAMI_PATH,
        default: Some(""),
        secret: false,
        meaning: "A path that the filter answers itself with who the caller is; `/data` in the shipped `envoy.yaml`.",
    },
];

/// The cluster of an `https` issuer, as in the shipped `envoy.yaml`.
pub const HTTPS_CLUSTER: &str = "issuer_https";
/// The cluster of an `http` issuer, as in the shipped `envoy.yaml`.
pub const HTTP_CLUSTER: &str = "issuer_http";

/// Scheme, host and port of the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether to use TLS.
    pub https: bool,
    /// Host and port, as for the Host header.
    pub authority: String,
}

impl Origin {
    fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        Some(Self {
            https: url.scheme() == "https",
            authority: url[Position::BeforeHost..Position::BeforePath].to_owned(),
        })
    }
}

/// Valid settings of the filter.
#[derive(Debug)]
pub struct Settings {
    /// What the core demands of a token.
    pub policy: Policy,
    /// Where the issuer is.
    pub issuer: Origin,
    /// The cluster that reaches the issuer, if not the shipped ones.
    pub issuer_cluster: Option<String>,
    /// The path that the filter answers itself.
    pub whoami_path: Option<String>,
}

/// Settings that cannot be used. Names the key, never the value.
#[derive(Debug)]
pub enum ConfigError {
    /// The plugin's configuration is not a JSON object.
    NotAnObject,
    /// `whoami_path` is not a path.
    NotAPath,
    /// A setting of the core.
    Setting(SettingsError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("the plugin's configuration is not a JSON object"),
            Self::NotAPath => {
                f.write_str("setting `whoami_path` (WORKOUT18_WHOAMI_PATH) must begin with `/` and have no query")
            }
            Self::Setting(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Settings {
    /// Reads the plugin's configuration over the environment. An empty value is the same as none.
    ///
    /// # Errors
    /// The first setting that is missing, unknown or wrong.
    pub fn read(
        configuration: &[u8],
        environment: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, ConfigError> {
        let mut given = Vec::new();
        for Setting { key, .. } in SETTINGS.iter().chain(ENVOY_SETTINGS) {
            match environment(&format!("WORKOUT18_{}", key.to_ascii_uppercase())) {
                Ok(value) => given.push(((*key).to_owned(), value)),
                Err(VarError::NotPresent) => {}
                Err(VarError::NotUnicode(_)) => {
                    return Err(ConfigError::Setting(SettingsError {
                        key: (*key).to_owned(),
                        problem: Problem::Unreadable,
                    }));
                }
            }
        }
        for (key, value) in object(configuration)? {
            given.retain(|(known, _)| *known != key);
            given.push((key, value));
        }
        let mut take = |key: &str| {
            let at = given.iter().position(|(known, _)| known == key)?;
            let (_, value) = given.swap_remove(at);
            Some(value).filter(|value| !value.is_empty())
        };
        let issuer_cluster = take(ISSUER_CLUSTER);
        let whoami_path = take(WHOAMI_PATH);
        if whoami_path
            .as_ref()
            .is_some_and(|path| !path.starts_with('/') || path.contains(['?', '#']))
        {
            return Err(ConfigError::NotAPath);
        }
        let url = given.iter().find(|(key, _)| key == INTROSPECT_URL);
        let issuer = url.and_then(|(_, url)| Origin::of(url));
        Ok(Self {
            policy: Policy::new(given).map_err(ConfigError::Setting)?,
            issuer: issuer.ok_or_else(|| {
                ConfigError::Setting(SettingsError {
                    key: INTROSPECT_URL.to_owned(),
                    problem: Problem::NotAnHttpUrl,
                })
            })?,
            issuer_cluster,
            whoami_path,
        })
    }
}

fn object(configuration: &[u8]) -> Result<Vec<(String, String)>, ConfigError> {
    if configuration.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    core::str::from_utf8(configuration)
        .ok()
        .and_then(settings_of_json)
        .ok_or(ConfigError::NotAnObject)?
        .map_err(ConfigError::Setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(key: &str) -> Result<String, VarError> {
        let value = match key {
            "WORKOUT18_INTROSPECT_URL" => "https://i/introspect",
            "WORKOUT18_RESOURCE_CLIENT_ID" => "b",
            "WORKOUT18_RESOURCE_CLIENT_SECRET" => "s3cr3t",
            "WORKOUT18_TIMEOUT" => "7",
            "WORKOUT18_WHOAMI_PATH" => "/data",
            _ => return Err(VarError::NotPresent),
        };
        Ok(value.to_owned())
    }

    fn read(configuration: &str) -> Result<Settings, String> {
        Settings::read(configuration.as_bytes(), environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_alone_is_enough() {
        for configuration in ["", " \n", "{}"] {
            let settings = read(configuration).unwrap();
            assert_eq!(settings.policy.timeout().as_secs(), 7);
            assert_eq!(settings.whoami_path.as_deref(), Some("/data"));
            assert_eq!(settings.issuer_cluster, None);
            let issuer = Origin {
                https: true,
                authority: "i".to_owned(),
            };
            assert_eq!(settings.issuer, issuer);
        }
    }

    #[test]
    fn the_configuration_wins_over_the_environment_whatever_its_types() {
        let settings = read(
            r#"{"timeout":3,"forward_token":true,"whoami_path":"","issuer_cluster":"idp","expected_aud":null}"#,
        )
        .unwrap();
        assert_eq!(settings.policy.timeout().as_secs(), 3);
        assert_eq!(settings.whoami_path, None);
        assert_eq!(settings.issuer_cluster.as_deref(), Some("idp"));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_one_that_is_not_set() {
        let unreadable = |key: &str| match key {
            "WORKOUT18_EXPECTED_AUD" => Err(VarError::NotUnicode("\u{fffd}".into())),
            _ => environment(key),
        };
        let error = Settings::read(b"", unreadable).unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting `expected_aud` (WORKOUT18_EXPECTED_AUD) cannot be read: it must be UTF-8, and its provider must answer"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_the_name_of_its_key() {
        let object = "the plugin's configuration is not a JSON object";
        let path =
            "setting `whoami_path` (WORKOUT18_WHOAMI_PATH) must begin with `/` and have no query";
        let rows = [
            ("[]", object),
            ("{", object),
            (r#""timeout""#, object),
            (r#"{"timeout":1,"timeout":2}"#, object),
            (
                r#"{"timeout":1.5}"#,
                "setting `timeout` (WORKOUT18_TIMEOUT) has a number that is not whole",
            ),
            (r#"{"whoami_path":"data"}"#, path),
            (r#"{"whoami_path":"/data?x"}"#, path),
            (
                r#"{"timeout":0}"#,
                "setting `timeout` (WORKOUT18_TIMEOUT) must be a whole number of seconds from 1 to 60",
            ),
            (
                r#"{"timeouts":1}"#,
                "setting `timeouts` (WORKOUT18_TIMEOUTS) is not known: see the table of settings in README.md",
            ),
            (
                r#"{"introspect_url":""}"#,
                "setting `introspect_url` (WORKOUT18_INTROSPECT_URL) is missing or empty: set it",
            ),
        ];
        for (configuration, error) in rows {
            assert_eq!(
                read(configuration).map(|_| ()),
                Err(error.to_owned()),
                "{configuration}"
            );
        }
    }

    #[test]
    fn the_table_of_envoys_own_settings_is_the_one_in_the_code() {
        const DOCUMENT: &str = include_str!("../../../docs/envoy.md");
        let mut table = String::from("| setting | default | meaning |\n| --- | --- | --- |\n");
        for setting in ENVOY_SETTINGS {
            assert_eq!(setting.default, Some(""));
            table.push_str(&format!(
                "| `{}` | none | {} |\n",
                setting.key, setting.meaning
            ));
        }
        assert!(
            DOCUMENT.contains(&table),
            "the document should have:\n{table}"
        );
    }
}

//! The configuration: settings from the environment (`host_env_keys`) and from the plugin's JSON
//! configuration, which wins. Secrets come from the environment only.

use core::fmt;
use std::ffi::OsString;

use token_check::{
    ENVOY_SETTINGS, FILTER_STATE, Kind, Policy, Problem, SETTINGS, Setting, SettingSource,
    SettingValues, SettingsError, UnknownVariable, unknown_variable, variable,
};
use url::{Position, Url};

const WHOAMI_PATH: &str = "whoami_path";
const ISSUER_CLUSTER: &str = "issuer_cluster";
const FILTER_STATE_KEY: &str = "filter_state";

/// The cluster for calls with `https`, as in the shipped `envoy.yaml`.
pub const HTTPS_CLUSTER: &str = "issuer_https";
/// The cluster for calls with `http`, as in the shipped `envoy.yaml`.
pub const HTTP_CLUSTER: &str = "issuer_http";

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether to use TLS.
    pub https: bool,
    /// Host and port, as for the Host header.
    pub authority: String,
}

impl Origin {
    fn of(url: &Url) -> Self {
        Self {
            https: url.scheme() == "https",
            authority: url[Position::BeforeHost..Position::BeforePath].to_owned(),
        }
    }

    /// Whether this is where a call goes.
    pub(crate) fn is(&self, https: bool, authority: &str) -> bool {
        self.https == https && self.authority == authority
    }
}

/// A cluster for the calls to one origin. It may add credentials, and may verify the certificate of
/// one host whatever host a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerCluster {
    /// Its name.
    pub name: String,
    /// No other call goes through it.
    pub origin: Origin,
}

impl IssuerCluster {
    /// `None`: it is not set, or no call is ever made.
    fn read(name: Option<String>, policy: &Policy) -> Result<Option<Self>, Problem> {
        let Some(name) = name else {
            return Ok(None);
        };
        let origin = policy.only_origin()?;
        let url = origin.and_then(|origin| Url::parse(&origin.ascii_serialization()).ok());
        Ok(url.map(|url| Self {
            name,
            origin: Origin::of(&url),
        }))
    }
}

/// A valid configuration.
#[derive(Debug)]
pub struct Config {
    /// What is required of a token.
    pub policy: Policy,
    /// The origin that is called first. `None`: no call is ever made.
    pub issuer: Option<Origin>,
    /// `None`: all calls go through the shipped clusters.
    pub issuer_cluster: Option<IssuerCluster>,
    /// Whether granted requests get filter state, not only refused ones.
    pub has_filter_state: bool,
    /// The path whose requests the filter answers itself.
    pub whoami_path: Option<String>,
}

/// Why a configuration is rejected. Names the setting, never its value.
#[derive(Debug)]
pub enum ConfigError {
    /// `whoami_path` is not a path.
    NotAPath,
    /// A setting of the core.
    Setting(SettingsError),
    /// An environment variable with our prefix that is no setting.
    Unknown(UnknownVariable),
}

impl From<SettingsError> for ConfigError {
    fn from(error: SettingsError) -> Self {
        Self::Setting(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPath => {
                f.write_str("setting `whoami_path` (WORKOUT18_WHOAMI_PATH) must begin with `/` and have no query")
            }
            Self::Setting(error) => error.fmt(f),
            Self::Unknown(unknown) => unknown.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Reads the environment, and on top the plugin's configuration, see
    /// [`SettingValues::merge_json`]. An empty value means that the setting is not set.
    ///
    /// # Errors
    /// The first setting that is missing, unknown or invalid.
    pub fn read(
        configuration: &[u8],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut values = read_environment(environment)?;
        merge_configuration(&mut values, configuration)?;
        values.check_keys(&[SETTINGS, ENVOY_SETTINGS])?;
        let cluster_source = values.source(ISSUER_CLUSTER).unwrap_or_default();
        let issuer_cluster = values.take(ISSUER_CLUSTER)?;
        let whoami_path = values.take(WHOAMI_PATH)?;
        let has_filter_state = has_filter_state(&mut values)?;
        if whoami_path
            .as_ref()
            .is_some_and(|path| !path.starts_with('/') || path.contains(['?', '#']))
        {
            return Err(ConfigError::NotAPath);
        }
        let policy = Policy::from_values(&values, SettingSource::EnvoyEnvironment)?;
        let issuer_cluster = IssuerCluster::read(issuer_cluster, &policy)
            .map_err(|problem| SettingsError::new(ISSUER_CLUSTER, problem).at(cluster_source))?;
        Ok(Self {
            issuer: policy.issuer_url().map(Origin::of),
            policy,
            issuer_cluster,
            has_filter_state,
            whoami_path,
        })
    }
}

/// Whether granted requests get filter state.
fn has_filter_state(values: &mut SettingValues) -> Result<bool, SettingsError> {
    let [refused, all] = FILTER_STATE;
    let source = values.source(FILTER_STATE_KEY).unwrap_or_default();
    match values.take(FILTER_STATE_KEY)? {
        None => Ok(false),
        Some(word) if word == refused => Ok(false),
        Some(word) if word == all => Ok(true),
        Some(_) => {
            let problem = Problem::NotAChoice(&FILTER_STATE);
            Err(SettingsError::new(FILTER_STATE_KEY, problem).at(source))
        }
    }
}

fn read_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<SettingValues, ConfigError> {
    let environment: Vec<_> = environment
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .collect();
    if let Some(unknown) = unknown_variable(environment.iter().map(|(name, _)| name.as_str())) {
        return Err(ConfigError::Unknown(unknown));
    }
    let source = SettingSource::EnvoyEnvironment;
    let mut values = SettingValues::new();
    for setting in SETTINGS.iter().chain(ENVOY_SETTINGS) {
        let name = variable(setting.key);
        if let Some((_, value)) = environment.iter().find(|(known, _)| *known == name) {
            let unreadable = || SettingsError::new(setting.key, Problem::Unreadable).at(source);
            let value = value.to_str().ok_or_else(unreadable)?;
            values.set(setting.key, value.to_owned(), source);
        }
    }
    Ok(values)
}

fn merge_configuration(
    values: &mut SettingValues,
    configuration: &[u8],
) -> Result<(), SettingsError> {
    if configuration.trim_ascii().is_empty() {
        return Ok(());
    }
    let source = SettingSource::EnvoyConfiguration;
    let not_utf8 = |_| {
        let problem = Problem::NotAnObject(Some("not UTF-8".to_owned()));
        SettingsError::new("", problem).at(source)
    };
    let configuration = core::str::from_utf8(configuration).map_err(not_utf8)?;
    values.merge_json(configuration, source)?;
    let is_shown = |setting: &&Setting| {
        setting.kind == Kind::Secret
            && values.get(setting.key).is_some()
            && values.source(setting.key) == Some(source)
    };
    // `/config_dump` and debug logs show the configuration, but not the environment.
    match SETTINGS.iter().chain(ENVOY_SETTINGS).find(is_shown) {
        Some(secret) => Err(SettingsError::new(secret.key, Problem::ShownByHost).at(source)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    const ENVIRONMENT: [(&str, &str); 6] = [
        ("PATH", "/bin"),
        ("WORKOUT18_INTROSPECT_URL", "https://i/introspect"),
        ("WORKOUT18_RESOURCE_CLIENT_ID", "b"),
        ("WORKOUT18_RESOURCE_CLIENT_SECRET", "s3cr3t"),
        ("WORKOUT18_TIMEOUT", "7"),
        ("WORKOUT18_WHOAMI_PATH", "/data"),
    ];

    fn read_with(more: &[(&str, &str)], configuration: &str) -> Result<Config, String> {
        let environment = ENVIRONMENT.iter().chain(more);
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        Config::read(configuration.as_bytes(), environment).map_err(|error| error.to_string())
    }

    fn read(configuration: &str) -> Result<Config, String> {
        read_with(&[], configuration)
    }

    #[test]
    fn the_environment_alone_is_a_complete_configuration() {
        for configuration in ["", " \n", "{}"] {
            let config = read(configuration).unwrap();
            assert_eq!(config.policy.timeout().as_secs(), 7);
            assert_eq!(config.whoami_path.as_deref(), Some("/data"));
            assert_eq!(config.issuer_cluster, None);
            assert!(!config.has_filter_state);
            let issuer = Origin {
                https: true,
                authority: "i".to_owned(),
            };
            assert_eq!(config.issuer, Some(issuer));
        }
    }

    #[test]
    fn the_configuration_overrides_the_environment_whatever_its_json_types() {
        let config = read(
            r#"{"timeout":3,"forward_token":true,"whoami_path":"/me","issuer_cluster":"idp","expected_aud":null}"#,
        )
        .unwrap();
        assert_eq!(config.policy.timeout().as_secs(), 3);
        assert_eq!(config.whoami_path.as_deref(), Some("/me"));
        let cluster = IssuerCluster {
            name: "idp".to_owned(),
            origin: Origin {
                https: true,
                authority: "i".to_owned(),
            },
        };
        assert_eq!(config.issuer_cluster, Some(cluster));
    }

    #[cfg(feature = "jwt")]
    #[test]
    fn issuer_cluster_is_for_the_origin_of_introspection() {
        let cluster_for = |more: &[(&str, &str)]| {
            let cluster = [("WORKOUT18_ISSUER_CLUSTER", "idp")];
            let base = ENVIRONMENT
                .iter()
                .filter(|(name, _)| !name.ends_with("_URL"));
            let environment = base.chain(&cluster).chain(more);
            let environment = environment.map(|(name, value)| ((*name).into(), (*value).into()));
            Config::read(b"", environment)
                .map(|config| config.issuer_cluster.map(|cluster| cluster.origin))
                .map_err(|error| error.to_string())
        };
        let jwt = [
            ("WORKOUT18_EXPECTED_AUD", "b"),
            ("WORKOUT18_EXPECTED_ISSUER", "https://x"),
        ];
        let introspect = ("WORKOUT18_INTROSPECT_URL", "https://i:8443/introspect");
        let keys = ("WORKOUT18_JWKS_URL", "http://localhost:8080/keys");
        let (auto, only_jwt) = (
            ("WORKOUT18_STRATEGY", "auto"),
            ("WORKOUT18_STRATEGY", "jwt"),
        );
        let issuer = ("WORKOUT18_ISSUER", "https://x/oauth2");
        let endpoint = ("WORKOUT18_INTROSPECT_ORIGIN", "https://i:443");
        let rows: [(&[(&str, &str)], _); 6] = [
            (&[introspect], Some((true, "i:8443"))),
            (
                &[introspect, keys, auto, jwt[0], jwt[1]],
                Some((true, "i:8443")),
            ),
            (
                &[keys, only_jwt, jwt[0], jwt[1]],
                Some((false, "localhost:8080")),
            ),
            (&[issuer, auto, jwt[0]], Some((true, "x"))),
            (&[issuer, endpoint, auto, jwt[0]], Some((true, "i"))),
            (
                &[
                    (
                        "WORKOUT18_JWKS",
                        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
                    ),
                    only_jwt,
                    jwt[0],
                    jwt[1],
                ],
                None,
            ),
        ];
        for (more, origin) in rows {
            let origin = origin.map(|(https, authority)| Origin {
                https,
                authority: authority.to_owned(),
            });
            assert_eq!(cluster_for(more), Ok(origin), "{more:?}");
        }
    }

    #[cfg(feature = "jwt")]
    #[test]
    fn issuer_cluster_is_refused_where_it_would_lead_to_several_issuers() {
        let cluster_for = |[one, other]: [&str; 2]| {
            let issuers = format!("[{{{one}}},{{{other}}}]");
            let environment = [
                ("WORKOUT18_ISSUER_CLUSTER", "idp"),
                ("WORKOUT18_EXPECTED_AUD", "b"),
                ("WORKOUT18_ISSUERS", issuers.as_str()),
            ];
            let environment = environment.map(|(name, value)| (name.into(), value.into()));
            Config::read(b"", environment)
                .map(|config| {
                    config
                        .issuer_cluster
                        .map(|cluster| cluster.origin.authority)
                })
                .map_err(|error| error.to_string())
        };
        let basic =
            r#""client_auth":"basic","resource_client_id":"b","resource_client_secret":"s3cr3t""#;
        let added = r#""client_auth":"none","resource_client_id":"b""#;
        let jwt = r#""strategy":"jwt""#;
        let issuer = |url: &str, members: &str| {
            // Whose a token is that is no JWT.
            let name = url.rsplit(['/', ':']).next().unwrap();
            let prefix = match members == jwt {
                true => String::new(),
                false => format!(r#","opaque_prefix":"{name}_""#),
            };
            format!(r#""issuer":"{url}",{members}{prefix}"#)
        };
        let (one, one_more) = ("https://x/1", "https://x/2");
        let several = "setting `issuer_cluster` (WORKOUT18_ISSUER_CLUSTER) must not be set with issuers at several \
                       origins (https://x, https://y:8443), because it leads to one: leave it unset, and all calls go \
                       through `issuer_https` and `issuer_http`";
        let shared = "setting `issuer_cluster` (WORKOUT18_ISSUER_CLUSTER) must not be set with several issuers at one \
                      origin of which one has `client_auth` = `none`: what the cluster adds for that one would go to \
                      all of them";
        let rows = [
            ([(one, basic), (one_more, basic)], Ok("x")),
            ([(one, added), (one_more, jwt)], Ok("x")),
            ([(one, added), ("https://y:8443", jwt)], Ok("x")),
            ([(one, jwt), ("https://y:8443", basic)], Ok("y:8443")),
            ([(one, jwt), (one_more, jwt)], Ok("x")),
            ([(one, jwt), ("https://y:8443", jwt)], Err(several)),
            ([(one, basic), ("https://y:8443", basic)], Err(several)),
            ([(one, added), ("https://y:8443", added)], Err(several)),
            ([(one, added), (one_more, added)], Err(shared)),
            ([(one, basic), (one_more, added)], Err(shared)),
        ];
        for (issuers, expected) in rows {
            let members = issuers.map(|(url, members)| issuer(url, members));
            let expected = expected.map(|origin| Some(origin.to_owned()));
            let read = cluster_for(members.each_ref().map(String::as_str));
            assert_eq!(read, expected.map_err(str::to_owned), "{issuers:?}");
        }
    }

    #[cfg(not(feature = "jwt"))]
    #[test]
    fn without_jwts_every_setting_that_needs_them_is_refused() {
        let signatures = "this build has no signatures (cargo feature `jwt`)";
        let strategy = format!("must be `introspect`: {signatures}");
        let auth = "must be another one: this build signs nothing (cargo feature `jwt`)";
        let dpop = "must be `off`: this build has no signatures (cargo feature `jwt`)";
        let issuers = "must not be set: this build has no JWTs, and so cannot tell issuers apart (cargo feature `jwt`)";
        let issuer = "is not enough: this build reads no metadata (cargo feature `jwt`), so set `introspect_url`";
        for (key, value, error) in [
            ("strategy", "jwt", strategy.as_str()),
            ("strategy", "auto", &strategy),
            ("strategy", "both", &strategy),
            (
                "signed_introspection",
                "true",
                &format!("must be `false`: {signatures}"),
            ),
            ("client_auth", "client_secret_jwt", auth),
            ("client_auth", "private_key_jwt", auth),
            ("dpop", "accept", dpop),
            ("dpop", "require", dpop),
            ("issuers", "[{}]", issuers),
            ("issuer", "https://i", issuer),
        ] {
            let has_url = key != "issuer";
            let name = variable(key);
            let own = (name.as_str(), value);
            let environment = (ENVIRONMENT.iter())
                .filter(|(name, _)| has_url || !name.ends_with("_URL"))
                .chain([&own])
                .map(|(name, value)| ((*name).into(), (*value).into()));
            let read = Config::read(b"", environment.collect::<Vec<_>>());
            let error = format!("setting `{key}` ({name}) {error}");
            assert_eq!(read.unwrap_err().to_string(), error, "{key} {value}");
        }
    }

    #[test]
    fn an_empty_member_of_the_configuration_does_not_drop_a_requirement_of_the_environment() {
        let environment = [
            ("WORKOUT18_EXPECTED_AUD", "https://b"),
            ("WORKOUT18_REQUIRED_SCOPE", "read"),
        ];
        let demanded = |configuration: &str| {
            let config = read_with(&environment, configuration).unwrap();
            config.policy.summary().line
        };
        for configuration in [
            r#"{"expected_aud":"","required_scope":""}"#,
            r#"{"expected_aud":null,"required_scope":null}"#,
        ] {
            assert_eq!(demanded(configuration), demanded(""), "{configuration}");
        }
        // An unknown key is rejected even if it is empty.
        assert!(read_with(&environment, r#"{"expected_audience":""}"#).is_err());
    }

    #[test]
    fn what_require_names_in_either_source_must_be_required() {
        let scope = [
            ("WORKOUT18_REQUIRE", "scope"),
            ("WORKOUT18_EXPECTED_AUD", "https://b"),
        ];
        let lacking = |demand: &str| {
            format!(
                "setting `require` (in the plugin's configuration) has `{demand}`, and none is required: set"
            )
        };
        for (configuration, demand) in [
            (r#"{"require":"audience"}"#, "scope"),
            (r#"{"require":"client","required_scope":"read"}"#, "client"),
        ] {
            let error = read_with(&scope, configuration).map(|_| ()).unwrap_err();
            assert!(error.starts_with(&lacking(demand)), "{error}");
        }
        let both = r#"{"require":"audience scope","required_scope":"read"}"#;
        assert!(read_with(&scope, both).is_ok());
        // With one source only, an empty list is rejected.
        assert!(read_with(&scope, r#"{"require":""}"#).is_err());
    }

    #[test]
    fn f14_a_secret_in_the_configuration_is_refused_wherever_else_it_is() {
        let error = "setting `resource_client_secret` (in the plugin's configuration) must not be there, because Envoy \
                     shows it in `/config_dump` and in debug logs: export WORKOUT18_RESOURCE_CLIENT_SECRET and list it \
                     in `host_env_keys`, or set `client_auth` = `none` and let Envoy add the credentials \
                     (docs/envoy.md)";
        let secrets =
            (SETTINGS.iter().chain(ENVOY_SETTINGS)).filter(|setting| setting.kind == Kind::Secret);
        for secret in secrets {
            for value in ["s3cr3t", " ", "1"] {
                for auth in ["basic", "none"] {
                    let configuration =
                        format!(r#"{{"{}":"{value}","client_auth":"{auth}"}}"#, secret.key);
                    let refused = read(&configuration).map(|_| ()).unwrap_err();
                    let expected = error
                        .replace("resource_client_secret", secret.key)
                        .replace("WORKOUT18_RESOURCE_CLIENT_SECRET", &variable(secret.key));
                    assert_eq!(refused, expected, "{configuration}");
                }
            }
        }
        // It reveals nothing, and the environment's counts.
        assert!(read(r#"{"resource_client_secret":""}"#).is_ok());
    }

    #[test]
    fn without_a_secret_something_else_must_authenticate_this_service() {
        let environment = || {
            ENVIRONMENT
                .iter()
                .filter(|(name, _)| *name != "WORKOUT18_RESOURCE_CLIENT_SECRET")
                .map(|(name, value)| (name.into(), value.into()))
        };
        let lacking = Config::read(b"{}", environment()).unwrap_err();
        assert_eq!(
            lacking.to_string(),
            "setting `resource_client_secret` (WORKOUT18_RESOURCE_CLIENT_SECRET) is missing or empty: export \
             WORKOUT18_RESOURCE_CLIENT_SECRET and list it in `host_env_keys`"
        );
        assert!(Config::read(br#"{"client_auth":"none"}"#, environment()).is_ok());
    }

    #[test]
    fn an_unreadable_value_is_an_error_and_not_an_unset_setting() {
        let not_utf8 = OsString::from_vec(vec![0xff]);
        let environment = [("WORKOUT18_EXPECTED_AUD".into(), not_utf8)];
        let error = Config::read(b"", environment).unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting `expected_aud` (WORKOUT18_EXPECTED_AUD) cannot be read: it must be UTF-8, and its provider must respond"
        );
    }

    #[test]
    fn an_invalid_setting_is_rejected_with_its_key() {
        let object = "the plugin's configuration is not a JSON object";
        let path =
            "setting `whoami_path` (WORKOUT18_WHOAMI_PATH) must begin with `/` and have no query";
        let rows = [
            ("[]", object),
            (
                "{",
                "the plugin's configuration is not a JSON object: EOF while parsing an object at line 1 column 1",
            ),
            (r#""timeout""#, object),
            (
                r#"{"timeout":1,"timeout":2}"#,
                "the plugin's configuration is not a JSON object: a key twice in one object at line 1 column 22",
            ),
            (
                r#"{"timeout":1.5}"#,
                "setting `timeout` (in the plugin's configuration) has a number that is not whole",
            ),
            (
                r#"{"filter_state":"granted"}"#,
                "setting `filter_state` (in the plugin's configuration) must be `refused` or `all`",
            ),
            (r#"{"whoami_path":"data"}"#, path),
            (r#"{"whoami_path":"/data?x"}"#, path),
            (
                r#"{"timeout":0}"#,
                "setting `timeout` (in the plugin's configuration) must be a whole number of seconds from 1 to 60",
            ),
            (
                r#"{"timeouts":1}"#,
                "setting `timeouts` (in the plugin's configuration) is unknown: did you mean `timeout`?",
            ),
            (
                r#"{"whoami":"/data"}"#,
                "setting `whoami` (in the plugin's configuration) is unknown: did you mean `whoami_path`?",
            ),
            (
                r#"{"issuer_cluster":"idp\n"}"#,
                "setting `issuer_cluster` (in the plugin's configuration) has a line feed in it, which `echo` adds \
                 and `printf %s` does not: remove what does not belong to it",
            ),
        ];
        for (configuration, error) in rows {
            assert_eq!(
                read(configuration).map(|_| ()),
                Err(error.to_owned()),
                "{configuration}"
            );
        }
        let empty = Config::read(br#"{"introspect_url":""}"#, []).unwrap_err();
        assert_eq!(
            empty.to_string(),
            "setting `introspect_url` (in the plugin's configuration) is missing or empty: export \
             WORKOUT18_INTROSPECT_URL and list it in `host_env_keys`, or put `introspect_url` into the plugin's \
             `configuration`; with `issuer` it is not needed"
        );
    }

    #[test]
    fn an_unknown_variable_is_rejected_whatever_its_value() {
        for value in ["https://b", ""] {
            assert_eq!(
                read_with(&[("WORKOUT18_EXPECTED_AUDIENCE", value)], "").map(|_| ()),
                Err(
                    "environment variable WORKOUT18_EXPECTED_AUDIENCE is not a setting: did you mean \
                     WORKOUT18_EXPECTED_AUD?"
                        .to_owned()
                )
            );
        }
        // A setting of Service A, which may share the shell.
        assert!(read_with(&[("WORKOUT18_CLIENT_ID", "a")], "").is_ok());
    }

    #[test]
    fn the_documents_table_of_envoy_settings_matches_the_code() {
        const DOCUMENT: &str = include_str!("../../../docs/envoy.md");
        let mut table = String::from("| setting | default | meaning |\n| --- | --- | --- |\n");
        for setting in ENVOY_SETTINGS {
            let default = match setting.default {
                Some("") => "none".to_owned(),
                Some(value) => format!("`{value}`"),
                None => panic!("{} is not optional", setting.key),
            };
            let description = setting.description();
            table.push_str(&format!(
                "| `{}` | {default} | {description} |\n",
                setting.key
            ));
        }
        assert!(
            DOCUMENT.contains(&table),
            "the document should have:\n{table}"
        );
    }
}

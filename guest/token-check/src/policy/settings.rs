//! The one table of settings, and settings as a host collects them.

use crate::json::{self, Json};
use crate::policy::Policy;
use crate::policy::names::near_key;
use crate::policy::settings_error::{Place, Problem, SettingsError};
use crate::policy::unclean::Unclean;

/// One setting of Service B. In the environment it is `WORKOUT18_` and the key in upper case, in Spin `auth_` and the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key, in lower snake case.
    pub key: &'static str,
    /// What is used when it is not set; `None`: it must be set. An empty text means off.
    pub default: Option<&'static str>,
    /// Never printed.
    pub secret: bool,
    /// What it does, in one sentence, with its unit. For documents: a component would carry 4 KB that it never shows.
    #[cfg(not(target_family = "wasm"))]
    pub meaning: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "see `meaning`")
)]
const fn setting(
    key: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Setting {
    Setting {
        key,
        default,
        secret: false,
        #[cfg(not(target_family = "wasm"))]
        meaning,
    }
}

/// Every setting of Service B.
pub const SETTINGS: &[Setting] = &[
    setting(
        "introspect_url",
        None,
        "The issuer's introspection endpoint (RFC 7662): `https`, or `http` on loopback.",
    ),
    setting(
        "resource_client_id",
        None,
        "Service B's own client id at the issuer.",
    ),
    Setting {
        secret: true,
        ..setting(
            "resource_client_secret",
            None,
            "Service B's own client secret at the issuer.",
        )
    },
    setting(
        "introspect_origin",
        Some(""),
        "Spin only: `scheme://host[:port]` of `introspect_url`, granted as outbound host; not needed for IBM Verify and loopback.",
    ),
    setting(
        "expected_aud",
        Some(""),
        "Audiences of which the token must have one, separated by spaces.",
    ),
    setting(
        "expected_issuer",
        Some(""),
        "The `iss` that the token must have.",
    ),
    setting(
        "required_scope",
        Some(""),
        "Scopes that the token must have, all of them, separated by spaces.",
    ),
    setting(
        "allowed_clients",
        Some(""),
        "Client ids that may call, separated by spaces.",
    ),
    setting(
        "allowed_grant_types",
        Some(""),
        "Grant types whose tokens may call, separated by spaces; some issuers never name one, and then no token may.",
    ),
    setting(
        "require",
        Some(""),
        "Demands that must be made: `audience`, `scope`, `client`, `issuer`, separated by spaces; where one is not, nobody gets in.",
    ),
    setting(
        "token_types",
        Some(""),
        "Values of `token_type` that are accepted on top of the known ones of access tokens, separated by spaces.",
    ),
    setting(
        "rules",
        Some(""),
        "What each route demands instead, as JSON: see docs/rules.md.",
    ),
    setting(
        "client_auth",
        Some("basic"),
        "How Service B authenticates at the issuer: `basic`, `post`, or `basic-raw` for issuers that do not form-decode id and secret (Glewlwyd, old Keycloak, WSO2).",
    ),
    setting(
        "leeway",
        Some("30"),
        "Clock difference to the issuer that is tolerated, in seconds, 0 to 300.",
    ),
    setting(
        "timeout",
        Some("5"),
        "Longest wait for the issuer, in seconds, 1 to 60.",
    ),
    setting(
        "connect_timeout",
        Some("2"),
        "Spin only: longest wait for a connection to the issuer, in seconds, 1 to 60, within `timeout`; in Envoy the cluster says it.",
    ),
    setting(
        "first_byte_timeout",
        Some(""),
        "Spin only: longest wait for the first byte of its answer, in seconds, 1 to 60, within `timeout`; if not set, `timeout`.",
    ),
    setting(
        "max_token_bytes",
        Some("16384"),
        "Longest access token that is taken, in bytes, 256 to 65536.",
    ),
    setting(
        "max_answer_bytes",
        Some("65536"),
        "Longest answer of the issuer that is read, in bytes, 1024 to 262144.",
    ),
    setting(
        "breaker_faults",
        Some("5"),
        "After so many failed questions in a row the issuer is left alone, 0 to 1000; 0: only when it says so itself.",
    ),
    setting(
        "probe_interval",
        Some("1"),
        "How often it is then asked whether it is back, in seconds, 1 to 60.",
    ),
    setting(
        "cache_ttl",
        Some("0"),
        "How long the issuer's word on a token counts, in seconds, 0 to 86400; 0: every request asks.",
    ),
    setting(
        "negative_cache_ttl",
        Some("0"),
        "How long its word that a token is not active counts, in seconds, 0 to 86400, within `cache_ttl`.",
    ),
    setting(
        "cache_entries",
        Some("10000"),
        "How many tokens are remembered, active and not active each, 1 to 1000000.",
    ),
    setting(
        "stale_if_error",
        Some("0"),
        "How long past `cache_ttl` the word on an active token counts while the issuer fails, in seconds, 0 to 86400.",
    ),
    setting(
        "cache_store",
        Some(""),
        "Spin only: label of the key-value store through which instances share what they know.",
    ),
    setting(
        "audit",
        Some("false"),
        "`true`: one line of JSON in the log per decision.",
    ),
    setting(
        "realm",
        Some("service-b"),
        "The realm that challenges name (RFC 9110 section 11.5).",
    ),
    setting(
        "forward_token",
        Some("false"),
        "`true`: the Authorization header goes on to the app.",
    ),
    setting(
        "allow_http",
        Some("false"),
        "`true`: `introspect_url` may be plain `http` to any host. Dangerous.",
    ),
];

/// What only the Envoy filter knows, on top of [`SETTINGS`].
pub const ENVOY_SETTINGS: &[Setting] = &[
    setting(
        "issuer_cluster",
        Some(""),
        "The Envoy cluster that reaches the issuer; if not set, `issuer_https` or `issuer_http` after the scheme of `introspect_url`.",
    ),
    setting(
        "whoami_path",
        Some(""),
        "A path that the filter answers itself with who the caller is; `/data` in the shipped `envoy.yaml`.",
    ),
];

/// What only Service A knows, by the same rule for names. It shares a shell with Service B, and so its variables.
pub const SERVICE_A_KEYS: &[&str] = &[
    "allow_http",
    "audience",
    "client_auth",
    "client_id",
    "client_secret",
    "concurrency",
    "connect_timeout",
    "issuer",
    "json",
    "rate",
    "repeat",
    "resource",
    "scope",
    "secret_file",
    "secret_stdin",
    "service_b_url",
    "timeout",
    "token_only",
    "token_url",
    "verbose",
    "watch",
];

/// The Spin variable with a JSON object of settings.
const SPIN_SETTINGS: &str = "settings";

/// The variables that the middleware reads in Spin, each without [`SPIN_PREFIX`](crate::SPIN_PREFIX): one with a JSON object of any settings,
/// and one for each setting. The app's own variables are in the same space.
pub fn spin_variables() -> impl Iterator<Item = &'static str> {
    let keys = SETTINGS.iter().map(|setting| setting.key);
    [SPIN_SETTINGS].into_iter().chain(keys)
}

/// The one setting that is a JSON document.
const RULES: &str = "rules";
/// The one that two places can give together.
const REQUIRE: &str = "require";

/// Settings as a host collects them, each with the place where it is given. An empty value is the same as none.
#[derive(Default)]
pub struct Given(Vec<(String, String, Place)>);

impl Given {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Those of a Spin component. `variables`: each with its name without [`SPIN_PREFIX`](crate::SPIN_PREFIX), as [`spin_variables`] lists them.
    ///
    /// # Errors
    /// The settings in JSON are not an object, or a setting is given twice.
    pub fn of_spin(
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, SettingsError> {
        let mut given = Self::new();
        for (key, value) in variables {
            match key {
                SPIN_SETTINGS if value.is_empty() => {}
                SPIN_SETTINGS => given.put_json(&value, Place::SpinSettings)?,
                key => given.put_once(key, value, Place::SpinVariable)?,
            }
        }
        Ok(given)
    }

    /// Takes a value, in the place of one that the key has already.
    pub fn put(&mut self, key: &str, value: String, place: Place) {
        self.0.retain(|(known, ..)| known != key);
        self.0.push((key.to_owned(), value, place));
    }

    /// Takes a value.
    ///
    /// # Errors
    /// The key has another one already, and neither is empty.
    pub fn put_once(
        &mut self,
        key: &str,
        value: String,
        place: Place,
    ) -> Result<(), SettingsError> {
        if value.is_empty() {
            return Ok(());
        }
        if self.get(key).is_some() {
            return Err(SettingsError::new(key, Problem::GivenTwice).at(place));
        }
        self.put(key, value, place);
        Ok(())
    }

    /// Takes the members of a JSON object, each in the place of a value that its key has already: a string as it is, `null` as
    /// an empty one, any other value as its JSON, which is what a number, a boolean and the rules are. So that no demand gets
    /// lost, an empty one leaves what is there, and what `require` names is added to it.
    ///
    /// # Errors
    /// It is not an object, or has a value that no setting takes.
    pub fn put_json(&mut self, text: &str, place: Place) -> Result<(), SettingsError> {
        let not_an_object = |fault| SettingsError::new("", Problem::NotAnObject(fault)).at(place);
        let members = match json::read(text) {
            Ok(Json::Object(members)) => members,
            Ok(_) => return Err(not_an_object(None)),
            Err(error) => return Err(not_an_object(Some(error.to_string()))),
        };
        for (key, value) in members {
            let error = |problem| SettingsError::new(&key, problem).at(place);
            if key != RULES && matches!(value, Json::Array(_) | Json::Object(_)) {
                return Err(error(Problem::NotOneValue));
            }
            let value = value
                .into_setting()
                .ok_or_else(|| error(Problem::NotWhole))?;
            match self.get(&key) {
                Some(_) if value.is_empty() => {}
                Some(known) if key == REQUIRE => {
                    let both = format!("{known} {value}");
                    self.put(&key, both, place);
                }
                _ => self.put(&key, value, place),
            }
        }
        Ok(())
    }

    /// Takes the value of a key out, if it is not empty.
    ///
    /// # Errors
    /// It holds what does not belong to it.
    pub fn take(&mut self, key: &str) -> Result<Option<String>, SettingsError> {
        let Some(at) = self.0.iter().position(|(known, ..)| known == key) else {
            return Ok(None);
        };
        let (_, value, place) = self.0.swap_remove(at);
        clean(key, &value).map_err(|error| error.at(place))?;
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// The value of a key, if it is not empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let given = self.0.iter().find(|(known, ..)| known == key);
        given
            .map(|(_, value, _)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The first key that is in none of these tables, told with the one that was meant.
    ///
    /// # Errors
    /// There is one.
    pub fn check_keys(&self, tables: &[&'static [Setting]]) -> Result<(), SettingsError> {
        let known = tables
            .iter()
            .flat_map(|table| table.iter())
            .map(|setting| setting.key);
        match self
            .0
            .iter()
            .find(|(key, ..)| known.clone().all(|known| known != key))
        {
            None => Ok(()),
            Some((key, _, place)) => {
                Err(SettingsError::new(key, Problem::Unknown(near_key(key, known))).at(*place))
            }
        }
    }

    /// The policy that these make. `place`: where a setting that is missing should be.
    ///
    /// # Errors
    /// The first setting that is missing, unknown or wrong.
    pub fn into_policy(self, place: Place) -> Result<Policy, SettingsError> {
        let find = |key: &str| self.0.iter().find(|(known, ..)| known == key);
        let placed = |error: SettingsError| {
            let place = find(&error.key).map_or(place, |(_, _, place)| *place);
            error.at(place)
        };
        self.check_keys(&[SETTINGS])?;
        for (key, value, _) in &self.0 {
            clean(key, value).map_err(placed)?;
        }
        Policy::of(&self).map_err(placed)
    }
}

/// Rules are JSON: blanks and line ends mean nothing there, and its reader has its own say on the rest.
fn clean(key: &str, value: &str) -> Result<(), SettingsError> {
    if key == RULES {
        return Ok(());
    }
    Unclean::check(value).map_err(|unclean| SettingsError::new(key, Problem::Unclean(unclean)))
}

//! `runtime-config.toml`, as far as this host supports it: where variables are read from, and key-value stores.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;

use super::key_value::KeyValueStore;

/// What Spin puts in front of a variable's name when no runtime configuration says otherwise.
const DEFAULT_PREFIX: &str = "SPIN_VARIABLE";

/// The store that is there whatever the runtime configuration says.
const DEFAULT_STORE: &str = "default";

/// The part of a runtime configuration this host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeConfig {
    /// Prefixes for the environment, the first that has a value wins.
    prefixes: Vec<String>,
    /// Labels of the key-value stores.
    stores: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRuntimeConfig {
    #[serde(default)]
    variables_provider: Vec<Provider>,
    #[serde(default)]
    key_value_store: BTreeMap<String, StoreConfig>,
}

#[derive(Deserialize)]
struct StoreConfig {
    r#type: String,
    #[serde(flatten)]
    rest: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    r#type: String,
    prefix: Option<String>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            prefixes: vec![DEFAULT_PREFIX.to_owned()],
            stores: [DEFAULT_STORE.to_owned()].into(),
        }
    }
}

impl RuntimeConfig {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the runtime configuration {}: name it with --runtime-config",
                path.display()
            )
        })?;
        Self::parse(&text).with_context(|| format!("{} is refused", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let raw: RawRuntimeConfig = toml::from_str(text).map_err(|error| {
            anyhow!(
                "{error}\nThis host reads [[variables_provider]] with type and prefix, [key_value_store.<label>] with type, \
                 and nothing else."
            )
        })?;
        let mut prefixes = Vec::new();
        for provider in raw.variables_provider {
            ensure!(
                provider.r#type == "env",
                "variables_provider type {:?} is not supported by this host: only \"env\" is",
                provider.r#type
            );
            prefixes.push(provider.prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()));
        }
        // Spin asks it last, whatever else is configured.
        prefixes.push(DEFAULT_PREFIX.to_owned());
        let mut stores = BTreeSet::from([DEFAULT_STORE.to_owned()]);
        for (label, StoreConfig { r#type, rest }) in raw.key_value_store {
            ensure!(
                r#type == "spin",
                "[key_value_store.{label}] type {:?} is not supported by this host: only \"spin\" is",
                r#type
            );
            if let Some(key) = rest.keys().next() {
                bail!(
                    "[key_value_store.{label}] {key} is not supported by this host: its stores live in memory"
                );
            }
            stores.insert(label);
        }
        Ok(Self { prefixes, stores })
    }

    /// A new, empty store for each label.
    pub(crate) fn stores(&self) -> BTreeMap<String, KeyValueStore> {
        let stores = self.stores.iter();
        stores
            .map(|label| (label.clone(), KeyValueStore::default()))
            .collect()
    }

    /// Names of the environment variables that may hold a variable, the first that is set wins.
    pub(crate) fn names(&self, variable: &str) -> Vec<String> {
        let upper = variable.to_ascii_uppercase();
        self.prefixes
            .iter()
            .map(|prefix| format!("{prefix}_{upper}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_environment_is_known_as_a_provider() {
        let config =
            RuntimeConfig::parse("[[variables_provider]]\ntype = \"env\"\nprefix = \"WORKOUT18\"")
                .unwrap();
        assert_eq!(
            config.names("client_id"),
            ["WORKOUT18_CLIENT_ID", "SPIN_VARIABLE_CLIENT_ID"]
        );
        assert_eq!(
            RuntimeConfig::default().names("client_id"),
            ["SPIN_VARIABLE_CLIENT_ID"]
        );

        let error = RuntimeConfig::parse("[[variables_provider]]\ntype = \"vault\"").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"variables_provider type "vault" is not supported by this host: only "env" is"#
        );
        let error = RuntimeConfig::parse("[sqlite_database.default]\ntype = \"spin\"").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("unknown field `sqlite_database`"),
            "{error}"
        );
        let error =
            RuntimeConfig::parse("[[variables_provider]]\ntype = \"env\"\ndotenv_path = \".env\"")
                .unwrap_err();
        assert!(
            error.to_string().contains("unknown field `dotenv_path`"),
            "{error}"
        );
    }

    #[test]
    fn stores_are_those_of_type_spin_and_the_default_one() {
        let labels = |text: &str| -> Vec<String> {
            let config = RuntimeConfig::parse(text).unwrap();
            config.stores().into_keys().collect()
        };
        assert_eq!(labels(""), ["default"]);
        assert_eq!(
            labels("[key_value_store.cache]\ntype = \"spin\""),
            ["cache", "default"]
        );
        assert_eq!(
            labels("[key_value_store.default]\ntype = \"spin\""),
            ["default"]
        );
    }

    #[test]
    fn a_store_of_another_type_is_refused_by_name_and_so_is_what_would_be_ignored() {
        let table = [
            (
                "type = \"redis\"\nurl = \"redis://127.0.0.1\"",
                "[key_value_store.cache] type \"redis\" is not supported by this host: only \"spin\" is",
            ),
            (
                "type = \"spin\"\npath = \"cache.db\"",
                "[key_value_store.cache] path is not supported by this host: its stores live in memory",
            ),
        ];
        for (store, expected) in table {
            let error = RuntimeConfig::parse(&format!("[key_value_store.cache]\n{store}"));
            assert_eq!(error.unwrap_err().to_string(), expected);
        }
        let error = RuntimeConfig::parse("[key_value_store.cache]\npath = \"a\"").unwrap_err();
        assert!(
            error.to_string().contains("missing field `type`"),
            "{error}"
        );
    }
}

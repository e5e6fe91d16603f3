//! `runtime-config.toml`, as far as this host supports it: where variables are read from, and
//! key-value stores.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;

use super::{
    key_value::{KeyValueStore, Store},
    redis_store::RedisStore,
    tls::{ClientTls, ClientTlsConfig},
};

/// Spin's default prefix of environment variables.
const DEFAULT_PREFIX: &str = "SPIN_VARIABLE";

/// The store that exists even without a runtime configuration.
const DEFAULT_STORE: &str = "default";

/// The part of a runtime configuration that this host supports.
#[derive(Debug)]
pub(crate) struct RuntimeConfig {
    /// Prefixes of environment variables; the first with a value takes precedence.
    prefixes: Vec<String>,
    /// The stores, by label.
    stores: BTreeMap<String, StoreKind>,
    client_tls: Vec<ClientTlsConfig>,
    /// The folder to which its paths are relative.
    directory: PathBuf,
}

enum StoreKind {
    Memory,
    /// The address, which may hold a password.
    Redis(String),
}

impl fmt::Debug for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "Memory",
            Self::Redis(_) => "Redis",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRuntimeConfig {
    #[serde(default)]
    variables_provider: Vec<Provider>,
    #[serde(default)]
    key_value_store: BTreeMap<String, StoreConfig>,
    #[serde(default)]
    client_tls: Vec<ClientTlsConfig>,
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
            stores: [(DEFAULT_STORE.to_owned(), StoreKind::Memory)].into(),
            client_tls: Vec::new(),
            directory: PathBuf::new(),
        }
    }
}

impl StoreKind {
    fn parse(StoreConfig { r#type, mut rest }: StoreConfig) -> Result<Self> {
        let kind = match r#type.as_str() {
            "spin" => Self::Memory,
            "redis" => match rest.remove("url") {
                Some(toml::Value::String(url)) => Self::Redis(url),
                _ => bail!("url is missing: write url = \"redis://<host>[:<port>][/<database>]\""),
            },
            other => {
                bail!("type {other:?} is not supported by this host: \"spin\" and \"redis\" are")
            }
        };
        if let Some(key) = rest.keys().next() {
            bail!(
                "{key} is not supported by this host: a store of type \"spin\" lives in memory here, one of type \"redis\" has a url"
            );
        }
        Ok(kind)
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
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        Self::parse(&text, directory).with_context(|| format!("{} is refused", path.display()))
    }

    pub(crate) fn parse(text: &str, directory: &Path) -> Result<Self> {
        let raw: RawRuntimeConfig = toml::from_str(text).map_err(|error| {
            anyhow!(
                "{error}\nThis host reads [[variables_provider]] with type and prefix, [key_value_store.<label>] with type \
                 and url, [[client_tls]], and nothing else."
            )
        })?;
        let mut config = Self {
            prefixes: Vec::new(),
            client_tls: raw.client_tls,
            directory: directory.to_owned(),
            ..Self::default()
        };
        for provider in raw.variables_provider {
            ensure!(
                provider.r#type == "env",
                "variables_provider type {:?} is not supported by this host: only \"env\" is",
                provider.r#type
            );
            let prefix = provider.prefix;
            config
                .prefixes
                .push(prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()));
        }
        // Spin asks it last, whatever else is configured.
        config.prefixes.push(DEFAULT_PREFIX.to_owned());
        for (label, store) in raw.key_value_store {
            let kind =
                StoreKind::parse(store).with_context(|| format!("[key_value_store.{label}]"))?;
            config.stores.insert(label, kind);
        }
        Ok(config)
    }

    /// The store of each label: new and empty, or the one that is there.
    pub(crate) fn stores(&self) -> Result<BTreeMap<String, Store>> {
        let stores = self.stores.iter().map(|(label, kind)| {
            let store = match kind {
                StoreKind::Memory => Store::Memory(KeyValueStore::default()),
                StoreKind::Redis(url) => Store::Redis(
                    RedisStore::new(url).with_context(|| format!("[key_value_store.{label}]"))?,
                ),
            };
            Ok((label.clone(), store))
        });
        stores.collect()
    }

    /// Reads the certificates that `[[client_tls]]` names.
    pub(crate) fn client_tls(&self) -> Result<ClientTls> {
        ClientTls::new(&self.client_tls, &self.directory)
    }

    /// Names of the environment variables for a variable; the first that is set takes precedence.
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

    fn parse(text: &str) -> Result<RuntimeConfig> {
        RuntimeConfig::parse(text, Path::new("conf"))
    }

    fn refusal(text: &str) -> String {
        let config = parse(text).and_then(|config| config.stores().map(drop));
        format!("{:#}", config.unwrap_err())
    }

    #[test]
    fn only_the_environment_is_known_as_a_provider() {
        let config =
            parse("[[variables_provider]]\ntype = \"env\"\nprefix = \"WORKOUT18\"").unwrap();
        assert_eq!(
            config.names("client_id"),
            ["WORKOUT18_CLIENT_ID", "SPIN_VARIABLE_CLIENT_ID"]
        );
        assert_eq!(
            RuntimeConfig::default().names("client_id"),
            ["SPIN_VARIABLE_CLIENT_ID"]
        );

        let error = parse("[[variables_provider]]\ntype = \"vault\"").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"variables_provider type "vault" is not supported by this host: only "env" is"#
        );
        let error = parse("[sqlite_database.default]\ntype = \"spin\"").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("unknown field `sqlite_database`"),
            "{error}"
        );
        let error =
            parse("[[variables_provider]]\ntype = \"env\"\ndotenv_path = \".env\"").unwrap_err();
        assert!(
            error.to_string().contains("unknown field `dotenv_path`"),
            "{error}"
        );
    }

    #[test]
    fn stores_are_those_that_are_configured_and_the_default_one() {
        let stores = |text: &str| -> Vec<(String, bool)> {
            let stores = parse(text).unwrap().stores().unwrap();
            let kinds = stores.into_iter();
            kinds
                .map(|(label, store)| (label, matches!(store, Store::Redis(_))))
                .collect()
        };
        let store = |label: &str, redis| (label.to_owned(), redis);
        assert_eq!(stores(""), [store("default", false)]);
        assert_eq!(
            stores("[key_value_store.cache]\ntype = \"spin\""),
            [store("cache", false), store("default", false)]
        );
        assert_eq!(
            stores(
                "[key_value_store.default]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:6379/1\""
            ),
            [store("default", true)]
        );
    }

    #[test]
    fn a_store_that_cannot_be_had_is_refused_by_name_and_so_is_what_would_be_ignored() {
        let table = [
            (
                "type = \"azure_cosmos\"",
                "type \"azure_cosmos\" is not supported by this host: \"spin\" and \"redis\" are",
            ),
            (
                "type = \"spin\"\npath = \"cache.db\"",
                "path is not supported by this host: a store of type \"spin\" lives in memory here, one of type \
                 \"redis\" has a url",
            ),
            (
                "type = \"redis\"",
                "url is missing: write url = \"redis://<host>[:<port>][/<database>]\"",
            ),
            (
                "type = \"redis\"\nurl = \"http://:secret@127.0.0.1\"",
                "url is no address of Redis: write redis://<host>[:<port>][/<database>]",
            ),
        ];
        for (text, expected) in table {
            let error = refusal(&format!("[key_value_store.cache]\n{text}"));
            assert_eq!(error, format!("[key_value_store.cache]: {expected}"));
        }
        let error = refusal("[key_value_store.cache]\npath = \"a\"");
        assert!(error.contains("missing field `type`"), "{error}");
    }
}

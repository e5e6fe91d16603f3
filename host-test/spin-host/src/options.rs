//! How an app is served: the options, and the configuration that they resolve to.

use std::{
    collections::BTreeMap,
    env::{self, VarError},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, bail, ensure};

use super::{
    key_value::Store, manifest::Manifest, runtime_config::RuntimeConfig, tls::ClientTls,
    variables::Resolver,
};

/// How to serve an app. The defaults are Spin's, on a free port. Has no `Debug`, because variables
/// may be secrets.
#[derive(Clone)]
pub struct ServeOptions {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The runtime configuration. Without one, variables come from `SPIN_VARIABLE_NAME`, as in
    /// Spin.
    pub runtime_config: Option<PathBuf>,
    /// Values of application variables that take precedence over every provider.
    pub variables: BTreeMap<String, String>,
    /// Replaces this process's environment.
    pub environment: Option<BTreeMap<String, String>>,
    /// Requests an instance serves before it is replaced.
    pub max_instance_reuse_count: usize,
    /// Requests an instance serves at the same time.
    pub max_instance_concurrent_reuse_count: usize,
    /// How long a component may take to respond.
    pub request_timeout: Option<Duration>,
    /// How long an idle instance is kept.
    pub idle_instance_timeout: Duration,
    /// How long a component may compute without yielding before it is stopped.
    pub busy_limit: Duration,
    /// How many connections may be open. By default half of the file descriptors of this process,
    /// so that each has one left for an outbound call. At the limit a new connection takes the
    /// place of the one that has waited longest for its caller. Spin has no such limit.
    pub max_connections: Option<usize>,
    /// How long [`Running::shutdown`](super::Running::shutdown) waits for requests in progress.
    pub shutdown_limit: Duration,
}

impl ServeOptions {
    /// Spin's default for [`ServeOptions::max_instance_reuse_count`].
    pub const DEFAULT_REUSE: usize = 128;
    /// Spin's default for [`ServeOptions::max_instance_concurrent_reuse_count`].
    pub const DEFAULT_CONCURRENT_REUSE: usize = 16;
    /// Spin's default for [`ServeOptions::idle_instance_timeout`].
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(1);
    /// Spin has no such limit; without one, a component that loops would block its thread forever.
    pub const DEFAULT_BUSY_LIMIT: Duration = Duration::from_secs(5);
    /// Longer than most requests take, short enough to wait for after Ctrl-C.
    pub const DEFAULT_SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

    /// Resolves every variable and opens every key-value store.
    ///
    /// # Errors
    /// A variable has no value, or a store is not configured.
    pub(crate) fn configuration(&self, manifest: &Manifest) -> Result<Configuration> {
        let config = match &self.runtime_config {
            Some(path) => RuntimeConfig::read(path)?,
            None => RuntimeConfig::default(),
        };
        let resolver = Resolver::new(manifest, &config, &self.variables, |name| self.lookup(name))?;
        let stores = config.stores()?;
        let tls = config.client_tls()?;
        for (id, component) in manifest.components() {
            for label in &component.key_value_stores {
                ensure!(
                    stores.contains_key(label),
                    "{}: [component.{id}] key_value_stores names {label:?}, which the runtime configuration lacks: \
                     add [key_value_store.{label}] with type = \"spin\" there",
                    manifest.path().display()
                );
            }
        }
        Ok(Configuration {
            resolver,
            stores,
            tls,
        })
    }

    fn lookup(&self, name: &str) -> Result<Option<String>> {
        if let Some(environment) = &self.environment {
            return Ok(environment.get(name).cloned());
        }
        match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => bail!("the environment variable {name} is not UTF-8"),
        }
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            runtime_config: None,
            variables: BTreeMap::new(),
            environment: None,
            max_instance_reuse_count: Self::DEFAULT_REUSE,
            max_instance_concurrent_reuse_count: Self::DEFAULT_CONCURRENT_REUSE,
            request_timeout: None,
            idle_instance_timeout: Self::DEFAULT_IDLE_TIMEOUT,
            busy_limit: Self::DEFAULT_BUSY_LIMIT,
            max_connections: None,
            shutdown_limit: Self::DEFAULT_SHUTDOWN_LIMIT,
        }
    }
}

/// What the runtime configuration and the environment supply for one run.
pub(crate) struct Configuration {
    pub(crate) resolver: Resolver,
    pub(crate) stores: BTreeMap<String, Store>,
    pub(crate) tls: ClientTls,
}

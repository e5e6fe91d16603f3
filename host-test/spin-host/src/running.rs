//! A served app: starts to listen, reports statistics and logs, shuts down.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::handler::HandlerState as _;

use super::{
    app::App,
    key_value::{KeyValueStore, Store},
    options::ServeOptions,
    output::LogLine,
    server::{Server, accept_connections},
    stats::Stats,
};

/// An app that is being served. Dropping it closes everything at once; [`Running::shutdown`] lets
/// requests finish.
pub struct Running {
    address: SocketAddr,
    server: Arc<Server>,
    connections: TaskTracker,
    accepting: JoinHandle<()>,
    shutdown_limit: Duration,
}

impl App {
    /// Resolves variables and grants, and starts to listen.
    ///
    /// # Errors
    /// A variable, a grant or a store cannot be resolved, or the address is not free.
    pub async fn serve(&self, options: ServeOptions) -> Result<Running> {
        let server = Arc::new(Server::new(Arc::clone(self.inner()), &options)?);
        let listener = TcpListener::bind(options.listen).await.with_context(|| {
            format!(
                "cannot listen on {}: end what uses the port, or choose another with --listen",
                options.listen
            )
        })?;
        let address = listener.local_addr()?;
        let connections = TaskTracker::new();
        let accepting = tokio::spawn(accept_connections(
            listener,
            Arc::clone(&server),
            connections.clone(),
        ));
        Ok(Running {
            address,
            server,
            connections,
            accepting,
            shutdown_limit: options.shutdown_limit,
        })
    }
}

impl Running {
    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.server.counters.read()
    }

    /// The in-memory key-value store with this label, for tests to read, change and break. `None`
    /// for an unknown label and for Redis.
    pub fn key_value_store(&self, label: &str) -> Option<KeyValueStore> {
        match self.server.stores.get(label)? {
            Store::Memory(store) => Some(store.clone()),
            Store::Redis(_) => None,
        }
    }

    /// Rejects all further output of guests, as a full disk would.
    pub fn fill_logs(&self) {
        self.server.logs.fill();
    }

    /// What guests printed, oldest first.
    pub fn logs(&self) -> Vec<LogLine> {
        self.server.logs.lines()
    }

    /// Measures how long it takes to instantiate each component once; the instances are discarded.
    ///
    /// # Errors
    /// A component cannot be instantiated.
    pub async fn instantiate(&self) -> Result<Duration> {
        let mut took = Duration::ZERO;
        for handler in &self.server.handlers {
            let start = Instant::now();
            let instance = handler.state().instantiate().await;
            took += start.elapsed();
            instance.map_err(anyhow::Error::from)?;
        }
        Ok(took)
    }

    /// Stops accepting, waits up to `shutdown_limit` for requests in progress, then closes the
    /// rest.
    ///
    /// Returns how many connections it had to close.
    pub async fn shutdown(self) -> usize {
        self.server.stop.cancel();
        self.connections.close();
        let cut = match timeout(self.shutdown_limit, self.connections.wait()).await {
            Ok(()) => 0,
            Err(_) => self.connections.len(),
        };
        self.server.end.cancel();
        self.connections.wait().await;
        // An instance that is dropped together with the runtime would count as a panic.
        self.server.instances.close();
        let ended = timeout(self.shutdown_limit, self.server.instances.wait()).await;
        if ended.is_err() {
            tracing::warn!("instances did not end in {:?}", self.shutdown_limit);
        }
        cut
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.stop.cancel();
        self.server.end.cancel();
        self.accepting.abort();
    }
}

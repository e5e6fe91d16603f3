//! The embedded host: what `spin up` does, for the part of Spin this repository needs.
//!
//! It reads the repository's own `spin.toml` and `runtime-config.toml`, composes middleware as Spin does and dispatches
//! with the same `ProxyHandler` of wasmtime. It refuses to guess: a manifest key it does not know, a capability a
//! middleware was not given, a call to a host that was not granted are errors.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::{collections::BTreeMap, path::Path};
//! use spin_host::{App, ServeOptions};
//!
//! let app = App::load(Path::new("spin.toml"), &BTreeMap::new())?;
//! let running = app.serve(ServeOptions::default()).await?;
//! println!("listening on {}", running.address());
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`App::load`] compiles and is expensive; [`App::serve`] is cheap and may be called as often as a test likes.

mod allowed_hosts;
mod app;
mod body;
mod build;
mod compose;
mod connector;
mod engine;
mod instance;
mod key_value;
mod key_value_import;
mod manifest;
mod outbound;
mod output;
mod request;
mod router;
mod runtime_config;
mod serve_command;
mod server;
mod stats;
mod template;
mod variables;

pub use self::{
    app::App,
    build::BuildCommand,
    key_value::{KeyValueStore, STORE_BYTES, StoreFault, StoreFull},
    manifest::Manifest,
    output::{LogLine, Stream},
    serve_command::ServeCommand,
    server::{Running, ServeOptions},
    stats::Stats,
};

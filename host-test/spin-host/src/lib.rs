//! The embedded host: what `spin up` does, for the part of Spin this repository needs.
//!
//! It reads the repository's own `spin.toml` and `runtime-config.toml`, composes middleware as Spin
//! does and dispatches with the same `ProxyHandler` of wasmtime, at the version of Spin 4.1. It
//! refuses to guess: a manifest key it does not know, a capability a middleware was not given, a
//! call to a host that was not granted are errors.
//!
//! # Where it differs from Spin
//!
//! Everything else that a request, a component or a caller can see is meant to be as in Spin 4.1,
//! down to what is odd: a header that is not UTF-8 is a 500 without a body, and without a Host the
//! connection is closed without an answer.
//!
//! | | Spin | here | why |
//! | --- | --- | --- | --- |
//! | apps | handlers of all its versions | `wasi:http/handler@0.3.0` | what auth-check can be put in front of |
//! | dependencies of a component | any import | `wasi:http/handler@0.3.0` | nothing here needs others |
//! | a dependency that imports what it does not inherit | its calls fail | refused at start | a mistake is seen at once |
//! | calls of an app to itself or to its other components | can be granted | refused at start or denied | nothing here needs them |
//! | a grant that cannot be read | every call is denied | refused at start | a mistake is seen at once |
//! | grants for ranges of addresses or ports, or schemes other than HTTP's | yes | refused at start | nothing here needs them |
//! | `[[variables_provider]]` | env, vault, azure, static | env | nothing here needs the others |
//! | stores of type `spin` | SQLite in `.spin` | in memory, 32 MiB | tests read, change and break them |
//! | stores of type `redis` | also over TLS | without TLS | one TLS library is enough |
//! | other types of stores | Azure, AWS | refused at start | nothing here needs them |
//! | the id of a protected component in `[[client_tls]]` and logs | `<component>-for-<trigger>` where several triggers name it | as in the manifest | the one that people know |
//! | `[outbound_networking]` | yes | refused at start | nothing here needs it |
//! | memory of an instance | 4 GiB | 64 MiB for each component in it | a leak must not take the machine with it |
//! | a component that computes without a pause | goes on | ends after 5 s, as a trap | a test must end |
//! | memory kept for the next instance | 2 MiB for each memory, 0.5 MiB for each table | none | tests run many hosts |
//! | connections | as many as there are file descriptors; for one more Spin ends | half as many; for one more the one is closed that has waited longest for its caller | idle ones must not keep others out |
//! | connections without a request | stay | HTTP/1.1: closed after 60 s; HTTP/2: if a PING is not answered | the same |
//! | the end | everything stops | requests under way have 10 s | so that Ctrl-C loses none |
//! | what components print | files in `.spin/logs` | the log | tests read it |
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
//! [`App::load`] compiles and is expensive; [`App::serve`] is cheap and may be called as often as a
//! test likes.

mod allowed_hosts;
mod app;
mod body;
mod build;
mod compose;
mod connections;
mod connector;
mod engine;
mod epoch_budget;
mod instance;
mod key_value;
mod key_value_import;
mod manifest;
mod options;
mod outbound;
mod output;
mod redis_store;
mod request;
mod router;
mod running;
mod runtime_config;
mod serve_command;
mod server;
mod settings;
mod stats;
mod template;
mod timeouts;
mod tls;
mod variables;

pub use self::{
    app::App,
    build::BuildCommand,
    key_value::{KeyValueStore, STORE_BYTES, StoreFault, StoreFull},
    manifest::Manifest,
    options::ServeOptions,
    output::{LogLine, Stream},
    running::Running,
    serve_command::ServeCommand,
    stats::Stats,
};

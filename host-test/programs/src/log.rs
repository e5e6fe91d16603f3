//! Logging of the native programs.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Logs to standard error what `RUST_LOG` names (`info`, `spin_host=debug`), else everything from
/// this level on. In colour on a terminal, unless `NO_COLOR` is set.
pub fn log(level: LevelFilter) {
    let named = env::var("RUST_LOG")
        .ok()
        .and_then(|named| named.parse().ok());
    let filter = named.unwrap_or_else(|| Targets::new().with_default(level));
    let colours =
        io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colours);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
}

//! The command line.

use std::time::Duration;

use clap::Parser;

/// Loads servers side by side, in Envoy, in the embedded host and in Spin if `spin` is on PATH, and
/// prints what they achieve.
///
/// Needs the load generator wrk: the one that the variable WRK names, else the one on PATH.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench compare --")]
pub(crate) struct Options {
    /// A first look in under two minutes: three rounds of one second
    #[arg(long)]
    pub(crate) quick: bool,

    /// Prints JSON instead of the table
    #[arg(long)]
    json: bool,

    /// Rounds, in each of which every contender is loaded once [default: 7]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// How long a contender is loaded in a round, in seconds [default: 4]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,

    /// Connections that are kept busy
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) connections: u16,

    /// Only contenders whose name contains this, as `envoy/` or `/ours`; may be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// Draws the charts into this folder too; a relative path starts in the repository
    #[arg(long, value_name = "FOLDER")]
    pub(crate) charts: Option<std::path::PathBuf>,

    /// Set by `cargo bench`; without it nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// `None`: this is a run of the tests, which measure nothing.
    pub(crate) fn read() -> Option<Self> {
        Some(Self::parse()).filter(|options| options.bench)
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 7 })
    }

    pub(crate) fn load(&self) -> Duration {
        let seconds = self.seconds.unwrap_or(if self.quick { 1 } else { 4 });
        Duration::from_secs(seconds.into())
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| name.contains(text))
    }

    /// As [`takes`](Self::takes), but not in a first look unless `--only` is given.
    pub(crate) fn takes_growth(&self, name: &str) -> bool {
        self.takes(name) && (!self.quick || !self.only.is_empty())
    }
}

//! The `serve` command: `spin up` for this repository.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use super::{App, Manifest, Running, ServeOptions, settings};
use programs::repository;

/// Serves a Spin app on this machine, as `spin up` does: middleware, variables and outbound grants
/// as in spin.toml.
#[derive(Parser)]
#[command(name = "serve", version, max_term_width = 100)]
pub struct ServeCommand {
    /// The manifest. By default ./spin.toml, or the one of the repository this program was built
    /// in.
    #[arg(short = 'f', long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// The address to listen on.
    #[arg(
        long,
        env = "SPIN_HTTP_LISTEN_ADDR",
        default_value = "127.0.0.1:9000",
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,

    /// Says where variables are read from. By default runtime-config.toml beside the manifest, if
    /// there is one; without one a variable is read from SPIN_VARIABLE_NAME.
    #[arg(
        long,
        alias = "runtime-config-file",
        env = "RUNTIME_CONFIG_FILE",
        value_name = "FILE"
    )]
    runtime_config: Option<PathBuf>,

    /// Sets an application variable, whatever the environment says. May be repeated. Not for
    /// secrets: other users of the machine can read command lines.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = assignment)]
    variables: Vec<(String, String)>,

    /// Builds the components first. Without it they are built only if a .wasm is missing.
    #[arg(long)]
    build: bool,

    /// Requests one instance serves before it is replaced.
    #[arg(long, default_value = "128", value_name = "COUNT")]
    max_instance_reuse_count: NonZeroUsize,

    /// Requests one instance serves at the same time.
    #[arg(long, default_value = "16", value_name = "COUNT")]
    max_instance_concurrent_reuse_count: NonZeroUsize,

    /// How long a component may take to respond: 5s, 300ms. Unlimited by default.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    request_timeout: Option<Duration>,

    /// How long an idle instance is kept.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = duration)]
    idle_instance_timeout: Duration,
}

impl ServeCommand {
    /// Serves until the future of `stop_signal` is done, then lets requests finish.
    ///
    /// # Errors
    /// The app cannot be loaded or served.
    pub async fn run<F>(self, stop_signal: impl FnOnce() -> io::Result<F>) -> Result<()>
    where
        F: Future<Output = ()>,
    {
        let manifest = Manifest::read(&self.manifest_path())?;
        let options = self.options(&manifest);
        // Before the build: whoever forgot a variable should not wait to hear of it.
        let configuration = options.configuration(&manifest)?;
        let environment: Vec<_> = std::env::vars_os()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        for line in settings::check(&manifest, &configuration.resolver, &environment)? {
            eprintln!("{line}");
        }
        build(&manifest, self.build)?;
        let app = App::from_manifest(manifest, &BTreeMap::new())?;
        let running = app.serve(options).await?;
        let stopped = stop_signal().context("cannot wait for Ctrl-C")?;
        announce(&app, &running);
        stopped.await;
        eprintln!("Stopping: waiting for requests that are under way");
        let cut = running.shutdown().await;
        if cut > 0 {
            eprintln!("{cut} connections took too long and were cut");
        }
        Ok(())
    }

    fn manifest_path(&self) -> PathBuf {
        if let Some(path) = &self.manifest {
            return path.clone();
        }
        let here = Path::new("spin.toml");
        let built_in = repository().join(here);
        if !here.exists() && built_in.exists() {
            return built_in;
        }
        here.to_owned()
    }

    fn options(&self, manifest: &Manifest) -> ServeOptions {
        let beside = manifest.path().with_file_name("runtime-config.toml");
        ServeOptions {
            listen: self.listen,
            runtime_config: self
                .runtime_config
                .clone()
                .or_else(|| beside.exists().then_some(beside)),
            variables: self.variables.iter().cloned().collect(),
            max_instance_reuse_count: self.max_instance_reuse_count.get(),
            max_instance_concurrent_reuse_count: self.max_instance_concurrent_reuse_count.get(),
            request_timeout: self.request_timeout,
            idle_instance_timeout: self.idle_instance_timeout,
            ..ServeOptions::default()
        }
    }
}

fn build(manifest: &Manifest, forced: bool) -> Result<()> {
    if !forced && manifest.missing_sources().is_empty() {
        return Ok(());
    }
    for build in manifest.build_commands() {
        eprintln!("Building {}: {}", build.component, build.command);
        build.run()?;
    }
    let missing = manifest.missing_sources();
    ensure!(
        missing.is_empty(),
        "the build commands of {} have run and {missing:?} is still not there: correct source or build.command",
        manifest.path().display()
    );
    Ok(())
}

fn announce(app: &App, running: &Running) {
    let base = format!("http://{}", running.address());
    println!("Serving {} on {base}", app.manifest().name());
    println!("Available Routes:");
    for (component, route, description) in app.manifest().routes() {
        let (path, wildcard) = match route.strip_suffix("/...") {
            Some(path) => (path, " (wildcard)"),
            None => (route, ""),
        };
        println!("  {component}: {base}{path}{wildcard}");
        if !description.is_empty() {
            println!("    {description}");
        }
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("write NAME=VALUE".to_owned()),
    }
}

/// A whole number with a unit, as Spin reads it: `s` (the default), `ms`, `us` or `ns`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let number = digits
        .parse::<u64>()
        .map_err(|_| format!("{text:?} is no time: write 5s or 300ms"))?;
    match unit {
        "" | "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "us" | "μs" => Ok(Duration::from_micros(number)),
        "ns" => Ok(Duration::from_nanos(number)),
        _ => Err(format!("{unit:?} is no unit of time: s, ms, us and ns are")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        ServeCommand::command().debug_assert();
    }

    #[test]
    fn the_defaults_of_the_command_line_are_those_of_the_library() {
        let command = ServeCommand::parse_from(["serve"]);
        assert_eq!(
            command.max_instance_reuse_count.get(),
            ServeOptions::DEFAULT_REUSE
        );
        assert_eq!(
            command.max_instance_concurrent_reuse_count.get(),
            ServeOptions::DEFAULT_CONCURRENT_REUSE
        );
        assert_eq!(
            command.idle_instance_timeout,
            ServeOptions::DEFAULT_IDLE_TIMEOUT
        );
    }

    #[test]
    fn times_have_spins_units() {
        let table = [
            ("5", Ok(Duration::from_secs(5))),
            ("5s", Ok(Duration::from_secs(5))),
            ("300ms", Ok(Duration::from_millis(300))),
            ("7us", Ok(Duration::from_micros(7))),
            ("7ns", Ok(Duration::from_nanos(7))),
            ("5m", Err(r#""m" is no unit of time: s, ms, us and ns are"#)),
            ("s", Err(r#""s" is no time: write 5s or 300ms"#)),
            ("-1s", Err(r#""-1s" is no time: write 5s or 300ms"#)),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}

//! The WebAssembly of this repository, built for whoever runs it: tests never run yesterday's.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail, ensure};

/// One .wasm of this repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// The Spin middleware.
    AuthCheck,
    /// The filters that benchmarks hold the one for Envoy against.
    BenchFloors,
    /// What tests put behind it.
    EchoApp,
    /// The filter for Envoy.
    EnvoyFilter,
    /// The middleware that benchmarks hold the Spin middleware against.
    PassThrough,
    /// The middleware with the host calls of the Spin middleware, for benchmarks too.
    SameCalls,
    /// The `/data` app.
    ServiceB,
}

impl Guest {
    const ALL: [Self; 7] = [
        Self::AuthCheck,
        Self::BenchFloors,
        Self::EchoApp,
        Self::EnvoyFilter,
        Self::PassThrough,
        Self::SameCalls,
        Self::ServiceB,
    ];

    const fn package(self) -> &'static str {
        match self {
            Self::AuthCheck => "auth-check",
            Self::BenchFloors => "bench-floors",
            Self::EchoApp => "echo-app",
            Self::EnvoyFilter => "envoy-filter",
            Self::PassThrough => "pass-through",
            Self::SameCalls => "same-calls",
            Self::ServiceB => "service-b",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::AuthCheck
            | Self::EchoApp
            | Self::PassThrough
            | Self::SameCalls
            | Self::ServiceB => "wasm32-wasip2",
            Self::BenchFloors | Self::EnvoyFilter => "wasm32-wasip1",
        }
    }

    /// Builds every guest, once in this process, and returns where this one is.
    ///
    /// # Errors
    /// The build failed; the compiler's own message is on standard error.
    pub fn build(self) -> Result<PathBuf> {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        if let Err(error) = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
            bail!("{error}");
        }
        let file = format!("{}.wasm", self.package().replace('-', "_"));
        Ok(target_directory()
            .join(self.target())
            .join("release")
            .join(file))
    }
}

/// The components of spin.toml by their ids, freshly built: the auth check, and `app` in the place of service-b.
///
/// # Errors
/// As [`Guest::build`].
pub fn components(app: Guest) -> Result<BTreeMap<String, PathBuf>> {
    Ok(BTreeMap::from([
        ("auth-check".to_owned(), Guest::AuthCheck.build()?),
        ("service-b".to_owned(), app.build()?),
    ]))
}

/// The repository this program was built in.
pub fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where spin.toml looks for the components.
fn target_directory() -> PathBuf {
    repository().join("target")
}

fn build() -> Result<()> {
    let mut targets: Vec<_> = Guest::ALL.map(Guest::target).into();
    targets.sort_unstable();
    targets.dedup();
    for target in targets {
        let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        cargo.args(["build", "--quiet", "--release", "--target", target]);
        for guest in Guest::ALL
            .into_iter()
            .filter(|guest| guest.target() == target)
        {
            cargo.args(["--package", guest.package()]);
        }
        let status = cargo
            .arg("--target-dir")
            .arg(target_directory())
            // These would take the place of the flags in .cargo/config.toml, and the components be others than those that
            // ship.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(repository())
            .status()
            .context("cannot start cargo to build the components")?;
        ensure!(
            status.success(),
            "building the components for {target} failed: see the messages above"
        );
    }
    Ok(())
}

//! Builds the WebAssembly of this repository on demand, so that tests never run an old build.

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{native::cargo, repository};

type Built = OnceLock<Result<(), String>>;

/// The target of Spin's components.
const COMPONENT: &str = "wasm32-wasip2";

/// One .wasm of this repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// The Spin middleware.
    AuthCheck,
    /// The filters with which benchmarks compare the Envoy filter.
    BenchFloors,
    /// The echo app that tests put behind the auth check.
    EchoApp,
    /// The Envoy filter.
    EnvoyFilter,
    /// The pass-through middleware with which benchmarks compare the Spin middleware.
    PassThrough,
    /// The middleware that only makes the host calls of the Spin middleware, for benchmarks.
    SameCalls,
    /// The `/data` app.
    ServiceB,
    /// The filter that verifies published signatures in Envoy.
    SignatureVectors,
    /// The app of `examples/your-app`.
    YourApp,
}

impl Guest {
    const ALL: [Self; 9] = [
        Self::AuthCheck,
        Self::BenchFloors,
        Self::EchoApp,
        Self::EnvoyFilter,
        Self::PassThrough,
        Self::SameCalls,
        Self::ServiceB,
        Self::SignatureVectors,
        Self::YourApp,
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
            Self::SignatureVectors => "signature-vectors",
            Self::YourApp => "your-app",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::AuthCheck
            | Self::EchoApp
            | Self::PassThrough
            | Self::SameCalls
            | Self::ServiceB
            | Self::YourApp => COMPONENT,
            Self::BenchFloors | Self::EnvoyFilter | Self::SignatureVectors => "wasm32-wasip1",
        }
    }

    /// Builds all guests of this guest's target, once per process, and returns the path of this
    /// one.
    ///
    /// # Errors
    /// The build failed; the compiler's message is on standard error.
    pub fn build(self) -> Result<PathBuf> {
        static COMPONENTS: Built = Built::new();
        static FILTERS: Built = Built::new();
        let built = match self.target() {
            COMPONENT => &COMPONENTS,
            _ => &FILTERS,
        };
        let others = Self::ALL
            .into_iter()
            .filter(|guest| guest.target() == self.target());
        let built =
            built.get_or_init(|| build(others.collect()).map_err(|error| format!("{error:#}")));
        if let Err(error) = built {
            bail!("{error}");
        }
        Ok(self.path())
    }

    /// Builds only the components of spin.toml, which is faster.
    ///
    /// # Errors
    /// As [`Guest::build`].
    pub fn ship() -> Result<()> {
        build(vec![Self::AuthCheck, Self::ServiceB])
    }

    /// Builds only this guest, which is faster.
    ///
    /// # Errors
    /// As [`Guest::build`].
    pub fn build_alone(self) -> Result<PathBuf> {
        build(vec![self])?;
        Ok(self.path())
    }

    fn path(self) -> PathBuf {
        let file = format!("{}.wasm", self.package().replace('-', "_"));
        target_directory()
            .join(self.target())
            .join("release")
            .join(file)
    }
}

/// Builds the components of spin.toml, by their ids: the auth check, and `app` instead of
/// service-b.
///
/// # Errors
/// As [`Guest::build`].
pub fn components(app: Guest) -> Result<BTreeMap<String, PathBuf>> {
    Ok(BTreeMap::from([
        ("auth-check".to_owned(), Guest::AuthCheck.build()?),
        ("service-b".to_owned(), app.build()?),
    ]))
}

/// The paths at which spin.toml expects the components.
fn target_directory() -> PathBuf {
    repository().join("target")
}

/// Builds these guests, which share one target.
fn build(guests: Vec<Guest>) -> Result<()> {
    let Some(target) = guests.first().map(|guest| guest.target()) else {
        return Ok(());
    };
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--target", target]);
    for guest in guests {
        cargo.args(["--package", guest.package()]);
    }
    let status = cargo
        .arg("--target-dir")
        .arg(target_directory())
        // These would take the place of the flags in .cargo/config.toml, and the components be
        // others than those that ship.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot start cargo to build the components")?;
    ensure!(
        status.success(),
        "building the components for {target} failed: see the messages above"
    );
    Ok(())
}

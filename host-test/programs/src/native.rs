//! The native programs of this repository, built in the profile of the running program.

use std::{
    env::{self, consts::EXE_SUFFIX},
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::repository;

/// Builds these programs beside the one that runs, if that lies where cargo put it, in its profile,
/// and returns where they are, in the same order. What is up to date costs cargo a look.
///
/// # Errors
/// The build failed; the compiler's message is on standard error.
pub fn native<const N: usize>(names: [&str; N]) -> Result<[PathBuf; N]> {
    let this = env::current_exe().context("cannot find out where this program lies")?;
    let mut directory = this.parent().context("a program lies in a folder")?;
    // Cargo puts tests and benches here.
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let programs = names.map(|name| directory.join(format!("{name}{EXE_SUFFIX}")));
    // Outside of cargo's folders the programs are used as they are.
    if directory.join(".fingerprint").is_dir() {
        build(&names, directory)?;
    }
    for program in &programs {
        ensure!(
            program.exists(),
            "{} is not there: run this program with cargo, which builds it",
            program.display()
        );
    }
    Ok(programs)
}

/// Builds into the folder of this profile.
fn build(names: &[&str], directory: &Path) -> Result<()> {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        // The only profile whose folder has another name.
        Some("debug") | None => "dev",
        // Where benches are, too. They are not optimised as a whole, which would take longer than
        // they run.
        Some("release") => "bench",
        Some(profile) => profile,
    };
    let target = directory
        .parent()
        .context("cargo's folders lie in a target folder")?;
    let mut build = cargo();
    build
        .args(["build", "--profile", profile, "--target-dir"])
        .arg(target);
    for name in names {
        build.args(["--bin", name]);
    }
    let status = build.status().context("cannot start cargo")?;
    ensure!(
        status.success(),
        "building {} failed: cargo ended with {status}; its own message stands above",
        names.join(", ")
    );
    Ok(())
}

/// Cargo in the repository. It says what it builds on a terminal, and nothing elsewhere unless it
/// fails.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    // What `cargo run` tells a program about its package: ring's build script reads it, and would
    // be run anew here and again by the next cargo outside.
    for (name, _) in env::vars_os() {
        let of_this_package = ["CARGO_MANIFEST_", "CARGO_PKG_"]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if of_this_package {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(repository());
    if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        cargo.env("CARGO_TERM_QUIET", "true");
    }
    cargo
}

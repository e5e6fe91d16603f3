//! The programs of the demo, built if they are missing or older than their sources.

use std::{
    env::{self, consts::EXE_SUFFIX},
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};

use crate::{guests, host::Manifest};

/// The repository that this program was built in.
fn repository() -> Result<&'static Path> {
    let path = guests::repository();
    ensure!(
        path.join("spin.toml").exists(),
        "the repository that the demo was built in is gone: build the demo again where it is now"
    );
    Ok(path)
}

/// The app of the repository's spin.toml, its components built.
pub(super) async fn components() -> Result<Manifest> {
    blocking(|| {
        let manifest = Manifest::read(&repository()?.join("spin.toml"))?;
        for build in manifest.build_commands() {
            let component = manifest.source_of(&build.component)?;
            if let Some(why) = why_build(&component) {
                eprintln!("Building {}, {why}: {}", build.component, build.command);
                build.run()?;
            }
        }
        let missing = manifest.missing_sources();
        ensure!(
            missing.is_empty(),
            "the build commands of spin.toml have run and {missing:?} is still not there"
        );
        Ok(manifest)
    })
    .await
}

/// The program of Service A: what cargo puts beside this one.
pub(super) async fn service_a() -> Result<PathBuf> {
    blocking(|| {
        let this = env::current_exe().context("cannot find out where this program lies")?;
        let program = this.with_file_name(format!("service-a{EXE_SUFFIX}"));
        if let Some(why) = why_build(&program) {
            eprintln!("Building service-a, {why}: cargo build --bin service-a");
            build_service_a(&program)?;
        }
        Ok(program)
    })
    .await
}

fn build_service_a(program: &Path) -> Result<()> {
    let directory = program.parent().context("a program lies in a folder")?;
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        // The profile and its folder differ in this one case.
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = directory
        .parent()
        .context("cargo's folders lie in a target folder")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(&cargo);
    // What `cargo run` tells the demo about its own package: ring's build script reads it, and would be run anew here and
    // again by the next cargo outside.
    for (name, _) in env::vars_os() {
        let of_this_package = ["CARGO_MANIFEST_", "CARGO_PKG_"]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if of_this_package {
            build.env_remove(name);
        }
    }
    let status = build
        .args(["build", "--bin", "service-a", "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(repository()?)
        .status()
        .with_context(|| format!("cannot start {}", cargo.display()))?;
    ensure!(
        status.success(),
        "building service-a failed: cargo ended with {status}; its own message stands above"
    );
    ensure!(
        program.exists(),
        "cargo has built service-a, and {} is still not there: run the demo as `cargo demo`",
        program.display()
    );
    Ok(())
}

/// Why an artifact of cargo has to be built, if it has to.
fn why_build(artifact: &Path) -> Option<String> {
    let Ok(built) = modified(artifact) else {
        return Some("which is not there yet".to_owned());
    };
    // Beside an artifact cargo says what it was made from. Without that it is taken for good.
    let dependencies = fs::read_to_string(artifact.with_extension("d")).ok()?;
    let newer = sources(&dependencies)
        .into_iter()
        .find(|source| modified(source).map_or(true, |changed| changed > built))?;
    let name = newer.file_name().unwrap_or_default();
    Some(format!("which is older than its {}", name.display()))
}

fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// What comes after the colon of a line as `make` reads it; a space within a path has a backslash before it.
fn sources(dependencies: &str) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for line in dependencies.lines() {
        let Some((_, paths)) = line.split_once(": ") else {
            continue;
        };
        let mut path = String::new();
        for word in paths.split(' ') {
            path.push_str(word);
            if path.ends_with('\\') {
                path.pop();
                path.push(' ');
            } else if !path.is_empty() {
                sources.push(PathBuf::from(std::mem::take(&mut path)));
            }
        }
    }
    sources
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_cargo_writes_them() {
        assert_eq!(
            sources("/t/a.wasm: /s/lib.rs /s/with\\ space/b.rs\n\n/s/lib.rs:\n"),
            ["/s/lib.rs", "/s/with space/b.rs"].map(PathBuf::from)
        );
        assert_eq!(sources(""), Vec::<PathBuf>::new());
    }

    #[test]
    fn an_artifact_is_built_if_it_is_missing_or_older_than_a_source() {
        let directory = env::temp_dir().join(format!("artifacts-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let [artifact, source] = ["a.wasm", "lib.rs"].map(|name| directory.join(name));
        let missing = why_build(&artifact);
        fs::write(&source, "").unwrap();
        fs::write(&artifact, "").unwrap();
        let unknown = why_build(&artifact);
        let dependencies = format!("{}: {}\n", artifact.display(), source.display());
        fs::write(directory.join("a.d"), dependencies).unwrap();
        let day = std::time::Duration::from_secs(86_400);
        let change = |time| fs::File::open(&source).unwrap().set_modified(time).unwrap();
        change(SystemTime::now() - day);
        let fresh = why_build(&artifact);
        change(SystemTime::now() + day);
        let stale = why_build(&artifact);
        fs::remove_file(&source).unwrap();
        let gone = why_build(&artifact);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(missing.as_deref(), Some("which is not there yet"));
        assert_eq!((unknown, fresh), (None, None));
        let older = Some("which is older than its lib.rs");
        assert_eq!((stale.as_deref(), gone.as_deref()), (older, older));
    }
}

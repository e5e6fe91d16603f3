//! django-oauth-toolkit: pip installs it, `django-oauth-toolkit/issuer.py` runs it.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use programs::install::{once, run};
use programs::on_path;
use serde_json::json;

use crate::{Issuer, Product, SKIP, process, program};

const NAME: &str = "django-oauth-toolkit";
const PACKAGES: &str = "requirements.txt";

pub(crate) fn version() -> Result<String> {
    let packages = fs::read_to_string(program(NAME).join(PACKAGES))?;
    let version = packages
        .lines()
        .find_map(|line| line.strip_prefix("django-oauth-toolkit=="));
    version
        .map(str::to_owned)
        .context("requirements.txt names no django-oauth-toolkit")
}

pub(crate) fn start(product: Product) -> Result<Issuer> {
    let python = install()?.join("bin/python");
    let directory = tempfile::tempdir()?;
    let server = program(NAME).join("issuer.py");
    let configuration = json!({
        "clients": process::clients(),
        "database": directory.path().join("database"),
    });
    let (process, url) =
        process::start(&python, |command| _ = command.arg(server), &configuration).context(NAME)?;
    Ok(Issuer {
        product,
        token_path: "/token/",
        introspection: format!("{url}/introspect/"),
        revocation: format!("{url}/revoke_token/"),
        url,
        authority: None,
        process,
        directory: Some(directory),
    })
}

/// The virtual environment.
fn install() -> Result<PathBuf> {
    let file = program(NAME).join(PACKAGES);
    let packages = fs::read_to_string(&file)?;
    once(NAME, &packages, SKIP, |folder| {
        let python = ["python3", "python"].into_iter().find_map(on_path);
        let python =
            python.context("there is no Python: install Python 3.10 or newer with venv and pip")?;
        run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--requirement",
            ])
            .arg(file))?;
        Ok(())
    })
}

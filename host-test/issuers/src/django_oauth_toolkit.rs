//! django-oauth-toolkit: pip installs it, `django-oauth-toolkit/issuer.py` runs it.

use std::fs;

use anyhow::{Context as _, Result};
use programs::{install, repository};
use serde_json::json;

use crate::{Issuer, Product, SKIP, process, program};

const NAME: &str = "django-oauth-toolkit";
const PACKAGES: &str = "host-test/issuers/django-oauth-toolkit/requirements.txt";

pub(crate) fn version() -> Result<String> {
    let packages = fs::read_to_string(repository().join(PACKAGES))?;
    let mut words = packages.split_whitespace();
    let version = words.find_map(|word| word.strip_prefix("django-oauth-toolkit=="));
    version
        .map(str::to_owned)
        .context("requirements.txt names no django-oauth-toolkit")
}

pub(crate) fn start(product: Product) -> Result<Issuer> {
    let python = install::python(NAME, PACKAGES, SKIP)?.join("bin/python");
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

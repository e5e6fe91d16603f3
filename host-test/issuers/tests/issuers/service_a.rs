//! The real program of Service A.

use std::{ffi::OsStr, path::PathBuf, process::Stdio, sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use issuers::{Issuer, SCOPE, SERVICE_A};
use tokio::{process::Command, time::timeout};

/// Longer than its own timeouts.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs it as [`SERVICE_A`] with what a user has to set for this issuer.
pub(crate) async fn run(issuer: &Issuer, flags: &[&str], secret: &str) -> Result<Ended> {
    run_as(SERVICE_A.id, issuer, flags, secret).await
}

/// The same as another client. `secret`: or its private key.
pub(crate) async fn run_as(
    client: &str,
    issuer: &Issuer,
    flags: &[&str],
    secret: &str,
) -> Result<Ended> {
    let mut command = Command::new(program()?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WORKOUT18_") {
            command.env_remove(name);
        }
    }
    command
        .args([
            "--issuer",
            issuer.url(),
            "--client-id",
            client,
            "--scope",
            SCOPE,
        ])
        .args(flags)
        .env("WORKOUT18_CLIENT_SECRET", secret);
    if !issuer.product().decodes_basic() {
        command.args(["--client-auth", "basic-raw"]);
    }
    if let Some(authority) = issuer.authority() {
        command.env("SSL_CERT_FILE", authority);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let ended = ended.with_context(|| format!("Service A has not ended after {PATIENCE:?}"))??;
    Ok(Ended {
        code: ended.status.code(),
        output: String::from_utf8(ended.stdout)?,
        errors: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

/// A token of Service A, as the program prints it.
pub(crate) async fn token(issuer: &Issuer, resource: Option<&str>) -> Result<String> {
    let mut flags = vec!["--token-only"];
    if let Some(resource) = resource {
        flags.extend(["--resource", resource]);
    }
    let ended = run(issuer, &flags, SERVICE_A.secret).await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    Ok(ended.output.trim().to_owned())
}

/// Built once.
fn program() -> Result<&'static OsStr> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let built = programs::native(["service-a"]);
        built
            .map(|[program]| program)
            .map_err(|error| format!("{error:#}"))
    });
    let program = program.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(program.as_os_str())
}

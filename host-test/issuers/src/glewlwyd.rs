//! Glewlwyd: the one on PATH, else Debian's packages, downloaded and unpacked without being
//! installed.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use programs::{
    Process,
    install::{Unpacked, debian},
    on_path,
};

use crate::{
    Issuer, JWT_RESOURCE, Product, RESOURCE, SERVICE_A, SERVICE_B, SKIP, process::wait, program,
};

const NAME: &str = "glewlwyd";

/// The name of the plugin's instance, which is part of the issuer.
const PLUGIN: &str = "oidc";

/// The key with which Glewlwyd signs its tokens; nothing else reads them.
const SIGNING_SECRET: &str = "only a test's: 0123456789 0123456789";

/// The Debian packages to install, with the alternative that sets up no database.
const PACKAGES: [&str; 2] = ["glewlwyd", "dbconfig-no-thanks"];

pub(crate) fn is_available() -> bool {
    on_path(NAME).is_some() || on_path("apt-get").is_some()
}

/// The location of Glewlwyd's files.
struct Installed {
    /// `/`, or the folder into which the packages were unpacked.
    root: PathBuf,
    glewlwyd: PathBuf,
    sqlite3: PathBuf,
    libraries: OsString,
}

pub(crate) fn start(product: Product) -> Result<Issuer> {
    let installed = install()?;
    let directory = tempfile::tempdir()?;
    // Glewlwyd does not support port 0. If another process takes this free port meanwhile, Glewlwyd
    // exits with an error.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let origin = format!("http://127.0.0.1:{port}");
    let url = format!("{origin}/api/{PLUGIN}");
    make_database(&installed, directory.path(), &url)?;
    let modules = |kind: &str| installed.root.join("usr/lib/glewlwyd").join(kind);
    let process = Process::start(&installed.glewlwyd, |command| {
        command
            .arg("--env-variables")
            .arg("--config-file")
            .arg(program(NAME).join("glewlwyd.conf"))
            .env("GLWD_PORT", port.to_string())
            .env("GLWD_EXTERNAL_URL", &origin)
            .env("GLWD_USER_MODULE_PATH", modules("user"))
            .env("GLWD_CLIENT_MODULE_PATH", modules("client"))
            .env("GLWD_AUTH_SCHEME_MODULE_PATH", modules("scheme"))
            .env("GLWD_PLUGIN_MODULE_PATH", modules("plugin"))
            .env("LD_LIBRARY_PATH", &installed.libraries)
            .current_dir(directory.path());
    })?;
    wait(&process, || TcpStream::connect(("127.0.0.1", port)).ok()).context(NAME)?;
    Ok(Issuer {
        product,
        token_path: "/token",
        introspection: format!("{url}/introspect"),
        revocation: format!("{url}/revoke"),
        url,
        authority: None,
        process,
        directory: Some(directory),
    })
}

/// Runs Glewlwyd's database script, then ours.
fn make_database(installed: &Installed, directory: &Path, url: &str) -> Result<()> {
    let schema = installed
        .root
        .join("usr/share/dbconfig-common/data/glewlwyd/install/sqlite3");
    let schema = fs::read_to_string(&schema).with_context(|| schema.display().to_string())?;
    let ours = fs::read_to_string(program(NAME).join("setup.sql"))?;
    let parameters = [
        ("issuer", url),
        ("client", SERVICE_A.id),
        ("client_secret", SERVICE_A.secret),
        ("resource_server", SERVICE_B.id),
        ("resource_server_secret", SERVICE_B.secret),
        ("signing_secret", SIGNING_SECRET),
        ("resource", RESOURCE),
        ("jwt_resource", JWT_RESOURCE),
    ];
    // The database need not survive a crash.
    let mut script = format!(".bail on\nPRAGMA synchronous = OFF;\n{schema}\n.parameter init\n");
    for (name, value) in parameters {
        let quoted = value.replace('\'', "''");
        script.push_str(&format!(".parameter set @{name} \"'{quoted}'\"\n"));
    }
    script.push_str(&ours);
    let mut sqlite3 = Command::new(&installed.sqlite3)
        .arg("glewlwyd.db")
        .env("LD_LIBRARY_PATH", &installed.libraries)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", installed.sqlite3.display()))?;
    let mut stdin = sqlite3
        .stdin
        .take()
        .context("sqlite3 has no standard input")?;
    let written = stdin.write_all(script.as_bytes());
    drop(stdin);
    let output = sqlite3.wait_with_output()?;
    ensure!(
        output.status.success(),
        "sqlite3 ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(written?)
}

fn install() -> Result<Installed> {
    if let (Some(glewlwyd), Some(sqlite3)) = (on_path(NAME), on_path("sqlite3")) {
        return Ok(Installed {
            root: PathBuf::from("/"),
            glewlwyd,
            sqlite3,
            libraries: OsString::new(),
        });
    }
    let Unpacked { root, libraries } = debian(NAME, &PACKAGES, SKIP)?;
    let beside = root.join("usr/bin/sqlite3");
    Ok(Installed {
        glewlwyd: root.join("usr/bin/glewlwyd"),
        sqlite3: if beside.is_file() {
            beside
        } else {
            PathBuf::from("sqlite3")
        },
        libraries,
        root,
    })
}

//! node-oidc-provider: npm installs it, `node-oidc-provider/server.mjs` runs it.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use programs::install::{once, run};
use programs::on_path;
use serde_json::{Value, json};

use crate::{
    BOUND_CLIENT, Issuer, JWT_RESOURCE, Product, RESOURCE, SIGNING_CLIENTS, SKIP, SigningClient,
    authority::Certificates, process, program,
};

const NAME: &str = "node-oidc-provider";
const SERVER: &str = "server.mjs";
const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";

pub(crate) fn version() -> Result<String> {
    let manifest = fs::read_to_string(program(NAME).join(MANIFEST))?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let version = manifest.pointer("/dependencies/oidc-provider");
    let version = version.and_then(Value::as_str);
    version
        .map(str::to_owned)
        .context("package.json names no oidc-provider")
}

pub(crate) fn start(product: Product, tls: Option<Certificates>) -> Result<Issuer> {
    let folder = install()?;
    // Node resolves packages relative to the program's folder.
    fs::copy(program(NAME).join(SERVER), folder.join(SERVER))?;
    let node = on_path("node").context("there is no node")?;
    let files = |tls: &Certificates| json!({ "certificate": tls.server(), "key": tls.key() });
    let mut clients = process::clients();
    if let (Some(clients), Some(_)) = (clients.as_array_mut(), &tls) {
        clients.push(json!({
            "id": BOUND_CLIENT.id, "secret": BOUND_CLIENT.secret, "bound": true,
        }));
    }
    let configuration = json!({
        "clients": clients,
        "signers": signers()?,
        "resources": { RESOURCE: "opaque", JWT_RESOURCE: "jwt" },
        "tls": tls.as_ref().map(files),
    });
    let server = folder.join(SERVER);
    let (process, url) =
        process::start(&node, |command| _ = command.arg(server), &configuration).context(NAME)?;
    Ok(Issuer {
        product,
        token_path: "/token",
        introspection: format!("{url}/token/introspection"),
        revocation: format!("{url}/token/revocation"),
        url,
        authority: tls,
        process,
        directory: None,
    })
}

/// The clients that sign assertions; of a key, only its public part.
fn signers() -> Result<Vec<Value>> {
    let signer = |client: &SigningClient| {
        let (id, method) = (client.id, client.client_auth);
        if method == "client_secret_jwt" {
            return Ok(json!({ "id": id, "method": method, "secret": client.credential }));
        }
        let mut key: Value = serde_json::from_str(client.credential)?;
        key.as_object_mut()
            .context("a key is an object")?
            .remove("d");
        Ok(json!({ "id": id, "method": method, "key": key }))
    };
    SIGNING_CLIENTS.iter().map(signer).collect()
}

fn install() -> Result<PathBuf> {
    let packages = fs::read_to_string(program(NAME).join(LOCK))?;
    once(NAME, &packages, SKIP, |folder| {
        let npm =
            on_path("npm").context("there is no npm: install Node.js 20 or newer with npm")?;
        for file in [MANIFEST, LOCK] {
            fs::copy(program(NAME).join(file), folder.join(file))?;
        }
        run(Command::new(npm)
            .args([
                "ci",
                "--omit=dev",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ])
            .current_dir(folder))?;
        ensure!(
            folder.join("node_modules/oidc-provider").is_dir(),
            "npm brought no oidc-provider"
        );
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_has_the_hash_of_every_package() {
        let lock = fs::read_to_string(program(NAME).join(LOCK)).unwrap();
        let lock: Value = serde_json::from_str(&lock).unwrap();
        // The package without a name is ours, which the others are installed for.
        let packages = lock
            .pointer("/packages")
            .and_then(Value::as_object)
            .unwrap();
        let theirs: Vec<_> = packages
            .iter()
            .filter(|(name, _)| !name.is_empty())
            .collect();
        assert!(theirs.len() > 1, "{theirs:?}");
        for (name, package) in theirs {
            let hash = package.get("integrity").and_then(Value::as_str);
            assert!(
                hash.is_some_and(|hash| hash.starts_with("sha512-")),
                "{name}: {hash:?}"
            );
        }
    }
}

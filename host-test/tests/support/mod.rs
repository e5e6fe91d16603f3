//! Service B behind its auth check in the embedded host, for several tests.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use programs::{Guest, components};
use spin_host::{App, Running, ServeOptions};
use verify_stub::{StubOptions, VerifyStub};

/// The app of this manifest, freshly built, with `app` for service-b.
pub(crate) fn load(manifest: &Path, app: Guest) -> App {
    App::load(manifest, &components(app).unwrap()).unwrap()
}

/// A manifest of this name that tests have made from the one that ships.
pub(crate) fn derived(name: &str, manifest: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, manifest).unwrap();
    path
}

/// Serves the app with the stub for an issuer.
pub(crate) async fn serve(app: &App, stub: &VerifyStub, extra: &[(&str, &str)]) -> Running {
    app.serve(options(stub, extra)).await.unwrap()
}

/// The stub is the issuer, and nothing depends on this process's environment.
pub(crate) fn options(stub: &VerifyStub, extra: &[(&str, &str)]) -> ServeOptions {
    let mut settings = stub.resource_settings();
    settings.extend(
        extra
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    ServeOptions {
        environment: Some(BTreeMap::new()),
        variables: settings,
        ..ServeOptions::default()
    }
}

pub(crate) async fn stub() -> VerifyStub {
    VerifyStub::start(StubOptions::default()).await.unwrap()
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

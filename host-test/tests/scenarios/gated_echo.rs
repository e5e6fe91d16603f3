//! What the embedded host serves in scenarios and sequences.

use std::path::{Path, PathBuf};

use programs::{Guest, components, repository};
use spin_host::App;

/// spin.toml as it ships, but with the echo for an app, and every path behind the gate so that paths can be tested.
/// `file`: what to call it, as more than one test program may run.
pub(crate) fn load(file: &str) -> anyhow::Result<App> {
    App::load(&write(file, gated()?)?, &components(Guest::EchoApp)?)
}

/// The manifest, its components where spin.toml has them.
pub(crate) fn gated() -> anyhow::Result<String> {
    let mut manifest = std::fs::read_to_string(repository().join("spin.toml"))?;
    for (shipped, tested) in [
        ("route = \"/data\"", "route = \"/...\""),
        (
            "[[trigger.http]]\nroute = \"/health\"\ncomponent = \"service-b\"\n",
            "",
        ),
    ] {
        anyhow::ensure!(manifest.contains(shipped), "spin.toml has no {shipped}");
        manifest = manifest.replace(shipped, tested);
    }
    Ok(manifest)
}

pub(crate) fn write(file: &str, manifest: String) -> anyhow::Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&path, manifest)?;
    Ok(path)
}

//! What the embedded host serves in scenarios and sequences.

use std::path::{Path, PathBuf};

use programs::{Guest, components, repository};
use spin_host::App;

/// spin.toml as it ships, but with the echo for an app, and every path behind the gate so that paths can be tested.
/// `file`: what to call it, as more than one test program may run.
pub(crate) fn load(file: &str) -> anyhow::Result<App> {
    App::load(&write(file, gated()?)?, &components(Guest::EchoApp)?)
}

/// The same for a program that reads the manifest itself: it names where each component is.
pub(crate) fn manifest_with_sources(file: &str) -> anyhow::Result<PathBuf> {
    let mut manifest = gated()?;
    for (id, path) in components(Guest::EchoApp)? {
        let shipped = format!("target/wasm32-wasip2/release/{}.wasm", id.replace('-', "_"));
        anyhow::ensure!(manifest.contains(&shipped), "spin.toml has no {shipped}");
        manifest = manifest.replace(&shipped, &path.display().to_string());
    }
    write(file, manifest)
}

fn gated() -> anyhow::Result<String> {
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

fn write(file: &str, manifest: String) -> anyhow::Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&path, manifest)?;
    Ok(path)
}

//! Creates instances of an app's components, and prints how long each took in nanoseconds. For the
//! benchmarks, which so build no wasmtime unless they measure the embedded host.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use clap::Parser;
use spin_host::{App, ServeOptions};

#[derive(Parser)]
struct Options {
    /// The manifest; its components must be built
    manifest: PathBuf,
    /// How many instances of each component
    count: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Options { manifest, count } = Options::parse();
    let app = App::load(&manifest, &BTreeMap::new())?;
    let running = app.serve(ServeOptions::default()).await?;
    for _ in 0..count {
        println!("{}", running.instantiate().await?.as_nanos());
    }
    running.shutdown().await;
    Ok(())
}

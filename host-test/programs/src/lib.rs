//! What tests, benches and the demo run: the WebAssembly and the native programs of this
//! repository, freshly built, and processes that never outlive the one that started them.

mod guests;
pub mod install;
mod log;
mod native;
mod process;

use std::path::{Path, PathBuf};

pub use tracing_subscriber::filter::LevelFilter;

pub use self::{
    guests::{Guest, components},
    log::log,
    native::native,
    process::Process,
};

/// The repository this program was built in.
#[must_use]
pub fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Finds a program on PATH.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

//! Ctrl-C.

use std::{process, time::Duration};

use tokio_util::sync::CancellationToken;

/// What shells report for a program that Ctrl-C ended.
pub(crate) const EXIT_CODE: u8 = 130;
/// A summary that nobody reads must not keep the program.
const PATIENCE: Duration = Duration::from_secs(1);

/// Cancelled by the first Ctrl-C. The second, or a second later, ends the program wherever it is: a write to a pipe that
/// nobody reads does not come back.
pub(crate) fn watch() -> CancellationToken {
    let interrupted = CancellationToken::new();
    let told = interrupted.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        told.cancel();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
        process::exit(i32::from(EXIT_CODE));
    });
    interrupted
}

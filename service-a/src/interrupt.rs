//! Ctrl-C.

use std::{process, time::Duration};

use tokio_util::sync::CancellationToken;

/// What shells report for a program that Ctrl-C ended.
pub(crate) const EXIT_CODE: u8 = 130;
/// How long the program may take to end after the first Ctrl-C.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Returns a token that the first Ctrl-C cancels. A second Ctrl-C, or the end of the grace period,
/// ends the program wherever it is: a write to a pipe that nobody reads would block for ever.
pub(crate) fn watch() -> CancellationToken {
    let interrupted = CancellationToken::new();
    let token = interrupted.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        token.cancel();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = tokio::time::sleep(GRACE_PERIOD) => {}
        }
        process::exit(i32::from(EXIT_CODE));
    });
    interrupted
}

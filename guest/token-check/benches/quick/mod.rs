//! `cargo bench -- --quick` goes to every bench: a first look.

use std::time::Duration;

/// How long one line may take then.
const QUICK: Duration = Duration::from_millis(100);

pub(crate) fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    if !is_quick {
        divan::main();
    } else if std::env::args().any(|argument| argument == "--bench") {
        divan::Divan::default().max_time(QUICK).run_benches();
    }
}

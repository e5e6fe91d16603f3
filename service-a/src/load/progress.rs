//! The progress bar of `--repeat` and the live line of `--watch`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The template of the progress bar.
const BAR: &str = "{wide_bar} {human_pos}/{human_len}: {msg}, {eta} to go";
/// The template of the live line.
const LIVE_LINE: &str = "{spinner} {wide_msg}";
/// How often they are redrawn while nothing changes.
const TICK: Duration = Duration::from_millis(200);

/// A progress bar on standard error. It draws on terminals only.
pub(super) fn bar(calls: u64, hidden: bool) -> ProgressBar {
    let target = if hidden {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(calls), target);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// A line on standard output that is rewritten in place.
pub(super) fn live_line() -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
    if let Ok(style) = ProgressStyle::with_template(LIVE_LINE) {
        line.set_style(style);
    }
    line.enable_steady_tick(TICK);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [BAR, LIVE_LINE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

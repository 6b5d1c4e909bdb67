//! The progress of operations that take long, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on stderr that moves, and is removed when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Returns the progress of an operation whose length is not known.
    pub(crate) fn waiting(what: &'static str) -> Self {
        Self::of("{spinner} {msg} {elapsed}", what)
    }

    /// Returns the progress of bytes that arrive.
    pub(crate) fn receiving(what: &'static str) -> Self {
        Self::of(
            "{spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec} {elapsed}",
            what,
        )
    }

    /// Returns the progress of rows that are worked on.
    pub(crate) fn rows(what: &'static str) -> Self {
        Self::of(
            "{spinner} {msg} {human_pos} rows, {per_sec}, {elapsed}",
            what,
        )
    }

    fn of(template: &str, what: &'static str) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Counts rows that were worked on.
    pub(crate) fn counted(&self, rows: u64) {
        self.0.inc(rows);
    }

    /// Writes something to the terminal above the line.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// Counts bytes that arrived.
    pub(crate) fn received(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! A progress bar on standard error: only on a terminal, and only once something has taken two seconds.

use std::io::{self, IsTerminal as _};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::table::grouped;
use crate::clock;
use crate::ring::Mark;

const SHOWN_AFTER: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Waits for the threads of a run that sends for `duration`; `marks` are their accepted signals.
pub fn watch_time(duration: Duration, marks: &[Mark], is_finished: impl Fn() -> bool) {
    let begun = clock::now();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    watch("sending", millis(duration), is_finished, |bar| {
        bar.set_position(millis(clock::now() - begun));
        let accepted = marks.iter().map(Mark::read).sum();
        bar.set_message(format!("{} signals accepted", grouped(accepted)));
    });
}

/// Waits for something that counts up to `total`.
pub fn watch_count(what: &'static str, total: u64, done: &Mark, is_finished: impl Fn() -> bool) {
    watch(what, total, is_finished, |bar| {
        let done = done.read();
        bar.set_position(done);
        bar.set_message(format!("{} of {}", grouped(done), grouped(total)));
    });
}

fn watch(what: &'static str, total: u64, is_finished: impl Fn() -> bool, mut show: impl FnMut(&ProgressBar)) {
    let begun = clock::now();
    let terminal = io::stderr().is_terminal();
    let mut bar = None;
    while !is_finished() {
        thread::sleep(LOOK);
        if terminal && clock::now() - begun >= SHOWN_AFTER {
            show(bar.get_or_insert_with(|| shown(what, total)));
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn shown(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_prefix(what);
    // Without a valid template the usual style does.
    match ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

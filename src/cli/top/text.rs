//! A view as plain lines: the head that the live view has, too, and the tables below each other.

use super::super::output::plain;
use super::table::{Tone, TopTable, amount, cut, padded, shown, size, tables};
use super::view::TopView;
use crate::halt::in_words;
use crate::limits::TOP_ROWS_PRINTED;

/// What is said of the node as a whole: parts of lines, each with how much it asks for attention.
#[must_use]
pub fn head(view: &TopView) -> Vec<Vec<(String, Tone)>> {
    let node = &view.node;
    let plainly = |text: String| (text, Tone::Plain);
    let ready =
        if node.ready { ("ready".to_owned(), Tone::Good) } else { ("NOT READY".to_owned(), Tone::Bad) };
    let mut first = vec![
        plainly(cut(&shown(&node.name), NAME_WIDTH_MAX)),
        plainly(shown(&node.role)),
        plainly(shown(&node.version)),
        plainly(format!("up {}", lasted(node.up_seconds))),
        ready,
    ];
    let halted = in_words(node.halts.iter().map(|halt| (halt.scope.as_str(), halt.name.as_deref())));
    first.extend(halted.map(|what| (format!("HALTED: {}", shown(&what)), Tone::Bad)));
    first.extend(view.disk_free_bytes.map(|free| plainly(format!("disk free {}", size(free)))));
    first.extend(node.reasons.iter().map(|reason| (shown(reason), Tone::Warning)));
    let accepted = view.signals.iter().find(|of| of.result == "accepted").map(|of| of.per_second);
    let mut second = Vec::new();
    second.extend(accepted.map(|rate| plainly(format!("accepted {}/s", amount(rate)))));
    let failing = if view.failures_per_second > 0.0 { Tone::Warning } else { Tone::Plain };
    second.push((format!("failures {}/s", amount(view.failures_per_second)), failing));
    if let Some(waiting) = view.waiting.signals {
        let bytes = view.waiting.bytes.filter(|bytes| *bytes > 0);
        let bytes = bytes.map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
        second.push(plainly(format!("waiting {waiting}{bytes}")));
    }
    let open: u64 = view.dead_letters.open.values().sum();
    let tone = if open > 0 { Tone::Warning } else { Tone::Plain };
    if !view.dead_letters.open.is_empty() {
        second.push((format!("dead letters {open}"), tone));
    }
    for (state, tone) in [("halted", Tone::Bad), ("degraded", Tone::Warning)] {
        let count = view.governors.get(state).copied().filter(|count| *count > 0);
        second.extend(count.map(|count| (format!("{state} {count}"), tone)));
    }
    // Whose the dead letters are to mend is the first that may be cut off.
    let causes = view.dead_letters.open.iter().filter(|(_, count)| **count > 0);
    let causes: Vec<String> = causes.map(|(cause, count)| format!("{} {count}", shown(cause))).collect();
    if !causes.is_empty() {
        second.push((format!("({})", causes.join(", ")), tone));
    }
    let mut lines = vec![first, second];
    let third = distributed(view);
    if !third.is_empty() {
        lines.push(third);
    }
    lines
}

/// A longer name of a node is cut, so that what follows it is seen.
const NAME_WIDTH_MAX: usize = 24;

/// What only a node of several has to say.
fn distributed(view: &TopView) -> Vec<(String, Tone)> {
    let mut parts = Vec::new();
    if let Some(broker) = &view.distributed.broker {
        parts.push(match (broker.connected, broker.blocked) {
            (false, _) => ("broker away".to_owned(), Tone::Bad),
            (true, Some(true)) => ("broker takes nothing".to_owned(), Tone::Bad),
            (true, Some(false) | None) => ("broker connected".to_owned(), Tone::Good),
        });
        let numbers = [
            ("backlog", broker.backlog_events),
            ("unconfirmed", broker.unconfirmed_messages),
            ("unacknowledged", broker.unacknowledged_messages),
            ("missing", broker.missing_signals),
        ];
        let number = |(what, number): (&str, Option<u64>)| Some((format!("{what} {}", number?), Tone::Plain));
        parts.extend(numbers.into_iter().filter_map(number));
    }
    if let Some(state) = &view.distributed.state {
        let held = state.held_partitions.len();
        parts.push(if state.is_shared {
            (format!("state shared, {held} partitions held"), Tone::Good)
        } else {
            let since = lasted(crate::improvement::float(state.unshared_milliseconds) / 1000.0);
            (format!("state not shared for {since}, {held} partitions held"), Tone::Warning)
        });
    }
    parts
}

/// A view without a terminal.
#[must_use]
pub fn snapshot(view: &TopView) -> String {
    let mut text = String::new();
    for line in head(view) {
        let parts: Vec<&str> = line.iter().map(|(part, _)| part.as_str()).collect();
        text.push_str(&(parts.join("  ") + "\n"));
    }
    text.push_str(&format!("rates over {}\n", over(view.window_seconds)));
    for table in tables(view) {
        let column = table.kind.sorted_at_first();
        text.push_str(&whole(&table.sorted(column)));
    }
    text
}

fn whole(table: &TopTable) -> String {
    let widths = table.widths(usize::MAX);
    let mut text = format!("\n{}\n", table.kind.title());
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate();
        let cells: Vec<String> = cells.map(|(at, (cell, width))| padded(cell, *width, at == 0)).collect();
        text.push_str(&(cells.join("  ").trim_end().to_owned() + "\n"));
    };
    line(&mut table.heading.iter().copied());
    for row in table.rows.iter().take(TOP_ROWS_PRINTED) {
        line(&mut row.iter().map(|cell| cell.text.as_str()));
    }
    let more = table.rows.len().saturating_sub(TOP_ROWS_PRINTED);
    if more > 0 {
        text.push_str(&format!("and {more} more: see --json\n"));
    }
    text
}

/// A time in its two largest units.
#[must_use]
pub fn lasted(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast ends at the bounds")]
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// How long a window is.
#[must_use]
pub fn over(seconds: f64) -> String {
    if seconds < 100.0 { format!("{seconds:.1} s") } else { lasted(seconds) }
}

/// Why there is no answer, on one line.
#[must_use]
pub fn silence(seconds: f64, why: &str) -> String {
    format!("no answer since {}: {}", lasted(seconds), plain(why))
}

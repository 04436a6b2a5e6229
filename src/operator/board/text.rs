//! The board as plain text, for a terminal without a browser.

use std::fmt::Write as _;

use crate::board_view::{BoardLatency, BoardView};
use crate::halt::in_words;
use crate::printable::{is_order, with_noun};
use crate::view::HaltView;

/// What a signal brings orders nothing of a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if is_order(letter) { '\u{fffd}' } else { letter }).collect()
}

/// An age in the largest unit that fits.
fn age(now: u64, then: u64) -> String {
    let seconds = now.saturating_sub(then) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Microseconds as people read them.
fn took(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// The whole board.
pub fn text(view: &BoardView) -> String {
    let mut out = String::new();
    let node = &view.node;
    let since = age(view.time, view.changed);
    let ready = if node.ready { "ready" } else { "not ready" };
    let named = view.halts.iter().map(|halt| (halt.scope, halt.name.as_deref()));
    let halted = in_words(named).map_or_else(String::new, |what| format!(", HALTED: {}", plain(&what)));
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        "{} ({}, gemba {}): {ready}, {}{halted}; last change {since} ago\n",
        plain(&node.name),
        node.role,
        node.version,
        node.condition
    );
    let _ = writeln!(out, "stages");
    for (name, stage) in &view.stages {
        let state = if stage.ok { "ok" } else { "STOPPED" };
        let _ =
            writeln!(out, "  {name:<12} {state:<8} {}", plain(stage.reason.as_deref().unwrap_or_default()));
    }
    let _ = writeln!(out, "\nlanes             waiting / capacity    each second");
    for (name, lane) in &view.lanes {
        let rate = lane.per_second.map_or_else(|| "-".into(), |rate| rate.to_string());
        let _ = writeln!(out, "  {name:<12} {:>10} / {:<10} {rate:>12}", lane.depth, lane.capacity);
    }
    if !view.latency.is_empty() {
        let _ = writeln!(out, "\nlatency              p50        p99      p99.9");
    }
    for (name, BoardLatency { p50, p99, p999 }) in &view.latency {
        let _ = writeln!(out, "  {name:<12} {:>9}  {:>9}  {:>9}", took(*p50), took(*p99), took(*p999));
    }
    let listed = |out: &mut String, title: &str, counts: &std::collections::BTreeMap<Box<str>, u64>| {
        if !counts.is_empty() {
            let counts: Vec<String> =
                counts.iter().map(|(name, count)| format!("{} {count}", plain(name))).collect();
            let _ = writeln!(out, "\n{title}: {}", counts.join(", "));
        }
    };
    listed(&mut out, "governors", &view.governors);
    listed(&mut out, "open dead letters", &view.dead_letters);
    if !view.targets.is_empty() {
        let _ = writeln!(out, "\ntargets");
    }
    for (name, target) in &view.targets {
        let is_halted = |halt: &HaltView| halt.scope == "target" && halt.name.as_deref() == Some(name);
        let state = if view.halts.iter().any(is_halted) { "halted" } else { target.breaker };
        let _ = writeln!(out, "  {:<24} {state:<9} {} waiting", plain(name), target.waiting);
    }
    halts(&mut out, view);
    alerts(&mut out, view);
    let checkpoint = view.work.checkpoint.map_or_else(|| "none".into(), |at| age(view.time, at) + " old");
    let _ = writeln!(
        out,
        "\nlast event {}, checkpoint {checkpoint}, {}",
        view.work.durable_seq,
        with_noun(view.work.restarts, "restart", "restarts")
    );
    out
}

/// What operators halted, and how many governors halt alone.
fn halts(out: &mut String, view: &BoardView) {
    let alone = view.governors.get("halted").copied().unwrap_or_default();
    if !view.halts.is_empty() || alone > 0 {
        let _ = writeln!(out, "\nhalted");
    }
    for halt in &view.halts {
        let what = format!("{} {}", halt.scope, halt.name.as_deref().unwrap_or_default());
        let since = age(view.time, halt.since_ms);
        let _ = writeln!(
            out,
            "  {:<24} for {since} by {}: {}",
            plain(what.trim_end()),
            plain(&halt.who),
            plain(&halt.reason)
        );
    }
    if alone > 0 {
        let _ = writeln!(
            out,
            "  governors {alone}: by an operator (gemba halt list) or by their breaker (gemba governor list)"
        );
    }
}

/// Alerts, and the silences that hold.
fn alerts(out: &mut String, view: &BoardView) {
    let counts: Vec<String> = ["critical", "warning", "info"]
        .into_iter()
        .filter_map(|severity| Some(format!("{} {severity}", view.alert_counts.get(severity)?.open)))
        .collect();
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    let _ = writeln!(out, "\nalerts: {counts}");
    for alert in &view.alerts {
        let name = if alert.name.is_empty() { String::new() } else { format!(" {}", plain(&alert.name)) };
        let of = alert.tenant.as_deref().unwrap_or_default();
        let sku = alert.sku.as_deref().map_or_else(String::new, |sku| format!("/{sku}"));
        let silenced = if alert.silenced { ", silenced" } else { "" };
        let by = alert.acknowledged_by.as_deref().map_or_else(String::new, |by| format!(" by {}", plain(by)));
        let _ = writeln!(
            out,
            "  {} {}{by}: {}{name} for {}{silenced}: {} {}{}",
            alert.severity,
            alert.state,
            alert.kind,
            age(view.time, alert.since_ms),
            plain(&alert.message),
            plain(of),
            plain(&sku)
        );
    }
    let open: u64 = view.alert_counts.values().map(|count| count.open).sum();
    let more = open.saturating_sub(view.alerts.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "  {more} more: gemba alert list");
    }
    if !view.silences.is_empty() {
        let _ = writeln!(out, "\nsilences");
    }
    for silence in &view.silences {
        let _ = writeln!(
            out,
            "  {} {} for {} more by {}: {}",
            silence.id,
            plain(&silence.when),
            age(silence.until_ms, view.time),
            plain(&silence.by),
            plain(&silence.reason)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board_view::{BoardAlert, BoardAlertCount, BoardNode, BoardStage, BoardTarget};
    use crate::view::HaltView;

    #[test]
    fn what_stopped_is_said_and_nothing_moves_the_terminal() {
        let view = BoardView {
            node: BoardNode {
                name: "n".into(),
                role: "all".into(),
                condition: "degraded",
                ..BoardNode::default()
            },
            time: 7_200_000,
            changed: 60_000,
            stages: [("journal".into(), BoardStage { ok: false, reason: Some("the disk is full".into()) })]
                .into(),
            targets: [("page".into(), BoardTarget { breaker: "testing", waiting: 3 })].into(),
            governors: [("halted".into(), 2)].into(),
            halts: vec![HaltView {
                scope: "tenant",
                name: Some("ac\u{1b}me".into()),
                who: "alice".into(),
                reason: "a drill".into(),
                since_ms: 3_600_000,
            }],
            alerts: vec![
                BoardAlert {
                    name: "a\u{202e}b".into(),
                    message: "a\u{1b}[2Jb".into(),
                    ..BoardAlert::default()
                },
                BoardAlert {
                    kind: "halt".into(),
                    severity: "info".into(),
                    state: "notified".into(),
                    message: "acme/vm is halted by alice".into(),
                    since_ms: 7_185_000,
                    ..BoardAlert::default()
                },
            ],
            alert_counts: [
                ("critical", BoardAlertCount { open: 1, silenced: 0 }),
                ("info", BoardAlertCount { open: 9, silenced: 1 }),
            ]
            .into(),
            ..BoardView::default()
        };
        let text = text(&view);
        for said in [
            "not ready, degraded, HALTED: tenant ac\u{fffd}me; last change 1 h ago",
            " for 1 h by alice: a drill",
            "journal      STOPPED  the disk is full",
            "testing   3 waiting",
            "  governors 2: by an operator (gemba halt list) or by their breaker",
            "alerts: 1 critical, 9 info\n",
            "info notified: halt for 15 s: acme/vm is halted by alice",
            "  8 more: gemba alert list\n",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(!text.chars().any(|letter| letter != '\n' && is_order(letter)), "{text:?}");
        assert!(text.contains("a\u{fffd}[2Jb") && text.contains("a\u{fffd}b"));
    }
}

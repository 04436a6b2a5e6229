use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_core::backend::TestBackend;
use ratatui_core::style::Color;
use ratatui_core::terminal::Terminal;

use super::answers::{Answers, StageAnswer, StatusAnswer};
use super::history::History;
use super::metrics_page::MetricsPage;
use super::screen::{Scene, draw};
use super::state::{ScreenState, TopAsked};
use super::table::{TableKind, tables};
use super::text::{lasted, snapshot};
use super::view::TopView;
use super::*;
use crate::improvement::{LaneLook, Look, NodeLook, RuleLook, Spread, StageLook, TargetLook, TenantLook};
use crate::limits::{TOP_LOOKS_MAX, TOP_WINDOW_MIN};
use crate::view::{BrokerView, HaltView, NodeStatus, PartitionView, QueueView, StateView};

const HOSTILE: &str = "a\x1b[2J\u{9b}31m\r\n\u{202e}\u{200b}日本";

/// A node at `seconds`, that took 100 signals in each.
fn answers(started: u64, seconds: u64) -> Answers {
    let mut look = Look {
        node: NodeLook {
            name: "node-1".into(),
            role: "all".into(),
            version: "0.1.0".into(),
            started_milliseconds: started,
            ..NodeLook::default()
        },
        elapsed_milliseconds: seconds * 1000,
        ..Look::default()
    };
    for stage in ["whole", "verify", "fsync", "lane_wait", "decide"] {
        let sampled = if stage == "verify" || stage == "decide" { 16 } else { 1 };
        // All of the later ones took longer.
        let took =
            Spread::new([(1_000_000, 10 * seconds.min(10)), (5_000_000, 10 * seconds.saturating_sub(10))]);
        look.stages.insert(stage.into(), StageLook { sampled, took });
    }
    for (lane, depth) in
        [("events-0", 3), ("events-1", 5), ("arrivals-0", 0), ("drafts-0", 1), ("intents-0", 0)]
    {
        look.lanes.insert(lane.into(), LaneLook { depth, waited_milliseconds: depth * 1000 * seconds });
    }
    for (result, each) in [("accepted", 100), ("bad_signature", 2), ("duplicate", 0)] {
        look.results.insert(result.into(), each * seconds);
    }
    for tenant in 0..30 {
        let events = (30 - tenant) * seconds;
        let of = TenantLook { events, waited_milliseconds: events * 5, failures: 0 };
        look.tenants.insert(format!("tenant-{tenant:02}"), of);
    }
    let hostile = TenantLook { events: 1000 * seconds, waited_milliseconds: 0, failures: seconds };
    look.tenants.insert(HOSTILE.into(), hostile);
    look.rules.push(RuleLook {
        pack: "test".into(),
        rule: "page".into(),
        decisions: 7 * seconds,
        failures: 0,
    });
    let target =
        TargetLook { successes: 6 * seconds, failures: seconds, waiting: 2, ..TargetLook::default() };
    look.targets.insert("pager".into(), target);
    let page = format!(
        "queue_depth 8\ngemba_waiting_bytes 2048\ngemba_receipts_total {}\ngemba_disk_free_bytes 1073741824\n\
         gemba_dead_letters_open{{cause=\"target\"}} 4\ngemba_dead_letters_open{{cause=\"us\"}} 0\n\
         gemba_target_breaker{{target=\"pager\"}} 2\n\
         gemba_governors{{state=\"stable\"}} 9\ngemba_governors{{state=\"halted\"}} 3\n",
        5000 + 120 * seconds
    );
    let status = StatusAnswer { ready: true, ..StatusAnswer::default() };
    Answers { look, status, metrics: MetricsPage::read(&page) }
}

fn view() -> TopView {
    TopView::new(&answers(1, 10), &answers(1, 12))
}

fn press(state: &mut ScreenState, view: &TopView, code: KeyCode) -> TopAsked {
    state.press(KeyEvent::new(code, KeyModifiers::NONE), &tables(view))
}

/// The lines of a terminal of this size.
fn drawn(view: &TopView, state: &mut ScreenState, size: (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let scene = Scene { view, silence: None, has_color: false };
    terminal.draw(|frame| draw(frame.buffer_mut(), scene, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content().iter().map(ratatui_core::buffer::Cell::symbol).collect();
    cells.chunks(size.0.into()).map(<[&str]>::concat).collect()
}

fn near(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-6), "{found:?} is not {expected}");
}

#[test]
fn a_view_is_what_happened_between_two_looks() {
    let view = view();
    near(Some(view.window_seconds), 2.0);
    near(Some(view.node.up_seconds), 12.0);
    assert_eq!((&*view.signals[0].result, &*view.signals[1].result), ("accepted", "duplicate"));
    near(Some(view.signals[0].per_second), 100.0);
    // Two bad signatures and one action a second.
    near(Some(view.failures_per_second), 3.0);
    let lanes: Vec<&str> = view.lanes.iter().map(|lane| lane.lane.as_str()).collect();
    assert_eq!(lanes, ["arrivals", "events", "drafts", "intents"]);
    let events = &view.lanes[1];
    assert_eq!((events.lanes, events.depth, events.deepest.as_deref()), (2, 8, Some("events-1")));
    near(Some(events.mean_depth), 8.0);
    near(view.lanes[0].per_second, 10.0);
    near(events.per_second, 160.0);
    near(view.lanes[2].per_second, 120.0);
    near(view.lanes[3].per_second, 7.0);
    let stages: Vec<&str> = view.stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!(stages, ["verify", "lane_wait", "fsync", "decide", "whole"]);
    // Of the window alone: before it all took a fifth.
    near(view.stages[0].p50_seconds, 0.005);
    near(Some(view.stages[0].per_second), 160.0);
    assert_eq!(
        (view.tenants.len(), &*view.tenants[0].tenant, &*view.tenants[1].tenant),
        (31, HOSTILE, "tenant-00")
    );
    near(Some(view.tenants[1].waited_seconds), 0.005);
    assert_eq!((view.targets[0].breaker, view.targets[0].waiting), (Some("halted"), 2));
    assert_eq!((view.disk_free_bytes, view.dead_letters.open["target"]), (Some(1 << 30), 4));
    assert_eq!((view.waiting.signals, view.waiting.bytes), (Some(8), Some(2048)));
}

#[test]
fn an_idle_node_has_no_times_and_nothing_divides_by_nothing() {
    let (earlier, mut now) = (answers(1, 10), answers(1, 10));
    now.look.elapsed_milliseconds += 1;
    let view = TopView::new(&earlier, &now);
    assert!(view.stages.iter().all(|stage| stage.p50_seconds.is_none() && stage.per_second == 0.0));
    assert!(view.tenants.iter().all(|tenant| tenant.waited_seconds == 0.0));
    let nothing = TopView::new(&Answers::default(), &Answers::default());
    assert!(serde_json::to_string(&nothing).unwrap().contains("\"tenants\":[]"));
    assert!(!drawn(&nothing, &mut ScreenState::default(), (80, 24)).is_empty());
}

#[test]
fn a_node_that_starts_again_is_told_from_its_own_start_on() {
    let mut history = History::new(Duration::from_secs(1));
    assert!(history.view().is_none());
    history.add(answers(1, 100));
    assert!(!history.has_window());
    near(history.view().map(|view| view.window_seconds), 100.0);
    history.add(answers(1, 101));
    history.add(answers(1, 101));
    assert!(history.has_window());
    near(history.view().map(|view| view.window_seconds), 1.0);
    history.add(answers(2, 3));
    assert!(history.has_window());
    let view = history.view().unwrap();
    near(Some(view.window_seconds), 3.0);
    near(Some(view.signals[0].per_second), 100.0);
    near(view.lanes[2].per_second, 5360.0 / 3.0);
}

#[test]
fn a_window_is_as_long_as_the_interval_and_memory_is_bounded() {
    for (interval, expected) in [(1, 2.0), (5, 5.0)] {
        let mut history = History::new(Duration::from_secs(interval));
        (0..50).for_each(|look| history.add(answers(1, look * interval)));
        near(history.view().map(|view| view.window_seconds), expected);
    }
    let mut history = History::new(Duration::from_millis(200));
    for look in 0..100u64 {
        let mut answers = answers(1, 1);
        answers.look.elapsed_milliseconds = look * 200;
        history.add(answers);
        assert!(history.looks() <= TOP_LOOKS_MAX);
    }
    let window = history.view().unwrap().window_seconds;
    assert!((1.8..=2.2).contains(&window), "{window}");
    let most = f64::from(u8::try_from(TOP_LOOKS_MAX).unwrap());
    assert!(TOP_WINDOW_MIN.as_secs_f64() / TOP_INTERVAL_SECONDS.start() + 2.0 <= most);
}

#[test]
fn a_view_fits_into_a_terminal_of_the_usual_size() {
    let lines = drawn(&view(), &mut ScreenState::default(), (80, 24));
    let text = lines.join("\n");
    for word in [
        "node-1  all  0.1.0  up 12 s  ready  disk free 1.0 GiB",
        "accepted 100/s  failures 3.0/s  waiting 8 (2.0 KiB)  dead letters 4  halted 3",
        "LINE",
        "STAGES",
        "SIGNALS",
        "TENANTS by EVENTS/s  1-",
        "RULES by DECIDES/s",
        "TARGETS",
        "lane_wait",
        "test/page",
        "tenant-00",
        "halted",
        "q end",
        "rates over 2.0 s",
    ] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn a_terminal_of_any_size_shows_what_fits() {
    let view = view();
    for size in [(1, 1), (2, 1), (10, 2), (20, 5), (40, 10), (77, 24), (80, 3), (79, 12), (300, 100)] {
        let mut state = ScreenState::default();
        for _ in 0..8 {
            assert_eq!(drawn(&view, &mut state, size).len(), usize::from(size.1));
            press(&mut state, &view, KeyCode::Tab);
            press(&mut state, &view, KeyCode::End);
        }
        press(&mut state, &view, KeyCode::Char('?'));
        drawn(&view, &mut state, size);
    }
    // The chosen table is there even where most are not.
    let small = drawn(&view, &mut ScreenState::default(), (60, 6)).join("\n");
    assert!(small.contains("TENANTS") && !small.contains("STAGES"), "{small}");
}

#[test]
fn hostile_names_order_nothing_and_break_no_column() {
    let mut view = view();
    view.node.name = HOSTILE.into();
    view.node.reasons.push(HOSTILE.into());
    let lines = drawn(&view, &mut ScreenState::default(), (120, 40));
    let text = lines.concat();
    assert!(!text.chars().any(crate::printable::is_order), "{text:?}");
    assert!(text.contains("a\\u{1b}[2J\\u{9b}31m"), "{text}");
    assert!(!snapshot(&view).chars().any(|c| c != '\n' && crate::printable::is_order(c)));
    let json = output::json_line(&view).unwrap();
    assert!(json.contains("\\u001b[2J") && json.chars().all(|c| !crate::printable::is_order(c)));
    // Every other line of the table ends where it does.
    let row = |name: &str| lines.iter().rfind(|line| line.contains(name)).unwrap().trim_end().to_owned();
    assert!(row("tenant-00").ends_with(" ms      0"), "{}", lines.join("\n"));
    assert!(row("\\u{9b}31m\\").ends_with("   0    1.0"), "{}", lines.join("\n"));
}

#[test]
fn keys_choose_scroll_sort_pause_and_end() {
    let (view, mut state) = (view(), ScreenState::default());
    assert_eq!(state.chosen(), TableKind::Tenants);
    let shown = |state: &mut ScreenState| drawn(&view, state, (80, 24)).join("\n");
    assert!(shown(&mut state).contains("tenant-00"));
    for _ in 0..5 {
        assert_eq!(press(&mut state, &view, KeyCode::Down), TopAsked::Redraw);
    }
    let scrolled = shown(&mut state);
    assert!(!scrolled.contains("tenant-00") && scrolled.contains("tenant-05"), "{scrolled}");
    press(&mut state, &view, KeyCode::End);
    assert!(shown(&mut state).contains("tenant-29"));
    press(&mut state, &view, KeyCode::Up);
    assert!(!shown(&mut state).contains("tenant-29"), "the end is where the last row is");
    press(&mut state, &view, KeyCode::Char('s'));
    assert!(shown(&mut state).contains("TENANTS by WAIT  1-"));
    press(&mut state, &view, KeyCode::Tab);
    assert_eq!(state.chosen(), TableKind::Rules);
    press(&mut state, &view, KeyCode::BackTab);
    assert_eq!(state.chosen(), TableKind::Tenants);
    for _ in 0..tables(&view).len() {
        press(&mut state, &view, KeyCode::Right);
    }
    assert_eq!(state.chosen(), TableKind::Tenants, "once round");
    press(&mut state, &view, KeyCode::Char('p'));
    assert!(state.is_paused() && shown(&mut state).contains("PAUSED"));
    press(&mut state, &view, KeyCode::Char('?'));
    assert!(shown(&mut state).contains("Ctrl-C"));
    assert_eq!(press(&mut state, &view, KeyCode::Char('x')), TopAsked::Nothing);
    assert_eq!(press(&mut state, &view, KeyCode::Char('c')), TopAsked::Nothing);
    for code in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut state, &view, code), TopAsked::Quit);
    }
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.press(interrupt, &[]), TopAsked::Quit);
}

#[test]
fn silence_and_what_is_not_ready_are_told_in_color_or_without() {
    let mut now = answers(1, 12);
    now.status.ready = false;
    now.status.stages.push(StageAnswer { stage: "journal".into(), reason: Some("the disk is full".into()) });
    let view = TopView::new(&answers(1, 10), &now);
    for has_color in [true, false] {
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        let scene = Scene { view: &view, silence: Some((75.0, "refused\x1b[2J")), has_color };
        let mut state = ScreenState::default();
        terminal.draw(|frame| draw(frame.buffer_mut(), scene, &mut state)).unwrap();
        let cells = terminal.backend().buffer().content();
        let text: String = cells.iter().map(ratatui_core::buffer::Cell::symbol).collect();
        assert!(text.contains("NOT READY  disk free 1.0 GiB  journal: the disk is full"), "{text}");
        assert!(text.contains("no answer since 1 min 15 s: refused\\u{1b}[2J"), "{text}");
        let is_colored = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(is_colored, has_color);
    }
}

#[test]
fn an_edge_and_a_processor_show_their_broker_and_partitions() {
    let queue = |partition| QueueView { partition, queue_messages: Some(7), queue_consumers: Some(0) };
    let edge = BrokerView::Edge {
        connected: true,
        blocked: true,
        reconnects: 0,
        backlog_events: 9,
        unconfirmed_messages: 4,
        confirmed_messages: 5,
        partitions: vec![queue(0), queue(1)],
    };
    let processor = BrokerView::Processor {
        connected: true,
        reconnects: 0,
        unacknowledged_messages: 6,
        acknowledged_messages: 1,
        repeated_messages: 0,
        rejected_messages: 0,
        missing_signals: 2,
        partitions: vec![PartitionView { consumed: true, owned: true, queue: queue(3) }],
    };
    let state = StateView {
        shared_seq: 1,
        is_shared: false,
        unshared_milliseconds: 2500,
        rounds: 1,
        failed_calls: 0,
        lost_partitions: 0,
        held_partitions: vec![3],
    };
    for (broker, state, words) in [
        (edge, None, ["broker takes nothing  backlog 9  unconfirmed 4", "PARTITIONS", "MESSAGES"]),
        (
            processor,
            Some(state),
            [
                "broker connected  unacknowledged 6  missing 2",
                "not shared for 2 s, 1 partitions held",
                "here",
            ],
        ),
    ] {
        let name = "node-1".into();
        let status = NodeStatus {
            name,
            role: "edge",
            ready: true,
            stages: Vec::new(),
            durable_seq: 1,
            halts: vec![HaltView {
                scope: "line",
                name: None,
                who: "alice".into(),
                reason: "a drill".into(),
                since_ms: 1,
            }],
            broker: Some(broker),
            state,
        };
        let mut now = answers(1, 12);
        now.status = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        let view = TopView::new(&answers(1, 10), &now);
        let text = drawn(&view, &mut ScreenState::default(), (120, 40)).join("\n");
        for words in words.into_iter().chain(["ready  HALTED: the line"]) {
            assert!(text.contains(words) && snapshot(&view).contains(words), "{words} is not in\n{text}");
        }
    }
}

#[test]
fn a_snapshot_has_all_tables_and_says_what_it_leaves_out() {
    let text = snapshot(&view());
    assert!(
        text.starts_with("node-1  all  0.1.0  up 12 s  ready  disk free 1.0 GiB\naccepted 100/s"),
        "{text}"
    );
    for word in
        ["\nrates over 2.0 s\n", "\nTENANTS\nTENANT", "and 11 more: see --json", "\nTARGETS\n", "pager"]
    {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn times_and_intervals_are_read_and_told() {
    assert_eq!([5.9, 75.0, 3700.0, 90_000.0].map(lasted), ["5 s", "1 min 15 s", "1 h 1 min", "1 d 1 h"]);
    assert_eq!(interval("0.2"), Ok(Duration::from_millis(200)));
    for wrong in ["0.1", "61", "-1", "x", "NaN", "inf", ""] {
        assert!(interval(wrong).is_err(), "{wrong}");
    }
}

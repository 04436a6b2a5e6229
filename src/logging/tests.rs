//! What a line looks like, which events have one, and what a value can do to it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use secrecy::SecretString;
use tracing::subscriber::with_default;

use super::*;
use crate::limits::DIAGNOSTIC_BYTES_MAX;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn logger(filter: &str, format: Format) -> Arc<Logger> {
    let settings = Settings { filter: Filter::parse(filter).unwrap(), stderr: LevelFilter::TRACE, format };
    let wall = || UnixMillis(1_700_000_000_007);
    Arc::new(Logger::new(settings, wall, |line| LINES.with_borrow_mut(|lines| lines.push(line))))
}

/// The lines that `log` has.
fn lines(filter: &str, format: Format, log: impl FnOnce()) -> Vec<String> {
    with_default(logger(filter, format), log);
    LINES.take()
}

fn json_of(log: impl Fn()) -> serde_json::Value {
    let lines = lines("info", Format::Json, log);
    assert_eq!(lines.len(), 1, "{lines:?}");
    serde_json::from_str(&lines[0]).unwrap_or_else(|error| panic!("{error}: {}", lines[0]))
}

fn text_of(log: impl Fn()) -> String {
    let lines = lines("info", Format::Text, log);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.concat()
}

#[test]
fn an_event_is_one_line_of_text_or_of_json() {
    let log = || {
        tracing::warn!(
            target: "gemba::kanban",
            partition = 3u16,
            offset = -7i64,
            durable = true,
            edge = %"edge 1",
            path = ?std::path::Path::new("data"),
            absent = None::<u64>,
            reason = "it refuses the password",
            hint = "look at `rabbitmq.password_file`",
            "the broker cannot be used"
        );
    };
    assert_eq!(
        text_of(log),
        "2023-11-14T22:13:20.007Z WARN  gemba::kanban: the broker cannot be used partition=3 offset=-7 durable=true \
         edge=\"edge 1\" path=\"\\\"data\\\"\": it refuses the password; look at `rabbitmq.password_file`"
    );
    let lines = lines("info", Format::Json, log);
    assert_eq!(
        lines,
        [
            r#"{"ts":"2023-11-14T22:13:20.007Z","level":"warn","target":"gemba::kanban","message":"the broker cannot be used","partition":3,"offset":-7,"durable":true,"edge":"edge 1","path":"\"data\"","reason":"it refuses the password","hint":"look at `rabbitmq.password_file`"}"#
        ]
    );
    assert_eq!(
        text_of(|| tracing::info!(target: "gemba::line", "drained")),
        "2023-11-14T22:13:20.007Z INFO  gemba::line: drained"
    );
}

/// What somebody outside may write into a value: the end of a line and the begin of another, orders to a terminal, the end of a
/// string, and text that runs the other way.
const HOSTILE: &str = "acme\n2023-11-14T22:13:20.007Z ERROR gemba::line: forged\r\u{1b}[2J\u{9b}1m\0\u{2028}\u{202e}\u{200f}\",\"level\":\"error\\";

#[test]
fn a_value_stays_on_its_line_and_inside_its_value() {
    let log = || {
        let error = std::io::Error::other(HOSTILE);
        tracing::info!(
            target: "gemba::jidoka", tenant = HOSTILE, answer = ?HOSTILE, reason = HOSTILE, %error, hint = HOSTILE, "{HOSTILE}"
        );
    };
    let text = text_of(log);
    assert!(!text.chars().any(|c| c.is_control() || !c.is_ascii()), "{text}");
    assert!(text.starts_with("2023-11-14T22:13:20.007Z INFO  gemba::jidoka: acme\\n"), "{text}");
    let [line] = &lines("info", Format::Json, log)[..] else { panic!("not one line") };
    assert!(!line.chars().any(|c| c.is_control() || !c.is_ascii()), "{line}");
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    for name in ["message", "tenant", "reason", "error", "hint"] {
        assert_eq!(value[name], HOSTILE, "{name} is handed on as it was");
    }
    assert_eq!((&value["level"], value.len()), (&"info".into(), 9));
}

#[test]
fn no_value_leaves_its_quotes() {
    let path = "a\\\" message=\"forged\u{61c}";
    let text = text_of(|| tracing::info!(target: "gemba::jidoka", path, "it is so"));
    assert!(text.ends_with(r#"it is so path="a\\\" message=\"forged\u{61c}""#), "{text}");
}

#[test]
fn a_value_without_end_is_cut_and_the_line_stays_whole() {
    struct Endless<'a>(&'a Cell<usize>);
    impl std::fmt::Debug for Endless<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            loop {
                self.0.set(self.0.get() + 1);
                f.write_str("\"\n\u{1b}ü")?;
            }
        }
    }
    let written = Cell::new(0);
    let log = || tracing::info!(target: "gemba::jidoka", before = 1u64, endless = ?Endless(&written), after = "z", reason = "w", "long");
    let value = json_of(log);
    assert!(value["endless"].as_str().unwrap().ends_with('…') && value["before"] == 1, "{value}");
    assert_eq!(value["after"], "…", "what has no room says so");
    assert!(serde_json::to_string(&value).unwrap().len() < DIAGNOSTIC_BYTES_MAX + 200);
    let text = text_of(log);
    assert!(text.len() < DIAGNOSTIC_BYTES_MAX + 8 && text.ends_with('…') && !text.contains('\n'), "{text}");
    assert!(written.get() < 2 * DIAGNOSTIC_BYTES_MAX, "it is written no further than it is shown");
}

#[test]
fn the_lines_of_a_backtrace_look_like_no_event() {
    let backtrace = "0: gemba::main\n2023-11-14T22:13:20.007Z ERROR gemba::line: forged\n\u{1b}[2J";
    let log = || tracing::error!(target: "gemba::line", reason = "planted", backtrace, "a thread panicked");
    let text = text_of(log);
    let (first, rest) = text.split_once('\n').unwrap();
    assert!(first.ends_with("a thread panicked: planted"), "{text}");
    assert!(rest.lines().all(|line| line.starts_with("    ")) && !text.contains('\u{1b}'), "{text}");
    assert_eq!(json_of(log)["backtrace"], backtrace);
}

#[test]
fn a_secret_in_a_field_is_not_shown() {
    let secret = SecretString::from("hunter2hunter2");
    let log = || tracing::error!(target: "gemba::config", secret = ?secret, "a secret");
    assert!(!text_of(log).contains("hunter2") && !json_of(log).to_string().contains("hunter2"));
}

#[test]
fn what_is_left_out_is_not_even_evaluated() {
    let evaluated = Cell::new(0);
    let look = || {
        evaluated.set(evaluated.get() + 1);
        "looked"
    };
    let log = || {
        tracing::debug!(target: "gemba::kanban", what = look(), "a detail");
        tracing::debug!(target: "gemba::line", what = look(), "a detail");
        tracing::warn!(target: "gemba::line", what = look(), "a warning");
        // Libraries are never heard, since what they tell of may hold tokens.
        tracing::error!(target: "h2::codec", what = look(), "authorization: Bearer x");
        tracing::error!(what = look(), "without a target of ours");
    };
    for (filter, targets, times) in [
        ("info", vec!["gemba::line"], 1),
        ("warn,gemba::kanban=debug", vec!["gemba::kanban", "gemba::line"], 2),
        ("off,gemba::kanban=debug", vec!["gemba::kanban"], 1),
        ("off", vec![], 0),
        ("trace", vec!["gemba::kanban", "gemba::line", "gemba::line"], 3),
    ] {
        evaluated.set(0);
        let lines = lines(filter, Format::Json, log);
        let target =
            |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["target"].clone();
        assert_eq!(lines.iter().map(target).collect::<Vec<_>>(), targets, "{filter}");
        assert_eq!(evaluated.get(), times, "{filter}");
    }
}

#[test]
fn standard_error_may_show_less_than_other_destinations() {
    let Logger { settings, wall, write, .. } = Arc::into_inner(logger("info", Format::Json)).unwrap();
    let settings = Settings { stderr: LevelFilter::WARN, ..settings.into_inner().unwrap() };
    let (sender, taken) = std::sync::mpsc::channel();
    let destination = Destination::start("test", "test", Content::All, Keeper(sender)).unwrap();
    let logger = Logger::new(settings, wall, write);
    logger.destinations.write().unwrap().push(Arc::clone(&destination));
    with_default(logger, || {
        tracing::info!(target: "gemba::line", "the node takes signals");
        tracing::warn!(target: "gemba::line", "a warning");
        tracing::debug!(target: "gemba::line", "a detail");
    });
    destination.flush(std::time::Instant::now() + Duration::from_mins(1));
    let lines = LINES.take();
    assert!(matches!(&lines[..], [line] if line.contains("a warning")), "{lines:?}");
    assert_eq!(taken.try_iter().count(), 2);
}

/// Hands on every line.
struct Keeper(std::sync::mpsc::Sender<Line>);

impl destination::Write for Keeper {
    fn write(&mut self, lines: &[Line]) -> usize {
        lines.iter().filter(|line| self.0.send((*line).clone()).is_err()).count()
    }

    fn reopen(&mut self) {}
}

#[test]
fn a_fault_that_lasts_does_not_fill_the_log_and_what_is_left_out_is_counted() {
    let logger = logger("debug", Format::Json);
    let burst = usize::try_from(LOG_LINES_BURST).unwrap();
    with_default(Arc::clone(&logger), || {
        for round in 0..10 * burst {
            tracing::warn!(target: "gemba::kanban", round, "a fault that lasts");
            tracing::debug!(target: "gemba::kanban", round, "a detail that somebody asked for");
        }
        tracing::warn!(target: "gemba::kanban", "another place has a budget of its own");
    });
    let lines = LINES.take();
    let with = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(with("another place"), 1);
    assert_eq!(with("a detail"), 10 * burst);
    // A slow machine may give one back meanwhile.
    assert!((burst..burst + 10).contains(&with("a fault that lasts")), "{}", with("a fault that lasts"));
    assert_eq!(logger.budgets().left_out, (10 * burst - with("a fault that lasts")) as u64);
}

#[test]
fn a_place_may_log_again_after_a_while_and_says_how_many_were_left_out() {
    let begun = clock::now();
    let mut budget = Budget::new(begun);
    let taken = (0..LOG_LINES_BURST + 7).filter(|_| budget.take(begun).is_some()).count();
    assert_eq!(taken, usize::try_from(LOG_LINES_BURST).unwrap());
    assert_eq!(budget.take(begun + LOG_LINE_EVERY - Duration::from_millis(1)), None);
    assert_eq!(budget.take(begun + LOG_LINE_EVERY), Some(8));
    assert_eq!(budget.take(begun + LOG_LINE_EVERY), None);
    assert_eq!(budget.take(begun + LOG_LINE_EVERY * 3), Some(1));
    assert_eq!(budget.take(begun + LOG_LINE_EVERY * 3), Some(0));
    let day_later = begun + Duration::from_hours(24);
    let taken = (0..2 * LOG_LINES_BURST).filter(|_| budget.take(day_later).is_some()).count();
    assert_eq!(taken, usize::try_from(LOG_LINES_BURST).unwrap(), "a burst again, and no more");
    // The next line of a place names what it has left out before it.
    let left_out = |format: Format| {
        let logger = logger("info", format);
        let event = || tracing::info!(target: "gemba::line", "again");
        with_default(Arc::clone(&logger), || {
            event();
            logger.budgets().places.values_mut().for_each(|budget| budget.left_out = 8);
            event();
        });
        LINES.take().pop().unwrap()
    };
    assert!(left_out(Format::Text).ends_with(": again left_out=8"));
    assert!(left_out(Format::Json).ends_with(r#""message":"again","left_out":8}"#));
}

//! An event as one line. As text for people: time, level, target and message, then what varies as `key=value`, and last the
//! reason and the hint in plain words. As JSON for machines: an object with `ts`, `level`, `target`, `message` and the fields.
//!
//! Whatever a value holds, it stays on its line and inside its value: control characters, and others that move what a terminal
//! shows, are written as escapes. A line that would be too long is cut within a value, and the cut is marked.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::event::UnixMillis;
use crate::limits::DIAGNOSTIC_BYTES_MAX;
use crate::printable::is_order;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// What an event is written with, beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub now: UnixMillis,
    /// Earlier events of the same kind that were left out.
    pub left_out: u64,
}

/// The name under which `tracing` hands on the message.
const MESSAGE: &str = "message";
/// Fields that are sentences. As text they stand last, as they are.
const REASONS: [&str; 2] = ["reason", "error"];
const HINT: &str = "hint";
/// The one field that has lines.
const BACKTRACE: &str = "backtrace";
const LEFT_OUT: &str = "left_out";
/// Marks where a value was cut.
const CUT: char = '…';

impl Format {
    pub(super) fn line(self, event: &Event<'_>, stamp: Stamp) -> String {
        match self {
            Self::Text => text(event, stamp),
            Self::Json => json(event, stamp),
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// RFC 3339 in UTC. A clock that stands outside its years shows the nearest that can be written.
pub(super) fn time(now: UnixMillis) -> String {
    let millis = i64::try_from(now.0.min(crate::clock::WALL_MILLIS_MAX)).unwrap_or_default();
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    format!("{time:.3}")
}

fn text(event: &Event<'_>, stamp: Stamp) -> String {
    let mut parts = Parts::default();
    event.record(&mut parts);
    if stamp.left_out > 0 {
        parts.pair(LEFT_OUT, &stamp.left_out);
    }
    let Parts { message, pairs, reason, hint, backtrace } = parts;
    let metadata = event.metadata();
    let level = level_name(*metadata.level()).to_ascii_uppercase();
    let mut line = format!("{} {level:<5} {}: {message}{pairs}", time(stamp.now), metadata.target());
    for (before, part) in [(": ", &reason), ("; ", &hint), ("\n    ", &backtrace)] {
        if !part.is_empty() {
            line.push_str(before);
            line.push_str(part);
        }
    }
    if line.len() > DIAGNOSTIC_BYTES_MAX {
        line.truncate(line.floor_char_boundary(DIAGNOSTIC_BYTES_MAX));
        line.push(CUT);
    }
    line
}

/// The parts of a line of text, each escaped.
#[derive(Default)]
struct Parts {
    message: String,
    pairs: String,
    reason: String,
    hint: String,
    backtrace: String,
}

impl Parts {
    fn pair(&mut self, name: &str, value: &dyn fmt::Display) {
        let mut shown = String::new();
        escape(&mut shown, DIAGNOSTIC_BYTES_MAX, quoted_escape, format_args!("{value}"));
        let is_plain =
            !shown.is_empty() && !shown.chars().any(|c| c.is_whitespace() || matches!(c, '=' | '\\'));
        let shown = if is_plain { shown } else { format!("\"{shown}\"") };
        self.pairs.push_str(&format!(" {name}={shown}"));
    }

    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        let sentence = match name {
            MESSAGE => &mut self.message,
            HINT => &mut self.hint,
            BACKTRACE => return lines(&mut self.backtrace, value),
            name if REASONS.contains(&name) => &mut self.reason,
            _ => return self.pair(name, &value),
        };
        if !sentence.is_empty() {
            sentence.push_str(": ");
        }
        escape(sentence, DIAGNOSTIC_BYTES_MAX, text_escape, value);
    }
}

/// Lines of a backtrace: each is indented, so that none looks like an event.
fn lines(out: &mut String, value: fmt::Arguments<'_>) {
    for (number, line) in value.to_string().lines().enumerate() {
        if number > 0 {
            out.push_str("\n    ");
        }
        escape(out, DIAGNOSTIC_BYTES_MAX, text_escape, format_args!("{line}"));
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

fn json(event: &Event<'_>, stamp: Stamp) -> String {
    let metadata = event.metadata();
    let (level, target) = (level_name(*metadata.level()), metadata.target());
    let mut message = Message(String::new());
    event.record(&mut message);
    let mut object =
        Object(format!("{{\"ts\":\"{}\",\"level\":\"{level}\",\"target\":\"{target}\"", time(stamp.now)));
    object.text(MESSAGE, format_args!("{}", message.0));
    event.record(&mut object);
    if stamp.left_out > 0 {
        object.plain(LEFT_OUT, &stamp.left_out);
    }
    object.0 + "}"
}

/// The message alone: it stands before the fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            // What holds it takes everything.
            let _written = write!(self.0, "{value:?}");
        }
    }
}

/// An object that is open. Keys are written in this crate; values are not.
struct Object(String);

impl Object {
    fn plain(&mut self, name: &str, value: &dyn fmt::Display) {
        self.0.push_str(&format!(",\"{name}\":{value}"));
    }

    fn text(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.0.push_str(&format!(",\"{name}\":\""));
        escape(&mut self.0, DIAGNOSTIC_BYTES_MAX, json_escape, value);
        self.0.push('"');
    }
}

impl Visit for Object {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != MESSAGE {
            self.text(field.name(), format_args!("{value:?}"));
        }
    }
}

/// How a character is escaped, if it must be.
type Escape = fn(char, &mut String) -> bool;

/// Writes a value into `out` until that is `max` bytes long; then the value is cut.
fn escape(out: &mut String, max: usize, escape: Escape, value: fmt::Arguments<'_>) {
    if (Escaper { out, max, escape }).write_fmt(value).is_err() {
        out.push(CUT);
    }
}

struct Escaper<'a> {
    out: &'a mut String,
    max: usize,
    escape: Escape,
}

impl fmt::Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.out.len() >= self.max {
                return Err(fmt::Error);
            }
            if !(self.escape)(c, self.out) {
                self.out.push(c);
            }
        }
        Ok(())
    }
}

fn text_escape(c: char, out: &mut String) -> bool {
    let must = is_order(c);
    if must {
        out.extend(c.escape_default());
    }
    must
}

/// Inside quotes, which nothing may leave.
fn quoted_escape(c: char, out: &mut String) -> bool {
    let must = matches!(c, '"' | '\\');
    if must {
        out.extend(['\\', c]);
    }
    must || text_escape(c, out)
}

fn json_escape(c: char, out: &mut String) -> bool {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\n' => out.push_str("\\n"),
        // All of them are in the first plane.
        c if is_order(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        _ => return false,
    }
    true
}

//! What the commands print: tables, JSON, and how they failed.

use std::io::{self, Write as _};
use std::process::ExitCode;

use comfy_table::{Table, TableStyle};
use serde::Serialize;

use crate::config::ConfigError;
use crate::diagnostics;
use crate::limits::DIAGNOSTICS_LAST;
use crate::logging;
use crate::printable::is_order;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    exit: u8,
    what: String,
    hint: Option<String>,
    is_logged: bool,
    /// Nothing failed: the order waits for a second person.
    is_waiting: bool,
}

/// The exit code of a command whose order waits for a second person.
const WAITING: u8 = 4;

impl Failure {
    /// What was checked does not hold.
    pub fn check(what: impl Into<String>) -> Self {
        Self { exit: 1, what: what.into(), hint: None, is_logged: false, is_waiting: false }
    }

    /// Wrong usage or configuration.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { exit: 2, what: what.into(), hint: None, is_logged: false, is_waiting: false }
    }

    /// With an exit code of its own.
    pub fn ended(exit: u8, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None, is_logged: false, is_waiting: false }
    }

    pub fn io(error: impl std::fmt::Display) -> Self {
        Self { exit: 3, what: error.to_string(), hint: None, is_logged: false, is_waiting: false }
    }

    /// The order waits for a second person, which is no failure of anything.
    pub fn waiting(what: impl Into<String>) -> Self {
        Self { is_waiting: true, ..Self::ended(WAITING, what) }
    }

    /// Whether the order waits for a second person.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// What happened, without the hint.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The same, with more to say.
    pub fn adding(mut self, more: &str) -> Self {
        self.what = format!("{}; {more}", self.what);
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Has it in the log of the node that it ends, instead of telling it to the user of a command.
    pub fn logged(self) -> Self {
        let Self { exit, what, hint, .. } = &self;
        tracing::error!(target: "gemba::line", exit, error = %what, hint, "the node ends");
        Self { is_logged: true, ..self }
    }

    /// Says it on standard error, where the log does not.
    pub fn report(self) -> ExitCode {
        if !self.is_logged {
            self.say();
        }
        logging::flush(DIAGNOSTICS_LAST);
        ExitCode::from(self.exit)
    }

    fn say(&self) {
        let begin = if self.is_waiting { "\x1b[1mwaiting:" } else { "\x1b[1;31merror:" };
        let mut text = format!("{begin}\x1b[0m {}", shown(&self.what));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n\n\x1b[1mhint:\x1b[0m {}", shown(hint)));
        }
        let is_plain = anstream::AutoStream::choice(&io::stderr()) == anstream::ColorChoice::Never;
        diagnostics::say(&if is_plain { anstream::adapter::strip_str(&text).to_string() } else { text });
    }
}

/// An error holds what somebody wrote: it orders nothing of the terminal, and no line of it passes for another message.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => shown.push_str("\n  "),
            order if is_order(order) => shown.extend(order.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit: 2, what: error.to_string(), hint: error.hint, is_logged: false, is_waiting: false }
    }
}

/// Prints to standard output; a reader that went away is no failure.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    print_to_reader(text).map(|_| ())
}

/// The same, and says whether there is still a reader: for a command that would go on for ever.
pub fn print_to_reader(text: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::io(error)),
    }
}

pub fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    print((json(value)? + "\n").as_bytes())
}

/// Pretty JSON in which no string orders anything of a terminal; it says the same to a program.
pub fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| without_orders(&text)).map_err(Failure::io)
}

/// The same on one line.
pub fn json_line<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map(|text| without_orders(&text)).map_err(Failure::io)
}

fn without_orders(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Between strings there are line feeds only; all orders are in the first plane.
        match c {
            c if c != '\n' && is_order(c) => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// One line, without orders to a terminal.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_order(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}

/// A value of an answer as a table shows it.
pub fn cell(value: Option<&serde_json::Value>) -> String {
    match value {
        Some(serde_json::Value::String(text)) => plain(text),
        Some(serde_json::Value::Null) | None => "-".into(),
        Some(other) => plain(&other.to_string()),
    }
}

/// Milliseconds since 1970 as a time, in UTC.
pub fn moment(millis: Option<&serde_json::Value>) -> String {
    let time = millis.and_then(serde_json::Value::as_i64);
    let time = time.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    time.map_or_else(|| "-".into(), |time| format!("{time:.3}"))
}

/// The items of a list in an answer; none where there is no such list.
pub fn items<'a>(of: &'a serde_json::Value, name: &str) -> &'a [serde_json::Value] {
    of.get(name).and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice)
}

/// A plain table: a heading and rows.
pub fn print_table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), Failure> {
    print_rows(&heading, rows.into_iter().map(Vec::from))
}

/// The same with a number of columns that is known only now.
pub fn print_rows(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(heading.iter());
    table.add_rows(rows);
    print(without_ends(&table.to_string()).as_bytes())
}

/// Each line without the spaces that fill its last column.
fn without_ends(table: &str) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::{json, plain, shown, without_ends};

    #[test]
    fn no_line_of_a_table_ends_in_spaces() {
        assert_eq!(without_ends("A  B  \n1  2  "), "A  B\n1  2\n");
    }

    #[test]
    fn an_error_has_no_line_that_passes_for_another_message() {
        assert_eq!(shown("a\u{202e}b\u{2028}"), "a\\u{202e}b\\u{2028}");
        assert_eq!(shown("no file a\n2026 ERROR\x1b[31m\r"), "no file a\n  2026 ERROR\\u{1b}[31m\\r");
    }

    /// CSI in one character, DEL, NEL, a change of direction: serde_json leaves all of them as they are.
    #[test]
    fn what_a_sender_wrote_orders_nothing_of_a_terminal() {
        let hostile = "a\u{9b}31m\u{7f}\u{85}\u{202e}\u{61c}b\n";
        let shown = json(&serde_json::json!({"a": hostile})).unwrap();
        assert!(shown.is_ascii() && shown.contains("\\u009b31m\\u007f\\u0085\\u202e\\u061cb\\n"), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read["a"], hostile, "a program reads the same");
        assert!(plain(hostile).is_ascii());
    }
}

//! What the commands print: tables, JSON, and how they failed.

use std::io::{self, Write as _};
use std::process::ExitCode;

use comfy_table::{Table, TableStyle};
use serde::Serialize;

use crate::config::ConfigError;
use crate::diagnostics;
use crate::limits::DIAGNOSTICS_LAST;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    exit: u8,
    what: String,
    hint: Option<String>,
    is_logged: bool,
}

impl Failure {
    /// What was checked does not hold.
    pub fn check(what: impl Into<String>) -> Self {
        Self { exit: 1, what: what.into(), hint: None, is_logged: false }
    }

    /// Wrong usage or configuration.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { exit: 2, what: what.into(), hint: None, is_logged: false }
    }

    /// With an exit code of its own.
    pub fn ended(exit: u8, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None, is_logged: false }
    }

    pub fn io(error: impl std::fmt::Display) -> Self {
        Self { exit: 3, what: error.to_string(), hint: None, is_logged: false }
    }

    /// What happened, without the hint.
    pub fn what(&self) -> &str {
        &self.what
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
        diagnostics::flush(DIAGNOSTICS_LAST);
        ExitCode::from(self.exit)
    }

    fn say(&self) {
        let mut text = format!("\x1b[1;31merror:\x1b[0m {}", shown(&self.what));
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
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit: 2, what: error.to_string(), hint: error.hint, is_logged: false }
    }
}

/// Prints to standard output; a reader that went away is no failure.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io(error)),
        _ => Ok(()),
    }
}

pub fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(value).map_err(Failure::io)?;
    text.push(b'\n');
    print(&text)
}

/// A value of an answer as a table shows it.
pub fn cell(value: Option<&serde_json::Value>) -> String {
    match value {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Null) | None => "-".into(),
        Some(other) => other.to_string(),
    }
}

/// A plain table: a heading and rows.
pub fn print_table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(heading);
    table.add_rows(rows);
    print(format!("{table}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn an_error_has_no_line_that_passes_for_another_message() {
        assert_eq!(shown("no file a\n2026 ERROR\x1b[31m\r"), "no file a\n  2026 ERROR\\u{1b}[31m\\r");
    }
}

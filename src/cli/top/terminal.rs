//! The terminal: taken for a view, and given back however the view ends. Draws what `ratatui` found to have changed.

use std::io::{self, Stdout, Write as _};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};

use crossterm::cursor::{Hide, MoveTo, Show, position};
use crossterm::style::{Attribute, Color as TerminalColor, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    Clear, ClearType as Cleared, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size, window_size,
};
use crossterm::{execute, queue};
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};

/// The terminal while it is taken.
#[derive(Debug)]
pub struct TakenTerminal(());

static GIVES_BACK_AT_PANIC: Once = Once::new();
static IS_TAKEN: Mutex<bool> = Mutex::new(false);

impl TakenTerminal {
    /// Takes it: keys come one by one, and what was on it comes back later.
    pub fn take() -> io::Result<Self> {
        // A panic is told on the user's own screen.
        GIVES_BACK_AT_PANIC.call_once(|| {
            let tell = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                tell(info);
            }));
        });
        enable_raw_mode()?;
        let taken = Self(());
        set_taken(true);
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(taken)
    }
}

impl Drop for TakenTerminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Says what it was before.
fn set_taken(is_taken: bool) -> bool {
    std::mem::replace(&mut *IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner), is_taken)
}

/// As it was. Once: what was said since is not overwritten.
fn give_back() {
    if !set_taken(false) {
        return;
    }
    // A terminal that is gone cannot be given back.
    let _shown = execute!(io::stdout(), LeaveAlternateScreen, Show);
    give_back_keys();
}

/// The part of it that never waits for the terminal.
pub fn give_back_keys() {
    // As above.
    let _given = disable_raw_mode();
}

/// Writes cells to standard output.
#[derive(Debug)]
pub struct Screen {
    out: Stdout,
}

impl Screen {
    pub fn new() -> Self {
        Self { out: io::stdout() }
    }
}

impl Backend for Screen {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, cells: I) -> io::Result<()> {
        let (mut next, mut color, mut modifier) = (None, Color::Reset, Modifier::empty());
        for (x, y, cell) in cells {
            if next != Some((x, y)) {
                queue!(self.out, MoveTo(x, y))?;
            }
            // Terminals disagree about the width of much that is not ASCII.
            next = if cell.symbol().is_ascii() { Some((x + 1, y)) } else { None };
            if (cell.fg, cell.modifier) != (color, modifier) {
                (color, modifier) = (cell.fg, cell.modifier);
                queue!(self.out, SetAttribute(Attribute::Reset))?;
                for attribute in attributes(modifier) {
                    queue!(self.out, SetAttribute(attribute))?;
                }
                if let Some(color) = terminal_color(color) {
                    queue!(self.out, SetForegroundColor(color))?;
                }
            }
            queue!(self.out, Print(cell.symbol()))?;
        }
        queue!(self.out, SetAttribute(Attribute::Reset))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        execute!(self.out, Hide)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        execute!(self.out, Show)
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        position().map(Position::from)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, place: P) -> io::Result<()> {
        let Position { x, y } = place.into();
        execute!(self.out, MoveTo(x, y))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        let region = match region {
            ClearType::All => Cleared::All,
            ClearType::AfterCursor => Cleared::FromCursorDown,
            ClearType::BeforeCursor => Cleared::FromCursorUp,
            ClearType::CurrentLine => Cleared::CurrentLine,
            ClearType::UntilNewLine => Cleared::UntilNewLine,
        };
        execute!(self.out, Clear(region))
    }

    fn size(&self) -> io::Result<Size> {
        size().map(Size::from)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        let of = window_size()?;
        let pixels = Size { width: of.width, height: of.height };
        Ok(WindowSize { columns_rows: Size { width: of.columns, height: of.rows }, pixels })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn attributes(modifier: Modifier) -> impl Iterator<Item = Attribute> {
    let known = [
        (Modifier::BOLD, Attribute::Bold),
        (Modifier::DIM, Attribute::Dim),
        (Modifier::REVERSED, Attribute::Reverse),
    ];
    known.into_iter().filter(move |(of, _)| modifier.contains(*of)).map(|(_, attribute)| attribute)
}

/// The three that are used; they follow the user's own palette.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn terminal_color(color: Color) -> Option<TerminalColor> {
    match color {
        Color::Green => Some(TerminalColor::DarkGreen),
        Color::Yellow => Some(TerminalColor::DarkYellow),
        Color::Red => Some(TerminalColor::DarkRed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const WORDS: &str = "this panic is planted";

    /// Run by the test below, in a terminal.
    #[test]
    #[ignore = "it panics, in the terminal of a different test"]
    fn panics() {
        let _taken = TakenTerminal::take().unwrap();
        panic!("{WORDS}");
    }

    #[test]
    fn a_panic_is_told_on_the_screen_that_was_there_before() {
        let this = std::env::current_exe().unwrap();
        let name = format!("{}::panics", module_path!().split_once("::").unwrap().1);
        let run = format!("{} --ignored --exact --nocapture {name}; stty -a", this.display());
        let output = Command::new("script").args(["-qec", &run, "/dev/null"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words:?} is not in {told:?}"));
        let (taken, given, words) = (at("\x1b[?1049h"), at("\x1b[?1049l"), at(WORDS));
        assert!(taken < given && at("\x1b[?25h") < words && given < words, "{told:?}");
        assert_eq!(told.matches("\x1b[?1049l").count(), 1, "{told:?}");
        assert!(told.contains(" icanon") && told.contains(" echo "), "{told:?}");
    }
}

//! What the one who watches has chosen: a table, how far each is scrolled, what each is sorted by.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::table::{TableKind, TopTable};

#[derive(Debug)]
pub struct ScreenState {
    chosen: TableKind,
    tables: [TableState; TableKind::ALL.len()],
    paused: bool,
    help: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct TableState {
    offset: usize,
    column: usize,
}

/// What a key asks of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopAsked {
    Redraw,
    Quit,
    Nothing,
}

/// Rows of a long step.
const PAGE: usize = 10;

impl Default for ScreenState {
    fn default() -> Self {
        let tables = TableKind::ALL.map(|kind| TableState { offset: 0, column: kind.sorted_at_first() });
        Self { chosen: TableKind::Tenants, tables, paused: false, help: false }
    }
}

impl ScreenState {
    pub fn chosen(&self) -> TableKind {
        self.chosen
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    pub fn shows_help(&self) -> bool {
        self.help
    }

    /// The column that a table is sorted by.
    pub fn column(&self, kind: TableKind) -> usize {
        self.tables.get(kind as usize).map_or(0, |table| table.column)
    }

    /// The first row to show of a table with so many, of which so many fit.
    pub fn first_row(&mut self, kind: TableKind, rows: usize, fit: usize) -> usize {
        let Some(table) = self.tables.get_mut(kind as usize) else { return 0 };
        table.offset = table.offset.min(rows.saturating_sub(fit));
        table.offset
    }

    /// A key was pressed while these tables were there.
    pub fn press(&mut self, key: KeyEvent, there: &[TopTable]) -> TopAsked {
        if key.kind == KeyEventKind::Release {
            return TopAsked::Nothing;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
        match key.code {
            KeyCode::Char('c') if is_control => return TopAsked::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return TopAsked::Quit,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Tab | KeyCode::Right => self.choose(there, 1),
            KeyCode::BackTab | KeyCode::Left => self.choose(there, there.len().saturating_sub(1)),
            KeyCode::Char('s') => self.sort(there),
            KeyCode::Down => self.scroll(|offset| offset + 1),
            KeyCode::Up => self.scroll(|offset| offset.saturating_sub(1)),
            KeyCode::PageDown => self.scroll(|offset| offset + PAGE),
            KeyCode::PageUp => self.scroll(|offset| offset.saturating_sub(PAGE)),
            KeyCode::Home => self.scroll(|_| 0),
            KeyCode::End => self.scroll(|_| usize::MAX - PAGE),
            _ => return TopAsked::Nothing,
        }
        TopAsked::Redraw
    }

    fn choose(&mut self, there: &[TopTable], step: usize) {
        let at = there.iter().position(|table| table.kind == self.chosen);
        let next = at.map_or(0, |at| (at + step) % there.len());
        if let Some(table) = there.get(next) {
            self.chosen = table.kind;
        }
    }

    fn sort(&mut self, there: &[TopTable]) {
        let Some(table) = there.iter().find(|table| table.kind == self.chosen) else { return };
        if let Some(of) = self.tables.get_mut(self.chosen as usize) {
            of.column = (of.column + 1) % table.heading.len().max(1);
            of.offset = 0;
        }
    }

    fn scroll(&mut self, step: impl Fn(usize) -> usize) {
        if let Some(table) = self.tables.get_mut(self.chosen as usize) {
            table.offset = step(table.offset);
        }
    }
}

//! Draws a view into the cells of a terminal of any size: the head, as many tables as fit, and a foot.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};

use super::state::ScreenState;
use super::table::{TableKind, Tone, TopTable, padded, tables};
use super::text::{head, over, silence};
use super::view::TopView;

/// What is to be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub view: &'a TopView,
    /// For how long the node has not answered, in seconds, and why.
    pub silence: Option<(f64, &'a str)>,
    pub has_color: bool,
}

/// From this width on tables stand in two columns.
const TWO_COLUMNS_MIN: u16 = 78;
/// A table is its title, its heading and a row at least.
const TABLE_HEIGHT_MIN: u16 = 3;

const HELP: [&str; 12] = [
    "q, Esc, Ctrl-C       end",
    "Tab, left, right     choose a table",
    "up, down             scroll it; also Page Up, Page Down, Home, End",
    "s                    sort it by its next column",
    "p                    pause, and go on",
    "?                    this help, and back",
    "",
    "RATE/s, P50 and P99 are of the last interval, of two seconds at least.",
    "LINE: lanes in their order; DEPTH waits now, MEAN on average.",
    "WAIT of a tenant: from the journal's stamp to the decision, mean.",
    "BREAKER: healthy lets calls pass, testing one, halted none.",
    "What each stage is: docs/operations.md, What to watch.",
];

/// Draws all of it.
pub fn draw(buffer: &mut Buffer, scene: Scene<'_>, state: &mut ScreenState) {
    let area = buffer.area;
    let pen = Pen { has_color: scene.has_color };
    let mut y = 0;
    for line in head(scene.view) {
        if y < area.height {
            pen.parts(buffer, y, &line);
        }
        y += 1;
    }
    let foot = area.height.saturating_sub(1);
    if y < foot {
        let body = Rect { x: 0, y, width: area.width, height: foot - y };
        if state.shows_help() {
            for (y, line) in (body.y..body.bottom()).zip(HELP) {
                buffer.set_stringn(0, y, line, body.width.into(), Style::new());
            }
        } else {
            draw_tables(buffer, body, scene, state);
        }
    }
    if area.height > 0 {
        pen.parts(buffer, foot, &[foot_line(scene, state)]);
    }
}

fn foot_line(scene: Scene<'_>, state: &ScreenState) -> (String, Tone) {
    if let Some((seconds, why)) = scene.silence {
        return (silence(seconds, why), Tone::Bad);
    }
    if state.is_paused() {
        return ("PAUSED: p goes on, q ends".into(), Tone::Warning);
    }
    let window = over(scene.view.window_seconds);
    (format!("q end  Tab choose  s sort  p pause  ? help   rates over {window}"), Tone::Plain)
}

fn draw_tables(buffer: &mut Buffer, body: Rect, scene: Scene<'_>, state: &mut ScreenState) {
    let tables = tables(scene.view);
    let columns = if body.width >= TWO_COLUMNS_MIN {
        let left = Rect { width: body.width / 2 - 1, ..body };
        let right = Rect { x: left.width + 2, width: body.width - left.width - 2, ..body };
        let (on_left, on_right) = tables.into_iter().partition(|table| table.kind.is_left());
        vec![(left, on_left), (right, on_right)]
    } else {
        vec![(body, tables)]
    };
    for (area, tables) in columns {
        let heights = heights(&tables, area.height, state.chosen());
        let mut y = area.y;
        for (table, height) in tables.into_iter().zip(heights) {
            if height > 0 {
                let column = state.column(table.kind);
                let place = Rect { y, height, ..area };
                draw_table(buffer, place, &table.sorted(column), scene.has_color, state);
            }
            y += height;
        }
    }
}

/// Lines for each table: the chosen one first, then each in turn, until all is shown or nothing is left.
fn heights(tables: &[TopTable], room: u16, chosen: TableKind) -> Vec<u16> {
    let wanted = |table: &TopTable| u16::try_from(table.rows.len()).unwrap_or(u16::MAX).saturating_add(2);
    let mut left = room;
    let mut heights = vec![0; tables.len()];
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by_key(|at| tables.get(*at).is_none_or(|table| table.kind != chosen));
    for at in &order {
        if let Some(height) = heights.get_mut(*at).filter(|_| left >= TABLE_HEIGHT_MIN) {
            *height = TABLE_HEIGHT_MIN;
            left -= TABLE_HEIGHT_MIN;
        }
    }
    loop {
        let before = left;
        for at in &order {
            let (Some(height), Some(table)) = (heights.get_mut(*at), tables.get(*at)) else { continue };
            if left > 0 && *height > 0 && *height < wanted(table) {
                *height += 1;
                left -= 1;
            }
        }
        if left == before {
            return heights;
        }
    }
}

fn draw_table(buffer: &mut Buffer, place: Rect, table: &TopTable, has_color: bool, state: &mut ScreenState) {
    let pen = Pen { has_color };
    let fit = usize::from(place.height.saturating_sub(2));
    let first = state.first_row(table.kind, table.rows.len(), fit);
    let is_chosen = state.chosen() == table.kind;
    let mut title = format!(" {}", table.kind.title());
    if let Some(by) = table.heading.get(state.column(table.kind)).filter(|_| state.column(table.kind) > 0) {
        title.push_str(&format!(" by {by}"));
    }
    if table.rows.len() > fit {
        title.push_str(&format!("  {}-{} of {}", first + 1, first + fit, table.rows.len()));
    }
    let width = usize::from(place.width);
    let style = Style::new().add_modifier(if is_chosen {
        Modifier::REVERSED | Modifier::BOLD
    } else {
        Modifier::BOLD
    });
    buffer.set_stringn(place.x, place.y, padded(&title, width, true), width, style);
    let widths = table.widths(width);
    let name = widths.first().copied().unwrap_or_default();
    let numbers: usize = widths.iter().skip(1).map(|width| width + 1).sum();
    // The name's column has what is left, so that numbers stand at the right edge.
    let name = name.max(width.saturating_sub(numbers));
    let cells = |y: u16, cells: &mut dyn Iterator<Item = (&str, Style)>, buffer: &mut Buffer| {
        let mut x = place.x;
        for (at, ((text, style), width)) in cells.zip(&widths).enumerate() {
            let width = if at == 0 { name } else { *width };
            // A cell has a place of its own: what is as wide as it should not be moves no other.
            buffer.set_stringn(x, y, padded(text, width, at == 0), width, style);
            x = x.saturating_add(u16::try_from(width + 1).unwrap_or(u16::MAX));
        }
    };
    let dim = Style::new().add_modifier(Modifier::DIM);
    cells(place.y + 1, &mut table.heading.iter().map(|heading| (*heading, dim)), buffer);
    for (y, row) in (place.y + 2..place.bottom()).zip(table.rows.iter().skip(first)) {
        cells(y, &mut row.iter().map(|cell| (&*cell.text, pen.style(cell.tone))), buffer);
    }
}

/// Gives a tone its look.
#[derive(Clone, Copy)]
struct Pen {
    has_color: bool,
}

impl Pen {
    fn style(self, tone: Tone) -> Style {
        let color = match tone {
            Tone::Plain => return Style::new(),
            Tone::Good => Color::Green,
            Tone::Warning => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        match (self.has_color, tone) {
            (true, _) => Style::new().fg(color),
            (false, Tone::Bad | Tone::Warning) => Style::new().add_modifier(Modifier::BOLD),
            (false, Tone::Good | Tone::Plain) => Style::new(),
        }
    }

    fn parts(self, buffer: &mut Buffer, y: u16, parts: &[(String, Tone)]) {
        let (mut x, right) = (0, buffer.area.width);
        for (part, tone) in parts {
            if x < right {
                let (end, _) = buffer.set_stringn(x, y, part, usize::from(right - x), self.style(*tone));
                x = end.saturating_add(2);
            }
        }
    }
}

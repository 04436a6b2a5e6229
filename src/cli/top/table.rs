//! The tables of a view: their rows as text, which nothing that a node or a sender wrote can break, and their order.

use std::cmp::Ordering;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::view::TopView;
use crate::improvement::{float, seconds};
use crate::printable::is_order;

/// A table of a view.
#[derive(Clone, Debug)]
pub struct TopTable {
    pub kind: TableKind,
    pub heading: Vec<&'static str>,
    pub rows: Vec<Vec<TopCell>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    Lanes,
    Stages,
    Partitions,
    Signals,
    Tenants,
    Rules,
    Targets,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopCell {
    pub text: String,
    /// What it is sorted by, where it is a number.
    pub number: Option<f64>,
    pub tone: Tone,
}

/// How much it asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
}

impl TableKind {
    pub const ALL: [Self; 7] = [
        Self::Lanes,
        Self::Stages,
        Self::Partitions,
        Self::Signals,
        Self::Tenants,
        Self::Rules,
        Self::Targets,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Lanes => "LINE",
            Self::Stages => "STAGES",
            Self::Partitions => "PARTITIONS",
            Self::Signals => "SIGNALS",
            Self::Tenants => "TENANTS",
            Self::Rules => "RULES",
            Self::Targets => "TARGETS",
        }
    }

    /// The column it is sorted by at first; 0 is the order of the line, or by name.
    pub fn sorted_at_first(self) -> usize {
        match self {
            Self::Tenants | Self::Rules => 1,
            Self::Lanes | Self::Stages | Self::Partitions | Self::Signals | Self::Targets => 0,
        }
    }

    /// Left of two columns of tables.
    pub fn is_left(self) -> bool {
        matches!(self, Self::Lanes | Self::Stages | Self::Partitions)
    }
}

impl TopCell {
    fn name(text: &str) -> Self {
        Self { text: shown(text), number: None, tone: Tone::Plain }
    }

    fn number(text: String, number: f64) -> Self {
        Self { text, number: Some(number), tone: Tone::Plain }
    }

    fn rate(rate: f64) -> Self {
        Self::number(amount(rate), rate)
    }

    fn count(count: u64) -> Self {
        let text = if count < 10_000 { count.to_string() } else { amount(float(count)) };
        Self::number(text, float(count))
    }

    fn time(time: Option<f64>) -> Self {
        Self::number(time.map_or_else(nothing, seconds), time.unwrap_or(-1.0))
    }

    /// Nothing is well, all else asks for attention.
    fn asking(self, tone: Tone) -> Self {
        let tone = if self.number.is_some_and(|number| number > 0.0) { tone } else { Tone::Plain };
        Self { tone, ..self }
    }
}

/// The tables of a view that have rows.
#[must_use]
pub fn tables(view: &TopView) -> Vec<TopTable> {
    let tables = TableKind::ALL.map(|kind| {
        let (heading, rows) = content(kind, view);
        TopTable { kind, heading, rows }
    });
    tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn content(kind: TableKind, view: &TopView) -> (Vec<&'static str>, Vec<Vec<TopCell>>) {
    match kind {
        TableKind::Lanes => {
            let row = |of: &super::view::TopLane| {
                let rate = of.per_second.map_or_else(|| TopCell::number(nothing(), -1.0), TopCell::rate);
                vec![TopCell::name(&of.lane), rate, TopCell::count(of.depth), TopCell::rate(of.mean_depth)]
            };
            (vec!["LANE", "RATE/s", "DEPTH", "MEAN"], view.lanes.iter().map(row).collect())
        }
        TableKind::Stages => {
            let row = |of: &super::view::TopStage| {
                let (p50, p99) = (TopCell::time(of.p50_seconds), TopCell::time(of.p99_seconds));
                vec![TopCell::name(&of.stage), TopCell::rate(of.per_second), p50, p99]
            };
            (vec!["STAGE", "RATE/s", "P50", "P99"], view.stages.iter().map(row).collect())
        }
        TableKind::Partitions => {
            let row = |of: &super::answers::PartitionAnswer| {
                let owned = match of.owned {
                    Some(true) => "here",
                    Some(false) | None => "-",
                };
                let number = |number: Option<u64>| {
                    number.map_or_else(|| TopCell::number(nothing(), -1.0), TopCell::count)
                };
                let takers = number(of.queue_consumers);
                let tone = if of.queue_consumers == Some(0) { Tone::Bad } else { Tone::Plain };
                let takers = TopCell { tone, ..takers };
                vec![
                    TopCell::count(of.partition.into()),
                    number(of.queue_messages),
                    takers,
                    TopCell::name(owned),
                ]
            };
            let heading = vec!["PARTITION", "MESSAGES", "TAKERS", "TAKEN"];
            (heading, view.distributed.partitions.iter().map(row).collect())
        }
        TableKind::Signals => {
            let row = |of: &super::view::TopResult| {
                let rate = TopCell::rate(of.per_second);
                let is_well = matches!(&*of.result, "accepted" | "duplicate");
                vec![TopCell::name(&of.result), if is_well { rate } else { rate.asking(Tone::Warning) }]
            };
            (vec!["RESULT", "RATE/s"], view.signals.iter().map(row).collect())
        }
        TableKind::Tenants => {
            let others = Some(&view.other_tenants).filter(|others| others.events_per_second > 0.0);
            let row = |of: &super::view::TopTenant| {
                vec![
                    TopCell::name(&of.tenant),
                    TopCell::rate(of.events_per_second),
                    TopCell::time(Some(of.waited_seconds)),
                    TopCell::rate(of.failures_per_second).asking(Tone::Warning),
                ]
            };
            (
                vec!["TENANT", "EVENTS/s", "WAIT", "FAIL/s"],
                view.tenants.iter().chain(others).map(row).collect(),
            )
        }
        TableKind::Rules => {
            let row = |of: &super::view::TopRule| {
                vec![
                    TopCell::name(&format!("{}/{}", of.pack, of.rule)),
                    TopCell::rate(of.decisions_per_second),
                    TopCell::rate(of.failures_per_second).asking(Tone::Warning),
                ]
            };
            (vec!["RULE", "DECIDES/s", "FAIL/s"], view.rules.iter().map(row).collect())
        }
        TableKind::Targets => {
            let row = |of: &super::view::TopTarget| {
                let (state, tone) = match of.breaker {
                    Some("healthy") => (0.0, Tone::Good),
                    Some("testing") => (1.0, Tone::Warning),
                    Some(_) => (2.0, Tone::Bad),
                    None => (-1.0, Tone::Plain),
                };
                let breaker = TopCell { text: of.breaker.unwrap_or("-").into(), number: Some(state), tone };
                vec![
                    TopCell::name(&of.target),
                    breaker,
                    TopCell::rate(of.failures_per_second).asking(Tone::Bad),
                    TopCell::count(of.waiting).asking(Tone::Warning),
                    TopCell::rate(of.per_second),
                    TopCell::time(of.p50_seconds),
                    TopCell::time(of.p99_seconds),
                ]
            };
            let heading = vec!["TARGET", "BREAKER", "FAIL/s", "QUEUE", "RATE/s", "P50", "P99"];
            (heading, view.targets.iter().map(row).collect())
        }
    }
}

impl TopTable {
    /// Sorts by a column: numbers from the largest, names by letter. Column 0 has the order of the line, where there is one.
    #[must_use]
    pub fn sorted(mut self, column: usize) -> Self {
        if column > 0 || matches!(self.kind, TableKind::Tenants | TableKind::Rules) {
            self.rows.sort_by(|a, b| match (a.get(column), b.get(column)) {
                (Some(a), Some(b)) => order(a, b),
                _ => Ordering::Equal,
            });
        }
        self
    }

    /// Widths of the columns that fit into `width`: the first has what the others leave, and the last ones go first.
    #[must_use]
    pub fn widths(&self, width: usize) -> Vec<usize> {
        let wide = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width());
            cells
                .chain(self.heading.get(column).map(|heading| least_width(heading)))
                .max()
                .unwrap_or_default()
        };
        let mut widths: Vec<usize> = (0..self.heading.len()).map(wide).collect();
        let of_name = widths.first().copied().unwrap_or_default();
        let others = |widths: &[usize]| widths.iter().skip(1).map(|width| width + 1).sum::<usize>();
        while widths.len() > 1 && others(&widths) + of_name.min(NAME_WIDTH_MIN) > width {
            widths.pop();
        }
        let left = width.saturating_sub(others(&widths));
        if let Some(name) = widths.first_mut() {
            *name = of_name.min(left);
        }
        widths
    }
}

/// The first column is cut to this before a column is left out.
const NAME_WIDTH_MIN: usize = 10;

/// What a column has room for from the beginning, so that it does not move with what is in it.
fn least_width(heading: &str) -> usize {
    match heading {
        "P50" | "P99" | "WAIT" => "999.9 µs".width(),
        "BREAKER" => "healthy".width(),
        "RATE/s" | "DEPTH" | "MEAN" => "999.9k".width(),
        other => other.width(),
    }
}

fn order(a: &TopCell, b: &TopCell) -> Ordering {
    match (a.number, b.number) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        _ => a.text.cmp(&b.text),
    }
}

fn nothing() -> String {
    "-".into()
}

/// A number in few characters.
#[must_use]
pub fn amount(amount: f64) -> String {
    match amount {
        0.0 => "0".into(),
        small if small < 0.05 => "<0.1".into(),
        small if small < 9.95 => format!("{small:.1}"),
        some if some < 9_999.5 => format!("{some:.0}"),
        many if many < 999_950.0 => format!("{:.1}k", many / 1e3),
        many if many < 999_950_000.0 => format!("{:.1}M", many / 1e6),
        more => format!("{:.1}G", more / 1e9),
    }
}

/// Bytes in few characters.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (float(bytes), 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", units.get(unit).copied().unwrap_or_default())
}

/// A name without orders to a terminal, and without characters of no width: those hide, or change the width of others.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_order(c) || c.width().unwrap_or_default() == 0 {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// As much of a text as fits into `width`, with a mark where something is cut off.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut cut, mut left) = (String::new(), width.saturating_sub(1));
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or_default()) else { break };
        left = rest;
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// A text in `width`, with blanks before it or after it.
#[must_use]
pub fn padded(text: &str, width: usize, is_name: bool) -> String {
    let text = cut(text, width);
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    if is_name { text + &blanks } else { blanks + &text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> TopTable {
        let rows = names.iter().zip(1u8..).map(|(name, number)| {
            vec![TopCell::name(name), TopCell::rate(number.into()), TopCell::time(Some(0.25))]
        });
        TopTable {
            kind: TableKind::Tenants,
            heading: vec!["TENANT", "EVENTS/s", "WAIT"],
            rows: rows.collect(),
        }
    }

    #[test]
    fn nothing_in_a_name_orders_or_hides_anything() {
        let hostile = "a\x1b[2J\u{9b}1m\r\n\u{202e}\u{200b}\u{fe0f}\u{301}\u{e0041}日本";
        let shown = shown(hostile);
        assert!(shown.chars().all(|c| !is_order(c) && c.width().unwrap() > 0), "{shown}");
        assert!(shown.starts_with("a\\u{1b}[2J\\u{9b}1m\\r\\n\\u{202e}\\u{200b}") && shown.ends_with("日本"));
    }

    #[test]
    fn a_text_is_cut_to_its_width_in_cells() {
        assert_eq!(
            (&*cut("abcd", 4), &*cut("abcde", 4), &*cut("日本語", 4), &*cut("ab", 0)),
            ("abcd", "abc…", "日…", "")
        );
        for width in 0..9 {
            assert_eq!(padded("日本語x", width, true).width(), width);
            assert_eq!(padded("日本語x", width, false).width(), width);
        }
    }

    #[test]
    fn columns_fit_and_the_last_go_first() {
        let table = table(&["a-name-of-some-length", "日本語"]);
        assert_eq!(table.widths(80), [21, 8, 8]);
        assert_eq!(table.widths(28), [10, 8, 8]);
        assert_eq!(table.widths(27), [18, 8]);
        assert_eq!(table.widths(5), [5]);
    }

    #[test]
    fn numbers_are_sorted_from_the_largest_and_the_order_of_the_line_is_kept() {
        let names = |table: TopTable| table.rows.iter().map(|row| row[0].text.clone()).collect::<Vec<_>>();
        assert_eq!(names(table(&["b", "a", "c"]).sorted(0)), ["a", "b", "c"]);
        assert_eq!(names(table(&["b", "a", "c"]).sorted(1)), ["c", "a", "b"]);
        let stages = TopTable { kind: TableKind::Stages, ..table(&["b", "a"]) };
        assert_eq!(names(stages.sorted(0)), ["b", "a"]);
    }

    #[test]
    fn numbers_have_few_characters() {
        let told: Vec<String> = [0.0, 0.01, 0.5, 9.96, 1234.0, 12_345.0, 999_960.0, 2.5e9].map(amount).into();
        assert_eq!(told, ["0", "<0.1", "0.5", "10", "1234", "12.3k", "1.0M", "2.5G"]);
        assert_eq!([0, 1023, 1536, 200 << 30].map(size), ["0 B", "1023 B", "1.5 KiB", "200 GiB"]);
    }
}

//! What a governor remembers for its packs: sums, counts and means over a sliding window, and last values. Bounded: a
//! pack declares each by name, and a window is kept as [`SLICES`] parts, so it moves in steps of a part. Deterministic:
//! time is the journal's, and numbers are added in the order of the journal (promise P8).

use crate::codec::Reader;
use crate::event::UnixMillis;
use crate::limits::MEMORIES_MAX;

/// Parts of a window.
const SLICES: usize = 24;
/// Bytes of one cell, at most: id, tag, newest slice, which slices, slices.
const CELL_BYTES: usize = 8 + 1 + 8 + 4 + SLICES * 12;
const _: () = assert!(
    MEMORIES_MAX * CELL_BYTES <= u16::MAX as usize,
    "a governor's memory is written with a u16 length"
);

/// What is kept under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// How many signals came in the window, this one included.
    Count,
    /// Sum over the window, this signal included.
    Sum,
    /// Mean over the window, this signal not included; not there before the first.
    Mean,
    /// What the signal before this one said; not there before the first.
    Last,
}

impl Kind {
    #[must_use]
    pub fn has_window(self) -> bool {
        self != Self::Last
    }
}

/// Which cell: kind, window and what is counted, so that a pack that counts otherwise begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(pub u64);

/// Cells of one governor, in the order in which they came to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    cells: Vec<(CellId, Cell)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Window(Window),
    Last(f64),
}

/// What a signal touches stands together, cell beside cell: governors take turns, and each finds a cold cache.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    /// Number of the newest slice since 1970.
    newest: u64,
    /// The newest slice.
    current: Slice,
    /// Of all slices.
    total: Slice,
    /// The slices before; number `n` is in place `n % SLICES`, and nothing in the place of the newest.
    closed: Box<[Slice; SLICES]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slice {
    sum: f64,
    count: u32,
}

/// One cell's part of a signal, to be written down once the signal is decided.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub id: CellId,
    pub kind: Kind,
    pub window_millis: u64,
    pub value: f64,
}

/// A sum would no longer be a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Memory {
    /// What a rule sees of a cell, given what the signal at hand adds to it (`None`: nothing).
    ///
    /// # Errors
    /// `Overflow`; nothing is changed then.
    pub fn read(
        &mut self,
        id: CellId,
        kind: Kind,
        window_millis: u64,
        now: UnixMillis,
        adds: Option<f64>,
    ) -> Result<Option<f64>, Overflow> {
        let cell = self.cells.iter_mut().find(|(each, _)| *each == id).map(|(_, cell)| cell);
        let (total, part) = match cell {
            Some(Cell::Last(value)) => return Ok(Some(*value)),
            Some(Cell::Window(window)) => window.through(slice_at(now, window_millis)),
            None => (Slice::default(), Slice::default()),
        };
        let [sum, part] = [total, part].map(|slice| slice.sum + adds.unwrap_or_default());
        // A part may have no finite sum where the whole has one, and each part is written to disk.
        if !(sum.is_finite() && part.is_finite()) {
            return Err(Overflow);
        }
        Ok(match kind {
            Kind::Count => Some(f64::from(total.count) + f64::from(u8::from(adds.is_some()))),
            Kind::Sum => Some(sum),
            Kind::Mean => (total.count > 0).then(|| total.sum / f64::from(total.count)),
            Kind::Last => None,
        })
    }

    /// Writes down what a signal adds.
    pub fn write(&mut self, entry: &Entry, now: UnixMillis) {
        let slice = slice_at(now, entry.window_millis);
        let at = self.cells.iter().position(|(id, _)| *id == entry.id).unwrap_or_else(|| {
            let cell = match entry.kind {
                Kind::Last => Cell::Last(entry.value),
                Kind::Count | Kind::Sum | Kind::Mean => Cell::Window(Window::at(slice)),
            };
            self.cells.push((entry.id, cell));
            self.cells.len() - 1
        });
        match &mut self.cells[at].1 {
            Cell::Last(value) => *value = entry.value,
            Cell::Window(window) => window.add(slice, entry.value),
        }
    }

    /// Whether a cell reads as if nothing had been written.
    #[must_use]
    pub fn is_blank(&self, id: CellId, window_millis: u64, now: UnixMillis) -> bool {
        match self.cells.iter().find(|(each, _)| *each == id) {
            None => true,
            Some((_, Cell::Last(_))) => false,
            Some((_, Cell::Window(window))) => {
                slice_at(now, window_millis).saturating_sub(window.newest) >= SLICES as u64
            }
        }
    }

    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Forgets what no pack declares any more.
    pub fn retain(&mut self, declared: impl Fn(CellId) -> bool) {
        self.cells.retain(|(id, _)| declared(*id));
    }

    /// Appends the cells as bytes, little-endian.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (id, cell) in &self.cells {
            out.extend_from_slice(&id.0.to_le_bytes());
            match cell {
                Cell::Last(value) => {
                    out.push(0);
                    out.extend_from_slice(&value.to_bits().to_le_bytes());
                }
                Cell::Window(window) => {
                    out.push(1);
                    out.extend_from_slice(&window.newest.to_le_bytes());
                    // Only slices in which something came: most windows are young or quiet.
                    let held =
                        (0..SLICES).map(|at| (at, window.slice(at))).filter(|(_, slice)| slice.count > 0);
                    let places = held.clone().fold(0_u32, |places, (at, _)| places | 1 << at);
                    out.extend_from_slice(&places.to_le_bytes());
                    for (_, slice) in held {
                        out.extend_from_slice(&slice.sum.to_bits().to_le_bytes());
                        out.extend_from_slice(&slice.count.to_le_bytes());
                    }
                }
            }
        }
    }

    /// Reads what [`Memory::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut memory = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let id = CellId(reader.u64()?);
            let cell = match reader.u8()? {
                0 => Cell::Last(finite(reader.u64()?)?),
                1 => {
                    let newest = reader.u64()?;
                    if newest > u64::MAX - SLICES as u64 {
                        return None;
                    }
                    let mut window = Window::at(newest);
                    let places = reader.u32()?;
                    if places >> SLICES != 0 {
                        return None;
                    }
                    for at in (0..SLICES).filter(|at| places & 1 << at != 0) {
                        let (sum, count) = (finite(reader.u64()?)?, reader.u32()?);
                        if count == 0 {
                            return None;
                        }
                        *window.slice_mut(at) = Slice { sum, count };
                    }
                    window.total_up();
                    Cell::Window(window)
                }
                _ => return None,
            };
            let known = memory.cells.iter().any(|(each, _)| *each == id);
            if known || memory.cells.len() == MEMORIES_MAX {
                return None;
            }
            memory.cells.push((id, cell));
        }
        Some(memory)
    }
}

fn finite(bits: u64) -> Option<f64> {
    Some(f64::from_bits(bits)).filter(|value| value.is_finite())
}

fn slice_at(now: UnixMillis, window_millis: u64) -> u64 {
    now.0 / (window_millis / SLICES as u64).max(1)
}

fn place(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).unwrap_or_default()
}

impl Window {
    fn at(slice: u64) -> Self {
        Self {
            newest: slice,
            current: Slice::default(),
            total: Slice::default(),
            closed: Box::new([Slice::default(); SLICES]),
        }
    }

    fn slice(&self, at: usize) -> &Slice {
        if at == place(self.newest) { &self.current } else { &self.closed[at] }
    }

    fn slice_mut(&mut self, at: usize) -> &mut Slice {
        if at == place(self.newest) { &mut self.current } else { &mut self.closed[at] }
    }

    /// The total of the window that ends with `slice`, and its newest part.
    fn through(&mut self, slice: u64) -> (Slice, Slice) {
        if slice > self.newest {
            self.closed[place(self.newest)] = std::mem::take(&mut self.current);
            let gone = (slice - self.newest).min(SLICES as u64);
            for old in 1..=gone {
                self.closed[place(self.newest + old)] = Slice::default();
            }
            self.newest = slice;
            self.total_up();
        }
        (self.total, self.current)
    }

    fn add(&mut self, slice: u64, value: f64) {
        self.through(slice);
        for part in [&mut self.current, &mut self.total] {
            part.sum += value;
            part.count = part.count.saturating_add(1);
        }
    }

    /// Oldest first, so that equal slices give an equal total whenever it is made.
    fn total_up(&mut self) {
        self.total = Slice::default();
        for age in 1..=SLICES as u64 {
            let slice = *self.slice(place(self.newest + age));
            self.total.sum += slice.sum;
            self.total.count = self.total.count.saturating_add(slice.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const ID: CellId = CellId(7);

    fn entry(kind: Kind, value: f64) -> Entry {
        Entry { id: ID, kind, window_millis: DAY, value }
    }

    fn read(memory: &mut Memory, kind: Kind, hour: u64, adds: Option<f64>) -> Option<f64> {
        memory.read(ID, kind, DAY, UnixMillis(hour * HOUR), adds).unwrap()
    }

    #[test]
    fn sums_and_counts_include_the_signal_and_forget_after_the_window() {
        let mut memory = Memory::default();
        assert_eq!(read(&mut memory, Kind::Sum, 100, None), Some(0.0));
        assert_eq!(read(&mut memory, Kind::Sum, 100, Some(5.0)), Some(5.0));
        memory.write(&entry(Kind::Sum, 5.0), UnixMillis(100 * HOUR));
        memory.write(&entry(Kind::Sum, 7.0), UnixMillis(110 * HOUR));
        assert_eq!(read(&mut memory, Kind::Sum, 110, Some(1.0)), Some(13.0));
        assert_eq!(read(&mut memory, Kind::Count, 110, Some(1.0)), Some(3.0));
        assert_eq!(
            read(&mut memory, Kind::Sum, 123, None),
            Some(12.0),
            "the hour that began 24 hours ago counts"
        );
        assert_eq!(read(&mut memory, Kind::Sum, 124, None), Some(7.0));
        assert_eq!(read(&mut memory, Kind::Sum, 1000, None), Some(0.0));
    }

    #[test]
    fn means_and_last_values_are_of_what_came_before() {
        let mut memory = Memory::default();
        assert_eq!(read(&mut memory, Kind::Mean, 5, Some(9.0)), None);
        memory.write(&entry(Kind::Mean, 4.0), UnixMillis(5 * HOUR));
        memory.write(&entry(Kind::Mean, 8.0), UnixMillis(6 * HOUR));
        assert_eq!(read(&mut memory, Kind::Mean, 6, Some(9.0)), Some(6.0));
        let mut memory = Memory::default();
        assert_eq!(read(&mut memory, Kind::Last, 5, Some(9.0)), None);
        memory.write(&entry(Kind::Last, 9.0), UnixMillis(5 * HOUR));
        assert_eq!(read(&mut memory, Kind::Last, 500, Some(1.0)), Some(9.0));
    }

    #[test]
    fn a_sum_that_is_no_number_any_more_is_refused() {
        let mut memory = Memory::default();
        memory.write(&entry(Kind::Sum, f64::MAX), UnixMillis(0));
        let read = memory.read(ID, Kind::Sum, DAY, UnixMillis(0), Some(f64::MAX));
        assert_eq!(read, Err(Overflow));
    }

    #[test]
    fn a_part_that_is_no_number_any_more_is_refused_where_the_whole_would_be_one() {
        let mut memory = Memory::default();
        memory.write(&entry(Kind::Sum, f64::MAX), UnixMillis(0));
        let later = UnixMillis(HOUR);
        assert_eq!(memory.read(ID, Kind::Sum, DAY, later, Some(-f64::MAX)), Ok(Some(0.0)));
        memory.write(&entry(Kind::Sum, -f64::MAX), later);
        assert_eq!(memory.read(ID, Kind::Sum, DAY, later, Some(-f64::MAX)), Err(Overflow));
        let mut bytes = Vec::new();
        memory.encode(&mut bytes);
        assert_eq!(Memory::decode(&bytes), Some(memory));
    }

    #[test]
    fn a_window_at_the_end_of_time_is_no_window() {
        let mut bytes = vec![0; 8];
        bytes.push(1);
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        assert_eq!(Memory::decode(&bytes), None);
    }

    proptest! {
        #[test]
        fn a_window_is_the_sum_of_what_came_in_its_slices(
            steps in prop::collection::vec((0u64..9, 0u32..1000), 1..200)
        ) {
            let (mut memory, mut seen, mut hour) = (Memory::default(), Vec::new(), 10_000);
            for (pause, value) in steps {
                hour += pause;
                memory.write(&entry(Kind::Sum, f64::from(value)), UnixMillis(hour * HOUR));
                seen.push((hour, value));
                let expected: u32 = seen.iter().filter(|(at, _)| *at + 24 > hour).map(|(_, value)| value).sum();
                prop_assert_eq!(read(&mut memory, Kind::Sum, hour, None), Some(f64::from(expected)));
                let mut bytes = Vec::new();
                memory.encode(&mut bytes);
                prop_assert_eq!(Memory::decode(&bytes), Some(memory.clone()));
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _read = Memory::decode(&bytes);
        }
    }
}

//! Units under way to the journal, of one thread: bounded by their number and by their bytes.

use std::collections::VecDeque;

use crate::limits;

#[derive(Debug, Default)]
pub struct UnderWay {
    /// The bodies of each, in bytes, in the order in which they are answered.
    units: VecDeque<usize>,
    bytes: usize,
}

impl UnderWay {
    pub fn has_room(&self, threads: usize) -> bool {
        self.units.len() < limits::ARRIVALS_LANE && self.bytes < limits::ARRIVALS_BYTES_MAX / threads
    }

    pub fn len(&self) -> usize {
        self.units.len()
    }

    pub fn offered(&mut self, bytes: usize) {
        self.units.push_back(bytes);
        self.bytes += bytes;
    }

    pub fn answered(&mut self) {
        self.bytes -= self.units.pop_front().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_bounded_by_number_and_by_bytes() {
        let mut under_way = UnderWay::default();
        under_way.offered(limits::ARRIVALS_BYTES_MAX / 2);
        assert!(under_way.has_room(1) && !under_way.has_room(2), "threads share the bound");
        under_way.offered(limits::ARRIVALS_BYTES_MAX / 2);
        assert!(!under_way.has_room(1));
        under_way.answered();
        assert!(under_way.has_room(1));
        under_way.answered();
        (0..limits::ARRIVALS_LANE).for_each(|_| under_way.offered(0));
        assert!(!under_way.has_room(1));
    }
}

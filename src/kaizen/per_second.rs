//! A bound on how often one thread does something in a second.

use std::cell::Cell;

use crate::clock;

/// The second in which it was done last, and how often.
#[derive(Debug, Default)]
pub struct PerSecond(Cell<(u64, u32)>);

impl PerSecond {
    /// Whether it may be done once more, of `most` in a second; then it counts.
    pub fn takes(&self, most: u32) -> bool {
        let now = clock::millis() / 1000;
        let (second, done) = self.0.get();
        let done = if second == now { done } else { 0 };
        let takes = done < most;
        self.0.set((now, done + u32::from(takes)));
        takes
    }
}

//! The looks that a window needs, and whether the node that answers is still the one that answered before.

use std::collections::VecDeque;
use std::time::Duration;

use super::answers::Answers;
use super::view::TopView;
use crate::limits::{TOP_LOOKS_MAX, TOP_WINDOW_MIN};

/// The last looks at one run of a node, oldest first.
#[derive(Debug)]
pub struct History {
    window: Duration,
    looks: VecDeque<Answers>,
    /// It began anew while it was watched.
    restarted: bool,
}

impl History {
    /// For windows as long as the interval of the looks.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { window: interval.max(TOP_WINDOW_MIN), looks: VecDeque::new(), restarted: false }
    }

    /// How long a window is.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.window
    }

    /// One look more.
    pub fn add(&mut self, answers: Answers) {
        if let Some(last) = self.looks.back() {
            if last.look.node.started_milliseconds != answers.look.node.started_milliseconds {
                self.looks.clear();
                self.restarted = true;
            } else if last.look.elapsed_milliseconds >= answers.look.elapsed_milliseconds {
                return;
            }
        }
        let now = answers.look.elapsed_milliseconds;
        self.looks.push_back(answers);
        // Two looks are never exactly an interval apart.
        let window = u64::try_from(self.window.as_millis() * 9 / 10).unwrap_or(u64::MAX);
        let is_enough = |older: &Answers| now.saturating_sub(older.look.elapsed_milliseconds) >= window;
        while self.looks.len() > TOP_LOOKS_MAX || self.looks.get(1).is_some_and(is_enough) {
            self.looks.pop_front();
        }
    }

    /// Whether there are looks enough for a window.
    #[must_use]
    pub fn has_window(&self) -> bool {
        self.restarted && !self.looks.is_empty() || self.looks.len() > 1
    }

    /// Looks that are held.
    #[cfg(test)]
    pub fn looks(&self) -> usize {
        self.looks.len()
    }

    /// Of the window; with one look alone, of all since the node began to count.
    #[must_use]
    pub fn view(&self) -> Option<TopView> {
        let now = self.looks.back()?;
        let nothing = Answers::default();
        let earlier = self.looks.front().filter(|_| self.looks.len() > 1).unwrap_or(&nothing);
        Some(TopView::new(earlier, now))
    }
}

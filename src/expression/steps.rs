//! What runs may cost.

use super::fault::Trip;
use crate::limits::EXPRESSION_STEPS_MAX;

/// What evaluations may still cost: nodes visited, items and bytes looked at.
#[derive(Clone, Debug)]
pub struct Steps {
    left: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Self::new(EXPRESSION_STEPS_MAX)
    }
}

impl Steps {
    pub fn new(steps: u32) -> Self {
        Self { left: steps }
    }

    #[cfg(test)]
    pub fn left(&self) -> u32 {
        self.left
    }

    #[inline]
    pub(super) fn charge(&mut self, steps: usize) -> Result<(), Trip> {
        if let Ok(steps) = u32::try_from(steps)
            && let Some(left) = self.left.checked_sub(steps)
        {
            self.left = left;
            return Ok(());
        }
        self.left = 0;
        Err(Trip::Steps)
    }
}

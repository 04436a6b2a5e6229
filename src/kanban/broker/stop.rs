//! How publisher and consumer are told to end.

use std::time::Duration;

use crate::ring::Switch;

/// Without a bell their loops look again after so long, for orders to end and deadlines.
pub const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How they are told to end.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Nothing more comes: finish what there is.
    pub finish: Switch,
    /// Leave everything as it is.
    pub abandon: Switch,
}

impl Stop {
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.finish.is_on() || self.abandon.is_on()
    }
}

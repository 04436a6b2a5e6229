//! The reference architecture's `quota_remaining`: actions that a governor may generate in one window. A window opens when it is
//! first needed, so that an idle governor has no timer.

use super::armed::Armed;
use crate::event::Seq;
use crate::jidoka::rules::Rules;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// No window is open; the next one starts with all that the rules allow.
    Full,
    Open {
        remaining: u32,
        window: Armed,
    },
}

impl Quota {
    pub fn remaining(self, rules: &Rules) -> u32 {
        match self {
            Self::Full => rules.quota,
            Self::Open { remaining, .. } => remaining,
        }
    }

    pub fn window(self) -> Option<Armed> {
        match self {
            Self::Full => None,
            Self::Open { window, .. } => Some(window),
        }
    }

    /// The window that is open is known by another event from now on.
    pub fn armed_by(&mut self, by: Seq) {
        if let Self::Open { window, .. } = self {
            window.by = by;
        }
    }

    pub fn is_spent(self) -> bool {
        matches!(self, Self::Open { remaining: 0, .. })
    }

    /// Sets what is left. Without an open window `fresh` opens; true tells that its timer must be armed.
    pub fn set(&mut self, remaining: u32, fresh: Armed) -> bool {
        let open = self.window();
        *self = Self::Open { remaining, window: open.unwrap_or(fresh) };
        open.is_none()
    }
}

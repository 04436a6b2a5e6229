//! The newest signals of one partition, so that one that two edges accepted is known again whichever processor takes it.
//! What is older is known by the edges alone, each for itself.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::limits::RECENT_SIGNALS;
use crate::signal::Fingerprint;

/// What is known of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Never,
    /// With the same body.
    Before,
    /// With another body.
    Otherwise,
}

/// Identities and digests of at most [`RECENT_SIGNALS`].
#[derive(Debug, Default)]
pub struct Recent {
    digests: HashMap<Fingerprint, u64>,
    order: VecDeque<Fingerprint>,
}

impl Recent {
    #[must_use]
    pub fn look(&self, identity: &Fingerprint, digest: u64) -> Seen {
        match self.digests.get(identity) {
            None => Seen::Never,
            Some(known) if *known == digest => Seen::Before,
            Some(_) => Seen::Otherwise,
        }
    }

    /// Takes in one that was never seen; the oldest goes.
    pub fn insert(&mut self, identity: Fingerprint, digest: u64) {
        if self.digests.insert(identity, digest).is_some() {
            return;
        }
        self.order.push_back(identity);
        if self.order.len() > RECENT_SIGNALS
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
    }
}

impl FromIterator<(Fingerprint, u64)> for Recent {
    fn from_iter<I: IntoIterator<Item = (Fingerprint, u64)>>(signals: I) -> Self {
        let mut recent = Self::default();
        for (identity, digest) in signals {
            recent.insert(identity, digest);
        }
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_known_and_the_oldest_go() {
        let identity = |number: usize| Fingerprint((number as u128).to_le_bytes());
        let all = (0..RECENT_SIGNALS + 2).map(|number| (identity(number), number as u64));
        let recent: Recent = all.collect();
        assert_eq!(recent.look(&identity(1), 1), Seen::Never);
        assert_eq!(recent.look(&identity(2), 2), Seen::Before);
        assert_eq!(recent.look(&identity(RECENT_SIGNALS + 1), 0), Seen::Otherwise);
        assert_eq!(recent.digests.len(), RECENT_SIGNALS);
    }
}

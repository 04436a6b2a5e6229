//! A governor and the signals that wait for it, put together from rows of their own.

use super::Governor;
use super::codec::{Damage, Reader};
use super::mailbox::Held;
use crate::event::Seq;
use crate::signal::Signal;

/// A governor without the signals that wait.
#[derive(Debug)]
pub struct Bare {
    governor: Governor,
    /// Signals that are still to come.
    lacks: usize,
}

impl Bare {
    pub(super) fn new(governor: Governor, lacks: usize) -> Self {
        Self { governor, lacks }
    }

    /// # Errors
    /// [`Damage`] when the bytes are not exactly what [`Governor::encode_bare`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader::new(bytes);
        let bare = from.bare()?;
        from.end()?;
        Ok(bare)
    }

    /// Signals that wait and are still to come.
    #[must_use]
    pub fn lacks(&self) -> usize {
        self.lacks
    }

    /// Takes the next of them, as `Held::encode` wrote it.
    ///
    /// # Errors
    /// [`Damage`] when the bytes are not one, or it is not the one of `seq`.
    pub fn wait(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), Damage> {
        let mut from = Reader::new(bytes);
        let held = from.held()?;
        if held.seq != seq || self.lacks == 0 {
            return Err(Damage::Inconsistent);
        }
        self.put(held)?;
        from.end()
    }

    pub(super) fn put(&mut self, held: Held) -> Result<(), Damage> {
        self.lacks = self.lacks.saturating_sub(1);
        let mailbox = self.governor.state.mailbox_mut().ok_or(Damage::Inconsistent)?;
        mailbox.put(held);
        Ok(())
    }

    /// # Errors
    /// [`Damage`] when a signal is missing, or the governor contradicts itself.
    pub fn complete(self) -> Result<Governor, Damage> {
        if self.lacks > 0 {
            return Err(Damage::Short { field: "mailbox" });
        }
        let Self { governor, .. } = self;
        let (tenant, sku) = (governor.tenant(), governor.sku());
        let own = signals(&governor).all(|signal| signal.tenant() == tenant && signal.sku() == sku);
        if own && governor.consistent() { Ok(governor) } else { Err(Damage::Inconsistent) }
    }

    /// The governor alone, where the signals that wait come another way.
    ///
    /// # Errors
    /// [`Damage`] when it contradicts itself.
    pub fn alone(self) -> Result<Governor, Damage> {
        Self { lacks: 0, ..self }.complete()
    }
}

fn signals(governor: &Governor) -> impl Iterator<Item = &Signal> {
    let waiting = governor.held_after(None).map(|held| &held.signal);
    waiting.chain(governor.in_flight().map(|intent| &intent.signal))
}

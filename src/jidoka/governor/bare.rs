//! A governor and the signals that wait for it, put together from rows of their own.

use super::codec::{Damage, Reader};
use super::known::Known;
use super::machine::Governor;
use super::mailbox::Held;
use super::state::State;
use crate::event::{Seq, UnixMillis};
use crate::jidoka::rules::Rules;
use crate::signal::Signal;

/// A governor without the signals that wait.
#[derive(Debug)]
pub struct Bare {
    known: Known,
    /// Signals that are still to come.
    lacks: usize,
}

impl Bare {
    /// # Errors
    /// [`Damage`] when the bytes are not exactly what [`Governor::encode_bare`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader::new(bytes);
        let (known, lacks) = from.known()?;
        from.end()?;
        Ok(Self { known, lacks })
    }

    /// Signals that wait and are still to come.
    #[cfg(test)]
    pub fn lacks(&self) -> usize {
        self.lacks
    }

    /// Takes the next of them, as [`encode_held`](super::encode_held) wrote it.
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

    fn put(&mut self, held: Held) -> Result<(), Damage> {
        self.lacks = self.lacks.saturating_sub(1);
        let mailbox = self.known.state.mailbox_mut().ok_or(Damage::Inconsistent)?;
        mailbox.put(held);
        Ok(())
    }

    /// # Errors
    /// [`Damage`] when a signal is missing, or the governor contradicts itself.
    pub fn complete(self) -> Result<Governor, Damage> {
        self.checked().map(Governor::restored)
    }

    /// The governor alone, where the signals that wait come another way.
    ///
    /// # Errors
    /// [`Damage`] when it contradicts itself.
    pub fn alone(self) -> Result<Governor, Damage> {
        Self { lacks: 0, ..self }.complete()
    }

    fn checked(self) -> Result<Known, Damage> {
        let Self { known, lacks } = self;
        if lacks > 0 {
            return Err(Damage::Short { field: "mailbox" });
        }
        let (tenant, sku) = (known.tenant(), known.sku());
        let own = signals(&known.state).all(|signal| signal.tenant() == tenant && signal.sku() == sku);
        if own && known.is_consistent() { Ok(known) } else { Err(Damage::Inconsistent) }
    }
}

impl Governor {
    /// # Errors
    /// [`Damage`] when the bytes are not exactly what [`Governor::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader::new(bytes);
        let (known, lacks) = from.known()?;
        let mut bare = Bare { known, lacks };
        for _ in 0..lacks {
            bare.put(from.held()?)?;
        }
        from.end()?;
        bare.complete()
    }

    /// The governor that `row` says, of another node, from the event `by` at `time` on.
    ///
    /// # Errors
    /// [`Damage`] when the bytes are not what [`Governor::encode_bare`] writes.
    pub fn adopted(row: &[u8], by: Seq, time: UnixMillis, rules: &Rules) -> Result<Self, Damage> {
        let known = Bare { lacks: 0, ..Bare::decode(row)? }.checked()?;
        Ok(Self::renamed(known, by, time, rules))
    }
}

fn signals(state: &State) -> impl Iterator<Item = &Signal> {
    let waiting =
        state.mailbox().into_iter().flat_map(|mailbox| mailbox.after(None)).map(|held| &held.signal);
    waiting.chain(state.flight().map(|flight| &flight.intent.signal))
}

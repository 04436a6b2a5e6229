//! The table itself: open addressing, linear probing, at most half full.
//!
//! A removal moves back what stands behind it, so that nothing marks the places of the removed. With such marks a
//! table of millions must be written anew every now and then, and the journal, and with it every answer, would stop for
//! hundreds of milliseconds; the same holds for a table that grows.

use crate::event::Seq;
use crate::signal::Fingerprint;

/// Identity (two words), digest, number; number 0 marks a free place. Plain words, so that the system gives zeroed
/// memory as it is touched.
type Place = [u64; 4];

const FREE: Place = [0; 4];

#[derive(Debug)]
pub(super) struct Table {
    places: Vec<Place>,
}

impl Table {
    /// With room for `capacity` identities.
    pub(super) fn new(capacity: usize) -> Self {
        Self { places: vec![FREE; (2 * capacity).next_power_of_two()] }
    }

    pub(super) fn get(&self, identity: &Fingerprint) -> Option<(u64, Seq)> {
        let [.., digest, seq] = self.places[self.find(words(identity))];
        (seq != 0).then_some((digest, Seq(seq)))
    }

    /// Returns whether the identity is new.
    pub(super) fn insert(&mut self, identity: &Fingerprint, digest: u64, seq: Seq) -> bool {
        assert_ne!(seq.0, 0, "numbers start at 1");
        let [first, second] = words(identity);
        let at = self.find([first, second]);
        let new = self.places[at] == FREE;
        self.places[at] = [first, second, digest, seq.0];
        new
    }

    pub(super) fn remove(&mut self, identity: &Fingerprint) {
        let mut gap = self.find(words(identity));
        let mut at = self.after(gap);
        while self.places[at] != FREE {
            let [first, ..] = self.places[at];
            if self.distance(self.home(first), at) >= self.distance(gap, at) {
                self.places[gap] = self.places[at];
                gap = at;
            }
            at = self.after(at);
        }
        self.places[gap] = FREE;
    }

    /// Where the identity stands, or the free place where it would.
    fn find(&self, identity: [u64; 2]) -> usize {
        let mut at = self.home(identity[0]);
        while self.places[at] != FREE && self.places[at][..2] != identity {
            at = self.after(at);
        }
        at
    }

    /// Fingerprints are uniform: their first bytes are the hash.
    #[expect(clippy::cast_possible_truncation, reason = "masked to the table's length")]
    fn home(&self, first: u64) -> usize {
        first as usize & (self.places.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}

fn words(Fingerprint(bytes): &Fingerprint) -> [u64; 2] {
    let (words, _) = bytes.as_chunks();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

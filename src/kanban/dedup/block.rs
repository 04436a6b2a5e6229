//! A block: the newest identities, in memory, in the order in which they came.
//!
//! Made once with room for its identities, so it never grows; given up as a whole, so nothing is ever removed from it.
//! 28 bytes an identity and about 6 to 11 for its place in the index. Time is kept for the block, not for each entry:
//! the archive forgets by runs.

use hashbrown::HashTable;

use crate::event::{Seq, UnixMillis};
use crate::signal::Fingerprint;

/// One identity of an archive: what is asked for, and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The fingerprint as a number, most significant byte first: the order of a run.
    pub key: u128,
    pub digest: u64,
    pub seq: Seq,
}

/// Bytes rather than words, and a distance rather than a number: 28 bytes instead of 32.
#[derive(Clone, Copy, Debug)]
struct Place {
    identity: Fingerprint,
    digest: [u8; 8],
    /// Behind [`Block::after`].
    distance: u32,
}

const _: () = assert!(size_of::<Place>() == 28);

#[derive(Debug)]
pub(super) struct Block {
    /// Identities of events behind this one and through [`Block::through`] are here.
    pub after: Seq,
    pub through: Seq,
    pub first_time: UnixMillis,
    pub last_time: UnixMillis,
    capacity: usize,
    places: Vec<Place>,
    index: HashTable<u32>,
}

impl Block {
    pub(super) fn new(capacity: usize, after: Seq) -> Self {
        assert!(u32::try_from(capacity).is_ok(), "places are counted in 32 bits");
        Self {
            after,
            through: after,
            first_time: UnixMillis(0),
            last_time: UnixMillis(0),
            capacity,
            places: Vec::with_capacity(capacity),
            index: HashTable::with_capacity(capacity),
        }
    }

    pub(super) fn get(&self, identity: &Fingerprint) -> Option<(u64, Seq)> {
        let at = self.index.find(hash(identity), |at| self.places[*at as usize].identity == *identity)?;
        let place = &self.places[*at as usize];
        Some((u64::from_le_bytes(place.digest), self.seq(place)))
    }

    /// Identities that still find room.
    pub(super) fn room(&self) -> usize {
        self.capacity - self.places.len()
    }

    /// Whether the next identity, of event `seq`, belongs into another block.
    pub(super) fn ends_before(&self, seq: Seq) -> bool {
        self.room() == 0 || seq.0 - self.after.0 > u64::from(u32::MAX) && !self.places.is_empty()
    }

    pub(super) fn insert(&mut self, identity: Fingerprint, digest: u64, seq: Seq, time: UnixMillis) {
        assert!(seq > self.through, "numbers grow");
        if self.places.is_empty() {
            // Nothing stands between; so the distance is small.
            self.first_time = time;
            self.after = self.after.max(Seq(seq.0.saturating_sub(u64::from(u32::MAX))));
        }
        let distance = u32::try_from(seq.0 - self.after.0).unwrap_or(u32::MAX);
        let place = Place { identity, digest: digest.to_le_bytes(), distance };
        let hashed = hash(&identity);
        let known = self.index.find(hashed, |at| self.places[*at as usize].identity == identity);
        if let Some(known) = known {
            self.places[*known as usize] = place;
        } else {
            let at = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            self.places.push(place);
            let places = &self.places;
            self.index.insert_unique(hashed, at, |at| hash(&places[*at as usize].identity));
        }
        (self.through, self.last_time) = (seq, time);
    }

    /// Everything that is here, in the order of a run.
    pub(super) fn sorted(&self) -> Vec<Entry> {
        let entry = |place: &Place| Entry {
            key: key(&place.identity),
            digest: u64::from_le_bytes(place.digest),
            seq: self.seq(place),
        };
        let mut entries: Vec<Entry> = self.places.iter().map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        entries
    }

    fn seq(&self, place: &Place) -> Seq {
        Seq(self.after.0 + u64::from(place.distance))
    }
}

pub(super) fn key(Fingerprint(bytes): &Fingerprint) -> u128 {
    u128::from_be_bytes(*bytes)
}

/// Fingerprints are uniform: their last bytes are the hash.
#[expect(clippy::cast_possible_truncation, reason = "the last eight bytes")]
fn hash(identity: &Fingerprint) -> u64 {
    key(identity) as u64
}

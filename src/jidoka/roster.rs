//! A shard's governors: where each stands, what changed since the last commit, and how many are in each state.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashTable};

use super::directory::Directory;
use super::governor::Governor;
use super::store::Kept;
use super::tenants::Tenants;
use crate::receipt::StateName;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) governor: Governor,
    /// Its tenant's number.
    pub(super) tenant: u32,
    dirty: bool,
    /// What its signals take, as it is counted for its tenant.
    bytes: usize,
}

/// A governor as it leaves the roster.
#[derive(Debug)]
pub(super) struct Departed {
    pub(super) governor: Governor,
    dirty: bool,
    kept: Kept,
}

/// What stands in the next place.
pub(super) enum Visit {
    Governor(u32),
    Vacant,
    RoundOver,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    slots: Vec<Option<Slot>>,
    vacant: Vec<u32>,
    index: HashTable<u32>,
    pub(super) directory: Directory,
    pub(super) tenants: Tenants,
    hasher: RandomState,
    states: [u64; 6],
    dirty: Vec<u32>,
    /// Of governors for which signals wait.
    kept: HashMap<u32, Kept, RandomState>,
    /// Where [`Roster::visit`] goes on.
    next: usize,
}

impl Roster {
    pub(super) fn find(&self, tenant: &str, sku: &str) -> Option<u32> {
        let wanted = |at: &u32| {
            self.get(*at).is_some_and(|governor| governor.tenant() == tenant && governor.sku() == sku)
        };
        self.index.find(hash(&self.hasher, tenant, sku), wanted).copied()
    }

    pub(super) fn get(&self, at: u32) -> Option<&Governor> {
        self.slot(at).map(|slot| &slot.governor)
    }

    pub(super) fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)?.as_ref()
    }

    pub(super) fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Governor> {
        self.slots.iter().flatten().map(|slot| &slot.governor)
    }

    /// Governors by state, in the order of [`StateName::ALL`].
    pub(super) fn states(&self) -> [u64; 6] {
        self.states
    }

    /// Takes in a governor of which so much is taken down.
    pub(super) fn admit(&mut self, governor: Governor, kept: Kept) -> u32 {
        let hashed = hash(&self.hasher, governor.tenant(), governor.sku());
        self.states[governor.state() as usize] += 1;
        let tenant = self.tenants.admit(governor.tenant());
        let bytes = governor.bytes_waiting();
        self.tenants.waits(tenant, 0, bytes);
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        assert!(at < u32::MAX, "a node has fewer than 2^32 governors");
        self.directory.insert(governor.key(), at);
        self.slots[at as usize] = Some(Slot { governor, tenant, dirty: false, bytes });
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hashed, at, |at| {
            let slot = slots.get(*at as usize).and_then(Option::as_ref);
            slot.map_or(0, |slot| hash(hasher, slot.governor.tenant(), slot.governor.sku()))
        });
        if !kept.is_empty() {
            self.kept.insert(at, kept);
        }
        at
    }

    /// A step was made, before which the governor was in this state.
    pub(super) fn stepped(&mut self, at: u32, before: StateName) {
        let Some(slot) = self.slots.get_mut(at as usize).and_then(Option::as_mut) else { return };
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push(at);
        }
        let after = slot.governor.state();
        if before != after {
            self.states[before as usize] -= 1;
            self.states[after as usize] += 1;
        }
        let bytes = slot.governor.bytes_waiting();
        let known = std::mem::replace(&mut slot.bytes, bytes);
        if bytes != known {
            self.tenants.waits(slot.tenant, known, bytes);
        }
    }

    /// Takes down every governor that changed since the last time, as `take` says.
    pub(super) fn take_down(&mut self, mut take: impl FnMut(&Governor, &mut Kept)) {
        for at in self.dirty.drain(..) {
            let Some(slot) = self.slots.get_mut(at as usize).and_then(Option::as_mut) else { continue };
            slot.dirty = false;
            let mut kept = self.kept.remove(&at).unwrap_or_default();
            take(&slot.governor, &mut kept);
            if !kept.is_empty() {
                self.kept.insert(at, kept);
            }
        }
    }

    /// Goes on in a round over all governors.
    pub(super) fn visit(&mut self) -> Visit {
        let at = self.next;
        self.next += 1;
        match self.slots.get(at) {
            Some(Some(_)) => Visit::Governor(u32::try_from(at).unwrap_or(u32::MAX)),
            Some(None) => Visit::Vacant,
            None => {
                self.next = 0;
                Visit::RoundOver
            }
        }
    }

    /// Whether something of it is not taken down yet, or a signal waits for it.
    pub(super) fn is_needed(&self, at: u32) -> bool {
        self.slot(at).is_some_and(|slot| slot.dirty) || self.kept.contains_key(&at)
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Governor> {
        let slot = self.slots.get_mut(at as usize)?.take()?;
        let hashed = hash(&self.hasher, slot.governor.tenant(), slot.governor.sku());
        if let Ok(entry) = self.index.find_entry(hashed, |each| *each == at) {
            entry.remove();
        }
        self.directory.remove(slot.governor.key());
        self.states[slot.governor.state() as usize] -= 1;
        self.tenants.waits(slot.tenant, slot.bytes, 0);
        self.tenants.leave(slot.tenant);
        self.vacant.push(at);
        Some(slot.governor)
    }

    /// Empties it, in order to admit some of them anew.
    pub(super) fn leave(&mut self) -> Vec<Departed> {
        let mut left = Vec::new();
        for at in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            let dirty = self.slot(at).is_some_and(|slot| slot.dirty);
            let kept = self.kept.remove(&at).unwrap_or_default();
            left.extend(self.remove(at).map(|governor| Departed { governor, dirty, kept }));
        }
        self.dirty.clear();
        left
    }

    /// Takes one back.
    pub(super) fn admit_again(&mut self, left: Departed) {
        let Departed { governor, dirty, kept } = left;
        let at = self.admit(governor, kept);
        if dirty && let Some(slot) = self.slot_mut(at) {
            slot.dirty = true;
            self.dirty.push(at);
        }
    }
}

fn hash(hasher: &RandomState, tenant: &str, sku: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(tenant.as_bytes());
    hasher.write_u8(0);
    hasher.write(sku.as_bytes());
    hasher.finish()
}

const _: () = assert!(StateName::ALL.len() == 6);

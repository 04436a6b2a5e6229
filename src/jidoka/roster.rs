//! A shard's table of governors: where each stands, what changed since the last commit, how many are in each state, what
//! their tenants take, and which nothing distinguishes from new ones. These the journal declares forgotten; once no event
//! before that is read again they go, from memory and from the store.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashTable};

use super::directory::{Directory, Page};
use super::governor::Governor;
use super::rules::Rules;
use super::store::Kept;
use super::tenants::Tenants;
use crate::clock::Instant;
use crate::event::{Seq, Timer, TimerKind, UnixMillis};
use crate::kaizen::Tally;
use crate::limits::{GOVERNOR_IDLE, GOVERNORS_LOOK, GOVERNORS_LOOKED_AT, GOVERNORS_ROUND};
use crate::receipt::StateName;
use crate::ring::{Corner, Mark};

#[derive(Debug)]
pub struct Roster {
    members: Vec<Option<Member>>,
    vacant: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    directory: Directory,
    tenants: Tenants,
    states: States,
    /// Those that changed since [`Roster::drain_changed`].
    dirty: Vec<u32>,
    /// Of governors for which signals wait.
    kept: HashMap<u32, Kept, RandomState>,
    round: Round,
    /// Keys of governors that are gone and whose rows are to go.
    forgotten: HashSet<Box<str>>,
    /// Events up to here are not read again.
    settled: Mark,
}

#[derive(Debug)]
struct Member {
    governor: Governor,
    /// Its tenant's number.
    tenant: u32,
    dirty: bool,
    /// What its signals take, as it is counted for its tenant.
    bytes: usize,
}

/// Governors by state, in the order of [`StateName::ALL`]; others read the marks.
#[derive(Debug)]
struct States {
    counts: [u64; 6],
    marks: [Mark; 6],
}

/// A round over all governors, some at each look.
#[derive(Debug, Default)]
struct Round {
    next: usize,
    /// When some of them are looked at next.
    due: Option<Instant>,
}

impl Roster {
    /// `settled` is published by others: events up to it are not read again.
    pub fn new(states: [Mark; 6], settled: Mark) -> Self {
        Self {
            members: Vec::new(),
            vacant: Vec::new(),
            index: HashTable::default(),
            hasher: RandomState::default(),
            directory: Directory::default(),
            tenants: Tenants::default(),
            states: States { counts: [0; 6], marks: states },
            dirty: Vec::new(),
            kept: HashMap::default(),
            round: Round::default(),
            forgotten: HashSet::new(),
            settled,
        }
    }

    /// Tells there which tenants must wait.
    pub fn tell(&mut self, corner: Corner) {
        self.tenants.tell(corner);
    }

    /// Looks again who must wait.
    pub fn look_at_tenants(&mut self) {
        self.tenants.look();
    }

    pub fn find(&self, tenant: &str, sku: &str) -> Option<u32> {
        let wanted = |at: &u32| {
            self.get(*at).is_some_and(|governor| governor.tenant() == tenant && governor.sku() == sku)
        };
        self.index.find(hash(&self.hasher, tenant, sku), wanted).copied()
    }

    pub fn get(&self, at: u32) -> Option<&Governor> {
        self.members.get(at as usize)?.as_ref().map(|member| &member.governor)
    }

    /// To be stepped; [`Roster::stepped`] is told of it.
    pub fn get_mut(&mut self, at: u32) -> Option<&mut Governor> {
        self.members.get_mut(at as usize)?.as_mut().map(|member| &mut member.governor)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Governor> {
        self.members.iter().flatten().map(|member| &member.governor)
    }

    /// The next governors of a page, at most `count`.
    pub fn page(&self, page: &Page, count: usize) -> impl Iterator<Item = &Governor> {
        self.directory.slots(page, count).filter_map(|at| self.get(at))
    }

    /// Tells others how many governors are in each state.
    pub fn publish_states(&self) {
        for (mark, count) in self.states.marks.iter().zip(self.states.counts) {
            mark.publish(count);
        }
    }

    /// Takes in a governor of which so much is taken down.
    pub fn admit(&mut self, governor: Governor, kept: Kept) -> u32 {
        let hashed = hash(&self.hasher, governor.tenant(), governor.sku());
        self.states.counts[governor.state() as usize] += 1;
        let tenant = self.tenants.admit(governor.tenant());
        let bytes = governor.bytes_waiting();
        self.tenants.waits(tenant, 0, bytes);
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.members.push(None);
            u32::try_from(self.members.len() - 1).unwrap_or(u32::MAX)
        });
        assert!(at < u32::MAX, "a node has fewer than 2^32 governors");
        self.directory.insert(governor.key(), at);
        self.members[at as usize] = Some(Member { governor, tenant, dirty: false, bytes });
        let (members, hasher) = (&self.members, &self.hasher);
        self.index.insert_unique(hashed, at, |at| {
            let member = members.get(*at as usize).and_then(Option::as_ref);
            member.map_or(0, |member| hash(hasher, member.governor.tenant(), member.governor.sku()))
        });
        if !kept.is_empty() {
            self.kept.insert(at, kept);
        }
        at
    }

    /// An event of this governor waits for its step. Returns the tenant's number.
    pub fn event_waits(&mut self, at: u32) -> u32 {
        let member = self.members.get(at as usize).and_then(Option::as_ref);
        let tenant = member.map(|member| member.tenant).unwrap_or_default();
        self.tenants.event(tenant);
        tenant
    }

    /// An event of this tenant is about to be stepped.
    pub fn event_steps(&mut self, tenant: u32) {
        self.tenants.steps(tenant);
    }

    /// What a step of this tenant took.
    pub fn tenant_took(&mut self, tenant: u32, tally: Tally) {
        self.tenants.took(tenant, tally);
    }

    /// Tells what tenants took, until `tell` takes no more.
    pub fn tell_tallies(&mut self, tell: impl FnMut(&str, Tally) -> bool) {
        self.tenants.tell_tallies(tell);
    }

    /// A step was made, before which the governor was in this state.
    pub fn stepped(&mut self, at: u32, before: StateName) {
        let Some(member) = self.members.get_mut(at as usize).and_then(Option::as_mut) else { return };
        if !std::mem::replace(&mut member.dirty, true) {
            self.dirty.push(at);
        }
        let after = member.governor.state();
        if before != after {
            self.states.counts[before as usize] -= 1;
            self.states.counts[after as usize] += 1;
        }
        let bytes = member.governor.bytes_waiting();
        let known = std::mem::replace(&mut member.bytes, bytes);
        if bytes != known {
            self.tenants.waits(member.tenant, known, bytes);
        }
    }

    /// Shows every governor that changed since the last time, and which of its signals are taken down.
    pub fn drain_changed(&mut self, mut take_down: impl FnMut(&Governor, &mut Kept)) {
        for at in self.dirty.drain(..) {
            let Some(member) = self.members.get_mut(at as usize).and_then(Option::as_mut) else { continue };
            member.dirty = false;
            let mut kept = self.kept.remove(&at).unwrap_or_default();
            take_down(&member.governor, &mut kept);
            if !kept.is_empty() {
                self.kept.insert(at, kept);
            }
        }
    }

    /// Keys of governors that went because they were forgotten, since the last time.
    pub fn drain_forgotten(&mut self) -> HashSet<Box<str>> {
        std::mem::take(&mut self.forgotten)
    }

    /// Removes every governor of these tenants, whatever changed of it. Returns their keys. No event waits.
    pub fn remove_tenants(&mut self, is_lost: impl Fn(&str) -> bool) -> HashSet<Box<str>> {
        let mut removed = HashSet::new();
        for at in 0..u32::try_from(self.members.len()).unwrap_or(u32::MAX) {
            if self.get(at).is_some_and(|governor| is_lost(governor.tenant()))
                && let Some(governor) = self.remove(at)
            {
                self.kept.remove(&at);
                removed.insert(governor.key().into());
            }
        }
        let members = &self.members;
        self.dirty.retain(|at| members.get(*at as usize).is_some_and(Option::is_some));
        removed
    }

    /// Looks at a few governors. Those that are new again are offered to the journal as idle; of those that it has
    /// declared forgotten, each goes once nothing before that is read again.
    pub fn look_for_idle(
        &mut self,
        now: Instant,
        time: UnixMillis,
        rules: &Rules,
        mut offer: impl FnMut(Timer),
    ) {
        if self.round.due.is_some_and(|due| now < due) {
            return;
        }
        self.round.due = Some(now + GOVERNORS_LOOK);
        for _ in 0..GOVERNORS_LOOKED_AT {
            if self.round.next >= self.members.len() {
                self.round = Round { next: 0, due: Some(now + GOVERNORS_ROUND) };
                break;
            }
            let at = u32::try_from(self.round.next).unwrap_or(u32::MAX);
            self.round.next += 1;
            match self.idle(at, time, rules) {
                Some(Idle::IsNew(timer)) => offer(timer),
                Some(Idle::IsForgotten) => {
                    let gone = self.remove(at);
                    self.forgotten.extend(gone.map(|gone| gone.key().into()));
                }
                None => {}
            }
        }
    }

    fn idle(&self, at: u32, time: UnixMillis, rules: &Rules) -> Option<Idle> {
        let Member { governor, tenant, dirty, .. } = self.members.get(at as usize)?.as_ref()?;
        // Something of it is not taken down yet, or a signal or an event waits for it.
        if *dirty || self.kept.contains_key(&at) || !self.tenants.is_quiet(*tenant) {
            return None;
        }
        if governor.is_forgotten() {
            return (governor.last_seq() <= Seq(self.settled.read())).then_some(Idle::IsForgotten);
        }
        let idle = time.0.saturating_sub(governor.last_signal_time().0);
        let is_long = u128::from(idle) >= GOVERNOR_IDLE.as_millis() || self.tenants.is_tight();
        if !is_long || !governor.is_as_new(time, rules) {
            return None;
        }
        let (subject, armed) = (governor.subject(), governor.last_seq());
        Some(Idle::IsNew(Timer { subject, kind: TimerKind::Idle, armed }))
    }

    fn remove(&mut self, at: u32) -> Option<Governor> {
        let member = self.members.get_mut(at as usize)?.take()?;
        let hashed = hash(&self.hasher, member.governor.tenant(), member.governor.sku());
        if let Ok(entry) = self.index.find_entry(hashed, |each| *each == at) {
            entry.remove();
        }
        self.directory.remove(member.governor.key());
        self.states.counts[member.governor.state() as usize] -= 1;
        self.tenants.waits(member.tenant, member.bytes, 0);
        self.tenants.leave(member.tenant);
        self.vacant.push(at);
        Some(member.governor)
    }
}

/// What is to be done with a governor that is idle.
enum Idle {
    IsNew(Timer),
    IsForgotten,
}

fn hash(hasher: &RandomState, tenant: &str, sku: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(tenant.as_bytes());
    hasher.write_u8(0);
    hasher.write(sku.as_bytes());
    hasher.finish()
}

const _: () = assert!(StateName::ALL.len() == 6);

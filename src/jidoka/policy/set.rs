//! Packs together, asked about one signal.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::facts::{Filler, Question};
use super::memory::{CellId, Entry, Memory, Overflow};
use super::pack::{Declared, Pack, Rule, Verdict};
use super::ruling::{Decision, Unfit};
use super::shown::shown;
use crate::event::UnixMillis;
use crate::expression::{Facts, Fault, Slot, Steps, Value};

/// Room that evaluations use one after the other, so that none allocates.
#[derive(Debug, Default)]
pub struct Room {
    facts: Facts<'static>,
    entries: Vec<Entry>,
    /// What the rule that decided has read, until somebody takes it.
    pub shown: Option<Box<str>>,
}

/// The packs of a node: those of everyone, and those of tenants that have their own.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    pub everyone: Arc<PolicySet>,
    pub tenants: HashMap<Box<str>, Arc<PolicySet>>,
}

impl Policies {
    /// What holds for a tenant.
    #[must_use]
    pub fn of(&self, tenant: &str) -> &PolicySet {
        if self.tenants.is_empty() {
            return &self.everyone;
        }
        self.tenants.get(tenant).unwrap_or(&self.everyone)
    }
}

/// Packs in their order, indexed by signal type.
#[derive(Debug, Default)]
pub struct PolicySet {
    packs: Vec<Arc<Pack>>,
    by_type: HashMap<Box<str>, Vec<Group>>,
    /// For types that no rule and no memory names.
    rest: Vec<Group>,
    declared: HashSet<CellId>,
}

/// What one pack has to do with one type of signal.
#[derive(Debug)]
struct Group {
    pack: usize,
    filler: Filler,
    /// By place in the pack; whether signals of this type are counted in it, or it is only read.
    memories: Vec<(usize, bool)>,
    /// By place in the pack, in order.
    rules: Vec<usize>,
    /// A memory counts signals of this type.
    counts: bool,
}

impl PolicySet {
    #[must_use]
    pub fn new(packs: Vec<Arc<Pack>>) -> Self {
        let mut types: Vec<&str> = Vec::new();
        for pack in &packs {
            types.extend(pack.rules.iter().flat_map(|rule| rule.types.iter().map(|kind| &**kind)));
            types.extend(pack.memories.iter().flat_map(|memory| memory.types.iter().map(|kind| &**kind)));
        }
        types.sort_unstable();
        types.dedup();
        let groups = |kind: Option<&str>| -> Vec<Group> {
            packs.iter().enumerate().filter_map(|(at, pack)| Group::of(at, pack, kind)).collect()
        };
        let by_type = types.iter().map(|kind| ((*kind).into(), groups(Some(kind)))).collect();
        let rest = groups(None);
        let declared = packs.iter().flat_map(|pack| pack.memories.iter().map(|memory| memory.id)).collect();
        Self { packs, by_type, rest, declared }
    }

    #[must_use]
    pub fn packs(&self) -> &[Arc<Pack>] {
        &self.packs
    }

    /// What the first rule that holds says, and the memory with this signal in it.
    ///
    /// # Errors
    /// [`Unfit`]; the memory is as it was.
    pub fn decide<'p>(
        &'p self,
        question: &Question<'_>,
        memory: &mut Option<Box<Memory>>,
        room: &mut Room,
    ) -> Result<Decision<'p>, Unfit> {
        Ok(match self.first(question, memory, room, true)? {
            None => Decision::Observe(None),
            Some(rule) => rule.decision(),
        })
    }

    /// Only the memory with this signal in it.
    ///
    /// # Errors
    /// [`Unfit`]; the memory is as it was.
    pub fn remember(
        &self,
        question: &Question<'_>,
        memory: &mut Option<Box<Memory>>,
        room: &mut Room,
    ) -> Result<(), Unfit> {
        self.first(question, memory, room, false).map(|_| ())
    }

    /// Whether every rule reads of this memory what it would read of none.
    #[must_use]
    pub fn is_blank(&self, memory: &Memory, now: UnixMillis) -> bool {
        let declared = self.packs.iter().flat_map(|pack| &pack.memories);
        declared.into_iter().all(|declared| memory.is_blank(declared.id, declared.window_millis, now))
    }

    fn groups(&self, kind: &str) -> &[Group] {
        self.by_type.get(kind).unwrap_or(&self.rest)
    }

    fn first<'p>(
        &'p self,
        question: &Question<'_>,
        memory: &mut Option<Box<Memory>>,
        room: &mut Room,
        decides: bool,
    ) -> Result<Option<&'p Rule>, Unfit> {
        room.entries.clear();
        room.shown = None;
        let mut found = None;
        // One budget for all rules, so that a signal costs what one may cost.
        let mut steps = Steps::default();
        for group in self.groups(question.signal.kind()) {
            let open = decides && found.is_none();
            if !open && !group.counts {
                continue;
            }
            let mut facts: Facts<'_> = std::mem::take(&mut room.facts);
            let asked = Asked { pack: &self.packs[group.pack], group, question, decides: open };
            let held = asked.first(&mut facts, memory.as_deref_mut(), &mut room.entries, &mut steps);
            room.facts = facts.recycle();
            if let Some((rule, shown)) = held? {
                found = Some(rule);
                room.shown = Some(shown);
            }
        }
        if !room.entries.is_empty() {
            let memory = memory.get_or_insert_default();
            for entry in &room.entries {
                memory.write(entry, question.now);
            }
            // Cells of packs that are gone make room.
            if memory.cells() > self.declared.len() {
                memory.retain(|id| self.declared.contains(&id));
            }
        }
        Ok(found)
    }
}

impl Rule {
    fn decision(&self) -> Decision<'_> {
        match (&self.action, self.verdict) {
            (Some((action, _)), _) => Decision::Act(&self.ruling, action),
            (None, Verdict::Deny) => Decision::Deny(&self.ruling),
            (None, _) => Decision::Observe(Some(&self.ruling)),
        }
    }
}

impl Group {
    /// `None` where the pack has nothing to say to this type.
    fn of(at: usize, pack: &Pack, kind: Option<&str>) -> Option<Self> {
        let named = |types: &[Box<str>]| {
            types.is_empty() || kind.is_some_and(|kind| types.iter().any(|each| **each == *kind))
        };
        let rules: Vec<usize> = (0..pack.rules.len()).filter(|at| named(&pack.rules[*at].types)).collect();
        let mut slots: Vec<Slot> = Vec::new();
        let mut need = |more: &[Slot]| {
            for slot in more {
                if !slots.contains(slot) {
                    slots.push(*slot);
                }
            }
        };
        for at in &rules {
            need(pack.rules[*at].when.slots());
        }
        for memory in pack.memories.iter().filter(|memory| named(&memory.types)) {
            for expression in memory.of.iter().chain(&memory.when) {
                need(expression.slots());
            }
        }
        let memories = pack.memories.iter().enumerate();
        let memories: Vec<(usize, bool)> = memories
            .map(|(at, memory)| (at, named(&memory.types), slots.contains(&memory.slot)))
            .filter(|(_, counts, read)| *counts || *read)
            .map(|(at, counts, _)| (at, counts))
            .collect();
        let counts = memories.iter().any(|(_, counts)| *counts);
        let filler = Filler::new(&pack.names, &pack.known, &slots);
        (counts || !rules.is_empty()).then_some(Self { pack: at, filler, memories, rules, counts })
    }
}

/// One pack, asked about one signal.
struct Asked<'p, 'q> {
    pack: &'p Pack,
    group: &'p Group,
    question: &'q Question<'q>,
    /// The first rule that holds is wanted, beside what is counted.
    decides: bool,
}

impl<'p, 'q> Asked<'p, 'q> {
    fn first(
        &self,
        facts: &mut Facts<'q>,
        mut memory: Option<&mut Memory>,
        entries: &mut Vec<Entry>,
        steps: &mut Steps,
    ) -> Result<Option<(&'p Rule, Box<str>)>, Unfit> {
        if let Err(fault) = self.group.filler.fill(self.question, facts) {
            return Err(Unfit::new(&self.pack.policy, &fault));
        }
        for (at, counts) in &self.group.memories {
            let declared = &self.pack.memories[*at];
            let adds = if *counts { declared.adds(facts, steps)? } else { None };
            let (kind, window) = (declared.kind, declared.window_millis);
            let held = match &mut memory {
                Some(memory) => memory.read(declared.id, kind, window, self.question.now, adds),
                None => Memory::default().read(declared.id, kind, window, self.question.now, adds),
            };
            match held {
                Ok(Some(value)) => facts.set(declared.slot, Value::Double(value)),
                Ok(None) => {}
                Err(Overflow) => return Err(declared.overflows()),
            }
            entries.extend(adds.map(|value| Entry { id: declared.id, kind, window_millis: window, value }));
        }
        if !self.decides {
            return Ok(None);
        }
        for at in &self.group.rules {
            let rule = &self.pack.rules[*at];
            match rule.when.holds(facts, steps) {
                Ok(true) => return Ok(Some((rule, shown(self.pack, &rule.reads, facts)))),
                Ok(false) => {}
                Err(fault) => return Err(Unfit::new(&rule.ruling.policy, &fault)),
            }
        }
        Ok(None)
    }
}

impl Declared {
    /// What the signal adds; `None` when it is not counted.
    fn adds(&self, facts: &Facts<'_>, steps: &mut Steps) -> Result<Option<f64>, Unfit> {
        let wrong = |fault: Fault| Unfit::new(&self.policy, &fault);
        if let Some(when) = &self.when
            && !when.holds(facts, steps).map_err(wrong)?
        {
            return Ok(None);
        }
        let Some(of) = &self.of else { return Ok(Some(1.0)) };
        let value = of.number(facts, steps).map_err(wrong)?;
        if value.is_finite() { Ok(Some(value)) } else { Err(self.overflows()) }
    }

    fn overflows(&self) -> Unfit {
        Unfit::new(&self.policy, &"it would no longer be a finite number")
    }
}

//! Packs together, asked about one signal.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::alert::{Firing, RuleAlert};
use super::facts::{Filler, Question};
use super::memory::{CellId, Entry, Memory, Overflow};
use super::pack::{Declared, Pack, Rule, Verdict};
use super::ruling::{Decision, Unfit};
use super::shown::shown;
use crate::event::UnixMillis;
use crate::expression::{Facts, Fault, Slot, Steps, Value};
use crate::receipt::Policy;

/// Room that evaluations use one after the other, so that none allocates.
#[derive(Debug, Default)]
pub struct Room {
    facts: Facts<'static>,
    entries: Vec<Entry>,
    /// What the rule that decided has read, until somebody takes it.
    pub shown: Option<Box<str>>,
    /// The alert of the rule that decided, until somebody takes it.
    pub alert: Option<Firing>,
    /// Rules of [`Question::open`] whose alert is over by this signal, until somebody takes them.
    pub resolved: Vec<Arc<Policy>>,
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
    /// Rules that say when their alert is over, as `pack/rule`.
    resolving: HashSet<Box<str>>,
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
    /// What alerts of these rules need; `None` where none reads or resolves anything.
    alerts: Option<Box<GroupAlerts>>,
}

/// Filled only when a rule with an alert decides or may be over, so that every other signal costs what it cost without.
#[derive(Debug)]
struct GroupAlerts {
    /// What their expressions read and the rules do not.
    filler: Filler,
    /// The same of memories, by place in the pack.
    memories: Vec<usize>,
    /// Rules with a `resolve`, by place in the pack.
    resolves: Vec<usize>,
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
        let alerts = packs.iter().flat_map(|pack| &pack.rules).filter_map(|rule| rule.alert.as_ref());
        let resolving = alerts.filter(|alert| alert.resolve.is_some()).map(|alert| alert.name.clone());
        let resolving = resolving.collect();
        Self { packs, by_type, rest, declared, resolving }
    }

    #[must_use]
    pub fn packs(&self) -> &[Arc<Pack>] {
        &self.packs
    }

    /// What the first rule that holds says, and the memory with this signal in it. The room tells what the rule has read,
    /// its alert, and which alerts are over.
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

    /// Only the memory with this signal in it, and which alerts are over.
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

    /// The alert that this rule raises.
    #[must_use]
    pub fn alert(&self, policy: &Policy) -> Option<&RuleAlert> {
        let pack = self.packs.iter().find(|pack| pack.name == policy.pack)?;
        pack.rules.iter().find(|rule| rule.id == policy.rule)?.alert.as_ref()
    }

    /// Whether there is such a rule, `pack/rule`, and it says when its alert is over.
    #[must_use]
    pub fn resolves(&self, rule: &str) -> bool {
        self.resolving.contains(rule)
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
        room.alert = None;
        room.resolved.clear();
        let mut found = None;
        // Of their own, so that no alert makes a signal a dead letter.
        let mut alert_steps = Steps::default();
        // One budget for all rules, so that a signal costs what one may cost.
        let mut steps = Steps::default();
        for group in self.groups(question.signal.kind()) {
            let open = decides && found.is_none();
            if !open && !group.counts && (question.open.is_empty() || group.alerts.is_none()) {
                continue;
            }
            let mut facts: Facts<'_> = std::mem::take(&mut room.facts);
            let asked = Asked { pack: &self.packs[group.pack], group, question, decides: open };
            let held = asked.first(&mut facts, memory.as_deref_mut(), &mut room.entries, &mut steps);
            if let Ok(held) = &held {
                if let Some(rule) = held {
                    room.shown = Some(shown(asked.pack, &rule.reads, &facts));
                }
                let fires = held.filter(|rule| rule.alert.is_some());
                if fires.is_some() || !question.open.is_empty() {
                    asked.alerts(fires, &mut facts, memory.as_deref_mut(), &mut alert_steps, room);
                }
            }
            room.facts = facts.recycle();
            match held {
                Ok(held) => found = found.or(held),
                Err(unfit) => {
                    room.alert = None;
                    room.resolved.clear();
                    return Err(unfit);
                }
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

#[cfg(test)]
impl PolicySet {
    /// Panics whenever it is asked about a signal that a rule names.
    #[must_use]
    pub fn without_packs(mut self) -> Self {
        self.packs.clear();
        self
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
        let alerts = GroupAlerts::of(pack, &rules, &slots, &memories).map(Box::new);
        (counts || !rules.is_empty()).then_some(Self { pack: at, filler, memories, rules, counts, alerts })
    }
}

impl GroupAlerts {
    /// `read` and `remembered` is what the rules have by then.
    fn of(pack: &Pack, rules: &[usize], read: &[Slot], remembered: &[(usize, bool)]) -> Option<Self> {
        let alerts = rules.iter().filter_map(|at| Some((*at, pack.rules[*at].alert.as_ref()?)));
        let resolves: Vec<usize> =
            alerts.clone().filter(|(_, alert)| alert.resolve.is_some()).map(|(at, _)| at).collect();
        let slots: Vec<Slot> = alerts.flat_map(|(_, alert)| alert.slots()).copied().collect();
        if slots.is_empty() && resolves.is_empty() {
            return None;
        }
        let memories = pack.memories.iter().enumerate();
        let is_new = |at: usize| remembered.iter().all(|(each, _)| *each != at);
        let memories = memories.filter(|(at, memory)| slots.contains(&memory.slot) && is_new(*at));
        let memories = memories.map(|(at, _)| at).collect();
        let slots: Vec<Slot> = slots.into_iter().filter(|slot| !read.contains(slot)).collect();
        Some(Self { filler: Filler::new(&pack.names, &pack.known, &slots), memories, resolves })
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
    ) -> Result<Option<&'p Rule>, Unfit> {
        if let Err(fault) = self.group.filler.fill(self.question, facts) {
            return Err(Unfit::new(&self.pack.policy, &fault));
        }
        for (at, counts) in &self.group.memories {
            let declared = &self.pack.memories[*at];
            let adds = if *counts { declared.adds(facts, steps)? } else { None };
            match declared.holds(&mut memory, self.question.now, adds) {
                Ok(Some(value)) => facts.set(declared.slot, Value::Double(value)),
                Ok(None) => {}
                Err(Overflow) => return Err(declared.overflows()),
            }
            let (id, kind, window_millis) = (declared.id, declared.kind, declared.window_millis);
            entries.extend(adds.map(|value| Entry { id, kind, window_millis, value }));
        }
        if !self.decides {
            return Ok(None);
        }
        for at in &self.group.rules {
            let rule = &self.pack.rules[*at];
            match rule.when.holds(facts, steps) {
                Ok(true) => return Ok(Some(rule)),
                Ok(false) => {}
                Err(fault) => return Err(Unfit::new(&rule.ruling.policy, &fault)),
            }
        }
        Ok(None)
    }

    /// What the alert of the rule that decided says, and which open ones are over.
    #[cold]
    fn alerts(
        &self,
        fires: Option<&Rule>,
        facts: &mut Facts<'q>,
        memory: Option<&mut Memory>,
        steps: &mut Steps,
        room: &mut Room,
    ) {
        let is_open = |rule: &&Rule| {
            let named = |alert: &RuleAlert| self.question.open.contains(&alert.name);
            rule.alert.as_ref().is_some_and(named)
        };
        let resolves = self.group.alerts.iter().flat_map(|alerts| &alerts.resolves);
        let resolves = resolves.map(|at| &self.pack.rules[*at]);
        // What fires in the same signal is not over.
        let mut may_end =
            resolves.filter(|rule| fires.is_none_or(|fires| fires.id != rule.id)).filter(is_open).peekable();
        if fires.is_none() && may_end.peek().is_none() {
            return;
        }
        let filled = self.fill_for_alerts(facts, memory);
        let facts = filled.as_ref().map(|()| &*facts);
        if let Some(rule) = fires {
            room.alert = rule.alert.as_ref().map(|alert| alert.fire(&rule.ruling, facts, steps));
        }
        if let Ok(facts) = facts {
            let over =
                may_end.filter(|rule| rule.alert.as_ref().is_some_and(|alert| alert.is_over(facts, steps)));
            room.resolved.extend(over.map(|rule| Arc::clone(&rule.ruling.policy)));
        }
    }

    /// Fills what expressions of alerts read and the rules did not.
    fn fill_for_alerts(&self, facts: &mut Facts<'q>, mut memory: Option<&mut Memory>) -> Result<(), Fault> {
        let Some(alerts) = &self.group.alerts else { return Ok(()) };
        alerts.filler.fill(self.question, facts)?;
        for at in &alerts.memories {
            let declared = &self.pack.memories[*at];
            // One that overflows is not there.
            if let Ok(Some(value)) = declared.holds(&mut memory, self.question.now, None) {
                facts.set(declared.slot, Value::Double(value));
            }
        }
        Ok(())
    }
}

impl Declared {
    /// What a rule sees of it, with what the signal adds.
    fn holds(
        &self,
        memory: &mut Option<&mut Memory>,
        now: UnixMillis,
        adds: Option<f64>,
    ) -> Result<Option<f64>, Overflow> {
        match memory {
            Some(memory) => memory.read(self.id, self.kind, self.window_millis, now, adds),
            None => Memory::default().read(self.id, self.kind, self.window_millis, now, adds),
        }
    }

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

//! What a governor has told of itself, and what the journal knows of that. An alarm that left and was not journalled when the process
//! ended is told again; so one crash loses no alert, and none stays open because its end was lost.

use serde::{Deserialize, Serialize};

use crate::alert::{Alarm, AlertCause, AlertLabels, CauseKind, Importance, Raise};
use crate::event::{Seq, Subject, UnixMillis, Words};
use crate::limits::{ALARM_AGAIN, GOVERNOR_ALARMS_MAX};

/// Causes of one governor that hold, or of whose end the journal does not know yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GovernorAlarms(Vec<GovernorAlarm>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GovernorAlarm {
    kind: CauseKind,
    /// A rule's `pack/rule`; else empty.
    name: Box<str>,
    /// It holds.
    on: bool,
    /// The journal knows that it holds.
    told: bool,
    /// The event by which it, or its end, was told last; 0 where that was not kept.
    #[serde(default)]
    by: u64,
    /// When it was told last, in milliseconds since 1970.
    last: u64,
    importance: Importance,
    message: Box<str>,
    labels: AlertLabels,
    minutes: u32,
}

/// Causes that are not of rules: breaker, halt, quota.
const OWN_KINDS: usize = 3;

/// Others, each of which the governor will end, have all places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace;

/// What is told of a cause that holds.
#[derive(Clone, Debug)]
pub struct Holding {
    pub kind: CauseKind,
    pub name: Box<str>,
    pub importance: Importance,
    pub message: Words,
    pub labels: AlertLabels,
    pub minutes: u32,
}

impl GovernorAlarms {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing is lost with it: it only says when something was told last.
    pub fn is_spent(&self) -> bool {
        self.0.iter().all(GovernorAlarm::is_spent)
    }

    /// Whether as far as is known this cause holds.
    pub fn has(&self, kind: CauseKind) -> bool {
        self.0.iter().any(|alarm| alarm.kind == kind && alarm.on)
    }

    /// Whether it was told lately that this rule fired.
    pub fn was_told_lately(&self, rule: &str, now: UnixMillis) -> bool {
        let known = self.0.iter().find(|alarm| alarm.kind == CauseKind::Rule && *alarm.name == *rule);
        known.is_some_and(|known| known.on && !is_due(known.last, now))
    }

    /// Rules whose alert is open, as `pack/rule`.
    pub fn open_rules(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|alarm| alarm.kind == CauseKind::Rule && alarm.on).map(|alarm| &*alarm.name)
    }

    /// The same, of rules that say when it is over.
    pub fn open_resolving_rules(&self) -> impl Iterator<Item = &str> {
        let resolving = |alarm: &&GovernorAlarm| alarm.kind == CauseKind::Rule && alarm.labels.resolves;
        self.0.iter().filter(resolving).filter(|alarm| alarm.on).map(|alarm| &*alarm.name)
    }

    /// A cause holds. Returns what is to be journalled: nothing where that was told lately.
    ///
    /// # Errors
    /// [`NoPlace`], of a rule; the governor's own causes always have one.
    pub fn raise(
        &mut self,
        subject: &Subject,
        holding: Holding,
        (by, now): (Seq, UnixMillis),
    ) -> Result<Option<Alarm>, NoPlace> {
        let Holding { kind, name, importance, message, labels, minutes } = holding;
        let known = self.0.iter().position(|alarm| alarm.kind == kind && alarm.name == name);
        if let Some(known) = known.map(|at| &mut self.0[at]) {
            if known.on && !is_due(known.last, now) {
                return Ok(None);
            }
            (known.on, known.told, known.by) = (true, false, by.0);
            (known.last, known.importance) = (now.0, importance);
            (known.message, known.labels, known.minutes) = ((&*message).into(), labels, minutes);
            return Ok(Some(known.raised(subject)));
        }
        // Rules leave room for the governor's own.
        let most =
            if kind == CauseKind::Rule { GOVERNOR_ALARMS_MAX - OWN_KINDS } else { GOVERNOR_ALARMS_MAX };
        if self.0.len() >= most {
            // One whose end is not its own makes room: it is told again when it holds again.
            let oldest = self.0.iter().position(GovernorAlarm::is_spent);
            self.0.remove(oldest.ok_or(NoPlace)?);
        }
        let message: Box<str> = (&*message).into();
        let alarm = GovernorAlarm {
            kind,
            name,
            on: true,
            told: false,
            by: by.0,
            last: now.0,
            importance,
            message,
            labels,
            minutes,
        };
        let raised = alarm.raised(subject);
        self.0.push(alarm);
        Ok(Some(raised))
    }

    /// A cause is over. Returns what is to be journalled.
    pub fn end(&mut self, subject: &Subject, kind: CauseKind, name: &str, by: Seq) -> Option<Alarm> {
        let known = self.0.iter_mut().find(|alarm| alarm.kind == kind && *alarm.name == *name)?;
        if !std::mem::take(&mut known.on) {
            return None;
        }
        known.by = by.0;
        Some(known.ended(subject))
    }

    /// The journal has this alarm. One that was told before the last one changes nothing: the last is still on its way.
    pub fn journalled(&mut self, alarm: &Alarm) {
        let (cause, raised) = match alarm {
            Alarm::Raise(raise) => (&raise.cause, true),
            Alarm::End(cause) => (cause, false),
            // Somebody closed the alert of a rule: what fires next is news. Other causes hold on, and end by themselves.
            Alarm::Resolve { cause: Some(cause), .. } => {
                let is_it = |alarm: &GovernorAlarm| alarm.kind == CauseKind::Rule && alarm.name == cause.name;
                if cause.kind == CauseKind::Rule {
                    self.0.retain(|alarm| !is_it(alarm));
                }
                return;
            }
            Alarm::Resolve { cause: None, .. }
            | Alarm::Tick
            | Alarm::Stepped { .. }
            | Alarm::Acknowledge { .. }
            | Alarm::Silence(_)
            | Alarm::EndSilence { .. }
            | Alarm::Notified { .. } => return,
        };
        let is_last = |alarm: &GovernorAlarm| cause.told_by.is_none_or(|by| by.0 == alarm.by);
        let is_it =
            |alarm: &GovernorAlarm| alarm.kind == cause.kind && alarm.name == cause.name && is_last(alarm);
        if raised {
            if let Some(known) = self.0.iter_mut().find(|alarm| is_it(alarm)) {
                known.told = true;
                // Only what is told again, of a different node, needs its sentence.
                if known.is_spent() {
                    known.message = "".into();
                }
            }
        } else {
            self.0.retain(|alarm| !is_it(alarm) || alarm.on);
        }
    }

    /// As rows of version 5 have them.
    #[cfg(test)]
    pub fn forget_events(&mut self) {
        self.0.iter_mut().for_each(|alarm| alarm.by = 0);
    }

    /// The governor goes to a different journal, with the event `by`: that is told of all whose end the governor tells. What a rule
    /// told once, and will not end, stays with the journal that was told.
    pub fn tell_anew(&mut self, by: Seq) {
        for alarm in self.0.iter_mut().filter(|alarm| !alarm.is_spent()) {
            (alarm.told, alarm.by) = (false, by.0);
        }
    }

    /// What the journal does not know yet.
    pub fn untold(&self, subject: &Subject) -> Vec<Alarm> {
        let untold = self.0.iter().filter(|alarm| !alarm.on || !alarm.told);
        untold.map(|alarm| if alarm.on { alarm.raised(subject) } else { alarm.ended(subject) }).collect()
    }
}

impl GovernorAlarm {
    /// The journal has it, and is told nothing more of it by the governor.
    fn is_spent(&self) -> bool {
        self.kind == CauseKind::Rule && self.told && !self.labels.resolves
    }

    fn cause(&self, subject: &Subject) -> AlertCause {
        AlertCause {
            kind: self.kind,
            subject: Some(subject.clone()),
            name: self.name.clone(),
            told_by: Some(Seq(self.by)).filter(|by| by.0 > 0),
        }
    }

    fn raised(&self, subject: &Subject) -> Alarm {
        let message = match (&*self.message, self.kind.into_str(), &*self.name) {
            // Rows that were written before the sentence was kept.
            ("", kind, "") => format!("{}/{}: {kind} holds still", subject.tenant, subject.sku).into(),
            ("", kind, name) => {
                format!("{}/{}: {kind} `{name}` holds still", subject.tenant, subject.sku).into()
            }
            (message, ..) => message.into(),
        };
        Alarm::Raise(Box::new(Raise {
            cause: self.cause(subject),
            importance: self.importance,
            message,
            member: None,
            labels: self.labels.clone(),
            minutes: self.minutes,
        }))
    }

    fn ended(&self, subject: &Subject) -> Alarm {
        Alarm::End(self.cause(subject))
    }
}

fn is_due(last: u64, now: UnixMillis) -> bool {
    u128::from(now.0.saturating_sub(last)) >= ALARM_AGAIN.as_millis()
}

/// As a row has them; empty for none.
pub fn encode(alarms: Option<&GovernorAlarms>) -> Vec<u8> {
    match alarms {
        Some(alarms) if !alarms.is_empty() => serde_json::to_vec(alarms).unwrap_or_default(),
        Some(_) | None => Vec::new(),
    }
}

/// Reads what [`encode`] wrote, where that is not nothing.
pub fn decode(bytes: &[u8]) -> Option<GovernorAlarms> {
    let alarms: GovernorAlarms = serde_json::from_slice(bytes).ok()?;
    (alarms.0.len() <= GOVERNOR_ALARMS_MAX && !alarms.is_empty()).then_some(alarms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holding() -> Holding {
        let (name, message) = ("".into(), "a drill".into());
        let (importance, labels) = (Importance::Warning, AlertLabels::default());
        Holding { kind: CauseKind::Halt, name, importance, message, labels, minutes: 0 }
    }

    /// A governor that goes to a different node tells there of what holds and of ends that were on their way; what a rule told once
    /// is not told twice.
    #[test]
    fn a_different_journal_is_told_what_its_governor_will_end() {
        let subject = Subject::read("acme", "vm").unwrap();
        let mut alarms = GovernorAlarms::default();
        let of_rule = |name: &str, resolves: bool| {
            let labels = AlertLabels { resolves, ..AlertLabels::default() };
            Holding { kind: CauseKind::Rule, name: name.into(), labels, ..holding() }
        };
        let breaker = || Holding { kind: CauseKind::GovernorBreaker, ..holding() };
        for (by, holding) in (1..).zip([
            holding(),
            breaker(),
            of_rule("p/once", false),
            of_rule("p/ends", true),
            of_rule("p/late", false),
        ]) {
            let is_late = &*holding.name == "p/late";
            let told = alarms.raise(&subject, holding, (Seq(by), UnixMillis(by))).unwrap().unwrap();
            if !is_late {
                alarms.journalled(&told);
            }
        }
        let _on_its_way = alarms.end(&subject, CauseKind::GovernorBreaker, "", Seq(9));
        alarms.tell_anew(Seq(3));
        let mut told = alarms.untold(&subject);
        let has_its_sentence = |alarm: &Alarm| match alarm {
            Alarm::Raise(raise) => &*raise.message == "a drill",
            _ => true,
        };
        assert!(told.iter().all(has_its_sentence), "{told:?}");
        let named = |alarm: &Alarm| match alarm {
            Alarm::Raise(raise) => format!("+{}{}", raise.cause.kind.into_str(), raise.cause.name),
            Alarm::End(cause) => format!("-{}", cause.kind.into_str()),
            other => panic!("{other:?}"),
        };
        let names: Vec<_> = told.iter().map(named).collect();
        assert_eq!(names, ["+halt", "-governor_breaker", "+rulep/ends", "+rulep/late"]);
        told.drain(..).for_each(|alarm| alarms.journalled(&alarm));
        assert!(alarms.untold(&subject).is_empty() && !alarms.has(CauseKind::GovernorBreaker));
    }

    #[test]
    fn what_somebody_closed_is_told_anew() {
        let subject = Subject::read("acme", "vm").unwrap();
        let mut alarms = GovernorAlarms::default();
        let of_rule = || Holding { kind: CauseKind::Rule, name: "p/leak".into(), ..holding() };
        for (by, holding) in (1..).zip([of_rule(), holding()]) {
            let told = alarms.raise(&subject, holding, (Seq(by), UnixMillis(by))).unwrap().unwrap();
            alarms.journalled(&told);
            let Alarm::Raise(raised) = told else { unreachable!() };
            let (by, reason, cause) = ("ann".into(), "seen".into(), Some(Box::new(raised.cause)));
            alarms.journalled(&Alarm::Resolve { alert: crate::alert::AlertId([0; 16]), by, reason, cause });
        }
        assert!(!alarms.was_told_lately("p/leak", UnixMillis(5)), "the next one is news");
        assert!(alarms.raise(&subject, of_rule(), (Seq(3), UnixMillis(3))).unwrap().is_some());
        assert!(alarms.has(CauseKind::Halt), "it holds on, and its end is told");
    }

    proptest! {
        /// A cause comes and goes, the journal takes some of what was told, in its order, and then the process ends. With what is told
        /// again, the journal knows whether the cause holds.
        #[test]
        fn what_was_on_its_way_when_the_process_ended_is_told_again(
            steps in prop::collection::vec((any::<bool>(), any::<bool>()), 1..40)
        ) {
            let subject = Subject::read("acme", "vm").unwrap();
            let mut alarms = GovernorAlarms::default();
            let (mut on_its_way, mut journal) = (std::collections::VecDeque::new(), None);
            let mut take = |alarm: &Alarm| journal = Some(matches!(alarm, Alarm::Raise(_)));
            for (number, (changes, arrives)) in (1..).zip(steps) {
                if changes {
                    let told = if alarms.has(CauseKind::Halt) {
                        alarms.end(&subject, CauseKind::Halt, "", Seq(number))
                    } else {
                        alarms.raise(&subject, holding(), (Seq(number), UnixMillis(number))).unwrap()
                    };
                    on_its_way.extend(told);
                }
                if arrives && let Some(alarm) = on_its_way.pop_front() {
                    take(&alarm);
                    alarms.journalled(&alarm);
                }
            }
            let holds = alarms.has(CauseKind::Halt);
            let kept = encode(Some(&alarms));
            let mut alarms = if kept.is_empty() { GovernorAlarms::default() } else { decode(&kept).unwrap() };
            for alarm in alarms.untold(&subject) {
                take(&alarm);
                alarms.journalled(&alarm);
            }
            prop_assert_eq!(journal.unwrap_or(false), holds);
            prop_assert!(alarms.untold(&subject).is_empty());
        }
    }
}

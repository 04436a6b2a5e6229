//! Time travel: what rules would have decided on a stretch of the journal. Real governors step over its signals and
//! operators' orders; since the outside cannot be asked what would have happened, every action ends well at once, and
//! timers fire by the journal's time. So two sets of rules differ here by what they say, and by nothing else. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::governor::{Effects, Governor, key};
use super::policy::PolicySet;
use super::rules::Rules;
use super::timers::Timers;
use crate::alert::Importance;
use crate::event::{Event, Kind, Outcome, Seq, Subject, UnixMillis};
use crate::receipt::{About, Draft, ReceiptType};

/// What a signal got.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verdict {
    pub receipt_type: &'static str,
    /// Pack and rule, where one decided.
    pub rule: Option<(Box<str>, Box<str>)>,
    pub action: Option<Box<str>>,
    /// How urgent the alert is that the rule raises.
    pub alert: Option<Importance>,
}

/// A signal that got something.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its number in the journal.
    pub seq: Seq,
    pub subject: Subject,
    pub verdict: Verdict,
}

/// Governors under one set of rules.
#[derive(Debug)]
pub struct WhatIf {
    rules: Arc<Rules>,
    governors: HashMap<Box<str>, Governor>,
    timers: Timers,
    effects: Effects,
    /// Events here have numbers of their own, since outcomes come between those of the journal.
    last: Seq,
    /// Numbers of the journal, by our own, of signals that wait.
    waiting: HashMap<Seq, Seq>,
}

impl WhatIf {
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            governors: HashMap::new(),
            timers: Timers::default(),
            effects: Effects::default(),
            last: Seq(0),
            waiting: HashMap::new(),
        }
    }

    /// From here on these hold.
    pub fn switch(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Steps over one event of the journal; tells what signals got by it.
    pub fn step(&mut self, event: &Event, got: &mut Vec<Settled>) {
        while let Some(timer) = self.timers.due(event.time) {
            self.apply(event.time, Kind::Timer(Box::new(timer)), None, got);
        }
        match &event.kind {
            Kind::Signal(_) | Kind::Replay(_) => {
                self.apply(event.time, event.kind.clone(), Some(event.seq), got);
            }
            Kind::Command(_) => self.apply(event.time, event.kind.clone(), None, got),
            // They belong to what was decided then.
            Kind::Outcome(_) | Kind::Timer(_) | Kind::Rules(_) | Kind::Reconfigured(_) | Kind::Stray(_) | Kind::Position(_)
            // Governors that came from the shared store are decided on from their first signal here.
            | Kind::Hold(_) | Kind::Adopt(_) | Kind::Shared(_)
            // Nobody is told of what might have been.
            | Kind::Alarm(_) | Kind::Manifest(_) => {}
        }
    }

    fn apply(&mut self, time: UnixMillis, kind: Kind, of: Option<Seq>, got: &mut Vec<Settled>) {
        let mut next = VecDeque::from([(kind, of)]);
        // Actions end at once, which may let a waiting signal act: each turn of the loop settles one at least.
        while let Some((kind, of)) = next.pop_front() {
            self.last = self.last.next();
            let seq = self.last;
            if let Some(of) = of {
                self.waiting.insert(seq, of);
            }
            let Some(subject) = kind.governor() else { return };
            let governor = self
                .governors
                .entry(key(&subject.tenant, &subject.sku))
                .or_insert_with(|| Governor::new(&subject, seq, time, &self.rules, &mut self.effects));
            governor.step(Event { seq, time, kind }, &self.rules, &mut self.effects);
            self.effects.timers.drain(..).for_each(|arm| self.timers.arm(arm));
            self.effects.cases.clear();
            let intents: Vec<_> = self.effects.requests.drain(..).map(|request| request.intent).collect();
            for draft in self.effects.drafts.drain(..) {
                if let Some(of) = settled(&draft).and_then(|seq| self.waiting.remove(&seq)) {
                    let acted = intents.iter().find(|intent| intent.by == draft.gist.id.seq);
                    let policies = self.rules.policies.of(&subject.tenant);
                    let verdict = verdict(&draft, acted.map(|intent| (*intent.name).into()), policies);
                    got.push(Settled { seq: of, subject: subject.clone(), verdict });
                }
            }
            next.extend(intents.iter().map(|intent| {
                let outcome = Outcome {
                    subject: subject.clone(),
                    action: intent.action,
                    by: Some(intent.by),
                    result: Ok(()),
                    maybe_twice: false,
                    tries: None,
                };
                (Kind::Outcome(Box::new(outcome)), None)
            }));
        }
    }
}

/// The signal whose final receipt this is.
fn settled(draft: &Draft) -> Option<Seq> {
    let of_signal = matches!(draft.about, About::Signal(_));
    (of_signal && draft.gist.id.ordinal == 0 && draft.gist.kind != ReceiptType::Operator)
        .then_some(draft.gist.id.seq)
}

fn verdict(draft: &Draft, action: Option<Box<str>>, policies: &PolicySet) -> Verdict {
    // A dead letter names the rule that failed, which raises nothing.
    let decided = draft.gist.kind != ReceiptType::DeadletterSignal;
    let alert = draft.policy.as_ref().filter(|_| decided).and_then(|policy| policies.alert(policy));
    let alert = alert.map(|alert| alert.importance);
    let rule = draft.policy.as_ref().map(|policy| (policy.pack.clone(), policy.rule.clone()));
    Verdict { receipt_type: draft.gist.kind.into_str(), rule, action, alert }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jidoka::policy::Pack;
    use crate::jidoka::rules::{ActionSource, EntitlementDefault, RulesSource};

    fn signal(tenant: &str) -> Kind {
        signal_of("t", tenant)
    }

    fn signal_of(kind: &str, tenant: &str) -> Kind {
        let pack = format!(
            "name = 'p'\n[[rule]]\nid = 'r'\nwhen = 'true'\ndecide = 'deny'\nreason = 'no'\n\
             [[rule.example]]\nsignal = {{ type = '{kind}', tenant = '{tenant}' }}\nexpect = 'deny'\n"
        );
        let pack = Pack::parse("p.toml", &pack).unwrap();
        Kind::Signal(pack.rules[0].examples[0].steps[0].signal.clone())
    }

    #[test]
    fn a_verdict_tells_of_the_alert_of_the_rule_that_decided() {
        let alert = |when: &str| {
            let pack = format!(
                "name = 'p'\n[[rule]]\nid = 'r'\nwhen = '{when}'\ndecide = 'deny'\nreason = 'no'\nalert = 'critical'\n"
            );
            let rules = RulesSource::default().with_pack("p.toml", &pack).compile().unwrap();
            let (mut what_if, mut got) = (WhatIf::new(Arc::new(rules)), Vec::new());
            what_if.step(&Event { seq: Seq(7), time: UnixMillis(0), kind: signal("a") }, &mut got);
            (got[0].verdict.receipt_type, got[0].verdict.alert)
        };
        assert_eq!(alert("true"), ("policy_denied", Some(Importance::Critical)));
        assert_eq!(alert("false"), ("observed", None));
        assert_eq!(alert("signal.data.x == 1.0"), ("deadletter_signal", None));
    }

    #[test]
    fn what_a_timer_settles_is_told_of_the_governor_whose_timer_it_is() {
        let source = RulesSource { entitlement: EntitlementDefault::Required, ..RulesSource::default() };
        let mut what_if = WhatIf::new(Arc::new(source.compile().unwrap()));
        let mut got = Vec::new();
        what_if.step(&Event { seq: Seq(7), time: UnixMillis(0), kind: signal("early") }, &mut got);
        assert!(got.is_empty(), "it waits for its entitlement: {got:?}");
        what_if.step(&Event { seq: Seq(9), time: UnixMillis(3_600_000), kind: signal("late") }, &mut got);
        let told: Vec<_> = got.iter().map(|settled| (settled.seq, &*settled.subject.tenant)).collect();
        assert_eq!(told, [(Seq(7), "early")]);
    }

    /// One event lets three signals act: each has its action, and each action its outcome.
    #[test]
    fn actions_in_the_background_of_one_event_are_told_each() {
        let pack =
            "name = 'p'\n[[rule]]\nid = 'r'\nwhen = 'true'\ndecide = 'act'\naction = 'tell'\nreason = 'so'\n";
        let tell = ActionSource::Background { name: "tell".into(), background_seconds: 60 };
        let source = RulesSource {
            entitlement: EntitlementDefault::Required,
            actions: vec![tell],
            ..RulesSource::default()
        };
        let rules = source.with_pack("p.toml", pack).compile().unwrap();
        let (mut what_if, mut got) = (WhatIf::new(Arc::new(rules)), Vec::new());
        let mut step =
            |seq, kind| what_if.step(&Event { seq: Seq(seq), time: UnixMillis(0), kind }, &mut got);
        for seq in [7, 8, 9] {
            step(seq, signal("a"));
        }
        step(10, signal_of("gemba.entitlement.active", "a"));
        let acted: Vec<_> = got.iter().filter(|settled| settled.verdict.action.is_some()).collect();
        assert_eq!(acted.iter().map(|settled| settled.seq).collect::<Vec<_>>(), [Seq(7), Seq(8), Seq(9)]);
        assert!(acted.iter().all(|settled| settled.verdict.receipt_type == "action_generated"));
        assert!(what_if.governors.values().all(|governor| governor.out().next().is_none()), "all have ended");
    }
}

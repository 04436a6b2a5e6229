//! Random histories against a naive model that shares no code and no types with the governor.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::jidoka::governor::Arm;

/// seq, ordinal, type, before, after.
type Line5 = (u64, u8, &'static str, &'static str, &'static str);

#[derive(Debug, Default)]
struct Model {
    state: &'static str,
    entitled: bool,
    /// Actions left and the event that opened the window.
    quota: Option<(u32, u64)>,
    failures: u32,
    probing: bool,
    /// The action in flight and the event that armed its deadline.
    flight: Option<(u64, u64)>,
    /// Actions in the background: each, when it is given up, and the event by which that is known.
    deliveries: Vec<(u64, u64, u64)>,
    time: u64,
    /// The event that armed the breaker's timer.
    reset: Option<u64>,
    boot: u64,
    inbox: Vec<(u64, &'static str, bool)>,
    now: u64,
    ordinal: u8,
    out: Vec<Line5>,
}

/// The governor gives up two minutes after the target's queue.
const TOLD_MILLIS: u64 = TOLD_WITHIN_SECONDS as u64 * 1000 + 120_000;
const QUOTA: u32 = 2;
const MAILBOX: usize = 2;
const FAILURES: u32 = 2;

impl Model {
    fn new(entitled: bool) -> Self {
        Self { state: if entitled { "stable" } else { "boot" }, entitled, boot: 1, ..Self::default() }
    }

    fn rest(&self) -> &'static str {
        if self.entitled { "stable" } else { "degraded" }
    }

    fn say(&mut self, kind: &'static str, before: &'static str) {
        self.out.push((self.now, self.ordinal, kind, before, self.state));
        self.ordinal += 1;
    }

    fn answer(&mut self, seq: u64, kind: &'static str, critical: bool) {
        let before = self.state;
        let left = self.quota.map_or(QUOTA, |(left, _)| left);
        let verdict = match before {
            "boot" | "action_pending" if self.inbox.len() < MAILBOX => {
                return self.inbox.push((seq, kind, critical));
            }
            "boot" | "action_pending" | "halted" => "deadletter_signal",
            "degraded" if !critical => "deferred_dropped",
            _ if left == 0 => "quota_exceeded",
            _ if ["act.now", "tell.this"].contains(&kind) => "action_generated",
            _ if kind == "deny.this" => "policy_denied",
            _ if kind == "bad.this" => "deadletter_signal",
            _ => "observed",
        };
        if verdict == "quota_exceeded" && before == "stable" {
            self.state = "quota_exhausted";
        }
        if verdict == "action_generated" {
            self.quota = Some((left - 1, self.quota.map_or(self.now, |(_, by)| by)));
            if kind == "tell.this" {
                self.deliveries.push((seq, self.time + TOLD_MILLIS, self.now));
            } else {
                self.flight = Some((seq, self.now));
                self.state = "action_pending";
            }
        }
        self.out.push((seq, 0, verdict, before, self.state));
    }

    fn free(&mut self) {
        for (seq, kind, critical) in std::mem::take(&mut self.inbox) {
            self.answer(seq, kind, critical);
        }
    }

    fn entitle(&mut self, entitled: bool, kind: &'static str) {
        let before = self.state;
        self.entitled = entitled;
        let moves = ["boot", "stable", "degraded", "quota_exhausted"].contains(&before);
        if moves && !(entitled && before == "quota_exhausted") {
            self.state = self.rest();
            self.say(kind, before);
            self.free();
        } else {
            self.say(kind, before);
        }
    }

    fn land(&mut self, success: bool, counts: bool) {
        let before = self.state;
        self.flight = None;
        let kind = if success { "action_successful" } else { "action_failed" };
        if before == "halted" {
            return self.say(kind, before);
        }
        self.state = self.rest();
        self.say(kind, before);
        if success {
            (self.failures, self.probing) = (0, false);
        } else if counts {
            self.failures += 1;
            if self.probing || self.failures >= FAILURES {
                let before = self.state;
                (self.failures, self.probing) = (0, false);
                self.state = "halted";
                self.reset = Some(self.now);
                self.say("jidoka_halt", before);
            }
        }
        self.free();
    }

    fn fire(&mut self, kind: TimerKind, armed: u64) {
        let before = self.state;
        match kind {
            TimerKind::Boot if before == "boot" && armed == self.boot => {
                self.state = "degraded";
                self.say("bootstrap_timeout", before);
                self.free();
            }
            TimerKind::QuotaWindow if self.quota.is_some_and(|(_, by)| by == armed) => {
                self.quota = None;
                if before == "quota_exhausted" {
                    self.state = "stable";
                    self.say("quota_restored", before);
                }
            }
            TimerKind::BreakerReset if self.reset == Some(armed) => {
                self.reset = None;
                self.probing = true;
                self.state = self.rest();
                self.say("breaker_testing", before);
            }
            TimerKind::Delivery if self.deliveries.first().is_some_and(|(.., by)| *by == armed) => {
                while self.deliveries.first().is_some_and(|(_, due, _)| *due <= self.time) {
                    self.deliveries.remove(0);
                    self.say("action_failed", before);
                }
            }
            TimerKind::ActionDeadline if self.flight.is_some_and(|(_, by)| by == armed) => {
                self.land(false, true);
            }
            _ => {}
        }
    }

    fn order(&mut self, verb: Verb) {
        let before = self.state;
        match verb {
            Verb::Entitle => return self.entitle(true, "operator"),
            Verb::Revoke => return self.entitle(false, "operator"),
            Verb::Halt => {
                self.reset = None;
                self.state = "halted";
                self.say("jidoka_halt", before);
                return self.free();
            }
            Verb::Resume if before == "halted" => {
                (self.failures, self.probing, self.reset) = (0, false, None);
                self.state = if self.flight.is_some() { "action_pending" } else { self.rest() };
            }
            Verb::Resume | Verb::Discard(_) => {}
            Verb::Quota(left) => {
                self.quota = Some((left, self.quota.map_or(self.now, |(_, by)| by)));
                if before == "quota_exhausted" && left > 0 {
                    self.state = "stable";
                }
            }
        }
        self.say("operator", before);
    }

    fn step(&mut self, event: &Event, op: &Op) {
        (self.now, self.time, self.ordinal) = (event.seq.0, event.time.0, 0);
        match (&event.kind, op) {
            (Kind::Signal(_), Op::Signal("gemba.entitlement.active", _)) => self.entitle(true, "entitlement"),
            (Kind::Signal(_), Op::Signal("gemba.entitlement.revoked", _)) => {
                self.entitle(false, "entitlement");
            }
            (Kind::Signal(_), Op::Signal(kind, severity)) => {
                self.answer(self.now, kind, *severity == Severity::Critical);
            }
            (Kind::Outcome(outcome), _) => {
                let success = outcome.result.is_ok();
                let counts = outcome.result.as_ref().err().is_none_or(|failure| failure.asked);
                let action = outcome.action.seq.0;
                // An action that is not sent again is ordered by the event that it is named by.
                let is_late = outcome.by.is_some_and(|by| by.0 != action);
                if !is_late && self.flight.is_some_and(|(flying, _)| flying == action) {
                    self.land(success, counts);
                } else {
                    self.deliveries.retain(|(out, ..)| is_late || *out != action);
                    self.say(if success { "action_successful" } else { "action_failed" }, self.state);
                }
            }
            (Kind::Timer(timer), _) => self.fire(timer.kind, timer.armed.0),
            (Kind::Command(command), _) => self.order(command.verb),
            (Kind::Replay(_), Op::Replay(kind)) => {
                self.ordinal = 1;
                self.say("operator", self.state);
                self.answer(self.now, kind, false);
            }
            (Kind::Stray(_), _) => self.say("deadletter_signal", self.state),
            (_, _) => unreachable!(),
        }
    }
}

fn lines(drafts: &[Draft]) -> Vec<Line5> {
    let line = |draft: &Draft| {
        (
            draft.gist.id.seq.0,
            draft.gist.id.ordinal,
            draft.gist.kind.into_str(),
            draft.gist.before.into_str(),
            draft.gist.after.into_str(),
        )
    };
    drafts.iter().map(line).collect()
}

fn severity() -> impl Strategy<Value = Severity> {
    prop_oneof![3 => Just(Severity::Info), 1 => Just(Severity::Warning), 1 => Just(Severity::Critical)]
}

fn timer() -> impl Strategy<Value = TimerKind> {
    prop::sample::select(vec![
        TimerKind::Boot,
        TimerKind::QuotaWindow,
        TimerKind::BreakerReset,
        TimerKind::ActionDeadline,
    ])
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let kinds =
        || prop::sample::select(vec!["see.this", "act.now", "act.now", "act.now", "deny.this", "bad.this"]);
    prop_oneof![
        8 => (kinds(), severity()).prop_map(|(kind, severity)| Op::Signal(kind, severity)),
        1 => prop::sample::select(vec![ACTIVE, REVOKED]),
        1 => kinds().prop_map(Op::Replay),
        5 => prop::sample::select(vec![OK, OK, ERROR, ERROR, Op::Withheld]),
        1 => prop::sample::select(vec![Op::Stray(Ok(())), Op::Stray(Err("late"))]),
        1 => prop::sample::select(vec![Op::Astray(Astray::Conflict), Op::Astray(Astray::SetAside)]),
        3 => timer().prop_map(Op::Fire),
        1 => timer().prop_map(Op::Stale),
        2 => prop_oneof![
            Just(Verb::Halt),
            Just(Verb::Resume),
            Just(Verb::Resume),
            Just(Verb::Entitle),
            Just(Verb::Revoke),
            (0u32..3).prop_map(Verb::Quota),
            Just(Verb::Discard(CASE)),
        ]
        .prop_map(Op::Order),
    ]
}

/// The same, with actions in the background.
pub(super) fn op_or_told() -> impl Strategy<Value = Op> {
    let result = || prop_oneof![Just(Ok(())), Just(Err("refused"))];
    prop_oneof![
        12 => op(),
        3 => severity().prop_map(|severity| Op::Signal("tell.this", severity)),
        1 => Just(Op::Replay("tell.this")),
        1 => (1u32..3).prop_map(|left| Op::Order(Verb::Quota(left))),
        3 => (any::<u8>(), result()).prop_map(|(which, result)| Op::Out(which, result)),
        1 => (any::<u8>(), result()).prop_map(|(which, result)| Op::OutBefore(which, result)),
        2 => Just(Op::Fire(TimerKind::Delivery)),
        1 => Just(Op::Stale(TimerKind::Delivery)),
    ]
}

fn line(entitled: bool) -> Line {
    if entitled { Line::new(rules()) } else { Line::booting() }
}

proptest! {
    #[test]
    fn decides_as_the_model_does(
        entitled: bool, ops in prop::collection::vec((op_or_told(), any::<bool>()), 1..120)
    ) {
        let (mut line, mut model) = (line(entitled), Model::new(entitled));
        // What the shard has armed: of each kind the last one.
        let mut armed: BTreeMap<TimerKind, Arm> = BTreeMap::new();
        armed.extend(line.effects.timers.drain(..).map(|arm| (arm.kind, arm)));
        for (op, is_due) in &ops {
            let told = line.governor.timers().find(|arm| arm.kind == TimerKind::Delivery);
            if let (Op::Fire(TimerKind::Delivery), Some(first), true) = (op, told, is_due) {
                line.time = line.time.max(first.due);
            }
            let event = line.event(op);
            model.step(&event, op);
            line.effects.clear();
            line.governor.step(event, &line.rules, &mut line.effects);
            prop_assert_eq!(lines(&line.effects.drafts), std::mem::take(&mut model.out));
            prop_assert_eq!(line.governor.state().into_str(), model.state);
            prop_assert_eq!(line.governor.waiting(), model.inbox.len());
            prop_assert_eq!(line.governor.quota_remaining(&line.rules), model.quota.map_or(QUOTA, |quota| quota.0));
            prop_assert_eq!(line.governor.deliveries(), model.deliveries.len());
            let running: Vec<Arm> = line.governor.timers().collect();
            prop_assert!(running.len() <= crate::limits::TIMERS_PER_GOVERNOR);
            for arm in line.effects.timers.drain(..) {
                prop_assert!(arm.armed == line.seq || arm.kind == TimerKind::Delivery);
                armed.insert(arm.kind, arm);
            }
            for arm in running {
                prop_assert_eq!(armed.get(&arm.kind), Some(&arm), "the timer that runs is armed");
            }
        }
    }

    #[test]
    fn every_signal_gets_exactly_one_final_receipt(
        entitled: bool, ops in prop::collection::vec(op_or_told(), 1..120)
    ) {
        const FINAL: [&str; 7] = ["observed", "policy_denied", "action_generated", "quota_exceeded",
            "deferred_dropped", "deadletter_signal", "entitlement"];
        let mut line = line(entitled);
        let mut owed = BTreeMap::new();
        let mut ids = std::collections::BTreeSet::new();
        let mut state = line.governor.state();
        // A halt at the end empties the mailbox.
        for op in ops.iter().chain([&Op::Order(Verb::Halt)]) {
            let drafts = line.feed(op);
            if matches!(op, Op::Signal(..) | Op::Replay(_) | Op::Astray(_)) {
                owed.insert(line.seq, 0);
            }
            for draft in &drafts {
                prop_assert!(ids.insert(draft.gist.id), "{} twice", draft.gist.id);
                prop_assert_eq!(draft.gist.before, state, "receipts follow one another");
                state = draft.gist.after;
                if FINAL.contains(&draft.gist.kind.into_str()) {
                    prop_assert_eq!(draft.gist.id.ordinal, 0);
                    let replayed = draft.gist.signal_seq == Some(CASE);
                    prop_assert!(replayed || draft.gist.signal_seq == Some(draft.gist.id.seq));
                    *owed.get_mut(&draft.gist.id.seq).unwrap() += 1;
                }
            }
            prop_assert_eq!(line.governor.state(), state, "each transition leaves a receipt");
            if let Some(oldest) = line.governor.oldest_waiting() {
                prop_assert_eq!(owed[&oldest], 0);
            }
        }
        prop_assert!(owed.values().all(|count| *count == 1), "{owed:?}");
    }

    #[test]
    fn a_replay_from_any_earlier_point_changes_nothing(
        entitled: bool, ops in prop::collection::vec(op_or_told(), 1..80), cut in any::<prop::sample::Index>(),
        back in any::<prop::sample::Index>()
    ) {
        let mut line = line(entitled);
        let cut = cut.index(ops.len());
        let (mut events, mut receipts, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for (index, op) in ops.iter().enumerate() {
            if index == cut {
                line.governor.encode(&mut stored);
                receipts.clear();
            }
            let event = line.event(op);
            events.push(event.clone());
            line.effects.clear();
            line.governor.step(event, &line.rules, &mut line.effects);
            receipts.extend(lines(&line.effects.drafts));
        }
        let mut again = Governor::decode(&stored).unwrap();
        let mut effects = Effects::default();
        for event in events.drain(back.index(cut + 1)..) {
            again.step(event, &line.rules, &mut effects);
        }
        let mut scratch = Vec::new();
        prop_assert_eq!(again.state_hash(&mut scratch), line.governor.state_hash(&mut scratch));
        prop_assert_eq!(lines(&effects.drafts), receipts);
    }

    #[test]
    fn neighbours_never_change_a_result(
        histories in prop::collection::vec(prop::collection::vec(op_or_told(), 0..30), 2..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 120),
    ) {
        let mut alone = Vec::new();
        for history in &histories {
            let mut line = line(true);
            let mut seen = Vec::new();
            for op in history {
                seen.push(line.feed(op).iter().map(|draft| (draft.gist.kind, draft.gist.after)).collect::<Vec<_>>());
            }
            alone.push(seen);
        }
        let mut together: Vec<(Line, Vec<Vec<_>>)> = histories.iter().map(|_| (line(true), Vec::new())).collect();
        let mut effects = Effects::default();
        let mut seq = Seq(0);
        for pick in order {
            let open: Vec<usize> =
                (0..histories.len()).filter(|index| together[*index].1.len() < histories[*index].len()).collect();
            let Some(index) = open.get(pick.index(open.len().max(1))).copied() else { break };
            let (line, seen) = &mut together[index];
            line.seq = seq;
            let op = &histories[index][seen.len()];
            let event = line.event(op);
            seq = line.seq;
            let from = effects.drafts.len();
            line.governor.step(event, &line.rules, &mut effects);
            seen.push(effects.drafts[from..].iter().map(|draft| (draft.gist.kind, draft.gist.after)).collect());
        }
        let together: Vec<_> = together.into_iter().map(|(_, seen)| seen).collect();
        prop_assert_eq!(together, alone);
    }
}

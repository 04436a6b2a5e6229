//! Where the effects of a shard leave: receipts and commits to the scribe, orders to the outbound runtime, timers to their
//! queue and, once they fire, to the journal, what changed to the store. Everything is counted and sent here, whether it
//! leaves at once or was withheld before. A lane without room stops the shard, never loses an effect.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::dead_letter::CaseChange;
use super::decisions::Decisions;
use super::governor::{ActionRequest, Arm, Effects, Governor};
use super::store::{Changes, Commit, Followup};
use super::tap::{Spout, Taps};
use super::timers::Timers;
use crate::alert::{Alarm, AlertRow};
use crate::clock::{self, Instant};
use crate::event::{Arrival, Note, RulesText, Seq, Timer, TimerKind, UnixMillis};
use crate::kaizen::{Counter, Recorder, Span, SpanName, Stage as Measured, Tally};
use crate::limits::{ALARMS_WAITING_MAX, CASE_BYTES_HELD_MAX, DELIVERY_SLACK, DRAFTS_LANE};
use crate::receipt::{About, Draft, ReceiptType};
use crate::ring::{Full, Mark, Sender};

#[derive(Debug)]
pub struct Outlet {
    notes: Outgoing<Note>,
    orders: Outgoing<ActionRequest>,
    arrivals: Sender<Arrival>,
    /// Alarms that found no room in `arrivals`.
    alarms: WaitingAlarms,
    commits: Sender<Commit>,
    /// Commits so far.
    committed: u64,
    timers: Timers,
    uncommitted: Uncommitted,
    phase: Phase,
    /// Something was ordered since the bell was rung.
    ordered: bool,
    /// Last event that was decided.
    decided: Mark,
    recorder: Recorder,
    decisions: Decisions,
    step: Step,
    /// Where viewers look.
    spout: Spout,
}

/// The step whose effects come next, for the traces of its signals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// When it began, where that is known.
    pub begun: Option<Instant>,
    /// How long its signal waited.
    pub waited: Duration,
}

/// Whether what governors ask for is new.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// What they order was ordered before.
    Replay,
    /// It is carried out; since when timers are looked at.
    Live { since: Option<Instant> },
}

/// Alarms on their way to the journal.
#[derive(Debug, Default)]
struct WaitingAlarms {
    waiting: VecDeque<Alarm>,
    /// One found no room here either: its governor tells it again.
    is_one_lost: bool,
}

/// A lane, and what found it full; nothing else is taken before that is gone.
#[derive(Debug)]
struct Outgoing<T> {
    lane: Sender<T>,
    waiting: VecDeque<T>,
}

/// What the next commit has beside its rows.
#[derive(Debug, Default)]
struct Uncommitted {
    followups: Vec<Followup>,
    cases: Vec<CaseChange>,
    /// Bodies held in `cases`.
    case_bytes: usize,
    rules: Vec<(Seq, Arc<RulesText>)>,
    alerts: Vec<AlertRow>,
}

/// Receipts that wait for the scribe before it is woken.
const NOTES_RING: usize = DRAFTS_LANE / 8;

impl Outlet {
    pub fn new(
        (notes, orders): (Sender<Note>, Sender<ActionRequest>),
        (arrivals, commits): (Sender<Arrival>, Sender<Commit>),
        (decided, recorder): (Mark, Recorder),
    ) -> Self {
        Self {
            notes: Outgoing::new(notes),
            orders: Outgoing::new(orders),
            arrivals,
            alarms: WaitingAlarms::default(),
            commits,
            committed: 0,
            timers: Timers::default(),
            uncommitted: Uncommitted::default(),
            phase: Phase::Replay,
            ordered: false,
            decided,
            recorder,
            decisions: Decisions::default(),
            step: Step::default(),
            spout: Taps::default().spout(),
        }
    }

    /// Viewers look here.
    pub fn tap(&mut self, spout: Spout) {
        self.spout = spout;
    }

    pub fn is_live(&self) -> bool {
        match self.phase {
            Phase::Replay => false,
            Phase::Live { .. } => true,
        }
    }

    /// From here on, what governors order is carried out.
    pub fn go_live(&mut self) {
        self.phase = Phase::Live { since: None };
    }

    /// Whether a lane has no room for what was decided; nothing is taken before it has.
    pub fn is_blocked(&self) -> bool {
        !self.notes.waiting.is_empty() || !self.orders.waiting.is_empty() || self.has_many_bodies()
    }

    /// Bodies of dead letters are not gathered without end: they go with a commit of their own.
    pub fn has_many_bodies(&self) -> bool {
        self.uncommitted.case_bytes > CASE_BYTES_HELD_MAX
    }

    /// All that steps asked for.
    pub fn emit(&mut self, effects: &mut Effects) {
        effects.timers.drain(..).for_each(|arm| self.arm(arm));
        effects.drafts.drain(..).for_each(|draft| self.draft(draft));
        effects.cases.drain(..).for_each(|change| self.case(change));
        // During a replay they left before; what the journal does not know is told when that is over.
        for alarm in effects.alarms.drain(..) {
            if self.is_live() {
                self.alarm(alarm);
            }
        }
        for request in effects.requests.drain(..) {
            if self.is_live() {
                self.order(request);
            }
        }
    }

    pub fn draft(&mut self, mut draft: Draft) {
        // What is replayed was counted and told of when it was decided.
        if self.is_live() {
            self.decisions.count(&draft);
            self.spout.look(&draft);
            self.trace(&mut draft);
        } else {
            draft.set_trace(None);
        }
        self.uncommitted.followups.extend(Followup::of(&draft));
        self.notes.push(Note::Draft(draft));
    }

    /// Whether signals are traced.
    pub fn traces(&self) -> bool {
        self.recorder.tracer().is_some()
    }

    /// What comes next is of this step.
    pub fn begin_step(&mut self, step: Step) {
        self.step = step;
    }

    /// Tells of the decision on a traced signal; and of one that failed or was slow, whether it was chosen or not.
    fn trace(&mut self, draft: &mut Draft) {
        let Some(tracer) = self.recorder.tracer() else { return };
        let Some(accepted) = draft.gist.signal_seq else { return };
        let carried = draft.trace();
        let recorded = carried.is_some_and(|trace| trace.is_sampled());
        let failed = matches!(draft.gist.kind, ReceiptType::DeadletterSignal | ReceiptType::ActionFailed);
        if !recorded {
            if !failed && !tracer.is_slow(self.step.waited) {
                return;
            }
            draft.set_trace(tracer.unchosen(carried, accepted.0));
        }
        let (Some(trace), About::Signal(signal)) = (draft.trace(), &draft.about) else { return };
        let ended = clock::now();
        let id = draft.gist.id;
        let times = (self.step.begun.unwrap_or(ended), ended);
        let span = Span::below(trace, SpanName::Decide, (id.seq.0, id.ordinal.into()), times);
        let mut span = span
            .about(signal.tenant(), signal.sku(), accepted.0)
            .with("gemba.decision", draft.gist.kind.into_str())
            .with("gemba.receipt_id", id.to_string());
        if let Some(policy) = &draft.policy {
            span = span.with("gemba.pack", &*policy.pack).with("gemba.rule", &*policy.rule);
        }
        if failed {
            span.failed = Some(draft.reason.as_deref().unwrap_or_default().into());
        }
        tracer.tell(span);
    }

    /// A case is opened or changed, for good.
    pub fn case(&mut self, change: CaseChange) {
        if let CaseChange::Open { signal, why, undone, .. } = &change {
            self.uncommitted.case_bytes += signal.body().len();
            if let Some(undone) = undone.as_deref().filter(|_| self.is_live()) {
                self.decisions.failed(&undone.pack, &undone.rule);
            }
            self.recorder.count(Counter::dead(why.cause), 1);
        }
        self.uncommitted.cases.push(change);
    }

    /// An order waits for the receipts before it: it leaves when they have left.
    pub fn order(&mut self, order: ActionRequest) {
        crate::fault::point("K12");
        self.orders.waiting.push_back(order);
    }

    /// What was ordered, and has no outcome that is known.
    pub fn order_again(&mut self, governor: &Governor) {
        for (intent, give_up) in governor.out() {
            let intent = intent.clone();
            let request = ActionRequest { intent, maybe_twice: true, is_again: true, give_up };
            self.orders.waiting.push_back(request);
        }
    }

    /// Rules hold from the event `seq` on; `drafts` say so.
    pub fn rules(&mut self, seq: Seq, text: Arc<RulesText>, drafts: Vec<Draft>) {
        for draft in drafts {
            self.draft(draft);
        }
        self.uncommitted.rules.push((seq, text));
        self.decisions.forget_rules();
    }

    /// Tells the alerts of the node, through the journal.
    pub fn alarm(&mut self, alarm: Alarm) {
        if self.alarms.waiting.len() < ALARMS_WAITING_MAX {
            self.alarms.waiting.push_back(alarm);
        } else {
            self.alarms.is_one_lost = true;
        }
    }

    /// So many alerts were not opened. Those of a replay were counted when they were refused.
    pub fn alerts_refused(&mut self, count: u64) {
        if count > 0 && self.is_live() {
            self.recorder.count(Counter::AlertsRefused, count);
        }
    }

    /// Whether governors are to tell again what the journal does not know of: something had no room, and there is room again.
    pub fn asks_for_alarms(&mut self) -> bool {
        self.alarms.waiting.is_empty() && std::mem::take(&mut self.alarms.is_one_lost)
    }

    /// Offers a tick of the alerts to the journal. False where there is no room.
    pub fn tick(&mut self) -> bool {
        let has_room = self.alarms.waiting.is_empty() && self.arrivals.room() > 0;
        if has_room {
            self.alarm(Alarm::Tick);
        }
        has_room
    }

    /// Rows of alerts for the next commit.
    pub fn alert_rows(&mut self, rows: Vec<AlertRow>) {
        self.uncommitted.alerts.extend(rows);
    }

    pub fn arm(&mut self, arm: Arm) {
        self.timers.arm(arm);
    }

    /// These run, and no others.
    pub fn rearm(&mut self, arms: impl Iterator<Item = Arm>) {
        self.timers = Timers::default();
        arms.for_each(|arm| self.timers.arm(arm));
    }

    /// Offers the timers that are due at the journal's `time` to the journal.
    pub fn fire(&mut self, now: Instant, time: UnixMillis) {
        let live_for = match &mut self.phase {
            Phase::Replay => Duration::ZERO,
            Phase::Live { since } => now.saturating_duration_since(*since.get_or_insert(now)),
        };
        let early = DELIVERY_SLACK.as_millis().saturating_sub(live_for.as_millis());
        let early = u64::try_from(early).unwrap_or(u64::MAX);
        let mut rings = false;
        while self.arrivals.room() > 0
            && let Some(alarm) = self.alarms.waiting.pop_front()
        {
            let pushed = self.arrivals.push(Arrival::Alarm(Arc::new(alarm)));
            assert!(pushed.is_ok(), "there was room, and only this thread pushes");
            rings = true;
        }
        while self.arrivals.room() > 0
            && let Some(timer) = self.timers.due(time)
        {
            // What is over since before the start was ordered again: the target's queue ends it first, as ever.
            if timer.kind == TimerKind::Delivery && early > 0 {
                let Timer { subject, kind, armed } = timer;
                let due = UnixMillis(time.0.saturating_add(early));
                self.timers.arm(Arm { subject, kind, armed, due });
                continue;
            }
            rings |= self.offer(timer);
        }
        if rings {
            self.wake_journal();
        }
    }

    /// Offers a timer to the journal, which is not woken yet. False where there is no room.
    pub fn offer(&mut self, timer: Timer) -> bool {
        if self.arrivals.room() == 0 {
            return false;
        }
        let pushed = self.arrivals.push(Arrival::Timer(Box::new(timer)));
        assert!(pushed.is_ok(), "there was room, and only this thread pushes");
        true
    }

    pub fn wake_journal(&self) {
        self.arrivals.ring();
    }

    /// Everything up to this event was decided.
    pub fn decided(&self, seq: Seq) {
        self.decided.publish(seq.0);
    }

    /// How long a signal waited for its governor; what is replayed waited longer.
    pub fn measure_wait(&mut self, waited: Duration) {
        if self.is_live() {
            self.recorder.record(Measured::DecideWait, waited);
        }
    }

    pub fn measure(&mut self, took: Duration) {
        self.recorder.record(Measured::Decide, took);
    }

    /// The shard comes round. Says whether measures are handed over now.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.recorder.turn(now)
    }

    /// What a tenant took; false where no more are taken before the next hand-over.
    pub fn measure_tenant(&mut self, tenant: &str, tally: Tally) -> bool {
        self.recorder.tenant(tenant, tally)
    }

    pub fn flush_measures(&mut self, now: Instant) {
        if self.recorder.flush_if_due(now) {
            self.decisions.report();
        }
    }

    /// What found its lane full goes on. False while a lane is full.
    pub fn hand_on(&mut self) -> bool {
        if self.notes.hand_on().is_none() {
            return false;
        }
        let Some(orders) = self.orders.hand_on() else { return false };
        self.ordered |= orders > 0;
        true
    }

    /// Wakes those for whom something came.
    pub fn wake(&mut self) {
        // The scribe looks by itself, and closes a batch by its age: it is woken only so that the lane does not fill.
        if self.notes.lane.depth() >= NOTES_RING {
            self.notes.lane.ring();
        }
        if std::mem::take(&mut self.ordered) {
            self.orders.lane.ring();
        }
    }

    /// Whether the store takes a commit; if it is busy, the changes go with the next one.
    pub fn can_commit(&self) -> bool {
        self.commits.room() > 0
    }

    /// Hands what changed to the store, and asks the scribe to say when the receipts before it are durable.
    pub fn commit(&mut self, mut changes: Changes, through: Seq, held: Option<Vec<u16>>) {
        self.committed += 1;
        if crate::fault::planted("rows-by-number") {
            self.committed = through.0;
        }
        self.notes.push(Note::Commit(self.committed));
        self.uncommitted.move_to(&mut changes);
        let commit = Commit { number: self.committed, changes, through, held };
        let pushed = self.commits.push(commit);
        assert!(pushed.is_ok(), "there was room, and only this thread pushes");
        self.commits.ring();
    }
}

impl<T> Outgoing<T> {
    fn new(lane: Sender<T>) -> Self {
        Self { lane, waiting: VecDeque::new() }
    }

    fn push(&mut self, item: T) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(item);
        } else if let Err(Full(item)) = self.lane.push(item) {
            self.waiting.push_back(item);
        }
    }

    /// How many went on; nothing while the lane is full.
    fn hand_on(&mut self) -> Option<usize> {
        let before = self.waiting.len();
        while let Some(item) = self.waiting.pop_front() {
            if let Err(Full(item)) = self.lane.push(item) {
                self.waiting.push_front(item);
                self.lane.ring();
                return None;
            }
        }
        Some(before)
    }
}

impl Uncommitted {
    fn move_to(&mut self, changes: &mut Changes) {
        for followup in self.followups.drain(..) {
            changes.followup(followup);
        }
        for change in self.cases.drain(..) {
            if crate::fault::planted("dead-letter-lost") && matches!(change, CaseChange::Open { .. }) {
                continue;
            }
            changes.case(change);
        }
        self.case_bytes = 0;
        changes.alerts(std::mem::take(&mut self.alerts));
        for (seq, text) in self.rules.drain(..) {
            changes.rules_from(seq, text.text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Subject;
    use crate::kaizen::Collector;
    use crate::ring::{Bell, lane};

    /// The target's queue ends an order before its governor gives up, also one that was over long before the start.
    #[test]
    fn what_was_over_before_the_start_is_not_given_up_at_once() {
        let bell = || Arc::new(Bell::new(|| {}));
        let (arrivals, mut fired) = lane(8, bell());
        let recorder = Collector::new().unwrap().recorder().unwrap();
        let mut outlet = Outlet::new(
            (lane(8, bell()).0, lane(1, bell()).0),
            (arrivals, lane(1, bell()).0),
            (Mark::new(0), recorder),
        );
        let mut fire = |outlet: &mut Outlet, (now, time)| {
            outlet.fire(now, time);
            let timer = |arrival| match arrival {
                Arrival::Timer(timer) => (timer.kind, timer.armed),
                other => panic!("{other:?}"),
            };
            std::iter::from_fn(|| fired.pop()).map(timer).collect::<Vec<_>>()
        };
        let arm = |kind, armed| {
            let subject = Subject::read("acme", "vm").unwrap();
            Arm { subject, kind, armed: Seq(armed), due: UnixMillis(1000) }
        };
        let begun = clock::now();
        let after =
            |time: Duration| (begun + time, UnixMillis(9_000_000 + u64::try_from(time.as_millis()).unwrap()));
        outlet.go_live();
        outlet.arm(arm(TimerKind::Delivery, 1));
        outlet.arm(arm(TimerKind::ActionDeadline, 1));
        let of_action = (TimerKind::ActionDeadline, Seq(1));
        assert_eq!(fire(&mut outlet, after(Duration::ZERO)), [of_action]);
        // The first of them ended, and its governor waits for the next, which is over as well.
        outlet.arm(arm(TimerKind::Delivery, 2));
        let early = DELIVERY_SLACK.saturating_sub(Duration::from_millis(1));
        assert_eq!(fire(&mut outlet, after(early)), []);
        assert_eq!(fire(&mut outlet, after(DELIVERY_SLACK)), [(TimerKind::Delivery, Seq(2))]);
        outlet.arm(arm(TimerKind::Delivery, 3));
        assert_eq!(fire(&mut outlet, after(DELIVERY_SLACK)), [(TimerKind::Delivery, Seq(3))]);
    }
}

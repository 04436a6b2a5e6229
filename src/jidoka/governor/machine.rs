//! The machine of one tenant and SKU: one event in, effects out, as [`table`] says.

use std::sync::Arc;

use super::alarms::{GovernorAlarms, Holding, NoPlace};
use super::armed::Armed;
use super::codec;
use super::deliveries::{Deliveries, over};
use super::effects::{ActionRequest, Arm, Effects, Intent};
use super::known::Known;
use super::mailbox::{Held, Mailbox};
use super::quota::Quota;
use super::reason;
use super::state::{Flight, Halted, HaltedBy, State};
use super::table::{self, OnEntitlement, OnOrder, OnOutcome, OnSignal, OnTimer};
use super::turn::{Ended, Turn, Whose, joined, said};
use crate::alert::{Alarm, AlertLabels, CauseKind};
use crate::case::Cause;
use crate::event::{
    Astray, Command, Event, Kind, Outcome, Replay, Resend, Seq, Stray, Subject, Timer, TimerKind, UnixMillis,
    Verb,
};
use crate::halt::{Halt, HaltOrder};
use crate::jidoka::breaker::Breaker;
use crate::jidoka::dead_letter::Closing;
use crate::jidoka::policy::{Decision, Memory, Question, Ruling};
use crate::jidoka::rules::{EntitlementDefault, Rules};
use crate::limits::WAITING_BYTES;
use crate::receipt::{About, Earlier, Policy, ReceiptType, StateName};
use crate::signal::{Severity, Signal};

/// One governed thing of one tenant.
#[derive(Debug)]
pub struct Governor {
    known: Known,
}

impl Governor {
    /// A governor that the event `seq` at `time` is about to reach as its first.
    #[must_use]
    pub fn new(subject: &Subject, seq: Seq, time: UnixMillis, rules: &Rules, effects: &mut Effects) -> Self {
        let governor = Self { known: Known::new(subject, seq, time, rules) };
        effects.timers.extend(governor.timers());
        governor
    }

    /// A governor that the store gives back.
    #[must_use]
    pub fn restored(known: Known) -> Self {
        Self { known }
    }

    /// A governor that another node knew until now. Its numbers are that node's; from here on everything that it has begun is
    /// named by the event `by` that brings it, so that nothing is mistaken for an event of this journal. Only its action keeps
    /// the name under which the target may know it, and has its whole time again, since it is taken again.
    #[must_use]
    pub fn renamed(known: Known, by: Seq, time: UnixMillis, rules: &Rules) -> Self {
        let mut known = known;
        if let Some(alarms) = &mut known.alarms {
            alarms.tell_anew(by);
        }
        known.last_seq = by;
        known.quota.armed_by(by);
        let renamed = |flight: &mut Flight| {
            flight.deadline = Armed::after(by, time, rules.action_deadline);
            flight.intent.by = by;
            flight.intent.accepted = by;
        };
        // No node that shares its governors has any: they would be named alike.
        known.deliveries = None;
        match &mut known.state {
            State::Boot(boot) => boot.timer.by = by,
            State::ActionPending(pending) => renamed(&mut pending.flight),
            State::Halted(halted) => match &mut halted.by {
                HaltedBy::Breaker { reset } => reset.by = by,
                HaltedBy::Operator { flight, .. } => flight.as_deref_mut().into_iter().for_each(renamed),
            },
            State::Stable | State::QuotaExhausted | State::Degraded => {}
        }
        Self { known }
    }

    /// What the store files this governor under.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.known.key
    }

    #[must_use]
    pub fn tenant(&self) -> &str {
        self.known.tenant()
    }

    #[must_use]
    pub fn sku(&self) -> &str {
        self.known.sku()
    }

    #[must_use]
    pub fn state(&self) -> StateName {
        self.known.state.name()
    }

    #[must_use]
    pub fn breaker(&self) -> Breaker {
        self.known.breaker
    }

    #[must_use]
    pub fn quota_remaining(&self, rules: &Rules) -> u32 {
        self.known.quota.remaining(rules)
    }

    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.known.last_seq
    }

    #[must_use]
    pub fn last_signal_time(&self) -> UnixMillis {
        self.known.last_signal
    }

    /// Who halted it, and why; `None` where no operator did, or that is not known.
    #[must_use]
    pub fn halt_order(&self) -> Option<&HaltOrder> {
        match &self.known.state {
            State::Halted(Halted { by: HaltedBy::Operator { order, .. }, .. }) => order.as_deref(),
            State::Halted(_)
            | State::Boot(_)
            | State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded => None,
        }
    }

    /// Whether an operator halted it by itself.
    #[must_use]
    pub fn is_halted_by_operator(&self) -> bool {
        matches!(&self.known.state, State::Halted(Halted { by: HaltedBy::Operator { .. }, .. }))
    }

    /// Since when the line stands still here.
    #[must_use]
    pub fn halted_since(&self) -> Option<UnixMillis> {
        match &self.known.state {
            State::Halted(halted) => Some(halted.since),
            State::Boot(_)
            | State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded => None,
        }
    }

    /// The action that waits for its outcome. After a recovery it must be taken again: whether it had begun is
    /// not known, hence its stable number (promise P2).
    #[must_use]
    pub fn in_flight(&self) -> Option<&Intent> {
        self.known.state.flight().map(|flight| &flight.intent)
    }

    /// What is out and has no outcome, to be taken again after a recovery, each with the end of its time where it is in the background.
    pub fn out(&self) -> impl Iterator<Item = (&Intent, Option<UnixMillis>)> {
        let background = self.known.deliveries.iter().flat_map(|deliveries| deliveries.iter());
        let background = background.map(|flight| (&flight.intent, Some(flight.deadline.due)));
        self.in_flight().map(|intent| (intent, None)).into_iter().chain(background)
    }

    /// Actions that are out in the background.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        self.known.deliveries.as_deref().map_or(0, Deliveries::len)
    }

    /// How many signals wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.known.state.mailbox().map_or(0, Mailbox::len)
    }

    /// What the signals take that wait for something here: in the mailbox, or for the outcome of their action.
    #[must_use]
    pub fn bytes_waiting(&self) -> usize {
        let flying = self.in_flight().map_or(0, |intent| intent.signal.body().len() + WAITING_BYTES);
        let mailbox =
            self.known.state.mailbox().map_or(0, |mailbox| mailbox.bytes() + mailbox.len() * WAITING_BYTES);
        flying + mailbox + self.known.deliveries.as_deref().map_or(0, Deliveries::bytes)
    }

    /// Signals that wait, those that came after `seq`; all without one.
    pub fn held_after(&self, seq: Option<Seq>) -> impl Iterator<Item = &Held> {
        self.known.state.mailbox().into_iter().flat_map(move |mailbox| mailbox.after(seq))
    }

    /// The number of the signal that waits longest. Its receipt is still to come and will carry this number,
    /// although the event that brings it is a later one: who looks for receipts of a replay must look from here.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Seq> {
        self.known.state.mailbox().and_then(Mailbox::oldest)
    }

    /// The timers that run, at most [`crate::limits::TIMERS_PER_GOVERNOR`]; the shard arms them anew after a recovery.
    pub fn timers(&self) -> impl Iterator<Item = Arm> {
        let boot = match &self.known.state {
            State::Boot(boot) => Some(boot.timer),
            State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded
            | State::Halted(_) => None,
        };
        let reset = match &self.known.state {
            State::Halted(halted) => match &halted.by {
                HaltedBy::Breaker { reset } => Some(*reset),
                HaltedBy::Operator { .. } => None,
            },
            State::Boot(_)
            | State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded => None,
        };
        let running = [
            (TimerKind::Boot, boot),
            (TimerKind::QuotaWindow, self.known.quota.window()),
            (TimerKind::BreakerReset, reset),
            (TimerKind::ActionDeadline, self.known.state.flight().map(|flight| flight.deadline)),
            (TimerKind::Delivery, self.known.deliveries.as_deref().and_then(Deliveries::first_ends)),
        ];
        running.into_iter().filter_map(|(kind, timer)| timer.map(|timer| self.arm(kind, timer)))
    }

    fn arm(&self, kind: TimerKind, timer: Armed) -> Arm {
        Arm { subject: self.subject(), kind, armed: timer.by, due: timer.due }
    }

    /// Its tenant and SKU.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let read = Subject::read(self.tenant(), self.sku());
        read.unwrap_or_else(|illegal| unreachable!("its names were checked when it was made: {illegal}"))
    }

    /// The state of a governor that nothing holds up.
    fn at_rest(&self) -> State {
        if self.known.entitled { State::Stable } else { State::Degraded }
    }

    /// For what no event brings about.
    #[cfg(test)]
    pub fn known_mut(&mut self) -> &mut Known {
        &mut self.known
    }

    fn whose(&self) -> Whose<'_> {
        Whose { tenant: self.tenant(), sku: self.sku(), state: self.state() }
    }

    /// The signals that wait, in order, by the number of the event that brought each.
    pub fn waits(&self) -> impl Iterator<Item = (Seq, &Signal)> {
        self.held_after(None).map(|held| (held.seq, &held.signal))
    }

    /// The timers that may be over when it is adopted: that of an action begins anew.
    pub fn lasting_timers(&self) -> impl Iterator<Item = (TimerKind, UnixMillis)> {
        let lasting = self.timers().filter(|arm| arm.kind != TimerKind::ActionDeadline);
        lasting.map(|arm| (arm.kind, arm.due))
    }

    /// Appends this governor to `out`, the signals that wait included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        codec::encode(&self.known, out);
        self.held_after(None).for_each(|held| codec::encode_held(held, out));
    }

    /// The same but for the signals that wait, of which it says only how many there are.
    pub fn encode_bare(&self, out: &mut Vec<u8>) {
        codec::encode(&self.known, out);
    }

    /// Equal for governors that know the same. `scratch` is emptied and used.
    #[cfg(test)]
    pub fn state_hash(&self, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        self.encode(scratch);
        xxhash_rust::xxh3::xxh3_64(scratch)
    }

    /// Whether nothing distinguishes it from a new one.
    #[must_use]
    pub fn is_as_new(&self, time: UnixMillis, rules: &Rules) -> bool {
        let is_blank = |memory: &Memory| rules.policies.of(self.tenant()).is_blank(memory, time);
        self.known.is_at_first()
            && rules.entitlement == EntitlementDefault::Active
            && self.known.memory.as_deref().is_none_or(is_blank)
    }

    /// Whether it is a new one at its next event; then it need not be kept, once no event before that is read again.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.known.forgotten
    }

    /// Whether the event is a new one, and then which was the last one before it.
    fn begin(&mut self, event: &Event, rules: &Rules, effects: &mut Effects) -> Option<Seq> {
        let before = self.known.last_seq;
        if event.seq <= before {
            return None;
        }
        let looks = matches!(&event.kind, Kind::Timer(timer) if timer.kind == TimerKind::Idle);
        if self.known.forgotten && !looks {
            *self = Self::new(&self.subject(), event.seq, event.time, rules, effects);
        }
        self.known.last_seq = event.seq;
        Some(before)
    }

    /// The shard found it idle after the event `timer.armed`. It is new again, if nothing has come since.
    fn on_idle(&mut self, timer: &Timer, before: Seq, turn: &Turn) {
        let answer = table::row(self.state()).idle;
        self.known.forgotten |=
            answer == OnTimer::Forget && timer.armed == before && self.is_as_new(turn.time(), turn.rules());
    }
}

impl Governor {
    /// Applies one event and adds what should happen to `effects`. An event at or before the last one applied
    /// changes nothing and has no effects, so that a journal may be offered again from any earlier point.
    pub fn step(&mut self, event: Event, rules: &Rules, effects: &mut Effects) {
        debug_assert_eq!(
            event.subject(),
            Some((self.tenant(), self.sku())),
            "the event is for another governor"
        );
        let Some(before) = self.begin(&event, rules, effects) else { return };
        let mut turn = Turn::new(event.seq, event.time, rules, effects);
        match event.kind {
            Kind::Timer(timer) if timer.kind == TimerKind::Idle => self.on_idle(&timer, before, &turn),
            Kind::Signal(signal) => {
                self.on_signal(Held { seq: event.seq, accepted: event.seq, signal }, &mut turn);
            }
            Kind::Replay(replay) => self.on_replay(*replay, &mut turn),
            Kind::Outcome(outcome) => self.on_outcome(&outcome, &mut turn),
            Kind::Timer(timer) => self.on_timer(&timer, &mut turn),
            Kind::Command(command) => self.on_command(&command, &mut turn),
            Kind::Stray(stray) => self.on_stray(*stray, &mut turn),
            Kind::Alarm(alarm) => self.alarms(|alarms, _| alarms.journalled(&alarm)),
            // The shard's own, which change what the next events are stepped under, or by whom, and the journal's.
            Kind::Rules(_)
            | Kind::Reconfigured(_)
            | Kind::Position(_)
            | Kind::Hold(_)
            | Kind::Adopt(_)
            | Kind::Shared(_)
            | Kind::Manifest(_) => {}
        }
        self.look_at_causes(&mut turn);
        debug_assert!(self.known.is_consistent(), "a state that must not be: {self:?}");
    }

    /// Gives up on an event whose decision fails: a signal becomes a dead letter, anything else is passed over.
    pub fn park(&mut self, event: Event, rules: &Rules, effects: &mut Effects) {
        if self.begin(&event, rules, effects).is_none() {
            return;
        }
        let (accepted, signal, resend) = match event.kind {
            Kind::Signal(signal) => (event.seq, signal, None),
            Kind::Replay(replay) => (replay.case, replay.signal, replay.resend),
            Kind::Stray(stray) => (event.seq, stray.signal, None),
            Kind::Outcome(_)
            | Kind::Timer(_)
            | Kind::Command(_)
            | Kind::Rules(_)
            | Kind::Reconfigured(_)
            | Kind::Position(_)
            | Kind::Hold(_)
            | Kind::Adopt(_)
            | Kind::Shared(_)
            | Kind::Alarm(_)
            | Kind::Manifest(_) => return,
        };
        let mut turn = Turn::new(event.seq, event.time, rules, effects);
        let held = Held { seq: event.seq, accepted, signal };
        turn.dead_letter(held, self.state(), Cause::Us, reason::PANICKED.into(), None);
        turn.keep(resend.as_deref());
    }

    fn on_signal(&mut self, held: Held, turn: &mut Turn) {
        self.known.last_signal = turn.time();
        match held.signal.kind() {
            "gemba.entitlement.active" => self.entitlement_signal(true, held, turn),
            "gemba.entitlement.revoked" => self.entitlement_signal(false, held, turn),
            _ => self.answer(held, turn),
        }
    }

    fn entitlement_signal(&mut self, entitled: bool, held: Held, turn: &mut Turn) {
        let before = self.state();
        let freed = self.entitle(entitled);
        turn.settle(held, ReceiptType::Entitlement, before, self.state());
        self.drain(freed, turn);
    }

    /// Whatever the state, it is a dead letter from the first.
    fn on_stray(&mut self, stray: Stray, turn: &mut Turn) {
        let (cause, detail) = match stray.why {
            Astray::Conflict => (Cause::Sender, reason::CONFLICT),
            Astray::SetAside => (Cause::Us, reason::SET_ASIDE),
            Astray::Foreign => (Cause::Sender, reason::FOREIGN),
            Astray::Poison => (Cause::Us, reason::POISON),
            Astray::Unsigned => (Cause::Sender, reason::UNSIGNED),
            Astray::UnknownKey => (Cause::Sender, reason::UNKNOWN_KEY),
            Astray::WrongMac => (Cause::Sender, reason::WRONG_MAC),
            Astray::TooLong => (Cause::Sender, reason::TOO_LONG),
            Astray::Unreadable => (Cause::Us, reason::UNREADABLE),
            Astray::Misrouted => (Cause::Sender, reason::MISROUTED),
        };
        let held = Held { seq: turn.seq(), accepted: turn.seq(), signal: stray.signal };
        turn.dead_letter(held, self.state(), cause, detail.into(), None);
    }

    /// A dead letter comes again, as if it had just been accepted.
    fn on_replay(&mut self, replay: Replay, turn: &mut Turn) {
        // Named by ordinal 0, now or later.
        turn.leave_ordinal_of_signal();
        let state = self.state();
        let said = said("replay", &replay.actor, &replay.reason);
        let mut draft = turn.of_governor(self.whose(), ReceiptType::Operator, state, state);
        draft.gist.signal_seq = Some(replay.case);
        draft.reason = Some(said);
        if let About::Governor { signal, .. } = &mut draft.about {
            *signal = Some(Earlier::new(&replay.signal));
        }
        turn.draft(draft);
        turn.close(replay.case, Closing::Replayed);
        let held = Held { seq: turn.seq(), accepted: replay.case, signal: replay.signal };
        match replay.resend {
            Some(resend) => self.resend(held, *resend, turn),
            None => self.on_signal(held, turn),
        }
    }

    /// A signal's turn has come: it leaves here with its final receipt, or waits.
    fn answer(&mut self, held: Held, turn: &mut Turn) {
        let state = self.state();
        if let Some(halt) = turn.rules().halts.of_tenant(self.tenant()) {
            return turn.dead_letter(held, state, Cause::Us, halt.to_string().into(), None);
        }
        let row = table::row(state);
        let answer = if held.signal.severity == Severity::Critical { row.critical } else { row.signal };
        match answer {
            OnSignal::Decide => self.decide(held, turn),
            OnSignal::Wait => self.wait(held, turn),
            OnSignal::Drop => turn.settle(held, ReceiptType::DeferredDropped, state, state),
            OnSignal::Exceed => self.exceed(held, turn),
            OnSignal::DeadLetter => {
                let (cause, detail) = match &self.known.state {
                    State::Halted(Halted { by: HaltedBy::Breaker { .. }, .. }) => {
                        (Cause::Target, reason::HALTED_BY_BREAKER)
                    }
                    State::Boot(_)
                    | State::Stable
                    | State::ActionPending(_)
                    | State::QuotaExhausted
                    | State::Degraded
                    | State::Halted(_) => (Cause::Us, reason::HALTED_BY_OPERATOR),
                };
                turn.dead_letter(held, state, cause, detail.into(), None);
            }
        }
    }

    fn decide(&mut self, held: Held, turn: &mut Turn) {
        if self.known.quota.remaining(turn.rules()) == 0 {
            return self.exceed(held, turn);
        }
        let state = self.state();
        let open = self.open_rules();
        let question = self.question(&held.signal, &open, turn);
        let policies = turn.rules().policies.of(self.tenant());
        let decided = policies.decide(&question, &mut self.known.memory, turn.room());
        self.tell_of_rules(&held, turn);
        match decided {
            Ok(Decision::Observe(ruling)) => {
                turn.settle(held, ReceiptType::Observed, state, state);
                turn.by(ruling);
            }
            Ok(Decision::Deny(ruling)) => {
                turn.settle(held, ReceiptType::PolicyDenied, state, state);
                turn.by(Some(ruling));
            }
            Ok(Decision::Act(ruling, name)) => match turn.rules().halts.of_target(name) {
                None => self.act(held, ruling, name, turn),
                Some(halt) => withhold(held, (ruling, name), (state, halt), turn),
            },
            Err(unfit) => turn.unfit(held, state, unfit),
        }
    }

    /// What the rules may look at.
    fn question<'a>(&self, signal: &'a Signal, open: &'a [Box<str>], turn: &Turn) -> Question<'a> {
        Question {
            signal,
            now: turn.time(),
            state: self.state(),
            entitled: self.known.entitled,
            quota_remaining: self.known.quota.remaining(turn.rules()),
            testing: self.known.breaker == Breaker::HalfOpen,
            failures: self.known.breaker.failures(),
            open,
        }
    }

    /// Signals without an action left: a degraded governor stays so, since the window's end cannot heal it. They are
    /// not decided on, but what is counted of them counts.
    fn exceed(&mut self, held: Held, turn: &mut Turn) {
        let before = self.state();
        let open = self.open_rules();
        let question = self.question(&held.signal, &open, turn);
        let policies = turn.rules().policies.of(self.tenant());
        let remembered = policies.remember(&question, &mut self.known.memory, turn.room());
        self.tell_of_rules(&held, turn);
        if let Err(unfit) = remembered {
            return turn.unfit(held, before, unfit);
        }
        self.set_quota(0, turn);
        if before == StateName::Stable {
            self.known.state = State::QuotaExhausted;
            let message = format!("{}/{}: no action is left in its window", self.tenant(), self.sku());
            self.tell(CauseKind::QuotaExhausted, message, AlertLabels::default(), turn);
        }
        turn.settle(held, ReceiptType::QuotaExceeded, before, self.state());
    }

    fn act(&mut self, held: Held, ruling: &Ruling, name: &Arc<str>, turn: &mut Turn) {
        let before = self.state();
        self.set_quota(self.known.quota.remaining(turn.rules()).saturating_sub(1), turn);
        let intent = Intent {
            action: turn.action(held.seq),
            by: held.seq,
            name: Arc::clone(name),
            policy: Arc::clone(&ruling.policy),
            reason: Arc::clone(&ruling.reason),
            time: turn.time(),
            accepted: held.accepted,
            signal: held.signal.clone().alone(),
        };
        self.launch(ActionRequest { intent, maybe_twice: false, is_again: false, give_up: None }, turn);
        turn.settle(held, ReceiptType::ActionGenerated, before, self.state());
        turn.by(Some(ruling));
    }

    /// The action of a case goes out again, as it was decided and under its own id: what was counted and spent for it then
    /// is not counted and spent again.
    fn resend(&mut self, held: Held, resend: Resend, turn: &mut Turn) {
        let before = self.state();
        if self.out().any(|(intent, _)| intent.action == resend.action) {
            // Its outcome says what becomes of the case.
            turn.settle(held, ReceiptType::DeferredDropped, before, before);
            return turn.because(reason::UNDER_WAY);
        }
        let halts = &turn.rules().halts;
        if let Some(halt) = halts.of_tenant(self.tenant()).or_else(|| halts.of_target(&resend.name)) {
            let detail = format!("the action was not sent again: {halt}");
            return turn.not_sent(held, before, &resend, detail.into());
        }
        if table::row(before).signal != OnSignal::Decide {
            let detail = format!("the action was not sent again: the governor is {}", before.into_str());
            return turn.not_sent(held, before, &resend, detail.into());
        }
        let Resend { action, name, pack, rule, content_hash, because, never_ordered } = resend;
        let (policy, reason) = (
            Arc::new(Policy { pack: pack.into(), rule: rule.into(), content_hash }),
            Arc::<str>::from(&*because),
        );
        let intent = Intent {
            action,
            by: held.seq,
            name: (&*name).into(),
            policy: Arc::clone(&policy),
            reason: Arc::clone(&reason),
            time: turn.time(),
            accepted: held.accepted,
            signal: held.signal.clone().alone(),
        };
        self.launch(
            ActionRequest { intent, maybe_twice: !never_ordered, is_again: false, give_up: None },
            turn,
        );
        turn.settle(held, ReceiptType::ActionGenerated, before, self.state());
        if let Some(draft) = turn.last_draft() {
            (draft.gist.action, draft.policy, draft.reason) = (Some(action), Some(policy), Some(reason));
        }
    }

    /// The governor waits for the outcome, unless the action goes out in the background and there is room for one more.
    fn launch(&mut self, request: ActionRequest, turn: &mut Turn) {
        if let Some(give_up) = turn.rules().background.get(&*request.intent.name) {
            let deadline = Armed::after(turn.seq(), turn.time(), *give_up);
            let flight = Flight { intent: request.intent.clone(), deadline };
            if Deliveries::put(&mut self.known.deliveries, flight).is_none() {
                self.watch_deliveries(turn);
                return turn.order(ActionRequest { give_up: Some(deadline.due), ..request });
            }
        }
        let deadline = Armed::after(turn.seq(), turn.time(), turn.rules().action_deadline);
        turn.arm(self.arm(TimerKind::ActionDeadline, deadline));
        self.known.state = State::pending(Flight { intent: request.intent.clone(), deadline });
        turn.order(request);
    }

    /// The timer of what is out in the background is that of the first of them to end.
    fn watch_deliveries(&self, turn: &mut Turn) {
        if let Some(first) = self.known.deliveries.as_deref().and_then(Deliveries::first_ends) {
            turn.arm(self.arm(TimerKind::Delivery, first));
        }
    }

    /// An action in the background ended. The governor stays as it is, and its breaker counts nothing.
    fn delivered(&mut self, flight: &Flight, ended: Ended, reason: Option<Arc<str>>, turn: &mut Turn) {
        let state = self.state();
        turn.landed(self.whose(), Some(flight), ended, state, reason);
    }

    fn wait(&mut self, held: Held, turn: &mut Turn) {
        let state = self.state();
        let refused = match self.known.state.mailbox_mut() {
            Some(mailbox) => mailbox.offer(held, turn.rules()),
            None => Some(held),
        };
        if let Some(held) = refused {
            turn.dead_letter(held, state, Cause::Sender, reason::MAILBOX_FULL.into(), None);
        }
    }

    /// Decides on what waited, in order, until a signal makes an action pending again. The rest then waits there.
    fn drain(&mut self, mut waiting: Mailbox, turn: &mut Turn) {
        while let Some(held) = waiting.take() {
            self.answer(held, turn);
            if let Some(mailbox) = self.known.state.mailbox_mut() {
                *mailbox = waiting;
                return;
            }
        }
    }

    /// Remembers the entitlement and follows the table; what waited and is free now is given back.
    fn entitle(&mut self, entitled: bool) -> Mailbox {
        let row = table::row(self.state());
        self.known.entitled = entitled;
        match if entitled { row.active } else { row.revoked } {
            OnEntitlement::Remember => Mailbox::default(),
            OnEntitlement::Admit => self.leave_for(State::Stable).1,
            OnEntitlement::Degrade => self.leave_for(State::Degraded).1,
        }
    }

    fn leave_for(&mut self, state: State) -> (Option<Flight>, Mailbox) {
        std::mem::replace(&mut self.known.state, state).into_parts()
    }

    fn set_quota(&mut self, remaining: u32, turn: &mut Turn) {
        let fresh = Armed::after(turn.seq(), turn.time(), turn.rules().quota_window);
        if self.known.quota.set(remaining, fresh) {
            turn.arm(self.arm(TimerKind::QuotaWindow, fresh));
        }
    }

    fn on_outcome(&mut self, outcome: &Outcome, turn: &mut Turn) {
        // An action that was sent again keeps its id: what became of an earlier order of it ends no later one.
        let answers = |flight: &Flight| {
            let intent = &flight.intent;
            intent.action == outcome.action && outcome.by.is_none_or(|by| by == intent.by)
        };
        let flying = self.known.state.flight().is_some_and(answers);
        let row = table::row(self.state());
        let answer = match &outcome.result {
            _ if !flying => row.other,
            Ok(()) => row.ok,
            Err(_) => row.error,
        };
        let twice = outcome.maybe_twice.then_some(reason::MAYBE_TWICE);
        let (ended, error) = match &outcome.result {
            Ok(()) => (Ended::Done, None),
            Err(failure) if failure.asked => (Ended::Failed, Some(&*failure.reason)),
            Err(failure) => (Ended::Withheld, Some(&*failure.reason)),
        };
        let first = turn.next_draft();
        let delivered = Deliveries::take(&mut self.known.deliveries, answers);
        if let Some(flight) = delivered.first() {
            self.delivered(flight, ended, joined(&[error, twice]), turn);
            self.watch_deliveries(turn);
            return turn.tell_tries(first, outcome.tries.as_ref());
        }
        match answer {
            OnOutcome::Succeed | OnOutcome::Fail => {
                self.finish(ended, joined(&[error, twice]), turn);
            }
            OnOutcome::Note => self.note_outcome(ended, joined(&[error, twice]), turn),
            OnOutcome::Late => {
                let state = self.state();
                let mut draft = turn.of_governor(self.whose(), ended.receipt(), state, state);
                draft.gist.action = Some(outcome.action);
                draft.gist.signal_seq =
                    (outcome.action.journal == turn.rules().journal).then_some(outcome.action.seq);
                draft.reason = joined(&[Some(reason::LATE), error, twice]);
                turn.draft(draft);
            }
        }
        turn.tell_tries(first, outcome.tries.as_ref());
    }

    /// The action in flight ended; the breaker counts how.
    fn finish(&mut self, ended: Ended, reason: Option<Arc<str>>, turn: &mut Turn) {
        let before = self.state();
        let (flight, waiting) = self.leave_for(self.at_rest());
        turn.landed(self.whose(), flight.as_ref(), ended, before, reason);
        match ended {
            Ended::Done => self.known.breaker.success(),
            Ended::Failed if self.known.breaker.failure(turn.rules().breaker_failures) => {
                self.stop(flight.as_ref(), turn);
            }
            Ended::Failed | Ended::Withheld => {}
        }
        self.drain(waiting, turn);
    }

    /// The breaker opened: halts until its timer.
    fn stop(&mut self, flight: Option<&Flight>, turn: &mut Turn) {
        let before = self.state();
        let reset = Armed::after(turn.seq(), turn.time(), turn.rules().breaker_reset);
        turn.arm(self.arm(TimerKind::BreakerReset, reset));
        self.known.state = State::Halted(Halted { since: turn.time(), by: HaltedBy::Breaker { reset } });
        let mut draft = turn.of_governor(self.whose(), ReceiptType::JidokaHalt, before, self.state());
        draft.reason = Some(reason::BREAKER_OPENED.into());
        draft.cause_by(flight);
        turn.draft(draft);
        let target: Option<Box<str>> = flight.map(|flight| (*flight.intent.name).into());
        let of = target.as_deref().map_or(String::new(), |target| format!(" of `{target}`"));
        let message = format!("{}/{}: actions{of} fail, its breaker is open", self.tenant(), self.sku());
        self.tell(
            CauseKind::GovernorBreaker,
            message,
            AlertLabels { target, ..AlertLabels::default() },
            turn,
        );
    }

    /// The action that was out when an operator halted ended.
    fn note_outcome(&mut self, ended: Ended, reason: Option<Arc<str>>, turn: &mut Turn) {
        let state = self.state();
        let State::Halted(Halted { by: HaltedBy::Operator { flight, .. }, .. }) = &mut self.known.state
        else {
            return;
        };
        let flight = flight.take();
        turn.landed(self.whose(), flight.as_deref(), ended, state, reason);
    }

    fn on_timer(&mut self, timer: &Timer, turn: &mut Turn) {
        if !self.timers().any(|arm| arm.kind == timer.kind && arm.armed == timer.armed) {
            return;
        }
        let before = self.state();
        let row = table::row(before);
        if timer.kind == TimerKind::Delivery {
            let now = turn.time();
            for flight in Deliveries::take(&mut self.known.deliveries, |flight| over(flight) <= now) {
                self.delivered(&flight, Ended::Failed, Some(reason::NO_OUTCOME.into()), turn);
            }
            return self.watch_deliveries(turn);
        }
        let answer = match timer.kind {
            TimerKind::Boot => row.boot,
            TimerKind::QuotaWindow => row.quota_window,
            TimerKind::BreakerReset => row.breaker_reset,
            TimerKind::ActionDeadline => row.action_deadline,
            TimerKind::Idle => row.idle,
            TimerKind::Delivery => OnTimer::Ignore,
        };
        match answer {
            OnTimer::Ignore | OnTimer::Forget => {}
            OnTimer::GiveUp => {
                let (_, waiting) = self.leave_for(State::Degraded);
                turn.moved(self.whose(), ReceiptType::BootstrapTimeout, before, None);
                self.drain(waiting, turn);
            }
            OnTimer::Refill => self.known.quota = Quota::Full,
            OnTimer::Reopen => {
                self.known.quota = Quota::Full;
                self.known.state = State::Stable;
                turn.moved(self.whose(), ReceiptType::QuotaRestored, before, None);
            }
            OnTimer::Test => {
                self.known.breaker.test();
                self.known.state = self.at_rest();
                turn.moved(self.whose(), ReceiptType::BreakerTesting, before, None);
            }
            OnTimer::Fail => self.finish(Ended::Failed, Some(reason::NO_OUTCOME.into()), turn),
            OnTimer::Note => self.note_outcome(Ended::Failed, Some(reason::NO_OUTCOME.into()), turn),
        }
    }

    fn on_command(&mut self, command: &Command, turn: &mut Turn) {
        let before = self.state();
        let row = table::row(before);
        let said = Some(said(&verb(command.verb), &command.actor, &command.reason));
        let order = match command.verb {
            Verb::Discard(case) => {
                let mut draft = turn.of_governor(self.whose(), ReceiptType::Operator, before, before);
                draft.gist.signal_seq = Some(case);
                draft.reason = said;
                turn.draft(draft);
                return turn.close(case, Closing::Discarded);
            }
            Verb::Entitle | Verb::Revoke => {
                let freed = self.entitle(command.verb == Verb::Entitle);
                turn.moved(self.whose(), ReceiptType::Operator, before, said);
                return self.drain(freed, turn);
            }
            Verb::Halt => row.halt,
            Verb::Resume => row.resume,
            Verb::Quota(_) => row.quota,
        };
        match (order, command.verb) {
            (OnOrder::Halt, _) => return self.halt(command, said, turn),
            (OnOrder::Resume, _) => self.resume(),
            (OnOrder::Quota, Verb::Quota(remaining)) => self.set_quota(remaining, turn),
            (OnOrder::Reopen, Verb::Quota(remaining)) => {
                self.set_quota(remaining, turn);
                if remaining > 0 {
                    self.known.state = State::Stable;
                }
            }
            (OnOrder::Note | OnOrder::Quota | OnOrder::Reopen, _) => {}
        }
        turn.moved(self.whose(), ReceiptType::Operator, before, said);
    }

    fn halt(&mut self, Command { actor, reason, .. }: &Command, said: Option<Arc<str>>, turn: &mut Turn) {
        let before = self.state();
        // Who, why and since when are of one order, as its receipt has them.
        let since = turn.time();
        let (flight, waiting) = self.leave_for(State::Stable);
        let order = Some(Box::new(HaltOrder { actor: actor.clone(), reason: reason.clone() }));
        let by = HaltedBy::Operator { flight: flight.map(Box::new), order };
        self.known.state = State::Halted(Halted { since, by });
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let message = format!("{}/{} is halted by {actor}{why}", self.tenant(), self.sku());
        self.tell(CauseKind::Halt, message, AlertLabels::default(), turn);
        turn.moved(self.whose(), ReceiptType::JidokaHalt, before, said);
        self.drain(waiting, turn);
    }

    /// What it told of itself, to be changed; nothing is kept where nothing is left.
    fn alarms<T>(&mut self, change: impl FnOnce(&mut GovernorAlarms, &Subject) -> T) -> T {
        let subject = self.subject();
        let alarms = self.known.alarms.get_or_insert_default();
        let changed = change(alarms, &subject);
        if alarms.is_empty() {
            self.known.alarms = None;
        }
        changed
    }

    /// A cause holds that people are told of.
    fn tell(&mut self, kind: CauseKind, message: String, labels: AlertLabels, turn: &mut Turn) {
        let now = (turn.seq(), turn.time());
        let holding = Holding {
            kind,
            name: "".into(),
            importance: kind.importance(),
            message: message.into(),
            labels,
            minutes: 0,
        };
        // The governor's own causes have their places.
        turn.alarm(self.alarms(|alarms, subject| alarms.raise(subject, holding, now)).unwrap_or_default());
    }

    /// Rules whose alert is open.
    fn open_rules(&self) -> Vec<Box<str>> {
        let alarms = self.known.alarms.as_deref();
        alarms.into_iter().flat_map(GovernorAlarms::open_rules).map(Into::into).collect()
    }

    /// What the rules say of alerts by this signal.
    fn tell_of_rules(&mut self, held: &Held, turn: &mut Turn) {
        let room = turn.room();
        if room.alert.is_none() && room.resolved.is_empty() {
            return;
        }
        let (firing, resolved) = (room.alert.take(), std::mem::take(&mut room.resolved));
        for policy in resolved {
            let rule = format!("{}/{}", policy.pack, policy.rule);
            let by = turn.seq();
            turn.alarm(self.alarms(|alarms, subject| alarms.end(subject, CauseKind::Rule, &rule, by)));
        }
        let Some(firing) = firing else { return };
        let (now, rule) = (turn.time(), format!("{}/{}", firing.policy.pack, firing.policy.rule));
        if self.known.alarms.as_deref().is_some_and(|alarms| alarms.was_told_lately(&rule, now)) {
            return;
        }
        let signal = &held.signal;
        let hash = faster_hex::hex_string(&signal.hash());
        let assurance = signal.provenance.assurance.as_str();
        let labels = AlertLabels {
            signal: Some((held.accepted.0, signal.id().into(), hash.into())),
            source: Some(signal.provenance.source.clone()),
            assurance: Some(assurance.into()),
            owner: firing.owner.as_deref().map(Into::into),
            target: None,
            resolves: firing.resolves,
        };
        let holding = Holding {
            kind: CauseKind::Rule,
            name: rule.into(),
            importance: firing.importance,
            message: firing.message,
            labels,
            minutes: firing.minutes,
        };
        let told = (turn.seq(), now);
        match self.alarms(|alarms, subject| alarms.raise(subject, holding, told)) {
            Ok(told) => turn.alarm(told),
            Err(NoPlace) => turn.refuse_alert(self.whose(), held, (&firing.policy, firing.importance)),
        }
    }

    /// What was told and holds no more.
    fn look_at_causes(&mut self, turn: &mut Turn) {
        let Some(alarms) = &self.known.alarms else { return };
        let halted = match &self.known.state {
            State::Halted(halted) => matches!(halted.by, HaltedBy::Operator { .. }),
            State::Boot(_)
            | State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded => false,
        };
        let holds = [
            (CauseKind::GovernorBreaker, !matches!(self.known.breaker, Breaker::Closed { .. })),
            (CauseKind::Halt, halted),
            (CauseKind::QuotaExhausted, matches!(self.known.state, State::QuotaExhausted)),
        ];
        for (kind, _) in
            holds.into_iter().filter(|(kind, holds)| !holds && alarms.has(*kind)).collect::<Vec<_>>()
        {
            let by = turn.seq();
            turn.alarm(self.alarms(|alarms, subject| alarms.end(subject, kind, "", by)));
        }
        self.end_alerts_of_rules_that_are_gone(turn);
    }

    /// No rule will end these: it was renamed or removed, or does not say any more when its alert is over.
    fn end_alerts_of_rules_that_are_gone(&mut self, turn: &mut Turn) {
        let Some(alarms) = &self.known.alarms else { return };
        let policies = turn.rules().policies.of(self.tenant());
        let gone = alarms.open_resolving_rules().filter(|rule| !policies.resolves(rule));
        for rule in gone.map(Box::<str>::from).collect::<Vec<_>>() {
            let by = turn.seq();
            turn.alarm(self.alarms(|alarms, subject| alarms.end(subject, CauseKind::Rule, &rule, by)));
        }
    }

    /// Whether it told of a cause of whose end it has yet to tell.
    #[must_use]
    pub fn has_open_alarms(&self) -> bool {
        self.known.alarms.as_deref().is_some_and(|alarms| !alarms.is_spent())
    }

    /// What the journal does not know yet of what it told.
    #[must_use]
    pub fn untold_alarms(&self) -> Vec<Alarm> {
        self.known.alarms.as_deref().map(|alarms| alarms.untold(&self.subject())).unwrap_or_default()
    }

    fn resume(&mut self) {
        let (flight, _) = self.leave_for(self.at_rest());
        if let Some(flight) = flight {
            self.known.state = State::pending(flight);
        }
        self.known.breaker.close();
    }
}

/// An action that a rule asked for is not ordered: its target is halted. It can be sent later as it was decided.
fn withhold(
    held: Held,
    (ruling, name): (&Ruling, &Arc<str>),
    (state, halt): (StateName, &Halt),
    turn: &mut Turn,
) {
    let Policy { pack, rule, content_hash } = (*ruling.policy).clone();
    let (action, name, because) = (turn.action(held.seq), (**name).into(), (*ruling.reason).into());
    let (pack, rule) = (pack.into(), rule.into());
    let resend = Resend { action, name, pack, rule, content_hash, because, never_ordered: true };
    turn.dead_letter(held, state, Cause::Us, halt.to_string().into(), Some(Arc::clone(&ruling.policy)));
    turn.keep(Some(&resend));
}

fn verb(verb: Verb) -> String {
    match verb {
        Verb::Quota(remaining) => format!("quota {remaining}"),
        Verb::Halt | Verb::Resume | Verb::Entitle | Verb::Revoke | Verb::Discard(_) => {
            verb.name().into_str().into()
        }
    }
}

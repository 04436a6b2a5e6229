//! One event in, effects out, as [`table`] says.

use std::sync::Arc;

use super::effects::{Arm, Effects, Intent};
use super::mailbox::{Held, Mailbox, alone};
use super::state::{Flight, Halted, HaltedBy, State};
use super::table::{self, OnEntitlement, OnOrder, OnOutcome, OnSignal, OnTimer};
use super::turn::{Ended, Turn, joined, said};
use super::{Armed, Governor};
use crate::case::Cause;
use crate::event::{Astray, Command, Event, Kind, Outcome, Replay, Resend, Stray, Timer, TimerKind, Verb};
use crate::jidoka::breaker::Breaker;
use crate::jidoka::dead_letter::Closing;
use crate::jidoka::policy::{Decision, Question, Ruling};
use crate::jidoka::rules::Rules;
use crate::receipt::{About, Earlier, Policy, ReceiptType, StateName};
use crate::signal::{Severity, Signal};

/// The reasons that a governor gives by itself.
pub mod reason {
    pub const HALTED_BY_BREAKER: &str = "the governor is halted: too many actions failed in a row";
    pub const HALTED_BY_OPERATOR: &str = "the governor is halted by an operator";
    pub const UNDER_WAY: &str = "the action is under way already";
    pub const MAILBOX_FULL: &str =
        "the mailbox is full: more signals than may wait came while one action was out";
    pub const NO_OUTCOME: &str = "no outcome before the deadline";
    pub const BREAKER_OPENED: &str = "too many actions failed in a row";
    pub const LATE: &str = "late: the action is not in flight";
    pub const PANICKED: &str = "deciding on it failed twice";
    pub const MAYBE_TWICE: &str = "may have run twice";
    pub const CONFLICT: &str = "two edges accepted a signal of this id, each with another body";
    pub const SET_ASIDE: &str = "the broker set it aside";
    pub const FOREIGN: &str = "it stood in a queue of the broker and no edge wrote it";
    pub const UNSIGNED: &str = "it stood in a queue of the broker and has no MAC: no edge wrote it";
    pub const UNKNOWN_KEY: &str = "its MAC is under a key that this processor does not have: `rabbitmq.key` differs, or no edge wrote it";
    pub const WRONG_MAC: &str = "its MAC is not the one of what it says: no edge wrote it";
    pub const TOO_LONG: &str = "it is longer than an edge's messages are; its beginning is kept";
    pub const UNREADABLE: &str = "an edge wrote it, and this version cannot read it";
    pub const MISROUTED: &str = "an edge wrote it for another partition than the one in whose queue it stood";
    pub const POISON: &str = "taking it has ended the processor again and again";
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
        let mut turn = Turn { seq: event.seq, time: event.time, ordinal: 0, rules, effects };
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
            // The shard's own, which change what the next events are stepped under, or by whom, and the journal's.
            Kind::Rules(_) | Kind::Position(_) | Kind::Hold(_) | Kind::Adopt(_) | Kind::Shared(_) => {}
        }
        debug_assert!(self.consistent(), "a state that must not be: {self:?}");
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
            | Kind::Position(_)
            | Kind::Hold(_)
            | Kind::Adopt(_)
            | Kind::Shared(_) => return,
        };
        let mut turn = Turn { seq: event.seq, time: event.time, ordinal: 0, rules, effects };
        let held = Held { seq: event.seq, accepted, signal };
        turn.dead_letter(held, self.state(), Cause::Us, reason::PANICKED.into(), None);
        turn.keep(resend.as_deref());
    }

    fn on_signal(&mut self, held: Held, turn: &mut Turn) {
        self.last_signal = turn.time;
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
        let held = Held { seq: turn.seq, accepted: turn.seq, signal: stray.signal };
        turn.dead_letter(held, self.state(), cause, detail.into(), None);
    }

    /// A dead letter comes again, as if it had just been accepted.
    fn on_replay(&mut self, replay: Replay, turn: &mut Turn) {
        // The signal's own receipt is named by ordinal 0, now or later.
        turn.ordinal = 1;
        let state = self.state();
        let said = said("replay", &replay.actor, &replay.reason);
        let mut draft = turn.of_governor(self, ReceiptType::Operator, state, state);
        draft.signal_seq = Some(replay.case);
        draft.reason = Some(said);
        if let About::Governor { signal, .. } = &mut draft.about {
            *signal = Some(Earlier::new(&replay.signal));
        }
        turn.effects.drafts.push(draft);
        turn.close(replay.case, Closing::Replayed);
        let held = Held { seq: turn.seq, accepted: replay.case, signal: replay.signal };
        match replay.resend {
            Some(resend) => self.resend(held, *resend, turn),
            None => self.on_signal(held, turn),
        }
    }

    /// A signal's turn has come: it leaves here with its final receipt, or waits.
    fn answer(&mut self, held: Held, turn: &mut Turn) {
        let state = self.state();
        let row = table::row(state);
        let answer = if held.signal.severity == Severity::Critical { row.critical } else { row.signal };
        match answer {
            OnSignal::Decide => self.decide(held, turn),
            OnSignal::Wait => self.wait(held, turn),
            OnSignal::Drop => turn.settle(held, ReceiptType::DeferredDropped, state, state),
            OnSignal::Exceed => self.exceed(held, turn),
            OnSignal::DeadLetter => {
                let (cause, detail) = match &self.state {
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
        if self.quota.remaining(turn.rules) == 0 {
            return self.exceed(held, turn);
        }
        let state = self.state();
        let question = self.question(&held.signal, turn);
        let policies = turn.rules.policies.of(self.tenant());
        match policies.decide(&question, &mut self.memory, &mut turn.effects.room) {
            Ok(Decision::Observe(ruling)) => {
                turn.settle(held, ReceiptType::Observed, state, state);
                turn.by(ruling);
            }
            Ok(Decision::Deny(ruling)) => {
                turn.settle(held, ReceiptType::PolicyDenied, state, state);
                turn.by(Some(ruling));
            }
            Ok(Decision::Act(ruling, name)) => self.act(held, ruling, name, turn),
            Err(unfit) => turn.unfit(held, state, unfit),
        }
    }

    /// What the rules may look at.
    fn question<'a>(&self, signal: &'a Signal, turn: &Turn) -> Question<'a> {
        Question {
            signal,
            now: turn.time,
            state: self.state(),
            entitled: self.entitled,
            quota_remaining: self.quota.remaining(turn.rules),
            testing: self.breaker == Breaker::HalfOpen,
            failures: self.breaker.failures(),
        }
    }

    /// Signals without an action left: a degraded governor stays so, since the window's end cannot heal it. They are
    /// not decided on, but what is counted of them counts.
    fn exceed(&mut self, held: Held, turn: &mut Turn) {
        let before = self.state();
        let question = self.question(&held.signal, turn);
        let policies = turn.rules.policies.of(self.tenant());
        if let Err(unfit) = policies.remember(&question, &mut self.memory, &mut turn.effects.room) {
            return turn.unfit(held, before, unfit);
        }
        self.set_quota(0, turn);
        if before == StateName::Stable {
            self.state = State::QuotaExhausted;
        }
        turn.settle(held, ReceiptType::QuotaExceeded, before, self.state());
    }

    fn act(&mut self, held: Held, ruling: &Ruling, name: &Arc<str>, turn: &mut Turn) {
        let before = self.state();
        self.set_quota(self.quota.remaining(turn.rules).saturating_sub(1), turn);
        let intent = Intent {
            action: turn.action(held.seq),
            by: held.seq,
            name: Arc::clone(name),
            policy: Arc::clone(&ruling.policy),
            reason: Arc::clone(&ruling.reason),
            time: turn.time,
            accepted: held.accepted,
            signal: alone(held.signal.clone()),
        };
        self.launch(intent, turn);
        turn.settle(held, ReceiptType::ActionGenerated, before, self.state());
        turn.by(Some(ruling));
    }

    /// The action of a case goes out again, as it was decided and under its own id: what was counted and spent for it then
    /// is not counted and spent again.
    fn resend(&mut self, held: Held, resend: Resend, turn: &mut Turn) {
        let before = self.state();
        if self.in_flight().is_some_and(|intent| intent.action == resend.action) {
            // Its outcome says what becomes of the case.
            turn.settle(held, ReceiptType::DeferredDropped, before, before);
            return turn.because(reason::UNDER_WAY);
        }
        if table::row(before).signal != OnSignal::Decide {
            return turn.not_sent(held, before, &resend);
        }
        let Resend { action, name, pack, rule, content_hash, because } = resend;
        let (policy, reason) = (
            Arc::new(Policy { pack: pack.into(), rule: rule.into(), content_hash }),
            Arc::<str>::from(&*because),
        );
        self.launch(
            Intent {
                action,
                by: held.seq,
                name: (&*name).into(),
                policy: Arc::clone(&policy),
                reason: Arc::clone(&reason),
                time: turn.time,
                accepted: held.accepted,
                signal: alone(held.signal.clone()),
            },
            turn,
        );
        turn.settle(held, ReceiptType::ActionGenerated, before, self.state());
        if let Some(draft) = turn.effects.drafts.last_mut() {
            (draft.action, draft.policy, draft.reason) = (Some(action), Some(policy), Some(reason));
        }
    }

    fn launch(&mut self, intent: Intent, turn: &mut Turn) {
        let deadline = Armed::after(turn.seq, turn.time, turn.rules.action_deadline);
        turn.effects.timers.push(self.arm(TimerKind::ActionDeadline, deadline));
        turn.effects.intents.push(intent.clone());
        self.state = State::pending(Flight { intent, deadline });
    }

    fn wait(&mut self, held: Held, turn: &mut Turn) {
        let state = self.state();
        let refused = match self.state.mailbox_mut() {
            Some(mailbox) => mailbox.offer(held, turn.rules),
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
            if let Some(mailbox) = self.state.mailbox_mut() {
                *mailbox = waiting;
                return;
            }
        }
    }

    /// Remembers the entitlement and follows the table; what waited and is free now is given back.
    fn entitle(&mut self, entitled: bool) -> Mailbox {
        let row = table::row(self.state());
        self.entitled = entitled;
        match if entitled { row.active } else { row.revoked } {
            OnEntitlement::Remember => Mailbox::default(),
            OnEntitlement::Admit => self.leave_for(State::Stable).1,
            OnEntitlement::Degrade => self.leave_for(State::Degraded).1,
        }
    }

    fn leave_for(&mut self, state: State) -> (Option<Flight>, Mailbox) {
        std::mem::replace(&mut self.state, state).into_parts()
    }

    fn set_quota(&mut self, remaining: u32, turn: &mut Turn) {
        let fresh = Armed::after(turn.seq, turn.time, turn.rules.quota_window);
        if self.quota.set(remaining, fresh) {
            turn.effects.timers.push(self.arm(TimerKind::QuotaWindow, fresh));
        }
    }

    fn on_outcome(&mut self, outcome: &Outcome, turn: &mut Turn) {
        let flying = self.state.flight().is_some_and(|flight| flight.intent.action == outcome.action);
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
        match answer {
            OnOutcome::Succeed | OnOutcome::Fail => {
                self.finish(ended, joined(&[error, twice]), turn);
            }
            OnOutcome::Note => self.note_outcome(ended, joined(&[error, twice]), turn),
            OnOutcome::Late => {
                let state = self.state();
                let mut draft = turn.of_governor(self, ended.receipt(), state, state);
                draft.action = Some(outcome.action);
                draft.signal_seq =
                    (outcome.action.journal == turn.rules.journal).then_some(outcome.action.seq);
                draft.reason = joined(&[Some(reason::LATE), error, twice]);
                turn.effects.drafts.push(draft);
            }
        }
    }

    /// The action in flight ended; the breaker counts how.
    fn finish(&mut self, ended: Ended, reason: Option<Arc<str>>, turn: &mut Turn) {
        let before = self.state();
        let (flight, waiting) = self.leave_for(self.at_rest());
        turn.landed(self, flight.as_ref(), ended, before, reason);
        match ended {
            Ended::Done => self.breaker.success(),
            Ended::Failed if self.breaker.failure(turn.rules.breaker_failures) => {
                self.stop(flight.as_ref(), turn);
            }
            Ended::Failed | Ended::Withheld => {}
        }
        self.drain(waiting, turn);
    }

    /// The breaker opened: halts until its timer.
    fn stop(&mut self, flight: Option<&Flight>, turn: &mut Turn) {
        let before = self.state();
        let reset = Armed::after(turn.seq, turn.time, turn.rules.breaker_reset);
        turn.effects.timers.push(self.arm(TimerKind::BreakerReset, reset));
        self.state = State::Halted(Halted { since: turn.time, by: HaltedBy::Breaker { reset } });
        let mut draft = turn.of_governor(self, ReceiptType::JidokaHalt, before, self.state());
        draft.reason = Some(reason::BREAKER_OPENED.into());
        draft.cause_by(flight);
        turn.effects.drafts.push(draft);
    }

    /// The action that was out when an operator halted ended.
    fn note_outcome(&mut self, ended: Ended, reason: Option<Arc<str>>, turn: &mut Turn) {
        let state = self.state();
        let State::Halted(Halted { by: HaltedBy::Operator { flight }, .. }) = &mut self.state else {
            return;
        };
        let flight = flight.take();
        turn.landed(self, flight.as_deref(), ended, state, reason);
    }

    fn on_timer(&mut self, timer: &Timer, turn: &mut Turn) {
        if !self.timers().any(|arm| arm.kind == timer.kind && arm.armed == timer.armed) {
            return;
        }
        let before = self.state();
        let row = table::row(before);
        let answer = match timer.kind {
            TimerKind::Boot => row.boot,
            TimerKind::QuotaWindow => row.quota_window,
            TimerKind::BreakerReset => row.breaker_reset,
            TimerKind::ActionDeadline => row.action_deadline,
            TimerKind::Idle => row.idle,
        };
        match answer {
            OnTimer::Ignore | OnTimer::Forget => {}
            OnTimer::GiveUp => {
                let (_, waiting) = self.leave_for(State::Degraded);
                turn.moved(self, ReceiptType::BootstrapTimeout, before, None);
                self.drain(waiting, turn);
            }
            OnTimer::Refill => self.quota = super::Quota::Full,
            OnTimer::Reopen => {
                self.quota = super::Quota::Full;
                self.state = State::Stable;
                turn.moved(self, ReceiptType::QuotaRestored, before, None);
            }
            OnTimer::Test => {
                self.breaker.test();
                self.state = self.at_rest();
                turn.moved(self, ReceiptType::BreakerTesting, before, None);
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
                let mut draft = turn.of_governor(self, ReceiptType::Operator, before, before);
                draft.signal_seq = Some(case);
                draft.reason = said;
                turn.effects.drafts.push(draft);
                return turn.close(case, Closing::Discarded);
            }
            Verb::Entitle | Verb::Revoke => {
                let freed = self.entitle(command.verb == Verb::Entitle);
                turn.moved(self, ReceiptType::Operator, before, said);
                return self.drain(freed, turn);
            }
            Verb::Halt => row.halt,
            Verb::Resume => row.resume,
            Verb::Quota(_) => row.quota,
        };
        match (order, command.verb) {
            (OnOrder::Halt, _) => return self.halt(said, turn),
            (OnOrder::Resume, _) => self.resume(),
            (OnOrder::Quota, Verb::Quota(remaining)) => self.set_quota(remaining, turn),
            (OnOrder::Reopen, Verb::Quota(remaining)) => {
                self.set_quota(remaining, turn);
                if remaining > 0 {
                    self.state = State::Stable;
                }
            }
            (OnOrder::Note | OnOrder::Quota | OnOrder::Reopen, _) => {}
        }
        turn.moved(self, ReceiptType::Operator, before, said);
    }

    fn halt(&mut self, said: Option<Arc<str>>, turn: &mut Turn) {
        let before = self.state();
        let since = self.halted_since().unwrap_or(turn.time);
        let (flight, waiting) = self.leave_for(State::Stable);
        let by = HaltedBy::Operator { flight: flight.map(Box::new) };
        self.state = State::Halted(Halted { since, by });
        turn.moved(self, ReceiptType::JidokaHalt, before, said);
        self.drain(waiting, turn);
    }

    fn resume(&mut self) {
        let (flight, _) = self.leave_for(self.at_rest());
        if let Some(flight) = flight {
            self.state = State::pending(flight);
        }
        self.breaker.close();
    }
}

fn verb(verb: Verb) -> String {
    match verb {
        Verb::Quota(remaining) => format!("quota {remaining}"),
        Verb::Halt | Verb::Resume | Verb::Entitle | Verb::Revoke | Verb::Discard(_) => {
            verb.name().into_str().into()
        }
    }
}

impl Arm {
    /// The timer as the journal will bring it.
    #[must_use]
    pub fn into_timer(self) -> Timer {
        Timer { subject: self.subject, kind: self.kind, armed: self.armed }
    }
}

//! One event in, effects out, as [`table`] says.

use super::effects::{Arm, Effects, Intent};
use super::mailbox::{Mailbox, alone};
use super::state::{Flight, Halted, HaltedBy, State};
use super::table::{self, OnEntitlement, OnOrder, OnOutcome, OnSignal, OnTimer};
use super::{Armed, Governor};
use crate::event::{ActionId, Command, Event, Kind, Outcome, Seq, Timer, TimerKind, UnixMillis, Verb};
use crate::jidoka::rules::{ActionName, Decision, Rules};
use crate::receipt::{About, Draft, ReceiptId, ReceiptType, StateName};
use crate::signal::{Severity, Signal};

/// The reasons that a governor gives by itself.
pub mod cause {
    pub const HALTED: &str = "halted";
    pub const MAILBOX_FULL: &str = "mailbox full";
    pub const NO_OUTCOME: &str = "no outcome before the deadline";
    pub const BREAKER_OPENED: &str = "too many actions failed in a row";
    pub const LATE: &str = "late: the action is not in flight";
    pub const PANICKED: &str = "deciding on it failed twice";
    pub const MAYBE_TWICE: &str = "may have run twice";
}

impl Governor {
    /// Applies one event and adds what should happen to `effects`. An event at or before the last one applied
    /// changes nothing and has no effects, so that a journal may be offered again from any earlier point.
    pub fn step(&mut self, event: Event, rules: &Rules, effects: &mut Effects) {
        debug_assert_eq!(event.subject(), (self.tenant(), self.sku()), "the event is for another governor");
        if event.seq <= self.last_seq {
            return;
        }
        self.last_seq = event.seq;
        let mut turn = Turn { seq: event.seq, time: event.time, ordinal: 0, rules, effects };
        match event.kind {
            Kind::Signal(signal) => self.on_signal(signal, &mut turn),
            Kind::Outcome(outcome) => self.on_outcome(&outcome, &mut turn),
            Kind::Timer(timer) => self.on_timer(&timer, &mut turn),
            Kind::Command(command) => self.on_command(&command, &mut turn),
        }
        debug_assert!(self.consistent(), "a state that must not be: {self:?}");
    }

    /// Gives up on an event whose decision fails: a signal becomes a dead letter, anything else is passed over.
    pub fn park(&mut self, event: Event, rules: &Rules, effects: &mut Effects) {
        if event.seq <= self.last_seq {
            return;
        }
        self.last_seq = event.seq;
        if let Kind::Signal(signal) = event.kind {
            let mut turn = Turn { seq: event.seq, time: event.time, ordinal: 0, rules, effects };
            turn.dead_letter(event.seq, signal, self.state(), cause::PANICKED);
        }
    }

    fn on_signal(&mut self, signal: Signal, turn: &mut Turn) {
        self.last_signal = turn.time;
        match signal.kind() {
            "gemba.entitlement.active" => self.entitlement_signal(true, signal, turn),
            "gemba.entitlement.revoked" => self.entitlement_signal(false, signal, turn),
            _ => self.answer(turn.seq, signal, turn),
        }
    }

    fn entitlement_signal(&mut self, entitled: bool, signal: Signal, turn: &mut Turn) {
        let before = self.state();
        let freed = self.entitle(entitled);
        turn.settle(turn.seq, signal, ReceiptType::Entitlement, before, self.state());
        self.drain(freed, turn);
    }

    /// A signal's turn has come: it leaves here with its final receipt, or waits.
    fn answer(&mut self, seq: Seq, signal: Signal, turn: &mut Turn) {
        let state = self.state();
        let row = table::row(state);
        let answer = if signal.severity == Severity::Critical { row.critical } else { row.signal };
        match answer {
            OnSignal::Decide => self.decide(seq, signal, turn),
            OnSignal::Wait => self.wait(seq, signal, turn),
            OnSignal::Drop => turn.settle(seq, signal, ReceiptType::DeferredDropped, state, state),
            OnSignal::Exceed => turn.settle(seq, signal, ReceiptType::QuotaExceeded, state, state),
            OnSignal::DeadLetter => turn.dead_letter(seq, signal, state, cause::HALTED),
        }
    }

    fn decide(&mut self, seq: Seq, signal: Signal, turn: &mut Turn) {
        if self.quota.remaining(turn.rules) == 0 {
            return self.exceed(seq, signal, turn);
        }
        match turn.rules.decide(&signal) {
            Decision::Observe => {
                let state = self.state();
                turn.settle(seq, signal, ReceiptType::Observed, state, state);
            }
            Decision::Act { action } => self.act(seq, signal, action, turn),
        }
    }

    /// Signals without an action left: a degraded governor stays so, since the window's end cannot heal it.
    fn exceed(&mut self, seq: Seq, signal: Signal, turn: &mut Turn) {
        let before = self.state();
        self.set_quota(0, turn);
        if before == StateName::Stable {
            self.state = State::QuotaExhausted;
        }
        turn.settle(seq, signal, ReceiptType::QuotaExceeded, before, self.state());
    }

    fn act(&mut self, seq: Seq, signal: Signal, name: ActionName, turn: &mut Turn) {
        let before = self.state();
        self.set_quota(self.quota.remaining(turn.rules).saturating_sub(1), turn);
        let action = ActionId(seq);
        let intent = Intent { action, name, time: turn.time, signal: alone(signal.clone()) };
        let deadline = Armed::after(turn.seq, turn.time, turn.rules.action_deadline);
        turn.effects.timers.push(self.arm(TimerKind::ActionDeadline, deadline));
        turn.effects.intents.push(intent.clone());
        self.state = State::pending(Flight { intent, deadline });
        turn.settle(seq, signal, ReceiptType::ActionGenerated, before, self.state());
    }

    fn wait(&mut self, seq: Seq, signal: Signal, turn: &mut Turn) {
        let state = self.state();
        let refused = match self.state.mailbox_mut() {
            Some(mailbox) => mailbox.offer(seq, signal, turn.rules),
            None => Some(signal),
        };
        if let Some(signal) = refused {
            turn.dead_letter(seq, signal, state, cause::MAILBOX_FULL);
        }
    }

    /// Decides on what waited, in order, until a signal makes an action pending again. The rest then waits there.
    fn drain(&mut self, mut waiting: Mailbox, turn: &mut Turn) {
        while let Some((seq, signal)) = waiting.take() {
            self.answer(seq, signal, turn);
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
        let twice = outcome.maybe_twice.then_some(cause::MAYBE_TWICE);
        let (success, error) = match &outcome.result {
            Ok(()) => (true, None),
            Err(error) => (false, Some(&**error)),
        };
        match answer {
            OnOutcome::Succeed | OnOutcome::Fail => {
                self.finish(success, reason(&[error, twice]), turn);
            }
            OnOutcome::Note => self.note_outcome(success, reason(&[error, twice]), turn),
            OnOutcome::Late => {
                let state = self.state();
                let mut draft = turn.of_governor(self, outcome_type(success), state, state);
                draft.action = Some(outcome.action);
                draft.signal_seq = Some(outcome.action.0);
                draft.reason = reason(&[Some(cause::LATE), error, twice]);
                turn.effects.drafts.push(draft);
            }
        }
    }

    /// The action in flight ended; the breaker counts how.
    fn finish(&mut self, success: bool, reason: Option<Box<str>>, turn: &mut Turn) {
        let before = self.state();
        let (flight, waiting) = self.leave_for(self.at_rest());
        turn.landed(self, flight.as_ref(), success, before, reason);
        if success {
            self.breaker.success();
        } else if self.breaker.failure(turn.rules.breaker_failures) {
            self.stop(flight.as_ref(), turn);
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
        draft.reason = Some(cause::BREAKER_OPENED.into());
        draft.cause_by(flight);
        turn.effects.drafts.push(draft);
    }

    /// The action that was out when an operator halted ended.
    fn note_outcome(&mut self, success: bool, reason: Option<Box<str>>, turn: &mut Turn) {
        let state = self.state();
        let State::Halted(Halted { by: HaltedBy::Operator { flight }, .. }) = &mut self.state else {
            return;
        };
        let flight = flight.take();
        turn.landed(self, flight.as_deref(), success, state, reason);
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
        };
        match answer {
            OnTimer::Ignore => {}
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
            OnTimer::Fail => self.finish(false, Some(cause::NO_OUTCOME.into()), turn),
            OnTimer::Note => self.note_outcome(false, Some(cause::NO_OUTCOME.into()), turn),
        }
    }

    fn on_command(&mut self, command: &Command, turn: &mut Turn) {
        let before = self.state();
        let row = table::row(before);
        let said = Some(format!("{} by {}: {}", verb(command.verb), command.actor, command.reason).into());
        let order = match command.verb {
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

    fn halt(&mut self, said: Option<Box<str>>, turn: &mut Turn) {
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

/// One event's passage: its stamp, and the receipts it has caused so far.
struct Turn<'a> {
    seq: Seq,
    time: UnixMillis,
    /// The next receipt of this event itself.
    ordinal: u8,
    rules: &'a Rules,
    effects: &'a mut Effects,
}

impl Turn<'_> {
    /// The final receipt of a signal: named by the signal, whichever event brings it.
    fn settle(&mut self, seq: Seq, signal: Signal, kind: ReceiptType, before: StateName, after: StateName) {
        self.effects.drafts.push(Draft {
            id: ReceiptId { seq, ordinal: 0 },
            time: self.time,
            kind,
            before,
            after,
            success: succeeded(kind),
            action: (kind == ReceiptType::ActionGenerated).then_some(ActionId(seq)),
            policy: None,
            reason: None,
            signal_seq: Some(seq),
            about: About::Signal(signal),
        });
    }

    fn dead_letter(&mut self, seq: Seq, signal: Signal, state: StateName, cause: &str) {
        self.settle(seq, signal, ReceiptType::DeadletterSignal, state, state);
        if let Some(draft) = self.effects.drafts.last_mut() {
            draft.reason = Some(cause.into());
        }
    }

    /// A receipt that this event itself causes. A signal's own event causes none of these, so their ordinals are
    /// free.
    fn of_governor(
        &mut self,
        of: &Governor,
        kind: ReceiptType,
        before: StateName,
        after: StateName,
    ) -> Draft {
        let id = ReceiptId { seq: self.seq, ordinal: self.ordinal };
        self.ordinal += 1;
        Draft {
            id,
            time: self.time,
            kind,
            before,
            after,
            success: succeeded(kind),
            action: None,
            policy: None,
            reason: None,
            signal_seq: None,
            about: About::Governor { tenant: of.tenant().into(), sku: of.sku().into(), signal_id: None },
        }
    }

    /// A receipt for a governor that is now where the event brought it.
    fn moved(&mut self, of: &Governor, kind: ReceiptType, before: StateName, reason: Option<Box<str>>) {
        let mut draft = self.of_governor(of, kind, before, of.state());
        draft.reason = reason;
        self.effects.drafts.push(draft);
    }

    /// The receipt of an action that was in flight.
    fn landed(
        &mut self,
        of: &Governor,
        flight: Option<&Flight>,
        success: bool,
        before: StateName,
        reason: Option<Box<str>>,
    ) {
        let mut draft = self.of_governor(of, outcome_type(success), before, of.state());
        draft.reason = reason;
        draft.cause_by(flight);
        self.effects.drafts.push(draft);
    }
}

impl Draft {
    /// Names the action, and the signal that caused it.
    fn cause_by(&mut self, flight: Option<&Flight>) {
        let Some(Flight { intent, .. }) = flight else { return };
        self.action = Some(intent.action);
        self.signal_seq = Some(intent.action.0);
        if let About::Governor { signal_id, .. } = &mut self.about {
            *signal_id = Some(intent.signal.id().into());
        }
    }
}

fn outcome_type(success: bool) -> ReceiptType {
    if success { ReceiptType::ActionSuccessful } else { ReceiptType::ActionFailed }
}

/// A receipt says `success` unless what was asked was not done.
fn succeeded(kind: ReceiptType) -> bool {
    !matches!(
        kind,
        ReceiptType::BootstrapTimeout
            | ReceiptType::PolicyDenied
            | ReceiptType::ActionFailed
            | ReceiptType::JidokaHalt
            | ReceiptType::DeadletterSignal
            | ReceiptType::QuotaExceeded
            | ReceiptType::DeferredDropped
    )
}

/// What is there, one after the other.
fn reason(parts: &[Option<&str>]) -> Option<Box<str>> {
    let parts: Vec<&str> = parts.iter().copied().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; ").into_boxed_str())
}

fn verb(verb: Verb) -> String {
    match verb {
        Verb::Halt => "halt".into(),
        Verb::Resume => "resume".into(),
        Verb::Entitle => "entitle".into(),
        Verb::Revoke => "revoke".into(),
        Verb::Quota(remaining) => format!("quota {remaining}"),
    }
}

impl Arm {
    /// The timer as the journal will bring it.
    #[must_use]
    pub fn into_timer(self) -> Timer {
        Timer { subject: self.subject, kind: self.kind, armed: self.armed }
    }
}

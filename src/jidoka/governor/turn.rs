//! What one event's passage through a governor leaves behind: receipts, cases, and who is named in them.

use std::sync::Arc;

use super::Governor;
use super::effects::Effects;
use super::mailbox::{Held, alone};
use super::state::Flight;
use crate::case::{CaseId, Cause, Undone};
use crate::event::{ActionId, Resend, Seq, UnixMillis};
use crate::jidoka::dead_letter::{CaseChange, Closing, Why};
use crate::jidoka::policy::{Ruling, Unfit};
use crate::jidoka::rules::Rules;
use crate::receipt::{About, Draft, Earlier, Policy, ReceiptId, ReceiptType, StateName};
use crate::signal::Signal;

/// One event's passage: its stamp, and the receipts it has caused so far.
pub(super) struct Turn<'a> {
    pub(super) seq: Seq,
    pub(super) time: UnixMillis,
    /// The next receipt of this event itself.
    pub(super) ordinal: u8,
    pub(super) rules: &'a Rules,
    pub(super) effects: &'a mut Effects,
}

impl Turn<'_> {
    /// What an action is called that the signal of the event `by` causes.
    pub(super) fn action(&self, by: Seq) -> ActionId {
        ActionId { journal: self.rules.journal, seq: by }
    }

    /// The final receipt of a signal: named by the event that brought it, whichever event settles it.
    pub(super) fn settle(&mut self, held: Held, kind: ReceiptType, before: StateName, after: StateName) {
        self.effects.drafts.push(Draft {
            id: ReceiptId { seq: held.seq, ordinal: 0 },
            time: self.time,
            kind,
            before,
            after,
            success: kind.is_success(),
            action: (kind == ReceiptType::ActionGenerated).then(|| self.action(held.seq)),
            policy: None,
            facts: None,
            reason: None,
            signal_seq: Some(held.accepted),
            about: About::Signal(held.signal),
        });
    }

    /// Names the rule that settled the last signal.
    pub(super) fn by(&mut self, ruling: Option<&Ruling>) {
        if let (Some(draft), Some(ruling)) = (self.effects.drafts.last_mut(), ruling) {
            draft.policy = Some(Arc::clone(&ruling.policy));
            draft.reason = Some(Arc::clone(&ruling.reason));
            draft.facts = self.effects.room.shown.take();
        }
    }

    /// Says why, in the last receipt.
    pub(super) fn because(&mut self, reason: &str) {
        if let Some(draft) = self.effects.drafts.last_mut() {
            draft.reason = Some(reason.into());
        }
    }

    pub(super) fn unfit(&mut self, held: Held, state: StateName, unfit: Unfit) {
        self.dead_letter(held, state, Cause::Policy, unfit.detail, Some(unfit.policy));
    }

    /// Opens a case, and says so in the signal's final receipt.
    pub(super) fn dead_letter(
        &mut self,
        held: Held,
        state: StateName,
        cause: Cause,
        detail: Arc<str>,
        policy: Option<Arc<Policy>>,
    ) {
        let said = format!("{}: {detail}", cause.into_str());
        let why = Why { cause, detail, event: self.seq, time: self.time, state };
        self.open(held.accepted, held.seq, why, &held.signal, None);
        self.settle(held, ReceiptType::DeadletterSignal, state, state);
        if let Some(draft) = self.effects.drafts.last_mut() {
            draft.reason = Some(said.into());
            draft.policy = policy;
        }
    }

    fn open(&mut self, accepted: Seq, seq: Seq, why: Why, signal: &Signal, undone: Option<Undone>) {
        let (case, signal) = (CaseId(accepted), Box::new(alone(signal.clone())));
        let (undone, again) = (undone.map(Box::new), accepted != seq);
        self.effects.cases.push(CaseChange::Open { case, why, signal, undone, again });
    }

    /// An action that was to go out again stays where it was.
    pub(super) fn not_sent(&mut self, held: Held, state: StateName, resend: &Resend) {
        let detail = format!("the action was not sent again: the governor is {}", state.into_str());
        self.dead_letter(held, state, Cause::Us, detail.into(), None);
        self.keep(Some(resend));
    }

    /// The case that was opened last keeps its action.
    pub(super) fn keep(&mut self, resend: Option<&Resend>) {
        if let Some(CaseChange::Open { undone, .. }) = self.effects.cases.last_mut() {
            *undone = resend.map(|resend| Box::new(resend.into()));
        }
    }

    pub(super) fn close(&mut self, accepted: Seq, how: Closing) {
        let (case, event, time) = (CaseId(accepted), self.seq, self.time);
        self.effects.cases.push(CaseChange::Close { case, how, event, time });
    }

    /// A receipt that this event itself causes. A signal's own event causes none of these, so their ordinals are
    /// free.
    pub(super) fn of_governor(
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
            success: kind.is_success(),
            action: None,
            policy: None,
            facts: None,
            reason: None,
            signal_seq: None,
            about: About::Governor { tenant: of.tenant().into(), sku: of.sku().into(), signal: None },
        }
    }

    /// A receipt for a governor that is now where the event brought it.
    pub(super) fn moved(
        &mut self,
        of: &Governor,
        kind: ReceiptType,
        before: StateName,
        reason: Option<Arc<str>>,
    ) {
        let mut draft = self.of_governor(of, kind, before, of.state());
        draft.reason = reason;
        self.effects.drafts.push(draft);
    }

    /// The receipt of an action that was in flight; if it was not done, its signal is a case of the target's.
    pub(super) fn landed(
        &mut self,
        of: &Governor,
        flight: Option<&Flight>,
        ended: Ended,
        before: StateName,
        reason: Option<Arc<str>>,
    ) {
        let mut draft = self.of_governor(of, ended.receipt(), before, of.state());
        if let (Some(Flight { intent, .. }), Some(detail), true) = (flight, &reason, ended != Ended::Done) {
            let detail = Arc::clone(detail);
            let why =
                Why { cause: Cause::Target, detail, event: self.seq, time: self.time, state: of.state() };
            let Policy { pack, rule, content_hash } = (*intent.policy).clone();
            let (name, because) = ((*intent.name).into(), (*intent.reason).into());
            let undone = Resend {
                action: intent.action,
                name,
                pack: pack.into(),
                rule: rule.into(),
                content_hash,
                because,
            };
            self.open(intent.accepted, intent.by, why, &intent.signal, Some((&undone).into()));
        }
        draft.reason = reason;
        draft.cause_by(flight);
        self.effects.drafts.push(draft);
    }
}

impl Draft {
    /// Names the action, and the signal that caused it.
    pub(super) fn cause_by(&mut self, flight: Option<&Flight>) {
        let Some(Flight { intent, .. }) = flight else { return };
        self.action = Some(intent.action);
        self.signal_seq = Some(intent.accepted);
        if let About::Governor { signal, .. } = &mut self.about {
            *signal = Some(Earlier::new(&intent.signal));
        }
    }
}

/// How an action ended, for the one who counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Failed,
    /// Its target was not asked.
    Withheld,
}

impl Ended {
    pub(super) fn receipt(self) -> ReceiptType {
        match self {
            Self::Done => ReceiptType::ActionSuccessful,
            Self::Failed | Self::Withheld => ReceiptType::ActionFailed,
        }
    }
}

/// What is there, one after the other.
pub(super) fn joined(parts: &[Option<&str>]) -> Option<Arc<str>> {
    let parts: Vec<&str> = parts.iter().copied().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; ").into())
}

/// An operator's order in a receipt.
pub(super) fn said(order: &str, actor: &str, reason: &str) -> Arc<str> {
    format!("{order} by {actor}: {reason}").into()
}

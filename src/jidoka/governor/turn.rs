//! What one event's passage through a governor leaves behind: receipts, cases, and who is named in them.

use std::sync::Arc;

use super::effects::{ActionRequest, Arm, Effects};
use super::mailbox::Held;
use super::reason;
use super::state::Flight;
use crate::alert::{Alarm, CauseKind, Importance};
use crate::case::{CaseId, Cause, Undone};
use crate::event::{ActionId, Resend, Seq, Tries, UnixMillis};
use crate::jidoka::dead_letter::{CaseChange, Closing, Why};
use crate::jidoka::policy::{Room, Ruling, Unfit};
use crate::jidoka::rules::Rules;
use crate::receipt::{About, Draft, Earlier, Gist, Policy, ReceiptId, ReceiptType, StateName};
use crate::signal::Signal;

/// One event's passage: its stamp, and the receipts it has caused so far.
pub struct Turn<'a> {
    seq: Seq,
    time: UnixMillis,
    /// The next receipt of this event itself.
    ordinal: u8,
    rules: &'a Rules,
    effects: &'a mut Effects,
}

/// Who is named in a receipt, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    pub tenant: &'a str,
    pub sku: &'a str,
    pub state: StateName,
}

impl<'a> Turn<'a> {
    pub fn new(seq: Seq, time: UnixMillis, rules: &'a Rules, effects: &'a mut Effects) -> Self {
        Self { seq, time, ordinal: 0, rules, effects }
    }

    pub fn seq(&self) -> Seq {
        self.seq
    }

    pub fn time(&self) -> UnixMillis {
        self.time
    }

    pub fn rules(&self) -> &'a Rules {
        self.rules
    }

    /// Where the packs are evaluated.
    pub fn room(&mut self) -> &mut Room {
        &mut self.effects.room
    }

    pub fn arm(&mut self, arm: Arm) {
        self.effects.timers.push(arm);
    }

    /// The alerts of the node are told, where there is something to tell.
    pub fn alarm(&mut self, alarm: Option<Alarm>) {
        self.effects.alarms.extend(alarm);
    }

    pub fn order(&mut self, request: ActionRequest) {
        self.effects.requests.push(request);
    }

    pub fn draft(&mut self, draft: Draft) {
        self.effects.drafts.push(draft);
    }

    /// The receipt that was drafted last.
    pub fn last_draft(&mut self) -> Option<&mut Draft> {
        self.effects.drafts.last_mut()
    }

    /// The event has a receipt of its own before that of the signal that it brings, which is named by ordinal 0.
    pub fn leave_ordinal_of_signal(&mut self) {
        self.ordinal = self.ordinal.max(1);
    }

    /// The alert of a rule finds no place. The first one of an event has a receipt: by one event a governor may decide on all that waited.
    pub fn refuse_alert(&mut self, of: Whose<'_>, held: &Held, (policy, importance): (&Policy, Importance)) {
        self.effects.refused += 1;
        let seq = self.seq;
        let is_it = |draft: &Draft| draft.gist.id.seq == seq && draft.gist.kind == ReceiptType::AlertFailed;
        if self.effects.drafts.iter().any(is_it) {
            return;
        }
        self.leave_ordinal_of_signal();
        let mut draft = self.of_governor(of, ReceiptType::AlertFailed, of.state, of.state);
        draft.gist.signal_seq = Some(held.accepted);
        if let About::Governor { signal, .. } = &mut draft.about {
            *signal = Some(Earlier::new(&held.signal));
        }
        draft.reason = Some(reason::NO_PLACE.into());
        let name = format!("{}/{}", policy.pack, policy.rule);
        let facts = serde_json::json!({"kind": CauseKind::Rule, "name": name, "severity": importance});
        draft.facts = serde_jcs::to_string(&facts).ok().map(Into::into);
        self.draft(draft);
    }

    /// What an action is called that the signal of the event `by` causes.
    pub fn action(&self, by: Seq) -> ActionId {
        ActionId { journal: self.rules.journal, seq: by }
    }

    /// The final receipt of a signal: named by the event that brought it, whichever event settles it.
    pub fn settle(&mut self, held: Held, kind: ReceiptType, before: StateName, after: StateName) {
        let gist = Gist {
            id: ReceiptId { seq: held.seq, ordinal: 0 },
            time: self.time,
            kind,
            before,
            after,
            success: kind.is_success(),
            action: (kind == ReceiptType::ActionGenerated).then(|| self.action(held.seq)),
            signal_seq: Some(held.accepted),
        };
        let about = About::Signal(held.signal);
        self.effects.drafts.push(Draft { gist, policy: None, facts: None, reason: None, about });
    }

    /// Names the rule that settled the last signal.
    pub fn by(&mut self, ruling: Option<&Ruling>) {
        if let (Some(draft), Some(ruling)) = (self.effects.drafts.last_mut(), ruling) {
            draft.policy = Some(Arc::clone(&ruling.policy));
            draft.reason = Some(Arc::clone(&ruling.reason));
            draft.facts = self.effects.room.shown.take();
        }
    }

    /// Says why, in the last receipt.
    pub fn because(&mut self, reason: &str) {
        if let Some(draft) = self.effects.drafts.last_mut() {
            draft.reason = Some(reason.into());
        }
    }

    pub fn unfit(&mut self, held: Held, state: StateName, unfit: Unfit) {
        self.dead_letter(held, state, Cause::Policy, unfit.detail, Some(unfit.policy));
    }

    /// Opens a case, and says so in the signal's final receipt.
    pub fn dead_letter(
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
        let (case, signal) = (CaseId(accepted), Box::new(signal.clone().alone()));
        let (undone, again) = (undone.map(Box::new), accepted != seq);
        self.effects.cases.push(CaseChange::Open { case, why, signal, undone, again });
    }

    /// An action that was to go out again stays where it was.
    pub fn not_sent(&mut self, held: Held, state: StateName, resend: &Resend, detail: Arc<str>) {
        self.dead_letter(held, state, Cause::Us, detail, None);
        self.keep(Some(resend));
    }

    /// The case that was opened last keeps its action.
    pub fn keep(&mut self, resend: Option<&Resend>) {
        if let Some(CaseChange::Open { undone, .. }) = self.effects.cases.last_mut() {
            *undone = resend.map(|resend| Box::new(resend.into()));
        }
    }

    pub fn close(&mut self, accepted: Seq, how: Closing) {
        let (case, event, time) = (CaseId(accepted), self.seq, self.time);
        self.effects.cases.push(CaseChange::Close { case, how, event, time });
    }

    /// A receipt that this event itself causes. A signal's own event causes none of these, so their ordinals are
    /// free.
    pub fn of_governor(
        &mut self,
        of: Whose<'_>,
        kind: ReceiptType,
        before: StateName,
        after: StateName,
    ) -> Draft {
        let id = ReceiptId { seq: self.seq, ordinal: self.ordinal };
        self.ordinal += 1;
        let (time, success) = (self.time, kind.is_success());
        let gist = Gist { id, time, kind, before, after, success, action: None, signal_seq: None };
        let about =
            About::Governor { tenant: of.tenant.into(), sku: of.sku.into(), signal: None, trace: None };
        Draft { gist, policy: None, facts: None, reason: None, about }
    }

    /// Where the next receipt will stand.
    pub fn next_draft(&self) -> usize {
        self.effects.drafts.len()
    }

    /// The receipt of an outcome, which stands at `at`, tells of the calls.
    pub fn tell_tries(&mut self, at: usize, tries: Option<&Tries>) {
        if let (Some(draft), Some(tries)) = (self.effects.drafts.get_mut(at), tries) {
            draft.facts = Some(tries.as_str().into());
        }
    }

    /// A receipt for a governor that is now where the event brought it.
    pub fn moved(&mut self, of: Whose<'_>, kind: ReceiptType, before: StateName, reason: Option<Arc<str>>) {
        let mut draft = self.of_governor(of, kind, before, of.state);
        draft.reason = reason;
        self.effects.drafts.push(draft);
    }

    /// The receipt of an action that was in flight; if it was not done, its signal is a case of the target's.
    pub fn landed(
        &mut self,
        of: Whose<'_>,
        flight: Option<&Flight>,
        ended: Ended,
        before: StateName,
        reason: Option<Arc<str>>,
    ) {
        let mut draft = self.of_governor(of, ended.receipt(), before, of.state);
        if let (Some(Flight { intent, .. }), Some(detail), true) = (flight, &reason, ended != Ended::Done) {
            let detail = Arc::clone(detail);
            let why = Why { cause: Cause::Target, detail, event: self.seq, time: self.time, state: of.state };
            let Policy { pack, rule, content_hash } = (*intent.policy).clone();
            let (name, because) = ((*intent.name).into(), (*intent.reason).into());
            let undone = Resend {
                action: intent.action,
                name,
                pack: pack.into(),
                rule: rule.into(),
                content_hash,
                because,
                never_ordered: false,
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
    pub fn cause_by(&mut self, flight: Option<&Flight>) {
        let Some(Flight { intent, .. }) = flight else { return };
        self.gist.action = Some(intent.action);
        self.gist.signal_seq = Some(intent.accepted);
        if let About::Governor { signal, trace, .. } = &mut self.about {
            (*signal, *trace) = (Some(Earlier::new(&intent.signal)), intent.signal.trace());
        }
    }
}

/// How an action ended, for the one who counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Done,
    Failed,
    /// Its target was not asked.
    Withheld,
}

impl Ended {
    pub fn receipt(self) -> ReceiptType {
        match self {
            Self::Done => ReceiptType::ActionSuccessful,
            Self::Failed | Self::Withheld => ReceiptType::ActionFailed,
        }
    }
}

/// What is there, one after the other.
pub fn joined(parts: &[Option<&str>]) -> Option<Arc<str>> {
    let parts: Vec<&str> = parts.iter().copied().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; ").into())
}

/// An operator's order in a receipt.
pub fn said(order: &str, actor: &str, reason: &str) -> Arc<str> {
    format!("{order} by {actor}: {reason}").into()
}

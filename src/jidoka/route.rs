//! Where the effects of a shard's steps go: receipts to the scribe, actions to the outbound runtime, timers to their
//! queue, and what changed to the store. A lane without room stops the shard, never loses an effect.

use super::dead_letter::CaseChange;
use super::stage::{Commit, Order, Stage};
use super::store::{Changes, Followup};
use crate::case::Cause;
use crate::event::{Note, Seq};
use crate::kaizen::Counter;
use crate::limits::CASE_BYTES_HELD_MAX;
use crate::ring::Full;

impl Stage {
    /// What a step of the governor at `at` asks for; withheld where it must not leave yet.
    pub(super) fn route_of(&mut self, at: u32, by: Seq) {
        self.withhold(at, by);
        self.route();
    }

    /// Receipts to the scribe, orders to the outbound runtime, timers to the queue.
    pub(super) fn route(&mut self) {
        for arm in self.effects.timers.drain(..) {
            self.timers.arm(arm);
        }
        for draft in self.effects.drafts.drain(..) {
            self.followups.extend(Followup::of(&draft));
            if !self.notes.is_empty() {
                self.notes.push_back(Note::Draft(draft));
            } else if let Err(Full(note)) = self.lanes.notes.push(Note::Draft(draft)) {
                self.notes.push_back(note);
            }
        }
        let mut cases = std::mem::take(&mut self.effects.cases);
        cases.drain(..).for_each(|change| self.take_case(change));
        self.effects.cases = cases;
        for intent in self.effects.intents.drain(..) {
            if self.live {
                crate::fault::point("K12");
                self.orders.push_back(Order { intent, maybe_twice: false });
            }
        }
    }

    /// A case is opened or changed, for good.
    pub(super) fn take_case(&mut self, change: CaseChange) {
        if let CaseChange::Open { signal, why, .. } = &change {
            self.case_bytes += signal.body().len();
            let counter = match why.cause {
                Cause::Sender => Counter::DeadSender,
                Cause::Policy => Counter::DeadPolicy,
                Cause::Target => Counter::DeadTarget,
                Cause::Us => Counter::DeadUs,
            };
            self.recorder.count(counter, 1);
        }
        self.cases.push(change);
    }

    /// False while a lane is full.
    pub(super) fn hand_on(&mut self) -> bool {
        while let Some(note) = self.notes.pop_front() {
            if let Err(Full(note)) = self.lanes.notes.push(note) {
                self.notes.push_front(note);
                self.lanes.notes.ring();
                return false;
            }
        }
        while let Some(order) = self.orders.pop_front() {
            if let Err(Full(order)) = self.lanes.orders.push(order) {
                self.orders.push_front(order);
                self.lanes.orders.ring();
                return false;
            }
            self.ordered = true;
        }
        // Bodies of dead letters are not gathered without end: they go with a commit of their own.
        if self.tenure.is_some() {
            self.commit_shared();
            return true;
        }
        self.case_bytes <= CASE_BYTES_HELD_MAX || self.commit()
    }

    /// Commits once what was taken before the request is stepped.
    pub(super) fn commit_if_due(&mut self) {
        let Some(wanted) = self.wanted else { return };
        let stepped = self.stepped();
        if stepped >= wanted && self.commit() {
            self.wanted = Some(self.asked).filter(|asked| *asked > stepped);
        }
    }

    /// Hands what changed to the store, and asks the scribe to say when the receipts before it are durable. False while
    /// the store is busy: then the changes go with the next commit.
    fn commit(&mut self) -> bool {
        if self.lanes.commits.room() == 0 {
            return false;
        }
        let through = self.stepped();
        self.marks.decided.publish(through.0);
        self.commits += 1;
        if crate::fault::planted("rows-by-number") {
            self.commits = through.0;
        }
        self.notes.push_back(Note::Commit(self.commits));
        let mut changes = Changes::default();
        changes.forget(std::mem::take(&mut self.forgotten));
        self.roster.take_down(|governor, kept| changes.governor(governor, kept));
        self.take_down(&mut changes);
        let commit = Commit { shard: self.shard, number: self.commits, changes, through, held: None };
        self.push_commit(commit);
        true
    }

    /// The same of a node that shares the state of partitions: what was shared, when there is room for it.
    fn commit_shared(&mut self) {
        if self.lanes.commits.room() == 0 {
            return;
        }
        let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.changed) else { return };
        tenure.changed = false;
        tenure.changes.forget(std::mem::take(&mut self.forgotten));
        self.commits += 1;
        self.notes.push_back(Note::Commit(self.commits));
        let (mut changes, through, held) =
            (std::mem::take(&mut tenure.changes), tenure.through, Some(tenure.held()));
        self.take_down(&mut changes);
        let commit = Commit { shard: self.shard, number: self.commits, changes, through, held };
        self.push_commit(commit);
    }

    /// What a commit has beside its rows.
    fn take_down(&mut self, changes: &mut Changes) {
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
        for (seq, text) in self.rules_changed.drain(..) {
            changes.rules_from(seq, text.text());
        }
    }

    fn push_commit(&mut self, commit: Commit) {
        let pushed = self.lanes.commits.push(commit);
        assert!(pushed.is_ok(), "there was room, and only this thread pushes");
        self.lanes.commits.ring();
    }
}

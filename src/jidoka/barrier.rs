//! What concerns all governors of a shard: it waits until every event before it is stepped, and every event behind it waits.

use std::sync::Arc;

use super::stage::Stage;
use crate::event::{Event, Kind, Note, RulesText, Seq};

#[derive(Debug)]
pub enum Barrier {
    Rules(Event, Arc<RulesText>),
    Live,
    /// Which partitions are held changes, or what of them counts.
    Tenure(Event),
    Cut(Seq),
}

impl Stage {
    pub(super) fn pass(&mut self, barrier: Barrier) {
        match barrier {
            Barrier::Live => self.go_live(),
            Barrier::Cut(through) => self.cut(through),
            Barrier::Tenure(event) => {
                match &event.kind {
                    Kind::Hold(hold) => self.hold(*hold),
                    Kind::Shared(shared) => self.release(shared),
                    Kind::Signal(_)
                    | Kind::Outcome(_)
                    | Kind::Timer(_)
                    | Kind::Command(_)
                    | Kind::Replay(_)
                    | Kind::Rules(_)
                    | Kind::Stray(_)
                    | Kind::Position(_)
                    | Kind::Adopt(_) => unreachable!("no other kind is such a barrier"),
                }
                self.marks.decided.publish(event.seq.0);
            }
            Barrier::Rules(event, text) => {
                let rules = self.compiled.of(text.text());
                assert!(
                    rules.is_ok(),
                    "rules are compiled before they are journalled, and again before a replay"
                );
                let Ok(rules) = rules else { return };
                // They concern the node: one shard speaks for all.
                if self.shard == 0 {
                    for draft in rules.receipts(&self.rules, &event, &text) {
                        self.notes.push_back(Note::Draft(draft));
                    }
                    self.rules_changed.push((event.seq, text));
                    self.compiled.hold(event.seq, &rules);
                }
                self.rules = rules;
                self.marks.decided.publish(event.seq.0);
            }
        }
    }
}

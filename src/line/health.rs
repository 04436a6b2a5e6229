//! How the stages do, as others see it: from what they publish, without asking them.

use crate::kanban::stage as journal;
use crate::ring::{Mark, Switch};
use crate::view::StageHealth;

/// What is published about the line.
#[derive(Clone, Debug)]
pub struct Health {
    pub journal: journal::Marks,
    /// Milliseconds since 1970 of the last checkpoint.
    pub checkpoint: Mark,
    /// Bytes written, by file.
    pub written: Vec<(&'static str, Mark)>,
    pub ready: Switch,
    /// The journal's last event when the line began.
    pub began: Mark,
}

impl Health {
    #[must_use]
    pub fn stages(&self) -> Vec<StageHealth> {
        let stage = |stage: &str, wrong: Option<&str>| StageHealth {
            stage: stage.into(),
            ok: wrong.is_none(),
            reason: wrong.map(Into::into),
        };
        let starting = (!self.ready.is_on()).then_some("the journal is being replayed");
        let draining = self.journal.drain.is_on().then_some("the node is shutting down");
        let disk =
            (self.journal.disk_low.read() == 1).then_some("free disk space is below the low-water mark");
        vec![stage("ingress", draining.or(starting)), stage("journal", disk.or(starting))]
    }

    /// The blueprint's `system_status`: 0 healthy, 1 degraded, 2 halted.
    #[must_use]
    pub fn status(&self) -> f64 {
        if self.stages().iter().all(|stage| stage.ok) { 0.0 } else { 1.0 }
    }
}

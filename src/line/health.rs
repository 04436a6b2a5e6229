//! How the stages do, as others see it: from what they publish, without asking them.

use super::broker::Broker;
use super::ingress_threads::Connections;
use super::sharing;
use crate::andon::audit::AuditLag;
use crate::clock;
use crate::diagnostics;
use crate::event::Seq;
use crate::event::Shed;
use crate::kaizen::{Metric, Readings};
use crate::kanban::share;
use crate::kanban::stage as journal;
use crate::logging;
use crate::ring::{Mark, Switch};
use crate::view::{NodeStatus, StageHealth};

/// What is published about the line.
#[derive(Clone, Debug)]
pub struct Health {
    pub name: Box<str>,
    pub role: &'static str,
    pub journal: journal::Marks,
    /// When the last checkpoint was signed, by [`clock::millis`]; an edge has none.
    pub checkpoint: Option<Mark>,
    /// An edge has none.
    pub audit: Option<AuditLag>,
    /// Bytes written, by file.
    pub written: Vec<(&'static str, Mark)>,
    /// Bytes of memory that the identities on disk take.
    pub identities: Mark,
    /// Below this much free disk space signals are refused.
    pub low_water_bytes: u64,
    pub ready: Switch,
    /// The journal's last event when the line began, with the order that it begins with.
    pub began: Mark,
    /// What is seen of the broker, where there is one before or behind the journal.
    pub broker: Option<Broker>,
    /// Of a processor that shares its state.
    pub state: Option<share::Marks>,
    pub connections: Connections,
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
        let shed = self.journal.shed().map(Shed::as_str);
        let mut stages = vec![stage("ingress", draining.or(starting)), stage("journal", shed.or(starting))];
        // The line works with a wrong clock; what depends on it is said in docs/operations.md.
        let doubt = self.journal.clock.doubt().map(|doubt| doubt.to_string());
        stages.push(StageHealth { stage: "clock".into(), ok: true, reason: doubt });
        stages.extend(self.state.as_ref().map(sharing::health));
        stages.extend(self.broker.as_ref().map(|broker| broker.health(self.durable())));
        stages
    }

    /// Last durable number.
    #[must_use]
    pub fn durable(&self) -> Seq {
        Seq(self.journal.durable.read())
    }

    #[must_use]
    pub fn node(&self) -> NodeStatus {
        let stages = self.stages();
        NodeStatus {
            name: self.name.clone(),
            role: self.role,
            ready: stages.iter().all(|stage| stage.ok),
            stages,
            durable_seq: self.durable().0,
            halts: Vec::new(),
            broker: self.broker.as_ref().map(|broker| broker.view(self.durable())),
            state: self.state.as_ref().map(sharing::view),
        }
    }

    /// What every role shows.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    pub fn read(&self, readings: &mut Readings) {
        readings.set(Metric::SystemStatus, &[], self.status());
        self.connections.read(readings);
        let lost = diagnostics::lost();
        for (cause, lines) in
            [("queue", lost.waiting), ("write", lost.failed), ("repeated", logging::left_out())]
        {
            readings.count(Metric::TelemetryLost, &["logs", cause], lines);
        }
        readings.count(Metric::WaitingBytes, &[], self.journal.crowd.used().bytes);
        let clock = &self.journal.clock;
        readings.set(Metric::ClockOffset, &[], clock.difference() as f64 / 1000.0);
        readings.count(Metric::ClockDoubted, &[], clock.doubt().is_some().into());
        readings.count(Metric::ClockDoubts, &[], clock.doubts());
        if let Some(free) = self.journal.free_bytes() {
            readings.count(Metric::DiskFree, &[], free);
        }
        readings.count(Metric::IdentitiesBytes, &[], self.identities.read());
        if let Some(checkpoint) = &self.checkpoint {
            let age = clock::millis().saturating_sub(checkpoint.read()) as f64 / 1000.0;
            readings.set(Metric::CheckpointAge, &[], age);
        }
        if let Some(audit) = &self.audit {
            readings.count(Metric::AuditLag, &[], audit.receipts());
        }
        for (file, mark) in &self.written {
            readings.count(Metric::DiskWritten, &[*file], mark.read());
        }
        if let Some(broker) = &self.broker {
            broker.read(self.durable(), readings);
        }
        if let Some(state) = &self.state {
            sharing::read(state, readings);
        }
    }

    /// The reference architecture's `system_status`: 0 healthy, 1 degraded, 2 halted. A node that is ready can be degraded: an edge
    /// accepts while its broker is away.
    #[must_use]
    pub fn status(&self) -> f64 {
        let troubled = self.broker.as_ref().is_some_and(Broker::is_troubled);
        if !troubled && self.stages().iter().all(|stage| stage.ok) { 0.0 } else { 1.0 }
    }
}

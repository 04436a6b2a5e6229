//! What follows the journal at an edge: the publisher. What is accepted stays in the journal until the broker has confirmed it.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::broker;
use super::error::ServeError;
use super::running::{Joining, Told, join, spawn};
use super::settings::Link;
use super::start::Start;
use super::{identity, recovery};
use crate::clock::{self, Instant};
use crate::event::{EdgeName, JournalId, Seq};
use crate::kaizen::Heartbeat;
use crate::kanban::broker::note::Note;
use crate::kanban::broker::publisher::{self, Marks, Publisher, Source, Stop};
use crate::kanban::broker::trouble::Trouble;
use crate::kanban::stage as journal;
use crate::ring::{Bell, Switch};

/// The publisher, before and after it is started.
pub struct Publishing {
    /// Before the journal is ready there is nothing to publish.
    waiting: Option<(Box<Publisher>, Heartbeat)>,
    thread: Option<JoinHandle<()>>,
    stop: Stop,
}

impl Publishing {
    /// Follows the journal from what is confirmed on, which is returned.
    pub fn plan(
        start: &Start<'_>,
        link: &Link,
        journal: JournalId,
        (lanes, marks): (&mut journal::Lanes, &journal::Marks),
        heartbeat: Heartbeat,
    ) -> Result<(Self, Marks, Seq), ServeError> {
        let Start { settings, disk, .. } = start;
        let rung = Arc::new(Notify::new());
        let knock = Arc::clone(&rung);
        let bell = Arc::new(Bell::new(move || knock.notify_one()));
        lanes.follower = Some(Arc::clone(&bell));
        let edge = EdgeName::read(&identity::named(&settings.name, journal))?;
        let path = settings.data_dir.join("forwarded");
        let noted = Note::open(Arc::clone(disk), &path, link.topology.partitions);
        let (note, confirmed) = noted.map_err(publisher::Fatal::from)?;
        let through = confirmed.through;
        marks.settled.publish(through.0);
        let published = Marks::new(through, link.topology.partitions, Trouble::of_broker());
        let publisher = Publisher {
            source: Source {
                disk: Arc::clone(disk),
                dir: recovery::journal_dir(&settings.data_dir),
                durable: marks.durable.clone(),
                bell,
                rung,
                settled: marks.settled.clone(),
            },
            broker: link.broker.clone(),
            topology: link.topology.clone(),
            keys: link.keys.clone(),
            edge,
            confirmed,
            note,
            marks: published.clone(),
        };
        let stop = Stop { finish: Switch::new(), abandon: Switch::new() };
        Ok((Self { waiting: Some((Box::new(publisher), heartbeat)), thread: None, stop }, published, through))
    }

    /// The journal is ready.
    pub fn open(&mut self, tell: &mpsc::Sender<Told>) -> Result<(), ServeError> {
        if let Some((publisher, heartbeat)) = self.waiting.take() {
            let stop = self.stop.clone();
            self.thread = Some(spawn("broker", tell, move || broker::publish(*publisher, heartbeat, &stop))?);
        }
        Ok(())
    }

    /// The broker has until then to confirm what there is; the rest is published after the next start.
    pub fn end(self, until: Instant, joining: &mut Joining<'_>) {
        self.stop.finish.turn_on();
        let Some(thread) = self.thread else { return };
        while clock::now() < until && !thread.is_finished() {
            std::thread::sleep(LOOK);
        }
        self.stop.abandon.turn_on();
        joining.join(thread);
    }

    /// Ends it at once.
    pub fn abandon(self) {
        self.stop.abandon.turn_on();
        self.thread.into_iter().for_each(join);
    }
}

/// How often is looked whether the broker has confirmed everything.
const LOOK: Duration = Duration::from_millis(5);

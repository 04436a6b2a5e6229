//! What brings signals to the journal: HTTP, or, at a processor, the broker. It waits until the journal is ready.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use super::broker::{self, Broker};
use super::cores;
use super::error::ServeError;
use super::ingress_threads::{self, Connections};
use super::running::{Joining, Told, join, spawn};
use super::settings::{Role, Settings};
use super::supervisor::Restarts;
use super::wiring::IngressEnds;
use crate::disk::Disk;
use crate::ingress::acceptor::Acceptor;
use crate::ingress::callback::CallbackAsked;
use crate::ingress::stage as ingress;
use crate::kaizen::{Collector, Heartbeat};
use crate::kanban::broker::consumer::{self, Consumer, Lanes, Stop};
use crate::kanban::broker::suspect::Suspect;
use crate::kanban::broker::trouble::Trouble;
use crate::kanban::positions::Positions;
use crate::kanban::share::{Ask, Sharer};
use crate::ring::{Crowd, Mark, Switch};

/// Threads that bring signals, before and after they are started.
pub struct Front {
    waiting: Waiting,
    started: Vec<JoinHandle<()>>,
}

enum Waiting {
    Http(Vec<ingress_threads::Start>, Option<Acceptor>),
    Broker(Option<(Box<Consumer>, Heartbeat, Stop, Shared)>),
}

/// What shares the consumer's state, if anything does.
pub type Shared = Option<(Box<Sharer>, tokio::sync::mpsc::Receiver<Ask>)>;

/// How many lanes the front has to the journal.
#[must_use]
pub fn threads(settings: &Settings) -> usize {
    match settings.role {
        Role::All(_) | Role::Edge(_) => settings.http_threads(),
        Role::Processor(..) => 1 + usize::from(settings.sharing.is_some()),
    }
}

/// What is seen of the broker at this node, if it has to do with one before its journal.
#[must_use]
pub fn broker_marks(settings: &Settings) -> Option<Broker> {
    match &settings.role {
        Role::All(_) | Role::Edge(_) => None,
        Role::Processor(_, link) => Some(Broker::Consumer(consumer::Marks::new(
            &link.consumed,
            link.topology.partitions,
            Trouble::of_broker(),
        ))),
    }
}

impl Front {
    /// Listens, where there is something to listen on.
    pub fn plan(
        settings: &Settings,
        disk: &Arc<dyn Disk>,
        (address, connections, callbacks): (
            Option<SocketAddr>,
            &Connections,
            tokio::sync::mpsc::Sender<CallbackAsked>,
        ),
        mut ends: Vec<IngressEnds>,
        (drain, abandon, crowd, time): (&Switch, &Switch, &Crowd, &Mark),
        (broker, shared): (Option<Broker>, Shared),
        collector: &mut Collector,
    ) -> Result<(Self, Option<SocketAddr>), ServeError> {
        let (waiting, address) = match (&settings.role, broker, address) {
            (Role::Processor(_, link), Some(Broker::Consumer(marks)), _) => {
                let path = settings.data_dir.join("suspect");
                let in_data_dir = |source| ServeError::DataDir { path: path.clone(), source };
                let suspect = Suspect::open(Arc::clone(disk), &path).map_err(in_data_dir)?;
                let waiting = ends.pop().map(|IngressEnds { arrivals, acks, bell, acked }| {
                    let consumer = Consumer {
                        name: settings.name.clone(),
                        broker: link.broker.clone(),
                        topology: link.topology.clone(),
                        keys: link.keys.clone(),
                        consumed: link.consumed.clone(),
                        prefetch: link.prefetch,
                        adopt: link.adopt,
                        lanes: Lanes { arrivals, acks, bell, rung: acked },
                        taken: consumer::Taken::default(),
                        suspect,
                        marks,
                    };
                    let stop = Stop { finish: drain.clone(), abandon: abandon.clone() };
                    (Box::new(consumer), collector.heartbeat(), stop, shared)
                });
                (Waiting::Broker(waiting), None)
            }
            (_, _, address) => {
                let address = address.unwrap_or(settings.data_plane.listen);
                let orders = (drain, abandon, crowd, time);
                let callbacks = (settings.live.callbacks.clone(), callbacks);
                let planned = ingress_threads::plan(
                    (&settings.data_plane, &settings.live.sources, &callbacks),
                    address,
                    ends,
                    orders,
                    connections,
                    collector,
                );
                let (waiting, acceptor, at) = planned?;
                (Waiting::Http(waiting, Some(acceptor)), Some(at))
            }
        };
        Ok((Self { waiting, started: Vec::new() }, address))
    }

    /// Signals are taken from here on.
    pub fn open(
        &mut self,
        positions: &Positions,
        tell: &mpsc::Sender<Told>,
        restarts: &Arc<Mutex<Restarts>>,
    ) -> Result<(), ServeError> {
        match &mut self.waiting {
            Waiting::Http(waiting, acceptor) => {
                let pins = cores::pins(waiting.len());
                for ((number, start), core) in waiting.drain(..).enumerate().zip(pins) {
                    let ingress_threads::Start { plan, ends, accepted, recorder } = start;
                    let name = format!("ingress-{number}");
                    let stage = name.clone();
                    let restarts = Arc::clone(restarts);
                    self.started.push(spawn(&name, tell, move || {
                        if let Some(core) = core {
                            cores::pin(core);
                        }
                        let IngressEnds { arrivals, acks, bell, acked } = ends;
                        let ends: Rc<_> = ingress::Ends::new(arrivals, acks, bell, acked, accepted, recorder);
                        ingress_threads::run(&plan, &ends, &stage, &restarts)
                    })?);
                }
                if let Some(acceptor) = acceptor.take() {
                    self.started.push(spawn("acceptor", tell, move || {
                        acceptor
                            .run()
                            .map_err(|source| ServeError::Stage { stage: "acceptor".into(), source })
                    })?);
                }
            }
            Waiting::Broker(waiting) => {
                if let Some((mut consumer, heartbeat, stop, shared)) = waiting.take() {
                    let taken = positions.iter();
                    consumer.taken = taken
                        .map(|(edge, partition, through)| ((edge.clone(), partition), through))
                        .collect();
                    self.started.push(spawn("broker", tell, move || {
                        broker::consume(*consumer, heartbeat, &stop, shared)
                    })?);
                }
            }
        }
        Ok(())
    }

    /// Waits until all of it has ended; it ends by the switches that it was planned with.
    pub fn end(self, joining: &mut Joining<'_>) {
        drop(self.waiting);
        self.started.into_iter().for_each(|thread| joining.join(thread));
    }

    /// The same for a line that is abandoned.
    pub fn abandon(self) {
        drop(self.waiting);
        self.started.into_iter().for_each(join);
    }
}

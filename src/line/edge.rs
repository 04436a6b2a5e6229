//! A node with the role `edge`: HTTP, journal, and the publisher behind it. Nothing is decided here, so there are no
//! shards, no receipts and no state: what it accepted is in its journal until the broker has confirmed it.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::broker::{self, Broker};
use super::desk::Known;
use super::front::{self, Front};
use super::health::Health;
use super::ingress_threads::Connections;
use super::journal_thread::{JournalPlan, abort_on_panic};
use super::running::{Ending, Joining, Run, Told, join, spawn, watch};
use super::serve::{Addresses, ServeError};
use super::settings::Link;
use super::stages::Start;
use super::supervisor::Restarts;
use super::threads::Stop;
use super::wiring::{Gauge, Wiring, wire};
use super::{cores, identity, outbound, recovery};
use crate::clock;
use crate::event::EdgeName;
use crate::kaizen::Collector;
use crate::kanban::broker::note::Note;
use crate::kanban::broker::publisher::{self, Publisher, Source};
use crate::kanban::broker::trouble::Trouble;
use crate::kanban::dedup::{Background, Dedup};
use crate::kanban::journal_clock;
use crate::kanban::stage as journal;
use crate::net::listen::listen;
use crate::ring::{Bell, Crowd, Idle, Mark, Switch};

/// A run of an edge.
pub struct Edge {
    told: mpsc::Receiver<Told>,
    tell: mpsc::Sender<Told>,
    drain: Switch,
    abandon: Switch,
    health: Health,
    depths: Arc<[Gauge]>,
    restarts: Arc<Mutex<Restarts>>,
    addresses: Addresses,
    front: Front,
    journal: JoinHandle<()>,
    journal_stop: Stop,
    /// Before the journal is ready there is nothing to publish.
    publisher: Option<Publisher>,
    publishing: Option<JoinHandle<()>>,
    publisher_stop: publisher::Stop,
    outbound: JoinHandle<()>,
    outbound_stop: Switch,
}

/// At the end, the broker has so long to confirm what there is; the rest is published after the next start.
const SETTLE: Duration = Duration::from_secs(5);

impl Edge {
    #[expect(
        clippy::too_many_lines,
        reason = "one list of who gets what; in parts it would be harder to follow"
    )]
    /// Takes up what is on disk and starts every stage but HTTP and the publisher, which wait for the journal.
    pub fn start(start: &Start<'_>, link: &Link) -> Result<Self, ServeError> {
        let &Start { settings, disk, addresses, orders, budget, ref restarts, .. } = start;
        start.go_on()?;
        let drain = orders.drain.clone();
        let idle = Idle::sharing(settings.ingress_threads + 2, cores::processors());
        let Wiring { journal: (mut lanes, sleeper), ingress, outbound, gauges, .. } =
            wire(front::threads(settings), 0, idle);
        let depths: Arc<[Gauge]> = gauges.into();
        let mut collector = Collector::new().ok_or(ServeError::Histograms)?;
        let mut recorder = || collector.recorder().ok_or(ServeError::Histograms);
        let rung = Arc::new(Notify::new());
        let knock = Arc::clone(&rung);
        let bell = Arc::new(Bell::new(move || knock.notify_one()));
        lanes.follower = Some(Arc::clone(&bell));

        let lineage = recovery::lineage(&**disk, &settings.data_dir)?;
        let edge = EdgeName::read(&identity::named(&settings.name, lineage.id))?;
        let path = settings.data_dir.join("forwarded");
        let noted = Note::open(Arc::clone(disk), &path, link.topology.partitions);
        let (note, confirmed) = noted.map_err(publisher::Fatal::from)?;
        let through = confirmed.through;
        let (tell, told) = mpsc::channel();
        let (abandon, zero) = (Switch::new(), || Mark::new(0));
        let crowd = Crowd::new(0, settings.room);
        let marks = journal::Marks {
            crowd: crowd.clone(),
            durable: zero(),
            written: zero(),
            settled: Mark::new(through.0),
            disk_low: zero(),
            backlog_full: zero(),
            clock: journal_clock::Marks::default(),
            drain: drain.clone(),
        };
        let published =
            publisher::Marks::new(through, link.topology.partitions, Trouble::of_broker(settings.say));
        let connections = Connections::new(settings.http_threads(), budget.connections);
        let health = Health {
            name: settings.name.as_str().into(),
            role: settings.role.as_str(),
            journal: marks.clone(),
            checkpoint: None,
            written: vec![("journal", marks.written.clone())],
            ready: Switch::new(),
            began: zero(),
            broker: Some(Broker::Publisher(published.clone())),
            state: None,
            connections,
        };
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
            marks: published,
        };

        let dedup_dir = recovery::dedup_dir(&settings.data_dir);
        let dedup = Dedup::open(Arc::clone(disk), &dedup_dir, settings.dedup, Background::Thread);
        let plan = JournalPlan {
            disk: Arc::clone(disk),
            data_dir: settings.data_dir.clone(),
            lineage,
            bounds: settings.bounds,
            kept_for: settings.dedup.horizon(),
            dedup: dedup.map_err(recovery::RecoveryError::from)?,
            watermark: through,
            behind: None,
            lanes,
            marks,
            recorder: recorder()?,
            tenure: None,
            began: health.began.clone(),
            ready: tell.clone(),
        };
        let journal_stop = Stop { finish: Switch::new(), abandon: abandon.clone() };
        let stop = journal_stop.clone();
        let journal = spawn("journal", &tell, move || abort_on_panic(|| plan.run(&sleeper, &stop)))?;

        let (front, at) = Front::plan(
            settings,
            disk,
            (addresses.ingress, &health.connections),
            ingress,
            (&drain, &abandon, &crowd, &health.journal.clock.time),
            (None, None),
            &mut recorder,
        )?;
        let listener = listen(addresses.admin, "admin.listen")?;
        let in_listener = |source| ServeError::Stage { stage: "outbound".into(), source };
        let addresses = Addresses { ingress: at, admin: listener.local_addr().map_err(in_listener)? };
        let outbound_stop = Switch::new();
        let plane = outbound::Plane {
            listener,
            tokens: settings.tokens.clone(),
            collector,
            stop: outbound_stop.clone(),
            clock: health.journal.clock.clone(),
        };
        let plan = outbound::Plan {
            reload: Arc::clone(&orders.reload),
            ends: outbound,
            targets: Arc::clone(&settings.targets),
            known: Known {
                sources: settings.source_names(),
                gauges: Arc::clone(&depths),
                health: health.clone(),
                restarts: Arc::clone(restarts),
                decided: None,
            },
            busy: zero(),
        };
        let outbound = spawn("outbound", &tell, move || outbound::run(plane, plan))?;
        let publisher_stop = publisher::Stop { finish: Switch::new(), abandon: Switch::new() };
        Ok(Self {
            told,
            tell,
            drain,
            abandon,
            health,
            depths,
            restarts: Arc::clone(restarts),
            addresses,
            front,
            journal,
            journal_stop,
            publisher: Some(publisher),
            publishing: None,
            publisher_stop,
            outbound,
            outbound_stop,
        })
    }
}

impl Run for Edge {
    fn addresses(&self) -> Addresses {
        self.addresses
    }

    fn run(&mut self, ready: &mut dyn FnMut()) -> Ending {
        let Self {
            told, tell, drain, health, restarts, front, publisher, publishing, publisher_stop, ..
        } = self;
        watch(told, drain, |positions| {
            if let Some(publisher) = publisher.take() {
                let stop = publisher_stop.clone();
                *publishing = Some(spawn("broker", tell, move || broker::publish(publisher, &stop))?);
            }
            front.open(positions, tell, restarts)?;
            health.ready.turn_on();
            ready();
            Ok(())
        })
    }

    fn end(self: Box<Self>) -> Result<(), ServeError> {
        let mut joining = Joining::new(&self.told, &self.abandon);
        self.front.end(&mut joining);
        let until = clock::now() + SETTLE;
        while clock::now() < until
            && !self.abandon.is_on()
            && self.depths.iter().any(|(_, depth)| depth() > 0)
        {
            joining.look();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.journal_stop.finish.turn_on();
        joining.join(self.journal);
        self.publisher_stop.finish.turn_on();
        if let Some(publishing) = self.publishing {
            while clock::now() < until && !publishing.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.publisher_stop.abandon.turn_on();
            joining.join(publishing);
        }
        self.outbound_stop.turn_on();
        joining.join(self.outbound);
        drop(self.tell);
        joining.result()
    }

    fn abandon(self: Box<Self>) {
        self.abandon.turn_on();
        self.publisher_stop.abandon.turn_on();
        self.outbound_stop.turn_on();
        self.front.abandon();
        let rest = [Some(self.journal), self.publishing, Some(self.outbound)];
        rest.into_iter().flatten().for_each(join);
    }
}
